"""Makes the clips of this folder and golden.json from them. Needed by no test and no user.

    python make_golden.py          (numpy, pillow; ffmpeg 5.1 with libx264)

The pictures are drawn here: a moving bright square and disc over a coloured gradient with a fixed
noise. golden.json holds, for each frame that ffmpeg shows, a checksum of each plane (yuv420p) and
the means of its rgb24 conversion; of every fifth frame also some pixels.
"""
import json
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent


def pictures(count, width, height):
    rng = np.random.default_rng(3)
    noise = rng.integers(-12, 13, (height, width, 3))
    y, x = np.mgrid[0:height, 0:width]
    for index in range(count):
        picture = np.stack([60 + 120 * x / width, 200 - 140 * y / height, 90 + 60 * np.sin(x / 9)], -1)
        picture = picture + noise
        left = 2 + 3 * index
        picture[6 : height // 2, left : left + 14] = (235, 220, 30)
        disc = (x - width + 10 + 2 * index) ** 2 + (y - height + 14) ** 2 < 81
        picture[disc] = (20, 60, 230 - 4 * index)
        yield picture.clip(0, 255).astype(np.uint8)


def ffmpeg(*arguments, data=None):
    command = ["ffmpeg", "-nostdin" if data is None else "-y", "-y", "-v", "error", "-threads", "1", *map(str, arguments)]
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout


def encode(name, *options, count=12, width=64, height=48, rate=8):
    data = b"".join(picture.tobytes() for picture in pictures(count, width, height))
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    ffmpeg(*source, "-an", *options, "-fflags", "+bitexact", "-flags", "+bitexact", HERE / name, data=data)


X264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", 30]
encode("baseline.mp4", *X264, "-profile:v", "baseline", "-g", 12)
encode("main.mp4", *X264, "-profile:v", "main", "-bf", 2, "-g", 12, "-movflags", "+faststart")
HIGH = [*X264, "-profile:v", "high", "-preset", "slow"]
encode("high.mp4", *HIGH, "-g", 8, "-x264-params", "bframes=3:b-pyramid=normal:b-adapt=0:ref=4:weightp=2:scenecut=0:slices=3", count=20)
encode("fragmented.mp4", *HIGH, "-g", 6, "-bf", 2, "-movflags", "+frag_keyframe+empty_moov+default_base_moof")
encode("fragmented-old.mp4", *HIGH, "-g", 6, "-bf", 2, "-movflags", "+frag_keyframe")
# Odd cropping, BT.709 and the full range.
encode("bt709-full.mp4", *HIGH, "-vf", "scale=out_color_matrix=bt709:out_range=pc,format=yuv420p", "-colorspace", "bt709", "-color_range", "pc", width=54, height=38)
encode("bt709.mp4", *HIGH, "-vf", "scale=out_color_matrix=bt709,format=yuv420p", "-colorspace", "bt709", "-color_range", "tv", width=54, height=38)
# Uneven frame times.
encode("uneven.mp4", *HIGH, "-vf", "select='not(eq(mod(n,4),1))',setpts=PTS+0.3*random(7)", "-vsync", "vfr", "-video_track_timescale", 9000)
# An edit list that begins and ends within a group of pictures.
ffmpeg("-ss", 0.55, "-i", HERE / "high.mp4", "-t", 1.2, "-c", "copy", "-fflags", "+bitexact", HERE / "edited.mp4")
for degrees in (90, 180, 270):
    ffmpeg("-i", HERE / "main.mp4", "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", "-fflags", "+bitexact", HERE / f"rotated{degrees}.mp4")
encode("mpeg4.mp4", "-c:v", "mpeg4", "-q:v", 9, "-bf", 1)
encode("mpeg4.avi", "-c:v", "mpeg4", "-q:v", 9)


def checksums(plane):
    values = plane.astype(np.uint64).ravel()
    weights = np.arange(1, values.size + 1, dtype=np.uint64)
    return [int(values.sum() % 2**32), int((values * weights).sum() % 2**32)]


def shown(path):
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0", path]
    lines = subprocess.run(probe, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return [float(line.strip(",")) for line in lines]


golden = {}
for path in sorted(HERE.glob("*.mp4")) + sorted(HERE.glob("*.avi")):
    all_frames = ["-vsync", "passthrough", "-f", "rawvideo"]
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0", path]
    width, height = map(int, subprocess.run(probe, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().strip(",").split(",")[:2])
    yuv = np.frombuffer(ffmpeg("-noautorotate", "-i", path, *all_frames, "-pix_fmt", "yuv420p", "-"), np.uint8) if "full" not in path.name else np.frombuffer(ffmpeg("-noautorotate", "-i", path, *all_frames, "-pix_fmt", "yuvj420p", "-"), np.uint8)
    chroma = ((width + 1) // 2) * ((height + 1) // 2)
    yuv = yuv.reshape(-1, width * height + 2 * chroma)
    turned = "90" in path.name or "270" in path.name
    shape = (width, height, 3) if turned else (height, width, 3)
    rgb = np.frombuffer(ffmpeg("-i", path, *all_frames, "-pix_fmt", "rgb24", "-"), np.uint8).reshape(-1, *shape)
    assert len(rgb) == len(yuv), path
    rows, columns = np.linspace(0, shape[0] - 1, 7).astype(int), np.linspace(0, shape[1] - 1, 9).astype(int)
    golden[path.name] = {
        "width": shape[1],
        "height": shape[0],
        "times": [round(time, 6) for time in shown(path)],
        "planes": [
            [checksums(frame[: width * height]), checksums(frame[width * height :][:chroma]), checksums(frame[width * height + chroma :])]
            for frame in yuv
        ],
        "mean": [[round(float(channel), 3) for channel in frame.reshape(-1, 3).mean(0)] for frame in rgb],
        "pixels": [frame[rows][:, columns].ravel().tolist() for frame in rgb[::5]],
    }

# Resizing: PIL's BILINEAR, which widens its filter when it reduces.
picture = next(iter(pictures(1, 96, 72)))
Image.fromarray(picture).save(HERE / "picture.png")
sizes = [(72, 72), (41, 29), (96, 20), (130, 90)]
resized = {f"{w}x{h}": np.asarray(Image.fromarray(picture).resize((w, h), Image.BILINEAR))[::3, ::3].ravel().tolist() for w, h in sizes}
(HERE / "golden.json").write_text(json.dumps({"clips": golden, "resized": resized}, separators=(",", ":")) + "\n")
for path in sorted(HERE.iterdir()):
    print(path.name, path.stat().st_size)
