"""Writes tests/fixtures: the same arrays in every form that is read. Needs numpy and safetensors (numpy 2.4 was used)."""
import pathlib

import numpy as np
from safetensors.numpy import save_file

here = pathlib.Path(__file__).parent / "fixtures"
here.mkdir(exist_ok=True)
x = np.array([[0.5, -1.25, 3.0], [4.0, 0.0625, -6.5]])
n = np.array([3, 0, 250])
for kind in ["<f2", "<f4", "<f8", ">f4", ">f8"]:
    np.save(here / f"float.{'le' if kind[0] == '<' else 'be'}{kind[1:]}.npy", x.astype(kind))
for kind in ["<i8", "<i4", ">i8", "<u2", "|u1"]:
    np.save(here / f"int.{ {'<': 'le', '>': 'be', '|': ''}[kind[0]]}{kind[1:]}.npy", n.astype(kind))
np.save(here / "int.negative.npy", np.array([-2, 7], dtype=np.int16))
np.save(here / "bool.npy", np.array([True, False, True]))
np.save(here / "fortran.npy", np.asfortranarray(x.astype(np.float32)))
np.save(here / "text.npy", np.array(["anna", "b\u00e9", ""]))
np.save(here / "bytes.npy", np.array([b"anna", b"b"]))
np.save(here / "complex.npy", np.array([1j]))
np.save(here / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
with open(here / "version2.npy", "wb") as file:
    np.lib.format.write_array(file, x.astype(np.float32), version=(2, 0))
arrays = {"labels.test": n.astype(np.int64), "features.audio.test": x.astype(np.float32)}
np.savez(here / "plain.npz", **arrays)
np.savez_compressed(here / "packed.npz", **arrays)
save_file(arrays, here / "arrays.safetensors")
