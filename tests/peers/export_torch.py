"""Loads an exported classifier of one modality into torchvision's ResNet and compares it with `cargo xtask predict`.

usage: export_torch.py EXPORTED PREDICTIONS.csv IMAGE      (needs torch, torchvision, safetensors, pillow)

PREDICTIONS.csv is `cargo xtask predict --model RUN --only STAGE --format csv IMAGE`. The stage reads one frame of the size of IMAGE (no resizing,
no crop), normalised by half, so that nothing but the network is compared.
"""
import csv
import json
import sys

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

folder, predictions, image = sys.argv[1:]
config = json.load(open(f"{folder}/config.json"))
net = torchvision.models.resnet18(num_classes=len(config["labels"]))
net.load_state_dict(load_file(f"{folder}/model.safetensors"))
net.eval()
pixels = torch.from_numpy(np.array(Image.open(image).convert("RGB"))).float()
frame = ((pixels / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
with torch.no_grad():
    ours = net(frame).softmax(1)[0]
theirs = {row["class"]: float(row["value"]) for row in csv.DictReader(open(predictions))}
worst = max(abs(float(p) - theirs[name]) for name, p in zip(config["labels"], ours))
print(f"{len(theirs)} classes, largest difference {worst:.2e}")
sys.exit(worst > 1e-4)
