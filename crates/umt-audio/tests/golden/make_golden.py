"""Writes front_ends.json: the named references, run in float64.

Developer's tool: needs numpy, scipy, librosa, torch, torchaudio and the ffmpeg command. The inputs
are formulas (the same arithmetic as in tests/common) and the recording fixtures/speech.flac.
`make_golden.py compare DIR` instead compares whole arrays that `FRONT_END_DUMP=DIR cargo test`
wrote, `<signal>.<front end>.f32` from `<signal>.wave.f32`, and prints the largest differences.
"""
import json, os, subprocess, sys
import numpy as np, scipy, scipy.signal, torch
import librosa
torch.version.cuda = None  # torchaudio's wheel refuses to load beside another CUDA build
import torchaudio
from torchaudio.compliance import kaldi

here = os.path.dirname(os.path.abspath(__file__))


def quantise(x):
    return np.round(x * 32767.0) / 32768.0


def tones(n):
    i = np.arange(n, dtype=np.float64)
    wave = lambda a, f: a * np.sin(2.0 * np.pi * f * i)
    return quantise(wave(0.5, 0.0275) + wave(0.2, 0.0771) + wave(0.01, 0.3125) + wave(0.0005, 0.4371))


def music(n):
    """Plucked strings after Karplus and Strong, a new note every 4,000 samples over the old one."""
    out, state = np.zeros(n), 12345
    for note, start in enumerate(range(0, n, 4000)):
        period = [73, 61, 49, 97, 58, 82][note % 6]
        string = []
        for _ in range(period):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            string.append(state / 0x40000000 - 1.0)
        for i in range(min(n - start, 8000)):
            at = i % period
            sample = string[at]
            out[start + i] += 0.3 * sample
            string[at] = 0.498 * (sample + string[(at + 1) % period])
    return quantise(np.clip(out, -1.0, 1.0))


def speech(n):
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", here + "/../fixtures/speech.flac", "-f", "s16le", "-"],
                         check=True, capture_output=True).stdout
    x = np.frombuffer(raw, "<i2").astype(np.float64) / 32768.0
    return np.tile(x, n // len(x) + 1)[:n]


def vgg_sound(x):
    _, _, s = scipy.signal.spectrogram(np.clip(x, -1, 1), 16000, nperseg=512, noverlap=353)
    s = np.log(s + 1e-7)
    return (s - s.mean()) / (s.std() + 1e-9)


def ogm(x, n_fft, hop, mode):
    # librosa up to 0.9 pads the whole clip, then frames it. From 0.10 on it pads head and tail apart, and its mirrored
    # tail is one sample too short where n_fft = 2 * hop; hence the older order of steps here.
    x = np.pad(np.clip(x, -1, 1), n_fft // 2, mode=mode)
    s = librosa.stft(x, n_fft=n_fft, hop_length=hop, center=False, dtype=np.complex128)
    return np.log(np.abs(s) + 1e-7)


def fbank(x):
    f = kaldi.fbank(torch.tensor(x)[None], htk_compat=True, sample_frequency=16000, use_energy=False,
                    window_type="hanning", num_mel_bins=128, dither=0.0, frame_shift=10).numpy()
    f = np.pad(f[:1024], ((0, max(0, 1024 - len(f))), (0, 0)))
    return ((f + 4.503877) / (2 * 5.141276)).T


def peer(x):
    """The log-mel of the PyTorch reference of the audio-visual digits."""
    s = torch.stft(torch.tensor(x), 512, 160, window=torch.hann_window(512, dtype=torch.float64), return_complex=True).abs().numpy()
    hz = lambda m: 700 * (10 ** (m / 2595) - 1)
    edges = hz(np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)) / 8000 * 256
    k = np.arange(257)
    bank = np.stack([np.maximum(0, np.minimum((k - l) / (c - l), (r - k) / (r - c))) for l, c, r in zip(edges, edges[1:], edges[2:])])
    return np.log(bank @ s + 1e-5)


def slaney(x):
    s = librosa.feature.melspectrogram(y=x, sr=22050, n_fft=1024, hop_length=256, win_length=800, n_mels=40, fmin=50.0,
                                       fmax=10000.0, power=2.0, center=False, dtype=np.float64)
    return np.log(s + 1e-6)


front_ends = {
    "vgg-sound": (160000, vgg_sound),
    "ogm-ge": (80000, lambda x: ogm(x, 256, 128, "reflect")),
    "crema-d": (66150, lambda x: ogm(x, 512, 353, "reflect")),
    "crema-d-zero": (66150, lambda x: ogm(x, 512, 353, "constant")),
    "fbank": (60000, fbank),
    "peer": (24000, peer),
    "slaney": (30000, slaney),
}
signals = {"tones": tones, "music": music, "speech": speech}
if len(sys.argv) == 3 and sys.argv[1] == "compare":
    for name in sorted(os.listdir(sys.argv[2])):
        signal, kind, _ = name.split(".")
        if kind == "wave" or kind not in front_ends:
            continue
        x = np.fromfile(f"{sys.argv[2]}/{signal}.{kind}-wave.f32", "<f4").astype(np.float64)
        ours = np.fromfile(f"{sys.argv[2]}/{name}", "<f4")
        reference = front_ends[kind][1](x)
        print(f"{name:32} {reference.shape} largest difference {np.abs(ours - reference.ravel()).max():.2e}")
    sys.exit()

out = {"made_with": {"scipy": scipy.__version__, "librosa": librosa.__version__, "torchaudio": torchaudio.__version__, "torch": torch.__version__}, "cases": []}
for kind, (n, front_end) in front_ends.items():
    for signal, make in signals.items():
        y = front_end(make(n))
        rows = sorted({*range(0, y.shape[0], 9), y.shape[0] - 1})
        used = 374 if kind == "fbank" else y.shape[1]
        columns = sorted({0, 1, used // 3, used // 2, used - 2, used - 1, y.shape[1] - 1})
        out["cases"].append({"front_end": kind, "signal": signal, "samples": n, "shape": list(y.shape), "mean": y.mean(), "std": y.std(),
                             "rows": rows, "columns": columns, "values": [round(float(v), 6) for v in y[np.ix_(rows, columns)].ravel()]})
json.dump(out, open(here + "/front_ends.json", "w"))

print({f"{c['front_end']}/{c['signal']}": c["shape"] for c in out["cases"]})
