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


def encoder(channels):
    net = Wide(resnet.BasicBlock, [2, 2, 2, 2], channels, 4)
    net.conv1, net.maxpool, net.fc = nn.Conv2d(channels, 4, 3, 2, 1, bias=False), nn.Identity(), nn.Identity()
    return net


def stage(net, index, x):
    """A stage of an encoder on each frame; 0 is the stem."""
    parts = [nn.Sequential(net.conv1, net.bn1, net.relu), net.layer1, net.layer2, net.layer3, net.layer4]
    frames = x.flatten(0, 1) if x.dim() == 5 else x
    y = parts[index](frames)
    return y.view(*x.shape[:-3], *y.shape[1:])


def mean(x):
    """Over everything but samples and channels."""
    return x.mean((1, 3, 4)) if x.dim() == 5 else x.mean((2, 3))


def scale(x, gate):
    return x * (gate[:, None, :, None, None] if x.dim() == 5 else gate[:, :, None, None])


class Fused(nn.Module):
    """Two encoders; `between(stage, maps)` may change their maps, `fuse(maps, features)` gives logits."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"audio": encoder(1), "video": encoder(3)})

    def between(self, index, maps):
        return maps

    def forward(self, inputs):
        maps = inputs
        for index in range(5):
            maps = {m: stage(self.encoder[m], index, maps[m]) for m in ("audio", "video")}
            maps = self.between(index, maps)
        return self.fuse(maps, {m: mean(x) for m, x in maps.items()})


def per_modality(make):
    return nn.ModuleDict({m: make() for m in ("audio", "video")})


class Concat(Fused):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 5)

    def fuse(self, maps, f):
        return self.head(torch.cat([f["audio"], f["video"]], 1))


class Sum(Fused):
    def __init__(self):
        super().__init__()
        self.head = per_modality(lambda: nn.Linear(32, 5))

    def fuse(self, maps, f):
        return self.head["audio"](f["audio"]) + self.head["video"](f["video"])


class Film(Fused):
    def __init__(self):
        super().__init__()
        self.film = nn.ModuleDict({"audio": nn.Linear(32, 64)})
        self.head = nn.Linear(32, 5)

    def fuse(self, maps, f):
        gamma, beta = self.film["audio"](f["audio"]).chunk(2, 1)
        return self.head((1 + gamma) * f["video"] + beta)


class Gated(Fused):
    def __init__(self):
        super().__init__()
        self.project = per_modality(lambda: nn.Linear(32, 8))
        self.gate = per_modality(lambda: nn.Linear(64, 8))
        self.head = nn.Linear(8, 5)

    def fuse(self, maps, f):
        both = torch.cat([f["audio"], f["video"]], 1)
        return self.head(sum(torch.sigmoid(self.gate[m](both)) * torch.tanh(self.project[m](f[m])) for m in f))


class Lmf(Fused):
    """The definition: a weight tensor of rank 3 times the outer product of [x; 1]."""

    def __init__(self):
        super().__init__()
        self.factor = per_modality(lambda: nn.Linear(32, 3 * 8))
        self.head = nn.Linear(8, 5)

    def fuse(self, maps, f):
        one = torch.ones(len(f["audio"]), 1)
        norm = lambda x: nn.functional.layer_norm(x, x.shape[1:])
        z = torch.einsum("na,nv->nav", *(torch.cat([norm(f[m]), one], 1) for m in ("audio", "video")))
        w = {m: torch.cat([l.weight, l.bias[:, None]], 1).view(3, 8, 33) for m, l in self.factor.items()}
        tensor = torch.einsum("rha,rhv->hav", w["audio"], w["video"])
        return self.head(torch.relu(torch.einsum("hav,nav->nh", tensor, z) / 3**0.5))


class Tensor(Fused):
    def __init__(self):
        super().__init__()
        self.project = per_modality(lambda: nn.Linear(32, 4))
        self.head = nn.Linear(25, 5)

    def fuse(self, maps, f):
        one = torch.ones(len(f["audio"]), 1)
        e = [torch.cat([one, torch.relu(self.project[m](nn.functional.layer_norm(f[m], f[m].shape[1:])))], 1) for m in ("audio", "video")]
        return self.head(torch.einsum("na,nv->nav", *e).flatten(1))


class Mmtm(Concat):
    def __init__(self):
        super().__init__()
        part = lambda c: nn.ModuleDict(
            {"squeeze": nn.Linear(2 * c, c // 2), "excite": per_modality(lambda: nn.Linear(c // 2, c))})
        self.mmtm = nn.ModuleDict({"2": part(8), "3": part(16), "4": part(32)})

    def between(self, index, maps):
        if str(index) not in self.mmtm:
            return maps
        part = self.mmtm[str(index)]
        z = torch.relu(part["squeeze"](torch.cat([mean(maps["audio"]), mean(maps["video"])], 1)))
        return {m: scale(x, 2 * torch.sigmoid(part["excite"][m](z))) for m, x in maps.items()}


class ConcatStages(Fused):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2 * (4 + 4 + 8 + 16 + 32), 5)

    def between(self, index, maps):
        self.means = ([] if index == 0 else self.means) + [mean(maps["audio"]), mean(maps["video"])]
        return maps

    def fuse(self, maps, f):
        return self.head(torch.cat(self.means, 1))


class SeAdd(Fused):
    def __init__(self):
        super().__init__()
        part = lambda c: nn.ModuleDict({"down": nn.Linear(c, c // 4), "up": nn.Linear(c // 4, c)})
        widths = [4, 4, 8, 16, 32]
        self.se = nn.ModuleDict({str(i): per_modality(lambda: part(c)) for i, c in enumerate(widths)})
        self.head = nn.Linear(sum(widths), 5)

    def between(self, index, maps):
        out = {}
        for m, x in maps.items():
            part = self.se[str(index)][m]
            out[m] = scale(x, torch.sigmoid(part["up"](torch.relu(part["down"](mean(x))))))
        self.fused = ([] if index == 0 else self.fused) + [mean(out["audio"]) + mean(out["video"])]
        return out

    def fuse(self, maps, f):
        return self.head(torch.cat(self.fused, 1))


class Block(nn.Module):
    """A transformer block with PyTorch's own attention; its projections have their own names here."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.mlp1, self.mlp2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, context=None):
        q = self.norm1(x)
        kv = q if context is None else context
        y, _ = nn.functional.multi_head_attention_forward(
            q.transpose(0, 1), kv.transpose(0, 1), kv.transpose(0, 1), q.shape[2], self.heads, None,
            torch.cat([self.query.bias, self.key.bias, self.value.bias]), None, None, False, 0.0,
            self.out.weight, self.out.bias, need_weights=False, use_separate_proj_weight=True,
            q_proj_weight=self.query.weight, k_proj_weight=self.key.weight, v_proj_weight=self.value.weight)
        x = x + y.transpose(0, 1)
        return x + self.mlp2(nn.functional.gelu(self.mlp1(self.norm2(x))))


class CrossBlock(Block):
    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.context_norm = nn.LayerNorm(width)

    def forward(self, x, context):
        return super().forward(x, self.context_norm(context))


class Attending(Fused):
    def __init__(self):
        super().__init__()
        self.project = per_modality(lambda: nn.Linear(32, 8))
        self.norm = per_modality(lambda: nn.LayerNorm(8))
        self.head = nn.Linear(16, 5)

    def tokens(self, maps):
        out = {}
        for m, x in maps.items():
            x = x.transpose(1, 2) if x.dim() == 5 else x.unsqueeze(2)
            grid = [min(size, 2) for size in x.shape[2:]]
            x = nn.functional.adaptive_avg_pool3d(x, grid)
            out[m] = self.project[m](x.flatten(2).transpose(1, 2))
        return out

    def classify(self, tokens):
        return self.head(torch.cat([self.norm[m](t).mean(1) for m, t in tokens.items()], 1))


class CrossAttention(Attending):
    def __init__(self):
        super().__init__()
        self.cross = nn.ModuleDict({str(i): per_modality(lambda: CrossBlock(8, 2)) for i in range(2)})

    def fuse(self, maps, f):
        t = self.tokens(maps)
        for layer in self.cross.values():
            t = {"audio": layer["audio"](t["audio"], t["video"]), "video": layer["video"](t["video"], t["audio"])}
        return self.classify(t)


class Bottleneck(Attending):
    def __init__(self):
        super().__init__()
        self.layer = nn.ModuleDict({str(i): per_modality(lambda: Block(8, 2)) for i in range(2)})
        self.bottleneck = nn.Parameter(torch.zeros(2, 8))

    def fuse(self, maps, f):
        t = self.tokens(maps)
        b = self.bottleneck.expand(len(f["audio"]), 2, 8)
        for layer in self.layer.values():
            written = []
            for m in t:
                both = layer[m](torch.cat([t[m], b], 1))
                t[m] = both[:, :-2]
                written.append(both[:, -2:])
            b = sum(written) / 2
        return self.classify(t)


class Cosine(Fused):
    def __init__(self):
        super().__init__()
        self.head = per_modality(lambda: nn.Linear(32, 5, bias=False))

    def fuse(self, maps, f):
        unit = lambda x: nn.functional.normalize(x, dim=1)
        return 10 * sum(unit(f[m]) @ unit(self.head[m].weight).T for m in f)


class SharedHead(Fused):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(32, 5)

    def fuse(self, maps, f):
        z = torch.stack([self.head(f[m]) for m in ("audio", "video")])
        certainty = -torch.distributions.Categorical(logits=z).entropy()
        return (z * torch.softmax(certainty, 0)[:, :, None]).sum(0)


FUSIONS = {
    "concat": Concat,
    "sum": Sum,
    "film": Film,
    "gated": Gated,
    "lmf": Lmf,
    "tensor": Tensor,
    "mmtm": Mmtm,
    "concat-stages": ConcatStages,
    "se-add": SeAdd,
    "cross-attention": CrossAttention,
    "bottleneck": Bottleneck,
    "cosine": Cosine,
    "shared-head": SharedHead,
}


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
    for kind, fused in FUSIONS.items():
        net = fused()
        fill(net)
        salt = 20 if kind == "cross-attention" else 10  # with 10 a value falls on the kink of its ReLU
        inputs = {"audio": picture((3, 1, 32, 36), salt), "video": picture((3, 2, 3, 32, 32), salt + 1)}
        out["fusions"][kind] = report(net, inputs, labels, lambda n, x: n(x))
    json.dump(out, sys.stdout, indent=0)


main()
