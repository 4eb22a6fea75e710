"""Writes small audio files of kinds that are easily read wrongly, and what ffmpeg and libsndfile
read of them. Developer's tool: needs numpy, soundfile and the ffmpeg command.

The HE-AAC streams need an encoder that few builds of ffmpeg have; `he.aac` is made here by adding a
replication element to frames of AAC-LC, as the standard lays it out.
"""
import io, json, os, struct, subprocess
import numpy as np
import soundfile

here = os.path.dirname(os.path.abspath(__file__))
path = lambda name: os.path.join(here, name)


def run(*args, data=None):
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *args], check=True, input=data, capture_output=True).stdout


def signal(rate, seconds, channels):
    t = np.arange(round(rate * seconds)) / rate
    return np.stack([0.4 * np.sin(2 * np.pi * (300 + 217 * c) * t * (1 + t)) * (0.3 + 0.7 * np.sin(9 * t + c) ** 2) for c in range(channels)], 1)


def encode(name, rate, channels, *options, seconds=0.4):
    pcm = np.round(signal(rate, seconds, channels) * 32767).astype("<i2").tobytes()
    layout = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 6: "5.1"}[channels]
    run("-f", "s16le", "-ar", str(rate), "-ac", str(channels), "-channel_layout", layout, "-i", "-", "-fflags", "+bitexact",
        "-flags:a", "+bitexact", "-map_metadata", "-1", *options, path(name), data=pcm)


golden = {}


def by_ffmpeg(name, channels, rate):
    mono = np.frombuffer(run("-i", path(name), "-f", "f32le", "-"), "<f4").reshape(-1, channels).mean(1)
    note(name, mono, channels, rate)


def note(name, mono, channels, rate):
    at = [int(i) for i in np.linspace(0, len(mono) - 1, 40)]
    golden[name] = {"rate": rate, "channels": channels, "samples": len(mono), "at": at, "mono": [round(float(mono[i]), 6) for i in at]}


# Vorbis without couplings and with several, against libsndfile.
for channels in (3, 6):
    name = f"vorbis{channels}.ogg"
    encode(name, 16000 if channels == 3 else 44100, channels, "-c:a", "libvorbis", "-q:a", "0", seconds=0.25)
    if channels == 3:
        by_ffmpeg(name, channels, 16000)
        continue
    data, rate = soundfile.read(path(name), always_2d=True)
    note(name, data.mean(1), channels, rate)

# Bit rates that change, without a tag: loud and quiet parts.
rate = 16000
loud = np.random.default_rng(1).normal(0, 0.3, rate // 4)
parts = np.concatenate([loud, np.zeros(rate), loud, np.zeros(rate)])
pcm = np.round(np.clip(parts, -1, 1) * 32767).astype("<i2").tobytes()
run("-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "-", "-c:a", "libmp3lame", "-q:a", "9", "-write_xing", "0", "-id3v2_version", "0", path("vbr.mp3"), data=pcm)
by_ffmpeg("vbr.mp3", 1, rate)
encode("tagged.mp3", 16000, 1, "-c:a", "libmp3lame", "-b:a", "24k", "-id3v2_version", "3")
one = open(path("tagged.mp3"), "rb").read()
open(path("joined.mp3"), "wb").write(one + one)
by_ffmpeg("joined.mp3", 1, 16000)
ape = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0xA0000000) + b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0x80000000)
open(path("tags.mp3"), "wb").write(b"ID3\x03\0\0\0\0\0\x05abcde" + ape + bytes(100) + one)
by_ffmpeg("tagged.mp3", 1, 16000)
golden["tags.mp3"] = golden["tagged.mp3"]

# Live streams, a rate over the sample entry's field, QuickTime without a file type.
for name, options in {"live.webm": ("-c:a", "libvorbis", "-q:a", "0", "-live", "1"), "pipe.mkv": ("-c:a", "flac")}.items():
    pcm = np.round(signal(16000, 0.4, 1) * 32767).astype("<i2").tobytes()
    form = "webm" if name.endswith("webm") else "matroska"
    data = run("-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-", "-fflags", "+bitexact", *options, "-f", form, "pipe:1", data=pcm)
    open(path(name), "wb").write(data)
    by_ffmpeg(name, 1, 16000)
encode("r96000.m4a", 96000, 1, "-c:a", "aac", "-b:a", "48k", seconds=0.1)
encode("plain.mov", 16000, 1, "-c:a", "aac", "-b:a", "24k", "-f", "mov")
movie = open(path("plain.mov"), "rb").read()
size = struct.unpack(">I", movie[:4])[0]
assert movie[4:8] == b"ftyp"
# The same length in boxes that say nothing, so that no offset moves.
open(path("old.mov"), "wb").write(struct.pack(">I4s", size, b"free") + movie[8:])
os.remove(path("plain.mov"))
encode("cue.flac", 16000, 1, "-c:a", "flac")
by_ffmpeg("cue.flac", 1, 16000)  # before its cue sheet becomes one that points to nowhere
flac = open(path("cue.flac"), "rb").read()
size = int.from_bytes(flac[5:8], "big")
cue = b"\0" * 128 + struct.pack(">Q", 88200) + b"\x80" + bytes(258) + b"\x01" + struct.pack(">QB", 12345, 170) + bytes(27)
head = bytes([flac[4] & 0x7F]) + flac[5:8 + size]
open(path("cue.flac"), "wb").write(b"fLaC" + head + b"\x05" + len(cue).to_bytes(3, "big") + cue + flac[8 + size:])
for name in ("r96000.m4a", "old.mov"):
    by_ffmpeg(name, 1, 96000 if "96000" in name else 16000)

# Codecs that only ffmpeg reads.
encode("six.m4a", 16000, 6, "-c:a", "aac", "-b:a", "64k", seconds=0.2)
encode("alac.m4a", 8000, 1, "-c:a", "alac", seconds=0.2)
encode("ac3.mkv", 32000, 2, "-c:a", "ac3", "-b:a", "64k", seconds=0.2)
encode("mp2.mp2", 16000, 1, "-c:a", "mp2", "-b:a", "32k", seconds=0.2)
encode("adpcm.wav", 16000, 1, "-c:a", "adpcm_ima_wav", seconds=0.2)
encode("mp3.wav", 16000, 1, "-c:a", "libmp3lame", "-b:a", "24k", seconds=0.2)
encode("opus.webm", 48000, 1, "-c:a", "libopus", "-b:a", "16k", seconds=0.2)
encode("sound.avi", 16000, 1, "-c:a", "pcm_s16le", seconds=0.1)
for name, channels, rate in [("six.m4a", 6, 16000), ("alac.m4a", 1, 8000), ("ac3.mkv", 2, 32000), ("mp2.mp2", 1, 16000), ("adpcm.wav", 1, 16000),
                             ("mp3.wav", 1, 16000), ("opus.webm", 1, 48000), ("sound.avi", 1, 16000)]:
    by_ffmpeg(name, channels, rate)


# HE-AAC: silent frames of AAC-LC mono (global gain 0, no bands) with a replication element, then END.
def bits_to_bytes(bits):
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


frames = b""
for index in range(24):
    # SCE, tag, global gain, one long window, no bands, no prediction, no pulses, shaping, gain control.
    element = "000" + "0000" + "00000000" + "0" + "00" + "0" + "000000" + "0" + "0" + "0" + "0"
    data = "".join(f"{(index * 37 + k * 91) % 256:08b}" for k in range(11))
    replication = "110" + f"{12:04b}" + "1101" + data + "0000"
    block = bits_to_bytes(element + replication + "111")
    length = 7 + len(block)
    header = (0xFFF << 44) | (1 << 40) | (1 << 38) | (7 << 34) | (1 << 30) | (length << 13) | (0x7FF << 2)
    frames += header.to_bytes(7, "big") + block
open(path("he.aac"), "wb").write(frames)
json.dump(golden, open(path("kinds.json"), "w"), separators=(",", ":"))
