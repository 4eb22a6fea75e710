"""The CUDA kernels, compiled for the host and run one thread after the other, against PyTorch in f64. Needs c++, numpy, torch.

    python tests/peers/cuda_kernels.py

No kernel has barriers or shared memory, so a loop over threads is what a device does. What this cannot show: launches, cuDNN,
the compiler for the device.
"""
import ctypes
import pathlib
import re
import runpy
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "crates/umt-nn/src/cuda/kernels"
FILES = ["elementwise", "reduce", "norm", "pool", "sample", "cross_entropy", "many", "conv"]
SHIM = runpy.run_path(str(pathlib.Path(__file__).with_name("soft_cuda") / "shim.py"))["SHIM"]
BLOCK = 256
MOST, SWEEP, SHARES = 96, 16, 64  # Of many.rs: arrays of a launch, values of a thread, shares of a sum.


def build(folder, bf16):
    text = SHIM + (SOURCES / "prelude.cu").read_text()
    signatures = []
    for name in FILES:
        code = (SOURCES / f"{name}.cu").read_text()
        text += code
        signatures += re.findall(r"^KERNEL (\w+)\(([^)]*)\)", code, re.M)
    # Each kernel over a whole number of blocks, as it is launched.
    for name, arguments in signatures:
        names = [a.split()[-1].lstrip("*") for a in arguments.replace("\n", " ").split(",")]
        text += f"""
extern "C" void run_{name}(i64 all_, {arguments}) {{
    blockDim.x = {BLOCK};
    for (i64 block_ = 0; block_ < (all_ + {BLOCK} - 1) / {BLOCK}; block_++)
        for (i64 thread_ = 0; thread_ < {BLOCK}; thread_++) {{
            blockIdx.x = block_; threadIdx.x = thread_;
            {name}({", ".join(names)});
        }}
}}"""
    source, shared = folder / f"kernels{bf16}.cpp", folder / f"kernels{bf16}.so"
    source.write_text(text)
    flags = ["-DBF16"] if bf16 else []
    subprocess.run(["c++", "-O1", "-std=c++17", "-shared", "-fPIC", "-w", *flags, "-o", shared, source], check=True)
    return ctypes.CDLL(str(shared)), dict(signatures)


class Kernels:
    def __init__(self, folder, bf16):
        self.shared, self.signatures = build(folder, bf16)
        self.called = set()

    def __call__(self, name, threads, *arguments):
        self.called.add(name)
        kinds = [a.strip() for a in self.signatures[name].replace("\n", " ").split(",")]
        assert len(kinds) == len(arguments), name
        passed = []
        for kind, value in zip(kinds, arguments):
            if "*" in kind:
                assert value.flags.c_contiguous
                passed.append(ctypes.c_void_p(value.ctypes.data))
            elif kind.startswith("float "):
                passed.append(ctypes.c_float(value))
            elif kind.startswith("I "):
                passed.append(ctypes.c_int(int(value)))
            elif isinstance(value, ctypes.Structure):
                passed.append(value)
            else:  # A structure of 64-bit whole numbers, by value.
                structure = type(kind.split()[0], (ctypes.Structure,), {"_fields_": [("v", ctypes.c_longlong * len(value))]})
                passed.append(structure((ctypes.c_longlong * len(value))(*map(int, value))))
        getattr(self.shared, f"run_{name}")(ctypes.c_longlong(int(threads)), *passed)


class Many(ctypes.Structure):
    """Arrays of one launch, as `many.rs` describes them: up to four of each length, and the first block of threads of each."""
    _fields_ = [("at", ctypes.c_void_p * MOST * 4), ("len", ctypes.c_uint * MOST), ("first", ctypes.c_uint * (MOST + 1)), ("count", ctypes.c_uint)]

    def __init__(self, entries, blocks):
        super().__init__()
        self.entries, self.count = entries, len(entries)
        for i, arrays in enumerate(entries):
            for j, array in enumerate(arrays):
                self.at[j][i] = array.ctypes.data
            self.len[i] = arrays[0].size
            self.first[i + 1] = self.first[i] + blocks(arrays[0].size)
        self.threads = self.first[self.count] * BLOCK


def sweep(n):
    return -(-n // (SWEEP * BLOCK))


def packs(n, bf16=False):
    return -(-n // (8 if bf16 else 4))


def lanes(c):
    return 4 if c % 4 == 0 else 1


rng = np.random.default_rng(5)
worst = {}


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def close(what, got, want, tolerance=2e-5):
    want = np.asarray(want, dtype=np.float64)
    assert got.shape == want.shape, (what, got.shape, want.shape)
    error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-20) if got.size else 0.0
    worst[what] = max(worst.get(what, 0.0), error)
    assert error <= tolerance, f"{what}: {error}"


def nchw(x):
    return torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2)


def nhwc(x):
    return x.detach().permute(0, 2, 3, 1).numpy()


def folded(k, sums, rows, width):
    """As `Sums::folded` and `finish` in crates/umt-nn/src/cuda/reduce.rs."""
    while rows > 32:
        chunk = min(-(-rows // 32), 64)
        to = -(-rows // chunk)
        out = np.zeros(to * width)
        k("fold", to * width, sums, out, rows, width, chunk, to * width)
        sums, rows = out, to
    out = np.zeros(width, np.float32)
    k("finish", width, sums, out, 1.0, rows, width)
    return sums, rows, out


def convolutions(k):
    for n, h, w, c, o, kh, kw, stride, pad, dilation, groups in [
        (1, 1, 1, 1, 1, 1, 1, (1, 1), (0, 0), (1, 1), 1),
        (2, 9, 7, 3, 5, 3, 3, (1, 1), (1, 1), (1, 1), 1),
        (2, 15, 17, 6, 4, 3, 3, (2, 2), (0, 0), (1, 1), 1),
        (2, 12, 15, 4, 6, 3, 3, (1, 1), (2, 3), (2, 3), 2),
        (1, 13, 11, 3, 8, 7, 7, (2, 2), (3, 3), (1, 1), 1),
        (2, 10, 12, 4, 6, 3, 2, (4, 1), (0, 1), (1, 1), 1),
        (2, 9, 9, 8, 8, 3, 3, (1, 2), (1, 1), (1, 1), 8),
        (2, 8, 8, 4, 8, 3, 3, (1, 1), (1, 1), (1, 1), 4),
    ]:
        x, weight = f32(n, h, w, c), f32(kh, kw, c // groups, o)
        tx = nchw(x).requires_grad_()
        tw = torch.from_numpy(weight.astype(np.float64)).permute(3, 2, 0, 1).contiguous().requires_grad_()
        ty = F.conv2d(tx, tw, None, stride, pad, dilation, groups)
        oh, ow = ty.shape[2:]
        shape = [n, h, w, c, o, kh, kw, *stride, *pad, *dilation, groups, oh, ow]
        y = np.full((n, oh, ow, o), np.nan, np.float32)
        k("conv_forward", y.size, x, weight, y, shape, y.size)
        close("convolution", y, nhwc(ty))
        dy = f32(n, oh, ow, o)
        ty.backward(nchw(dy))
        dx = np.full_like(x, np.nan)
        k("conv_grad_input", dx.size, dy, weight, dx, shape, dx.size)
        close("convolution, gradient to the input", dx, nhwc(tx.grad))
        pixels, chunk = n * oh * ow, 16
        blocks = -(-pixels // chunk)
        sums = np.full(blocks * weight.size, np.nan)
        k("conv_grad_weight", sums.size, x, dy, sums, shape, pixels, chunk, sums.size)
        dw = folded(k, sums, blocks, weight.size)[2].reshape(weight.shape)
        close("convolution, gradient to the weights", dw, tw.grad.permute(2, 3, 1, 0).numpy())
        # The form that cuDNN takes is torch's channels-last one: [k][kh][kw][c / groups].
        theirs = np.full((o, kh, kw, c // groups), np.nan, np.float32)
        k("weight_to_cudnn", weight.size, weight, theirs, weight.size // o, o, weight.size)
        close("weights for cuDNN", theirs, tw.detach().permute(0, 2, 3, 1).numpy(), 0)
        back = np.full_like(weight, np.nan)
        k("weight_from_cudnn", weight.size, theirs, back, weight.size // o, o, weight.size)
        close("weights from cuDNN", back, weight, 0)


def norms(k):
    for rows, c, relu, skip in [(2, 1, 0, 0), (105, 7, 1, 0), (300, 33, 0, 1), (2000, 16, 1, 1), (37, 64, 0, 0)]:
        z, added, gamma, beta = f32(rows, c) + 3, f32(rows, c), f32(c), f32(c)
        running = f32(c), np.abs(f32(c))
        tz, tg, tb, ts = (torch.from_numpy(v.astype(np.float64)).requires_grad_() for v in (z, gamma, beta, added))
        rm, rv = (torch.from_numpy(v.astype(np.float64)) for v in running)
        ty = F.batch_norm(tz, rm, rv, tg, tb, True, 0.1, 1e-5)
        ty = ty + ts if skip else ty
        ty = F.relu(ty) if relu else ty
        chunk = 16
        blocks = -(-rows // chunk)
        sums = np.full(blocks * 2 * c, np.nan)
        w = lanes(c)
        n = blocks * c // w
        k("moments", n, z, sums, rows, c, chunk, w, n)
        sums, parts, _ = folded(k, sums, blocks, 2 * c)
        mean, inv, a, b, next_mean, next_var = (np.full(c, np.nan, np.float32) for _ in range(6))
        unbiased = rows / max(rows - 1, 1)
        k("statistics", c, sums, parts, z, rows, gamma, beta, *running, 1e-5, 0.1, unbiased, mean, inv, a, b, next_mean, next_var, c)
        close("running mean", next_mean, rm.numpy())
        close("running variance", next_var, rv.numpy())
        y = np.full_like(z, np.nan)
        k("scale_shift", packs(z.size), z, a, b, added, skip, y, relu, c, z.size)
        close("batch-norm", y, ty.detach().numpy(), 1e-4)
        dy = f32(rows, c)
        ty.backward(torch.from_numpy(dy.astype(np.float64)))
        kind = (1 if skip else 2) if relu else 0
        wants = int(relu and skip)
        dskip, dz = np.full_like(z, np.nan), np.full_like(z, np.nan)
        sums = np.full(blocks * 2 * c, np.nan)
        k("backward_sums", n, z, kind, y, a, b, dy, mean, dskip, wants, sums, rows, c, chunk, w, n)
        sums, parts, _ = folded(k, sums, blocks, 2 * c)
        dgamma, dbeta, factors = np.full(c, np.nan, np.float32), np.full(c, np.nan, np.float32), np.full(3 * c, np.nan, np.float32)
        k("backward_factors", c, sums, parts, rows, gamma, inv, dgamma, dbeta, factors, c)
        k("backward_apply", z.size // w, z, 0 if wants else kind, y, a, b, dskip if wants else dy, mean, factors, dz, c, w, z.size // w)
        # Of two rows the gradient is almost nothing, and rounding is all that is left.
        if rows > 2:
            close("batch-norm, gradient", dz, tz.grad.numpy(), 1e-4)
            close("batch-norm, gradient to gamma", dgamma, tg.grad.numpy(), 1e-4)
        close("batch-norm, gradient to beta", dbeta, tb.grad.numpy())
        if wants:
            close("batch-norm, gradient to the skip", dskip, ts.grad.numpy(), 0)


def pools(k):
    for h, w, c, kernel, stride, pad in [(7, 5, 3, 3, 2, 1), (8, 8, 2, 2, 2, 0), (9, 7, 4, 3, 1, 1), (10, 9, 1, 2, 3, 1), (9, 9, 2, 5, 2, 2)]:
        x = f32(2, h, w, c)
        tx = nchw(x).requires_grad_()
        ty, at = F.max_pool2d(tx, kernel, stride, pad, return_indices=True)
        oh, ow = ty.shape[2:]
        shape = [2, h, w, c, oh, ow, kernel, kernel, stride, stride, pad, pad]
        y, place, wide = np.full((2, oh, ow, c), np.nan, np.float32), np.zeros((2, oh, ow, c), np.uint16), lanes(c)
        k("max_pool", y.size // wide, x, y, place, shape, wide, y.size // wide)
        close("max-pool", y, nhwc(ty), 0)
        # Places count within each window, PyTorch's over the picture.
        row = np.arange(oh)[None, :, None, None] * stride - pad + place // kernel
        column = np.arange(ow)[None, None, :, None] * stride - pad + place % kernel
        close("max-pool, places", (row * w + column).astype(np.float64), nhwc(at), 0)
        dy = f32(2, oh, ow, c)
        ty.backward(nchw(dy))
        dx = np.full_like(x, np.nan)
        k("max_pool_backward", dx.size // wide, place, dy, dx, shape, wide, dx.size // wide)
        close("max-pool, gradient", dx, nhwc(tx.grad))


def table(matrix):
    """A dense matrix [outputs][sources] as `Table` has it."""
    pairs = [np.nonzero(row)[0] for row in matrix]
    first = np.cumsum([0] + [len(p) for p in pairs]).astype(np.int32)
    source = np.concatenate(pairs).astype(np.int32)
    factor = np.concatenate([row[p] for row, p in zip(matrix, pairs)]).astype(np.float32)
    return first, source, factor


def samples(k):
    how = {
        "nearest": lambda x, to: F.interpolate(x, to, mode="nearest"),
        "bilinear": lambda x, to: F.interpolate(x, to, mode="bilinear", align_corners=False),
        "adaptive": F.adaptive_avg_pool2d,
    }
    for name, resize in how.items():
        for h, w, to in [(7, 5, (14, 10)), (7, 5, (3, 2)), (1, 1, (3, 4)), (6, 8, (5, 7))]:
            axis = lambda n, o: resize(torch.eye(n, dtype=torch.float64)[None, :, :, None], (o, 1))[0, :, :, 0].T.numpy()
            rows, columns = axis(h, to[0]), axis(w, to[1])
            c, wide = (3, 1) if h == 7 else (8, 4)
            x = f32(2, h, w, c)
            tx = nchw(x).requires_grad_()
            ty = resize(tx, to)
            y = np.full((2, *to, c), np.nan, np.float32)
            k("sample", y.size // wide, x, y, *table(rows), *table(columns), h, w, *to, c, wide, y.size // wide)
            close(f"resize, {name}", y, nhwc(ty))
            dy = f32(2, *to, c)
            ty.backward(nchw(dy))
            dx = np.full_like(x, np.nan)
            k("sample", dx.size // wide, dy, dx, *table(rows.T), *table(columns.T), *to, h, w, c, wide, dx.size // wide)
            close(f"resize, {name}, gradient", dx, nhwc(tx.grad))
    for h, w, to in [(1, 1, (2, 2)), (1, 1, (1, 1)), (4, 5, (7, 9)), (4, 3, (8, 6))]:
        c, wide = (3, 1) if h == 1 else (4, 4)
        x, weight, bias, skip = f32(2, h, w, c), f32(3, 3, c), f32(c), f32(2, *to, c)
        tx = nchw(x).requires_grad_()
        tw = torch.from_numpy(weight.astype(np.float64)).permute(2, 0, 1)[:, None].contiguous().requires_grad_()
        up = F.interpolate(tx, scale_factor=2, mode="nearest")[:, :, : to[0], : to[1]]
        ty = F.conv2d(up, tw, torch.from_numpy(bias.astype(np.float64)), padding=1, groups=c) + nchw(skip)
        y = np.full((2, *to, c), np.nan, np.float32)
        k("upsample", y.size // wide, x, weight, bias, skip, 1, y, h, w, *to, c, wide, y.size // wide)
        close("upsampling", y, nhwc(ty))
        dy = f32(2, *to, c)
        ty.backward(nchw(dy))
        dx = np.full_like(x, np.nan)
        k("upsample_backward", dx.size // wide, dy, weight, dx, h, w, *to, c, wide, dx.size // wide)
        close("upsampling, gradient", dx, nhwc(tx.grad))
        pixels, chunk = 2 * to[0] * to[1], 16
        blocks = -(-pixels // chunk)
        sums = np.full(blocks * 9 * c, np.nan)
        k("upsample_weight", sums.size // wide, x, dy, sums, h, w, *to, c, pixels, chunk, wide, sums.size // wide)
        dw = folded(k, sums, blocks, 9 * c)[2].reshape(3, 3, c)
        close("upsampling, gradient to the weights", dw, tw.grad[:, 0].permute(1, 2, 0).numpy())


def losses(k):
    for rows, classes, weighted, smoothing in [(1, 2, 0, 0.0), (50, 7, 1, 0.0), (50, 7, 0, 0.1), (300, 40, 1, 0.2)]:
        logits, weights = f32(rows, classes) * 3, np.abs(f32(classes)) + 0.5
        labels = (np.arange(rows) * 7 % classes).astype(np.uint8)
        labels[8::9] = 255
        tl = torch.from_numpy(logits.astype(np.float64)).requires_grad_()
        tw = torch.from_numpy(weights.astype(np.float64)) if weighted else None
        target = torch.from_numpy(labels.astype(np.int64))
        mean = F.cross_entropy(tl, target, tw, ignore_index=255, label_smoothing=smoothing)
        mean.backward()
        total = (weights[labels[labels < 255]] if weighted else np.ones((labels < 255).sum())).sum()
        grad, own = np.full_like(logits, np.nan), np.full(rows, np.nan)
        k("cross_entropy", rows, logits, labels, weights, weighted, smoothing, 1 / total, grad, 1, own, classes, rows)
        close("cross-entropy", np.array(own.sum() / total), mean.item())
        close("cross-entropy, gradient", grad, tl.grad.numpy())


def reductions(k):
    for rows, c in [(1, 1), (100, 3), (3000, 5), (777, 8)]:
        x, y = f32(rows, c), f32(rows, c)
        chunk = 16
        blocks = -(-rows // chunk)
        sums, wide = np.full(blocks * c, np.nan), lanes(c)
        n = sums.size // wide
        k("group_sums", n, x, sums, rows, c, blocks, chunk, wide, n)
        close("sums over rows", folded(k, sums, blocks, c)[2], x.sum(0, dtype=np.float64), 1e-4)
        masked, sums = x.copy(), np.full(blocks * c, np.nan)
        k("masked_sums", n, y, masked, sums, rows, c, blocks, chunk, wide, n)
        close("masked gradient", masked, x * (y > 0), 0)
        close("masked sums over rows", folded(k, sums, blocks, c)[2], (x * (y > 0)).sum(0, dtype=np.float64), 1e-4)
        threads = 17
        grad, out = np.full_like(x, np.nan), np.full(threads, np.nan)
        k("squared_distance", threads, x, y, 0.5, grad, out, x.size, threads)
        close("squared distance", np.array(out.sum()), ((x - y).astype(np.float64) ** 2).sum(), 1e-6)
        close("squared distance, gradient", grad, (x - y) * 0.5, 1e-6)
    few = [f32(n) for n in (1, 3, 4, 5, 4096, 200_003)]
    many = Many([(x,) for x in few], lambda n: min(max(-(-n // (64 * BLOCK)), 1), 64))
    sums, shares = np.full(many.threads, np.nan), np.full(SHARES * len(few), np.nan)
    k("squares", many.threads, many, sums)
    k("add_shares", shares.size, many, sums, shares, 0)
    close("squares", shares.reshape(-1, SHARES).sum(1), np.array([(x.astype(np.float64) ** 2).sum() for x in few]), 1e-12)
    for groups, rows, c in [(1, 1, 1), (3, 35, 4), (2, 200, 5)]:
        x, y, gate = f32(groups, rows, c), f32(groups, rows, c), f32(groups, c)
        chunk = 16
        chunks = -(-rows // chunk)
        wide = lanes(c)
        n, some = groups * chunks * c // wide, x.size // wide
        sums, out = np.full(groups * chunks * c, np.nan), np.full((groups, c), np.nan, np.float32)
        k("group_sums", n, x, sums, rows, c, chunks, chunk, wide, n)
        k("finish_groups", out.size, sums, out, 1 / rows, chunks, c, out.size)
        close("means of groups", out, x.mean(1, dtype=np.float64), 1e-4)
        k("group_products", n, x, y, sums, rows, c, chunks, chunk, wide, n)
        k("finish_groups", out.size, sums, out, 1.0, chunks, c, out.size)
        close("gradient to gates", out, (x.astype(np.float64) * y).sum(1), 1e-4)
        out = np.full_like(x, np.nan)
        k("gate", some, x, gate, out, 0, rows, c, wide, some)
        close("gates", out, x * gate[:, None], 1e-6)
        k("gate", some, y, gate, out, 1, rows, c, wide, some)
        close("two gates", out, (x + y) * gate[:, None], 1e-5)
        k("spread_rows", some, gate, 0.25, out, 0, rows, c, wide, some)
        close("spread rows", out, np.broadcast_to(gate[:, None] * 0.25, x.shape), 1e-6)
        k("spread_rows", some, gate, 0.5, out, 1, rows, c, wide, some)
        close("added rows", out, np.broadcast_to(gate[:, None] * 0.75, x.shape), 1e-6)


def elements(k):
    x, y, n = f32(999), f32(999), 999
    sigmoid = lambda v: 1 / (1 + np.exp(-v.astype(np.float64)))
    relu = lambda v: np.maximum(v, 0)
    out = x.copy()
    k("add_assign", packs(n), out, y, n)
    close("add", out, x + y, 1e-6)
    out = x.copy()
    k("relu_backward", packs(n), y, out, n)
    close("relu, gradient", out, x * (y > 0), 0)
    out = np.full_like(x, np.nan)
    k("sigmoid", packs(n), x, out, n)
    close("sigmoid", out, sigmoid(x), 1e-6)
    grad = np.full_like(x, np.nan)
    k("sigmoid_backward", packs(n), out, y, grad, n)
    close("sigmoid, gradient", grad, y * sigmoid(x) * (1 - sigmoid(x)), 1e-6)
    few = [f32(n) for n in (1, 7, 5000)]
    want, many = [v * np.float32(0.3) for v in few], Many([(v,) for v in few], sweep)
    k("scale_all", many.threads, many, 0.3)
    for v, w in zip(few, want):
        close("scale", v, w, 1e-6)
    rows, bias = x.reshape(333, 3).copy(), f32(3)
    k("bias_relu", packs(n), rows, bias, 1, 1, 3, n)
    close("bias, relu", rows, relu(x.reshape(333, 3) + bias), 1e-6)
    for widths in ((3, 5), (4, 8)):
        (u, v), wide, all_ = widths, lanes(widths[0]), sum(widths)
        a, b = f32(20, u), f32(20, v)
        joined, part = np.full((20, all_), np.nan, np.float32), np.full((20, v), np.nan, np.float32)
        k("copy_columns", 20 * u // wide, a, u, 0, joined, all_, 0, u, wide, 20 * u // wide)
        k("copy_columns", 20 * v // wide, b, v, 0, joined, all_, u, v, wide, 20 * v // wide)
        close("side by side", joined, np.concatenate([a, b], 1), 0)
        k("copy_columns", 20 * v // wide, joined, all_, u, part, v, 0, v, wide, 20 * v // wide)
        close("a part", part, b, 0)
    for stride, slice_ in ((1, 4), (2, 4), (3, 4), (2, 3)):
        clip, wide = f32(2, 7, slice_), lanes(slice_)
        kept = -(-7 // stride)
        some, back = np.full((2, kept, slice_), np.nan, np.float32), np.full_like(clip, np.nan)
        k("take_slices", some.size // wide, clip, some, 7, kept, stride, slice_, wide, some.size // wide)
        close("slices", some, clip[:, ::stride], 0)
        want = np.zeros_like(clip)
        want[:, ::stride] = some
        k("put_slices", clip.size // wide, some, back, 7, kept, stride, slice_, wide, clip.size // wide)
        close("slices, gradient", back, want, 0)


def optimizers(k):
    sizes = (77, 5000)

    def begin():
        values = [f32(n) for n in sizes]
        return values, [torch.nn.Parameter(torch.from_numpy(v.astype(np.float64))) for v in values]

    def gradients(theirs):
        grads = [f32(n) for n in sizes]
        for parameter, grad in zip(theirs, grads):
            parameter.grad = torch.from_numpy(grad.astype(np.float64))
        return grads

    for nesterov in (False, True):
        values, theirs = begin()
        optimizer = torch.optim.SGD(theirs, lr=0.05, momentum=0.9, nesterov=nesterov, weight_decay=1e-2)
        velocity = [np.zeros_like(p) for p in values]
        for _ in range(4):
            grads = gradients(theirs)
            optimizer.step()
            many = Many(list(zip(values, grads, velocity)), sweep)
            k("sgd", many.threads, many, 0.05, 0.9, int(nesterov), 1e-2)
        for p, t in zip(values, theirs):
            close("SGD", p, t.detach().numpy())
    values, grads = [f32(n) for n in sizes], [f32(n) for n in sizes]
    want, many = [p - 0.05 * (g + 0.01 * p) for p, g in zip(values, grads)], Many(list(zip(values, grads)), sweep)
    k("sgd_plain", many.threads, many, 0.05, 0.01)
    for p, w in zip(values, want):
        close("SGD without momentum", p, w)
    values, theirs = begin()
    optimizer = torch.optim.AdamW(theirs, lr=0.05, betas=(0.9, 0.99), eps=1e-8, weight_decay=1e-2)
    first, second = ([np.zeros_like(p) for p in values] for _ in range(2))
    for step in range(1, 5):
        grads = gradients(theirs)
        optimizer.step()
        rate, root = 0.05 / (1 - 0.9**step), 1 / np.sqrt(1 - 0.99**step)
        many = Many(list(zip(values, grads, first, second)), sweep)
        k("adamw", many.threads, many, 0.9, 0.99, 1e-8, 1 - 0.05 * 1e-2, rate, root)
    for p, t in zip(values, theirs):
        close("AdamW", p, t.detach().numpy())


def bfloat16(k):
    x = np.concatenate([f32(5000) * 10.0 ** rng.integers(-30, 30, 5000).astype(np.float32), [0.0, -0.0, np.inf, 1 + 2**-8, 1 + 3 * 2**-8]])
    x = x.astype(np.float32)
    half, back = np.zeros(x.size, np.uint16), np.full_like(x, np.nan)
    k("from_float", packs(x.size, True), x, half, x.size)
    want = torch.from_numpy(x).to(torch.bfloat16)
    assert (half == want.view(torch.int16).numpy().view(np.uint16)).all(), "rounding to bfloat16"
    k("to_float", packs(x.size, True), half, back, x.size)
    assert (back == want.float().numpy()).all(), "bfloat16 to float"
    y = np.array([np.nan], np.float32)
    k("from_float", 1, y, half, 1)
    assert half[0] == 0x7FC0
    # One that stores what it computes: rounded once.
    a, b = torch.randn(999).to(torch.bfloat16), torch.randn(999).to(torch.bfloat16)
    own, other = a.view(torch.int16).numpy().copy(), b.view(torch.int16).numpy().copy()
    k("add_assign", packs(999, True), own, other, 999)
    assert (own == (a + b).view(torch.int16).numpy()).all(), "sum in bfloat16"


def main():
    torch.manual_seed(5)
    with tempfile.TemporaryDirectory() as folder:
        k = Kernels(pathlib.Path(folder), "")
        for part in (convolutions, norms, pools, samples, losses, reductions, elements, optimizers):
            part(k)
        half = Kernels(pathlib.Path(folder), "16")
        bfloat16(half)
    missed = set(k.signatures) - k.called - half.called
    assert not missed, f"never called: {sorted(missed)}"
    for what, error in worst.items():
        print(f"{error:.1e}  {what}")
    print(f"{len(k.signatures)} kernels agree with PyTorch")


if __name__ == "__main__":
    sys.exit(main())
