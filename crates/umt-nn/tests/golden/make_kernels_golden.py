"""Writes kernels.json: sampled values of PyTorch's convolution, batch-norm + ReLU, pooling, resizing and cross-entropy, forward and backward.

Inputs follow a formula that the test repeats, so the file holds expected values only. Run: python make_kernels_golden.py
"""
import json
import pathlib

import torch
import torch.nn.functional as F


def values(shape, seed):
    n = int(torch.tensor(shape).prod())
    return torch.tensor([(i * 37 + seed * 11) % 101 / 50 - 1 for i in range(n)], dtype=torch.float64).reshape(shape)


def sample(t):
    flat = t.detach().contiguous().reshape(-1)
    return [flat[i * (len(flat) - 1) // 7].item() for i in range(8)]


nchw = lambda t: t.permute(0, 3, 1, 2)
nhwc = lambda t: t.permute(0, 2, 3, 1)
out = {"convolutions": []}
for n, h, w, c, k, kernel, stride, pad, dilation, groups in [
    (2, 12, 9, 16, 16, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 16, 16, 16, 32, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    (1, 15, 17, 3, 16, (7, 7), (2, 2), (3, 3), (1, 1), 1),
    (3, 8, 8, 12, 20, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    (1, 7, 7, 8, 8, (3, 3), (1, 1), (1, 1), (1, 1), 4),
    (2, 17, 13, 10, 18, (3, 3), (3, 3), (1, 1), (1, 1), 1),
    (1, 19, 18, 16, 16, (5, 5), (4, 4), (2, 2), (1, 1), 1),
    (2, 9, 11, 16, 20, (3, 3), (1, 2), (2, 2), (2, 2), 1),
    (2, 9, 12, 16, 32, (3, 1), (1, 1), (1, 0), (1, 1), 1),
    (2, 9, 12, 16, 32, (1, 3), (1, 2), (0, 1), (1, 1), 1),
    (2, 9, 7, 12, 12, (3, 3), (2, 2), (1, 1), (1, 1), 12),
    (1, 7, 7, 300, 140, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 1, 1, 1, 1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
]:
    x = values((n, h, w, c), 1).requires_grad_()
    g = values((*kernel, c // groups, k), 2).requires_grad_()
    b = values((k,), 16).requires_grad_()
    options = dict(stride=stride, padding=pad, dilation=dilation, groups=groups)
    y = nhwc(F.conv2d(nchw(x), g.permute(3, 2, 0, 1), **options))
    y.backward(values(tuple(y.shape), 3))
    with torch.no_grad():
        relu = nhwc(F.relu(F.conv2d(nchw(x), g.permute(3, 2, 0, 1), b, **options)))
    shape = dict(n=n, h=h, w=w, c=c, k=k, kernel=kernel, stride=stride, pad=pad, dilation=dilation, groups=groups)
    found = {"y": sample(y), "relu": sample(relu), "dx": sample(x.grad), "dw": sample(g.grad)}
    out["convolutions"].append(shape | found)

rows, c = 50, 18
z, gamma, beta = values((rows, c), 4).requires_grad_(), values((c,), 5).requires_grad_(), values((c,), 6).requires_grad_()
y = F.relu(F.batch_norm(z, None, None, gamma, beta, True, eps=1e-5))
y.backward(values((rows, c), 7))
out["batch_norm"] = {"y": sample(y), "dz": sample(z.grad), "dgamma": sample(gamma.grad), "dbeta": sample(beta.grad)}

x = values((2, 9, 8, 5), 8).requires_grad_()
y = nhwc(F.max_pool2d(nchw(x), 3, 2, 1))
y.backward(values(tuple(y.shape), 9))
out["max_pool"] = {"y": sample(y), "dx": sample(x.grad)}
out["resize"] = []
for how, h, w, oh, ow in [
    ("nearest", 5, 7, 10, 13),
    ("nearest", 9, 8, 4, 3),
    ("bilinear", 5, 7, 12, 13),
    ("bilinear", 9, 8, 4, 3),
    ("average", 9, 8, 5, 5),
    ("average", 3, 2, 5, 1),
]:
    x = values((2, h, w, 6), 10).requires_grad_()
    if how == "average":
        y = F.adaptive_avg_pool2d(nchw(x), (oh, ow))
    else:
        y = F.interpolate(nchw(x), size=(oh, ow), mode=how)
    y = nhwc(y)
    y.backward(values(tuple(y.shape), 11))
    case = dict(how=how, h=h, w=w, oh=oh, ow=ow)
    out["resize"].append(case | {"y": sample(y), "dx": sample(x.grad)})

x = values((2, 9, 8, 5), 12).requires_grad_()
y = nhwc(F.avg_pool2d(nchw(x), 3, 2, 1))
y.backward(values(tuple(y.shape), 13))
out["average_pool"] = {"y": sample(y), "dx": sample(x.grad)}

z = values((60, 7), 14).requires_grad_()
labels = torch.tensor([255 if i % 5 == 2 else i * 3 % 7 for i in range(60)])
weight = values((7,), 15) + 1.5
loss = F.cross_entropy(4 * z, labels, weight, ignore_index=255, label_smoothing=0.15)
loss.backward()
out["cross_entropy"] = {"loss": loss.item(), "grad": sample(z.grad / 4)}
pathlib.Path(__file__).with_name("kernels.json").write_text(json.dumps(out, indent=1) + "\n")
