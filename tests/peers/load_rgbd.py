#!/usr/bin/env python3
"""Decoding and augmenting RGB-D triples with Pillow and torchvision, on one core.

pip install torch torchvision pillow numpy
python3 load_rgbd.py make DIR 64        # 64 frames of 640x480 in the folder form, with texture and noise
python3 load_rgbd.py time DIR           # milliseconds a triple: decode, scale 1 to 1.4, crop, flip, HSV, normalise
cargo xtask bench load --recipe nyuv2 --data DIR --threads 1      # ours on the same folder
"""
import os
import sys
import time

import numpy as np
from PIL import Image


def make(folder, count):
    rng = np.random.default_rng(1)
    for part in ("rgb", "depth", "label"):
        os.makedirs(os.path.join(folder, part), exist_ok=True)
    y, x = np.mgrid[0:480, 0:640]
    for i in range(1, count + 1):
        waves = [127 + 80 * np.sin(x / rng.uniform(9, 60) + y / rng.uniform(9, 60)) for _ in range(3)]
        rgb = np.clip(np.stack(waves, 2) + rng.normal(0, 8, (480, 640, 3)), 0, 255).astype(np.uint8)
        depth = (1500 + 3 * y + 200 * np.sin(x / 90) + rng.normal(0, 10, (480, 640))).astype(np.uint16)
        label = (1 + (x // 80 + 8 * (y // 96) + i) % 40).astype(np.uint8)
        name = f"{i:04d}"
        Image.fromarray(rgb).save(os.path.join(folder, "rgb", name + ".jpg"), quality=92)
        Image.fromarray(depth).save(os.path.join(folder, "depth", name + ".png"))
        Image.fromarray(label).save(os.path.join(folder, "label", name + ".png"))
    names = [f"{i:04d}\n" for i in range(1, count + 1)]
    held = max(1, count // 8)
    open(os.path.join(folder, "train.txt"), "w").writelines(names[held:])
    open(os.path.join(folder, "test.txt"), "w").writelines(names[:held])


def clock(folder):
    import torch
    from torchvision.transforms.v2 import functional as F

    torch.set_num_threads(1)
    size = (480, 640)
    rng = np.random.default_rng(1)
    names = [line.strip() for line in open(os.path.join(folder, "train.txt"))]
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def one(name):
        rgb = Image.open(os.path.join(folder, "rgb", name + ".jpg")).convert("RGB")
        depth = Image.open(os.path.join(folder, "depth", name + ".png"))
        label = Image.open(os.path.join(folder, "label", name + ".png"))
        scale = rng.uniform(1.0, 1.4)
        height, width = (round(s * scale) for s in size)
        rgb = rgb.resize((width, height), Image.BILINEAR)
        depth = depth.resize((width, height), Image.NEAREST)
        label = label.resize((width, height), Image.NEAREST)
        top, left = rng.integers(0, height - size[0] + 1), rng.integers(0, width - size[1] + 1)
        box = (left, top, left + size[1], top + size[0])
        rgb, depth, label = rgb.crop(box), depth.crop(box), label.crop(box)
        if rng.random() < 0.5:
            rgb, depth, label = (p.transpose(Image.FLIP_LEFT_RIGHT) for p in (rgb, depth, label))
        hue, saturation, value = rng.uniform(0.9, 1.1, 3)
        hsv = np.asarray(rgb.convert("HSV"), dtype=np.float32) * [hue, saturation, value]
        rgb = Image.fromarray(np.clip(hsv, 0, 255).astype(np.uint8), "HSV").convert("RGB")
        image = F.normalize(F.to_dtype(F.pil_to_tensor(rgb), torch.float32, scale=True), mean, std)
        metres = torch.from_numpy(np.asarray(depth).astype(np.float32))
        metres = torch.where(metres == 0, metres, (metres - 2841.949) / 1417.259)
        return image, metres[None], torch.from_numpy(np.asarray(label).astype(np.int64)) - 1

    for name in names[:4]:
        one(name)
    started = time.perf_counter()
    for name in names:
        one(name)
    seconds = time.perf_counter() - started
    print(f"{1e3 * seconds / len(names):.2f} ms a triple, {len(names)} triples")


if sys.argv[1] == "make":
    make(sys.argv[2], int(sys.argv[3]))
else:
    clock(sys.argv[2])
