"""Golden values of RGB-D segmentation networks of the ESANet family from PyTorch, in f64: outputs, multi-scale loss, distance
to teachers, gradients.

usage: make_esanet_golden.py > esanet.json      (needs torch)

The network is written anew from the paper's description (Seichter et al., ICRA 2021) with the published parameter names.
Weights and inputs come from an integer formula, so that no weight file is stored.
"""
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.set_default_dtype(torch.float64)


def noise(count, salt):
    """Uniform in [-0.5, 0.5): a 32-bit mix of index and salt."""
    h = (np.arange(count, dtype=np.uint64) * 2654435761 + salt * 40503 + 12345) & 0xFFFFFFFF
    for _ in range(2):
        h = ((h ^ (h >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    h = h ^ (h >> 16)
    return h.astype(np.float64) / 2.0**32 - 0.5


def f32(values, shape):
    return torch.tensor(values.astype(np.float32).astype(np.float64).reshape(shape))


def fill(net, first):
    names = [name for name, _ in net.named_parameters()]
    for salt, (name, p) in enumerate(sorted(net.named_parameters())):
        n = noise(p.numel(), first + salt)
        if p.dim() > 1:
            values = n * np.sqrt(12.0) * np.sqrt(2.0 / (p.numel() // p.shape[0]))
        elif name.endswith("weight"):
            # Residual branches are damped: undamped ones amplify the rounding of f32 until ReLUs switch.
            last = "bn3." if any("bn3." in other for other in names) else "bn2."
            values = (0.25 if last in name else 1.0) * (1.0 + 0.2 * n)
        else:
            values = 0.2 * n
        p.data = f32(values, p.shape)


class Basic(nn.Module):
    expansion = 1

    def __init__(self, c, k, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, k, 3, stride, 1, bias=False), nn.BatchNorm2d(k)
        self.conv2, self.bn2 = nn.Conv2d(k, k, 3, 1, 1, bias=False), nn.BatchNorm2d(k)

    def body(self, x):
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    def forward(self, x):
        skip = self.downsample(x) if hasattr(self, "downsample") else x
        return F.relu(self.body(x) + skip)


class Bottleneck(Basic):
    expansion = 4

    def __init__(self, c, k, stride):
        nn.Module.__init__(self)
        self.conv1, self.bn1 = nn.Conv2d(c, k, 1, bias=False), nn.BatchNorm2d(k)
        self.conv2, self.bn2 = nn.Conv2d(k, k, 3, stride, 1, bias=False), nn.BatchNorm2d(k)
        self.conv3, self.bn3 = nn.Conv2d(k, 4 * k, 1, bias=False), nn.BatchNorm2d(4 * k)

    def body(self, x):
        return self.bn3(self.conv3(F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))))


class Flat(Basic):
    """Non-bottleneck-1D."""

    def __init__(self, c, k, stride):
        nn.Module.__init__(self)
        self.conv3x1_1 = nn.Conv2d(c, k, (3, 1), (stride, 1), (1, 0))
        self.conv1x3_1 = nn.Conv2d(k, k, (1, 3), (1, stride), (0, 1))
        self.bn1 = nn.BatchNorm2d(k, eps=1e-3)
        self.conv3x1_2 = nn.Conv2d(k, k, (3, 1), padding=(1, 0))
        self.conv1x3_2 = nn.Conv2d(k, k, (1, 3), padding=(0, 1))
        self.bn2 = nn.BatchNorm2d(k, eps=1e-3)

    def body(self, x):
        x = F.relu(self.bn1(self.conv1x3_1(F.relu(self.conv3x1_1(x)))))
        return self.bn2(self.conv1x3_2(F.relu(self.conv3x1_2(x))))


class Encoder(nn.Module):
    def __init__(self, block, depths, channels, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.widths, c = [width], width
        for i, depth in enumerate(depths):
            units = []
            for j in range(depth):
                k, stride = width << i, 2 if i > 0 and j == 0 else 1
                unit = block(c, k, stride)
                out = k * block.expansion
                if stride != 1 or c != out:
                    unit.downsample = nn.Sequential(nn.Conv2d(c, out, 1, stride, bias=False), nn.BatchNorm2d(out))
                units.append(unit)
                c = out
            setattr(self, f"layer{i + 1}", nn.Sequential(*units))
            self.widths.append(c)

    def stage(self, i, x):
        if i == 0:
            return F.relu(self.bn1(self.conv1(x)))
        if i == 1:
            x = F.max_pool2d(x, 3, 2, 1)
        return getattr(self, f"layer{i}")(x)


class Gate(nn.Module):
    def __init__(self, c):
        super().__init__()
        r = max(c // 16, 1)
        self.fc = nn.Sequential(nn.Conv2d(c, r, 1), nn.ReLU(), nn.Conv2d(r, c, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3), keepdim=True))


class Fuse(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.se_rgb, self.se_depth = Gate(c), Gate(c)


class ConvNorm(nn.Module):
    def __init__(self, c, k, kernel):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(c, k, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(k)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Upsample(nn.Module):
    """Nearest to the size asked for, then a depth-wise convolution."""

    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1, groups=c)

    def forward(self, x, size):
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


class Context(nn.Module):
    def __init__(self, c, k, bins):
        super().__init__()
        part = c // len(bins)
        self.features = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(b), ConvNorm(c, part, 1)) for b in bins)
        self.final_conv = ConvNorm(c + part * len(bins), k, 1)

    def forward(self, x):
        parts = [F.interpolate(f(x), size=x.shape[2:], mode="nearest") for f in self.features]
        return self.final_conv(torch.cat([x, *parts], 1))


class Module(nn.Module):
    def __init__(self, c, k, blocks, classes):
        super().__init__()
        self.conv3x3 = ConvNorm(c, k, 3)
        self.decoder_blocks = nn.Sequential(*[Flat(k, k, 1) for _ in range(blocks)])
        self.upsample = Upsample(k)
        self.side_output = nn.Conv2d(k, classes, 1)

    def forward(self, x, skip):
        x = self.decoder_blocks(self.conv3x3(x))
        return self.side_output(x), self.upsample(x, skip.shape[2:]) + skip


class Decoder(nn.Module):
    def __init__(self, widths, blocks, classes):
        super().__init__()
        for i, (c, k) in enumerate(zip([widths[0], *widths], widths)):
            setattr(self, f"decoder_module_{i + 1}", Module(c, k, blocks, classes))
        self.conv_out = nn.Conv2d(widths[2], classes, 3, padding=1)
        self.upsample1, self.upsample2 = Upsample(classes), Upsample(classes)

    def forward(self, x, skips, sizes):
        sides = []
        for i, skip in enumerate(skips):
            side, x = getattr(self, f"decoder_module_{i + 1}")(x, skip)
            sides.append(side)
        x = self.upsample2(self.upsample1(self.conv_out(x), sizes[0]), sizes[1])
        return [x, *sides[::-1]]


class ESANet(nn.Module):
    def __init__(self, block, depths, width, widths, blocks, classes, modalities, fused="rgb", se=False):
        super().__init__()
        self.modalities, self.fused = modalities, fused
        for m in modalities:
            name = f"encoder_{m}" if len(modalities) > 1 else "encoder"
            setattr(self, name, Encoder(block, depths, 3 if m == "rgb" else 1, width))
        w = getattr(self, name).widths
        for i in range(5):
            if len(modalities) > 1 and (fused == "rgb" or i > 0):
                setattr(self, f"se_layer{i}", Fuse(w[i]))
            elif len(modalities) == 1 and se:
                setattr(self, f"se_layer{i}", Gate(w[i]))
        for i, k in ((1, widths[2]), (2, widths[1]), (3, widths[0])):
            skip = nn.Sequential(ConvNorm(w[i], k, 1)) if w[i] != k else nn.Identity()
            setattr(self, f"skip_layer{i}", skip)
        self.context_module = Context(w[4], widths[0], (1, 5))
        self.decoder = Decoder(widths, blocks, classes)

    def forward(self, inputs):
        streams, maps, fused = dict(inputs), {m: [] for m in self.modalities}, []
        size = next(iter(streams.values())).shape[2:]
        for i in range(5):
            for m in self.modalities:
                name = f"encoder_{m}" if len(self.modalities) > 1 else "encoder"
                streams[m] = getattr(self, name).stage(i, streams[m])
                maps[m].append(streams[m])
            layer = getattr(self, f"se_layer{i}", None)
            if len(self.modalities) > 1:
                total = layer and layer.se_rgb(streams["rgb"]) + layer.se_depth(streams["depth"])
                if self.fused == "rgb":
                    streams["rgb"] = total
            else:
                m = self.modalities[0]
                total = streams[m] = layer(streams[m]) if layer else streams[m]
            fused.append(total if total is not None else streams["rgb"])
        skips = [getattr(self, f"skip_layer{i}")(fused[i]) for i in (3, 2, 1)]
        half = fused[0].shape[2:]
        return self.decoder(self.context_module(fused[4]), skips, (half, size)), maps


def shrink(labels, size):
    return F.interpolate(labels[:, None].double(), size=size, mode="nearest")[:, 0].long()


def task_loss(outputs, labels, weights, smoothing):
    values = []
    for out in outputs:
        y = shrink(labels, out.shape[2:])
        keep = y != 255
        logits = out.permute(0, 2, 3, 1)[keep]
        log_p = F.log_softmax(logits, 1)
        y = y[keep]
        own = -log_p.gather(1, y[:, None])[:, 0] * weights[y]
        spread = -(log_p * weights).sum(1) / len(weights)
        values.append(((1 - smoothing) * own + smoothing * spread).sum() / weights[y].sum())
    return values


def sample(t):
    flat = t.detach().permute(0, 2, 3, 1).reshape(-1)
    count = min(len(flat), 150)
    return [flat[i * (len(flat) - 1) // (count - 1)].item() for i in range(count)]


CLASSES, BATCH = 5, 4


def case(net, size, salt, smoothing, teachers=None, weight=0.0, stages=(1, 1, 1, 1, 1)):
    fill(net, 0)
    h, w = size
    channels = {"rgb": 3, "depth": 1}
    inputs = {
        m: f32(4.0 * noise(BATCH * channels[m] * h * w, salt + i), (BATCH, channels[m], h, w))
        for i, m in enumerate(("depth", "rgb"))
        if m in net.modalities
    }
    labels = torch.tensor((noise(BATCH * h * w, salt + 2) + 0.5) * (CLASSES + 1)).long().reshape(BATCH, h, w)
    labels[labels == CLASSES] = 255
    weights = torch.tensor([0.5, 1.0, 1.5, 0.25, 2.0])
    targets = {}
    for i, (m, teacher) in enumerate((teachers or {}).items()):
        fill(teacher, 2000 + 1000 * i)
        teacher.eval()
        with torch.no_grad():
            targets[m] = teacher({m: inputs[m]})[1][m]
    net.train()
    outputs, maps = net(inputs)
    values = task_loss(outputs, labels, weights, smoothing)
    distance = sum(s * F.mse_loss(a, b) for m in targets for s, a, b in zip(stages, maps[m], targets[m]))
    loss = sum(values) + weight * distance
    loss.backward()
    grads = {}
    for i, (name, p) in enumerate(sorted(net.named_parameters())):
        g = p.grad.reshape(-1).numpy()
        grads[name] = [float(np.linalg.norm(g)), float(g @ noise(g.size, i + 1000))]
    net.eval()
    with torch.no_grad():
        after, after_maps = net(inputs)
    alone = {}
    if net.modalities == ["depth", "rgb"] and net.fused == "rgb":
        # What the RGB encoder makes of colour alone: depth's share of each sum is zero.
        x = inputs["rgb"]
        with torch.no_grad():
            for i in range(5):
                x = net.encoder_rgb.stage(i, x)
                alone[f"{i}"] = sample(x)
                x = getattr(net, f"se_layer{i}").se_rgb(x)
    return {
        "outputs": [sample(o) for o in outputs],
        "values": [v.item() for v in values],
        "loss": loss.item(),
        "eval_logits": sample(after[0]),
        "eval_maps": {m: [sample(x) for x in after_maps[m]] for m in net.modalities},
        "alone": alone,
        "grads": grads,
    }


def main():
    both, widths = ["depth", "rgb"], [24, 16, 12]
    out = {}
    net = ESANet(Basic, [2, 2, 2, 2], 8, widths, 1, CLASSES, both)
    teachers = {m: ESANet(Basic, [2, 2, 2, 2], 8, widths, 1, CLASSES, [m]) for m in both}
    out["basic-rgb"] = case(net, (96, 128), 5, 0.0, teachers, 0.7, (1, 1, 0, 1, 1))
    net = ESANet(Flat, [2, 2, 2, 2], 8, [32, 16, 8], 2, CLASSES, both, fused="decoder")
    out["flat-decoder"] = case(net, (70, 99), 27, 0.1)
    net = ESANet(Bottleneck, [3, 4, 6, 3], 4, widths, 1, CLASSES, ["depth"], se=True)
    out["bottleneck-depth"] = case(net, (97, 64), 19, 0.0)
    json.dump(out, sys.stdout, indent=0)


main()
