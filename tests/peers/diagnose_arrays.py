"""Saves the arrays of a torchvision model for `cargo xtask diagnose --arrays DIR`, as docs/DIAGNOSE_YOUR_MODEL.md says.

    pip install torch torchvision numpy
    python tests/peers/diagnose_arrays.py DIR
    cargo xtask diagnose --arrays DIR

Two ResNet-18 of torchvision, joined by concatenation, learn a class from two made images: "left" shows it plainly,
"right" faintly in noise. Trained jointly, the network leans on the left one; the right encoder alone learns more.
Takes about five minutes on two CPU cores.
"""
import pathlib
import sys

import numpy as np
import torch
from torch import nn
from torchvision.models import resnet18

CLASSES, SIZE, EPOCHS, BATCH = 4, 32, 6, 32
torch.manual_seed(0)


def made(samples, seed):
    """Labels and images [n, 3, SIZE, SIZE] by modality: a grating whose angle is the class."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % CLASSES
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    angle = labels * torch.pi / CLASSES
    phase = torch.rand(samples, generator=draw) * 6.28
    wave = torch.sin(
        (x * angle.cos()[:, None, None] + y * angle.sin()[:, None, None]) * 0.8 + phase[:, None, None]
    )[:, None].expand(-1, 3, -1, -1)
    noise = lambda: torch.randn(samples, 3, SIZE, SIZE, generator=draw)
    return labels, {"left": wave + 0.6 * noise(), "right": 0.5 * wave + 1.5 * noise()}


class Joint(nn.Module):
    def __init__(self, modalities):
        super().__init__()
        self.encoders = nn.ModuleDict({m: resnet18(num_classes=CLASSES) for m in modalities})
        for encoder in self.encoders.values():
            encoder.fc = nn.Identity()
        self.head = nn.Linear(512 * len(modalities), CLASSES)

    def features(self, images):
        return {m: encoder(images[m]) for m, encoder in self.encoders.items()}

    def forward(self, images):
        return self.head(torch.cat(list(self.features(images).values()), 1))


def trained(modalities, labels, images):
    model = Joint(modalities)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            loss = nn.functional.cross_entropy(model({m: x[rows] for m, x in images.items()}), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"{'+'.join(modalities)}: epoch {epoch + 1}, loss {loss.item():.3f}", flush=True)
    return model.eval()


out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
splits = {"train": made(1200, 1), "validation": made(300, 2), "test": made(1000, 3)}
joint = trained(["left", "right"], *splits["train"])
alone = {m: trained([m], splits["train"][0], {m: splits["train"][1][m]}) for m in ["left", "right"]}
with torch.no_grad():
    for split, (labels, images) in splits.items():
        # The five lines.
        np.save(out / f"labels.{split}.npy", labels.numpy())
        np.save(out / f"logits.{split}.npy", joint(images).numpy())
        for m, x in joint.features(images).items():
            np.save(out / f"features.{m}.{split}.npy", x.numpy())
            np.save(out / f"teacher.{m}.{split}.npy", alone[m].features(images)[m].numpy())
        # With one modality alone: zeros stand for the features of the other.
        for m, x in joint.features(images).items():
            parts = [x if name == m else torch.zeros_like(x) for name in joint.encoders]
            np.save(out / f"logits.{m}.{split}.npy", joint.head(torch.cat(parts, 1)).numpy())
print(f"saved to {out}")
