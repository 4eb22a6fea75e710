#!/usr/bin/env python3
"""Writes the small files that the tests read, in the forms that the field's tools write.

pip install numpy h5py scipy pillow
python3 make_golden.py            # into the folder of this script
"""
import os

import h5py
import numpy as np
import scipy.io
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
FRAMES, WIDTH, HEIGHT = 3, 8, 6
NAMES = ["book", "bottle", "cabinet", "ceiling", "chair"]
SCENES = ["kitchen_0004", "kitchen_0004", "living_room_0012"]


def path(name):
    return os.path.join(HERE, name)


def frames():
    """What the tests compute again: i, x and y are the frame, the column and the row."""
    i, x, y = np.meshgrid(np.arange(FRAMES), np.arange(WIDTH), np.arange(HEIGHT), indexing="ij")
    images = np.stack([(7 * i + 3 * x + 5 * y + 50 * c) % 256 for c in range(3)], axis=1).astype(np.uint8)
    mm = 700 + 100 * i + 31 * x + 17 * y
    depths = (mm / 1000).astype(np.float32)
    raw = np.where((x + y) % 5 == 0, 0, depths).astype(np.float32)
    labels = ((i + x * y) % (len(NAMES) + 1)).astype(np.uint16)
    return images, depths, raw, labels


def texts(file, name, values, counter):
    """A cell array of MATLAB 7.3: references to character codes in #refs#."""
    refs = file.require_group("#refs#")
    cells = np.empty((1, len(values)), dtype=h5py.ref_dtype)
    for k, value in enumerate(values):
        codes = np.array([[ord(c)] for c in value], dtype=np.uint16)
        entry = refs.create_dataset(f"r{counter + k}", data=codes)
        entry.attrs["MATLAB_class"] = np.bytes_("char")
        cells[0, k] = entry.ref
    file.create_dataset(name, data=cells, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")
    return counter + len(values)


def matlab73(name, **changes):
    images, depths, raw, labels = frames()
    arrays = {"images": images, "depths": depths, "rawDepths": raw, "labels": labels} | changes
    with h5py.File(path(name), "w", userblock_size=512) as file:
        for key, value in arrays.items():
            chunks = (1,) + value.shape[1:]
            file.create_dataset(key, data=value, chunks=chunks, compression="gzip", compression_opts=3)
        counter = texts(file, "names", NAMES, 0)
        texts(file, "scenes", SCENES, counter)
    with open(path(name), "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, written for tests".ljust(124) + b"\x00\x02IM")


def main():
    matlab73("labeled.mat")
    splits = {"trainNdxs": np.array([[1], [2]], dtype=np.uint16), "testNdxs": np.array([[3.0]])}
    scipy.io.savemat(path("splits.mat"), splits, do_compression=True)
    scipy.io.savemat(path("splits-plain.mat"), splits)
    names = np.empty((1, 40), dtype=object)
    names[0] = [f"class {k + 1}" for k in range(40)]
    mapping = {"mapClass": np.array([[23, 40, 3, 22, 5]], dtype=np.float64), "className": names}
    scipy.io.savemat(path("classMapping40.mat"), mapping, do_compression=True)
    nested = {"entry": {"size": np.array([[1, -2, 3]], dtype=np.int16), "name": "a"}, "flag": np.array([[True]])}
    scipy.io.savemat(path("nested.mat"), nested, do_compression=True)

    x, y = np.meshgrid(np.arange(7), np.arange(5))
    depth = (300 * x + 1000 * y).astype(np.uint16)
    Image.fromarray(depth).save(path("depth16.png"))
    Image.fromarray((depth >> 5).astype(np.uint8)).save(path("depth8.png"))
    label = ((x + 2 * y) % 14).astype(np.uint8)
    Image.fromarray(label).save(path("label.png"))
    palette = Image.fromarray(label, mode="P")
    palette.putpalette([(37 * k) % 256 for k in range(768)])
    palette.save(path("palette.png"))
    Image.fromarray(np.stack([label] * 3, axis=2)).save(path("colour.png"))


main()
