"""Golden trajectories of PyTorch's optimisers, schedules and gradient clipping: optim.json beside this file.

Run: python make_optim_golden.py   (torch 2.x; numbers in f64, so that the test sees our rounding alone)

The gradient of weight i at step s is a formula, so no input has to be stored:
g[i] = sin(0.7 * i + 0.3 * s) + 0.1 * w[i].
"""
import json
import pathlib

import torch

torch.set_default_dtype(torch.float64)
STEPS, COUNT = 20, 6


def start():
    return torch.tensor([0.5 * (i - 2.5) for i in range(COUNT)], requires_grad=True)


def gradient(w, step):
    i = torch.arange(COUNT, dtype=torch.float64)
    return torch.sin(0.7 * i + 0.3 * step) + 0.1 * w.detach()


def trajectory(make, clip=None):
    w = start()
    optimiser = make([w])
    norms = []
    for step in range(STEPS):
        w.grad = gradient(w, step)
        if clip is not None:
            norms.append(float(torch.nn.utils.clip_grad_norm_([w], clip)))
        optimiser.step()
    return {"weights": w.tolist(), "norms": norms}


def rates(base, total, make):
    w = start()
    optimiser = torch.optim.SGD([w], lr=base)
    schedule = make(optimiser)
    out = []
    for _ in range(total):
        out.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return out


def one_cycle_rates(total, key="lr", **kw):
    # The scheduler refuses a step past total_steps, so the last call is left out.
    w = start()
    optimiser = torch.optim.SGD([w], lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.05, total_steps=total, **kw)
    out = [optimiser.param_groups[0][key]]
    for _ in range(total - 1):
        optimiser.step()
        schedule.step()
        out.append(optimiser.param_groups[0][key])
    return out


S = torch.optim.lr_scheduler
golden = {
    "sgd": trajectory(lambda p: torch.optim.SGD(p, 0.05)),
    "sgd-momentum": trajectory(lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=1e-2)),
    "sgd-nesterov": trajectory(lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=1e-2, nesterov=True)),
    "adamw": trajectory(lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1)),
    "sgd-clip": trajectory(lambda p: torch.optim.SGD(p, 0.05, 0.9), clip=1.0),
    "cosine": rates(0.1, 20, lambda o: S.CosineAnnealingLR(o, 20)),
    "step": rates(0.1, 20, lambda o: S.MultiStepLR(o, [10, 15], 0.1)),
    "one-cycle": one_cycle_rates(40, pct_start=0.3),
    "one-cycle-esanet": one_cycle_rates(40, pct_start=0.1, div_factor=25, final_div_factor=1e4),
    "one-cycle-short": one_cycle_rates(7, pct_start=0.15),
    "one-cycle-momentum": one_cycle_rates(40, key="momentum", pct_start=0.3),
}
path = pathlib.Path(__file__).with_name("optim.json")
path.write_text(json.dumps(golden, indent=1) + "\n")
