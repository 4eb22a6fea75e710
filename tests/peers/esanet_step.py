"""The peer of `cargo xtask bench train` for RGB-D: ESANet's training step in PyTorch, loss at four scales included.

Arguments: case, layout (contiguous | channels-last), threads (0: as the library likes).
Protocol: see xtask/src/bench/worker.rs. Needs torch.
"""
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Basic(nn.Module):
    expansion = 1

    def __init__(self, c, k, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, k, 3, stride, 1, bias=False), nn.BatchNorm2d(k)
        self.conv2, self.bn2 = nn.Conv2d(k, k, 3, 1, 1, bias=False), nn.BatchNorm2d(k)

    def body(self, x):
        return self.bn2(self.conv2(F.relu_(self.bn1(self.conv1(x)))))

    def forward(self, x):
        skip = self.downsample(x) if hasattr(self, "downsample") else x
        return F.relu_(self.body(x) + skip)


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
        x = F.relu_(self.bn1(self.conv1x3_1(F.relu_(self.conv3x1_1(x)))))
        return self.bn2(self.conv1x3_2(F.relu_(self.conv3x1_2(x))))


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
            return F.relu_(self.bn1(self.conv1(x)))
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
        return F.relu_(self.bn(self.conv(x)))


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
    def __init__(self, block, depths, width, widths, blocks, classes):
        super().__init__()
        self.encoder_rgb, self.encoder_depth = Encoder(block, depths, 3, width), Encoder(block, depths, 1, width)
        w = self.encoder_rgb.widths
        for i in range(5):
            setattr(self, f"se_layer{i}", Fuse(w[i]))
        for i, k in ((1, widths[2]), (2, widths[1]), (3, widths[0])):
            setattr(self, f"skip_layer{i}", nn.Sequential(ConvNorm(w[i], k, 1)) if w[i] != k else nn.Identity())
        self.context_module = Context(w[4], widths[0], (1, 5))
        self.decoder = Decoder(widths, blocks, classes)

    def forward(self, inputs):
        rgb, depth, fused = inputs["rgb"], inputs["depth"], []
        for i in range(5):
            layer = getattr(self, f"se_layer{i}")
            rgb, depth = self.encoder_rgb.stage(i, rgb), self.encoder_depth.stage(i, depth)
            rgb = layer.se_rgb(rgb) + layer.se_depth(depth)
            fused.append(rgb)
        skips = [getattr(self, f"skip_layer{i}")(fused[i]) for i in (3, 2, 1)]
        return self.decoder(self.context_module(rgb), skips, (fused[0].shape[2:], inputs["rgb"].shape[2:]))


def train(case, layout, threads):
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    if case.startswith("esanet18"):
        net, batch, (h, w), classes = ESANet(Basic, [2, 2, 2, 2], 32, [256, 128, 64], 3, 13), 4, (240, 320), 13
    else:
        net, batch, (h, w), classes = ESANet(Flat, [3, 4, 6, 3], 64, [512, 256, 128], 3, 40), 2, (480, 640), 40
    inputs = {"rgb": torch.rand(batch, 3, h, w) * 2 - 1, "depth": torch.rand(batch, 1, h, w) * 2 - 1}
    place = torch.arange(batch * h * w)
    labels = torch.where(place % 9 == 0, 255, place // 7 % classes).reshape(batch, h, w)
    if layout == "channels-last":
        net = net.to(memory_format=torch.channels_last)
        inputs = {m: x.to(memory_format=torch.channels_last) for m, x in inputs.items()}
    weights = 0.5 + torch.arange(classes) / classes
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def once():
        optimizer.zero_grad()
        loss = 0.0
        for out in net(inputs):
            small = F.interpolate(labels[:, None].float(), size=out.shape[2:], mode="nearest")[:, 0].long()
            loss = loss + F.cross_entropy(out, small, weights, ignore_index=255)
        loss.backward()
        optimizer.step()

    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            once()
            times.append(f"{time.perf_counter() - start:.9f}")
        print(" ".join(times), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


train(sys.argv[1], sys.argv[2], int(sys.argv[3]))
