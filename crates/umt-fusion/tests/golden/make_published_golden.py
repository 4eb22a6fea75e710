"""Logits of published ResNets in evaluation mode, with the names and shapes of their state dicts, in f64.

usage: make_published_golden.py > published.json      (needs torch, torchvision, timm and transformers)

Weights, running statistics and inputs come from the formula of make_golden.py, salted by the place of a name among
the sorted names of its own library: no weight file is stored, and nothing is downloaded. `num_batches_tracked` is left
as the library makes it.
"""
import json
import sys

import numpy as np
import timm
import torch
from timm.models import adapt_input_conv
from torchvision import models
from transformers import ResNetConfig, ResNetForImageClassification

torch.set_default_dtype(torch.float64)
CLASSES = 5


def noise(count, salt):
    """Uniform in [-0.5, 0.5): a 32-bit mix of index and salt."""
    h = (np.arange(count, dtype=np.uint64) * 2654435761 + salt * 40503 + 12345) & 0xFFFFFFFF
    for _ in range(2):
        h = ((h ^ (h >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    h = h ^ (h >> 16)
    return h.astype(np.float64) / 2.0**32 - 0.5


def f32(values, shape):
    return torch.tensor(values.astype(np.float32).astype(np.float64).reshape(shape))


def value(name, tensor, salt):
    n = noise(tensor.numel(), salt)
    if tensor.dim() > 1:
        fan_in = tensor.numel() // tensor.shape[0]
        return n * np.sqrt(12.0) * np.sqrt(2.0 / fan_in)
    if name.endswith("running_var"):
        return 1.0 + 0.5 * n
    if name.endswith("weight"):
        # The last norm of a bottleneck block is damped, as in make_golden.py.
        last = "bn3." in name or "layer.2.normalization." in name
        return (0.25 if last else 1.0) * (1.0 + 0.2 * n)
    return 0.2 * n


def fill(net):
    state = net.state_dict()
    for salt, name in enumerate(sorted(n for n in state if not n.endswith("num_batches_tracked"))):
        state[name] = f32(value(name, state[name], salt), state[name].shape)
    net.load_state_dict(state)
    return net.eval()


def report(net, channels=3):
    picture = f32(4.0 * noise(2 * channels * 72 * 64, 7), (2, channels, 72, 64))
    with torch.no_grad():
        out = net(picture)
    logits = out if torch.is_tensor(out) else out.logits
    shapes = {name: list(tensor.shape) for name, tensor in net.state_dict().items()}
    return {"tensors": shapes, "logits": [float(x) for x in logits.reshape(-1)]}


def transformers_resnet(kind, depths, sizes):
    config = ResNetConfig(
        embedding_size=64, hidden_sizes=sizes, depths=depths, layer_type=kind, num_labels=CLASSES, hidden_act="relu"
    )
    return ResNetForImageClassification(config)


def main():
    basic, bottleneck = [64, 128, 256, 512], [256, 512, 1024, 2048]
    nets = {}
    for name in ("resnet18", "resnet34", "resnet50"):
        nets[f"torchvision {name}"] = getattr(models, name)(num_classes=CLASSES)
        nets[f"timm {name}"] = timm.create_model(name, num_classes=CLASSES)
    nets["transformers resnet18"] = transformers_resnet("basic", [2, 2, 2, 2], basic)
    nets["transformers resnet50"] = transformers_resnet("bottleneck", [3, 4, 6, 3], bottleneck)
    out = {name: report(fill(net)) for name, net in nets.items()}
    # timm's own way from three colours to one channel: the sum.
    net = fill(timm.create_model("resnet18", num_classes=CLASSES))
    weight = adapt_input_conv(1, net.conv1.weight.data)
    net.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    net.conv1.weight.data = weight.to(torch.float64)
    out["grey"] = {"logits": report(net, 1)["logits"]}
    json.dump(out, sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")


main()
