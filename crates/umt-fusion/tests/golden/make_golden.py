"""Golden values of encoders and fusions from PyTorch and torchvision, in f64.

usage: make_golden.py > networks.json      (needs torch and torchvision)

Weights and inputs come from an integer formula, so that no weight file is stored. For each
parameter the file holds the gradient's norm and its product with a second formula's direction.
"""
import json
import sys

import numpy as np
import torch
from torch import nn
from torchvision.models import resnet, video

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


def fill(net):
    for salt, (name, p) in enumerate(sorted(net.named_parameters())):
        n = noise(p.numel(), salt)
        if p.dim() > 1:
            fan_in = p.numel() // p.shape[0]
            values = n * np.sqrt(12.0) * np.sqrt(2.0 / fan_in)
        elif name.endswith("weight"):
            # Deep residual branches are damped: an undamped ResNet-50 of a random seed amplifies the
            # rounding of f32 until ReLUs switch.
            values = (0.25 if "bn3." in name or "conv2.1." in name else 1.0) * (1.0 + 0.2 * n)
        else:
            values = 0.2 * n
        p.data = f32(values, p.shape)


def report(net, inputs, labels, outputs):
    """Cross-entropy, its gradients, and the evaluation-mode logits after one step's statistics."""
    net.train()
    logits = outputs(net, inputs)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    grads = {}
    for salt, (name, p) in enumerate(sorted(net.named_parameters())):
        g = p.grad.reshape(-1).numpy()
        grads[name] = [float(np.linalg.norm(g)), float(g @ noise(g.size, salt + 1000))]
    net.eval()
    with torch.no_grad():
        after = outputs(net, inputs)
    flat = lambda t: [float(x) for x in t.detach().reshape(-1)]
    return {"logits": flat(logits), "loss": loss.item(), "eval_logits": flat(after), "grads": grads}


def picture(shape, salt):
    return f32(4.0 * noise(int(np.prod(shape)), salt), shape)


def small_stem(net, channels):
    net.conv1 = nn.Conv2d(channels, 64, 3, 2, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


class Wide(resnet.ResNet):
    """torchvision's ResNet with another width."""

    def __init__(self, block, depths, channels, width):
        super().__init__(block, depths, num_classes=5)
        self.inplanes = width
        self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for i, depth in enumerate(depths):
            setattr(self, f"layer{i + 1}", self._make_layer(block, width << i, depth, 1 if i == 0 else 2))
        self.fc = nn.Linear(8 * width * block.expansion, 5)


def features(net, x):
    body = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4)
    if x.dim() == 5:
        n, t = x.shape[:2]
        return body(x.flatten(0, 1)).mean((2, 3)).view(n, t, -1).mean(1)
    return body(x).mean((2, 3))


class Fused(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        enc = {}
        for m, c in (("audio", 1), ("video", 3)):
            net = Wide(resnet.BasicBlock, [2, 2, 2, 2], c, 4)
            net.conv1, net.maxpool, net.fc = nn.Conv2d(c, 4, 3, 2, 1, bias=False), nn.Identity(), nn.Identity()
            enc[m] = net
        self.encoder = nn.ModuleDict(enc)
        d = 32
        if kind == "concat":
            self.head = nn.Linear(2 * d, 5)
        elif kind == "sum":
            self.head = nn.ModuleDict({m: nn.Linear(d, 5) for m in enc})
        elif kind == "film":
            self.film = nn.ModuleDict({"audio": nn.Linear(d, 2 * d)})
            self.head = nn.Linear(d, 5)
        else:
            self.project = nn.ModuleDict({m: nn.Linear(d, 8) for m in enc})
            self.gate = nn.ModuleDict({m: nn.Linear(2 * d, 8) for m in enc})
            self.head = nn.Linear(8, 5)

    def forward(self, inputs):
        f = {m: features(self.encoder[m], inputs[m]) for m in ("audio", "video")}
        both = torch.cat([f["audio"], f["video"]], 1)
        if self.kind == "concat":
            return self.head(both)
        if self.kind == "sum":
            return self.head["audio"](f["audio"]) + self.head["video"](f["video"])
        if self.kind == "film":
            gamma, beta = self.film["audio"](f["audio"]).chunk(2, 1)
            return self.head(gamma * f["video"] + beta)
        h = sum(torch.sigmoid(self.gate[m](both)) * torch.tanh(self.project[m](f[m])) for m in f)
        return self.head(h)


def main():
    labels = torch.tensor([0, 3, 4])
    out = {"encoders": {}, "fusions": {}}
    cases = {
        "resnet18": (resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2], num_classes=5), (3, 3, 70, 66)),
        "resnet34": (Wide(resnet.BasicBlock, [3, 4, 6, 3], 2, 8), (3, 2, 66, 64)),
        "resnet50": (Wide(resnet.Bottleneck, [3, 4, 6, 3], 1, 8), (3, 1, 64, 70)),
        "resnet18-3x3": (small_stem(resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2], num_classes=5), 1), (3, 1, 33, 40)),
    }
    for name, (net, shape) in cases.items():
        fill(net)
        salt = 17 if name == "resnet50" else 7  # with others a value falls on the kink of its ReLU
        out["encoders"][name] = report(net, picture(shape, salt), labels, lambda n, x: n.fc(features(n, x)))
    net = Wide(resnet.BasicBlock, [2, 2, 2, 2], 3, 8)
    fill(net)
    x = picture((3, 2, 3, 64, 60), 18)
    out["encoders"]["resnet18-frames"] = report(net, x, labels, lambda n, x: n.fc(features(n, x)))
    net = video.r2plus1d_18(num_classes=5)
    fill(net)
    out["encoders"]["r2plus1d18"] = report(net, picture((3, 3, 5, 24, 24), 9), labels, lambda n, x: n(x))
    for kind in ("concat", "sum", "film", "gated"):
        net = Fused(kind)
        fill(net)
        inputs = {"audio": picture((3, 1, 32, 36), 10), "video": picture((3, 2, 3, 32, 32), 11)}
        out["fusions"][kind] = report(net, inputs, labels, lambda n, x: n(x))
    json.dump(out, sys.stdout, indent=0)


main()
