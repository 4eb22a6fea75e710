"""Golden values of every objective from PyTorch, in f64.

usage: make_golden.py > objectives.json      (needs torch)

Each reference is a few lines over features, heads and gradients that an integer formula makes, and shares no code with
the objectives; where a method remembers, there are several steps. `tests/golden.rs` makes the same inputs.
"""
import json
import math
import sys
from itertools import permutations

import numpy as np
import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
N, WIDTH, CLASSES = 4, 8, 3
NAMES = ("audio", "video")
CONV = (3, 3, 2, 4)


def noise(count, salt):
    """Uniform in [-0.5, 0.5): a 32-bit mix of index and salt."""
    h = (np.arange(count, dtype=np.uint64) * 2654435761 + salt * 40503 + 12345) & 0xFFFFFFFF
    for _ in range(2):
        h = ((h ^ (h >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    h = h ^ (h >> 16)
    return h.astype(np.float64) / 2.0**32 - 0.5


def made(shape, salt, scale=1.0):
    values = (scale * noise(int(np.prod(shape)), salt)).astype(np.float32).astype(np.float64)
    return torch.tensor(values.reshape(shape))


def labels(step):
    return torch.tensor([(step + i * i) % CLASSES for i in range(N)])


class Step:
    """Leaves of one step: features and heads; the same formula in the test."""

    def __init__(self, step):
        self.y = labels(step)
        self.x = {m: made((N, WIDTH), 10 * step + i, 2.0).requires_grad_() for i, m in enumerate(NAMES)}
        self.teacher = {m: made((N, WIDTH), 10 * step + 3 + i, 2.0) for i, m in enumerate(NAMES)}
        self.teacher_logits = [made((N, CLASSES), 10 * step + 5 + i, 6.0) for i in range(2)]
        self.head = made((CLASSES, 2 * WIDTH), 1000, 2.0).requires_grad_()
        self.bias = made((CLASSES,), 1001, 2.0).requires_grad_()
        self.own = {m: made((CLASSES, WIDTH), 1010 + i, 2.0).requires_grad_() for i, m in enumerate(NAMES)}
        self.own_bias = {m: made((CLASSES,), 1020 + i, 2.0).requires_grad_() for i, m in enumerate(NAMES)}
        self.conv = {m: made(CONV, 2000 + 10 * step + i) for i, m in enumerate(NAMES)}
        self.norm = {m: made((5,), 2100 + 10 * step + i) for i, m in enumerate(NAMES)}

    def classify(self, x):
        return torch.cat([x[m] for m in NAMES], 1) @ self.head.T + self.bias

    def logits(self):
        return self.classify(self.x)

    def task(self):
        return F.cross_entropy(self.logits(), self.y)

    def part(self, m):
        """A modality's own share of the logits: its columns of the head, half of the bias."""
        i = NAMES.index(m)
        return self.x[m] @ self.head[:, i * WIDTH : (i + 1) * WIDTH].T + self.bias / 2

    def aux(self, m):
        return F.cross_entropy(self.x[m] @ self.own[m].T + self.own_bias[m], self.y)

    def report(self, loss, **more):
        loss.backward()
        flat = lambda t: [float(v) for v in t.detach().reshape(-1)]
        zero = lambda p: flat(torch.zeros_like(p) if p.grad is None else p.grad)
        out = {"loss": loss.item(), "head": zero(self.head), "bias": zero(self.bias)}
        out.update({f"features.{m}": zero(self.x[m]) for m in NAMES})
        out.update({f"own.{m}": zero(self.own[m]) for m in NAMES})
        out.update({k: flat(v) if torch.is_tensor(v) else v for k, v in more.items()})
        return out


def feature(distance, weight):
    """`weight(step)`; distances of the mean over batch and feature."""
    steps = []
    for t in range(3):
        s = Step(t)
        steps.append(s.report(s.task() + weight(t) * sum(distance(s.x[m], s.teacher[m]) for m in NAMES)))
    return steps


def feature_share(w):
    steps = []
    for t in range(2):
        s = Step(t)
        parts = [F.l1_loss(s.x[m], s.teacher[m]) / s.teacher[m].abs().mean() for m in NAMES]
        steps.append(s.report((1 - w) * s.task() + w * sum(parts) / 2))
    return steps


def logit_kd(w, temperature):
    steps = []
    for t in range(2):
        s = Step(t)
        p = sum(F.softmax(z / temperature, 1) for z in s.teacher_logits) / 2
        kl = F.kl_div(F.log_softmax(s.logits() / temperature, 1), p, reduction="batchmean")
        steps.append(s.report((1 - w) * s.task() + w * temperature**2 * kl))
    return steps


def ogm(alpha):
    steps = []
    for t in range(3):
        s = Step(t)
        score = {m: F.softmax(s.part(m), 1)[range(N), s.y].sum().item() for m in NAMES}
        ratio = score["audio"] / score["video"]
        k = {"audio": 1.0, "video": 1.0}
        if ratio > 1:
            k["audio"] = 1 - math.tanh(alpha * ratio)
        elif ratio < 1:
            k["video"] = 1 - math.tanh(alpha / ratio)
        more = {f"conv.{m}": k[m] * s.conv[m] for m in NAMES}
        more.update({f"norm.{m}": s.norm[m] for m in NAMES})
        more.update({f"deviation.{m}": s.conv[m].std().item() + 1e-8 for m in NAMES})
        steps.append(s.report(s.task(), **more))
    return steps


def smp():
    """The surer teacher's encoder is stopped: its convolutions, not its normalisations."""
    steps = []
    for t in range(3):
        s = Step(t)
        sure = [F.softmax(z, 1)[range(N), s.y].sum().item() for z in s.teacher_logits]
        k = {m: float(sure[i] < sure[1 - i]) for i, m in enumerate(NAMES)}
        more = {f"conv.{m}": k[m] * s.conv[m] for m in NAMES}
        more.update({f"norm.{m}": s.norm[m] for m in NAMES})
        steps.append(s.report(s.task(), **more))
    return steps


def g2d(feature, logit, temperature):
    """Two of four steps with the surer teacher's encoder stopped."""
    steps = []
    for t in range(4):
        s = Step(t)
        loss = s.task() + feature * sum(F.mse_loss(s.x[m], s.teacher[m]) for m in NAMES)
        student = F.log_softmax(s.logits() / temperature, 1)
        for z in s.teacher_logits:
            loss = loss + logit * temperature**2 * F.kl_div(student, F.softmax(z / temperature, 1), reduction="batchmean")
        sure = [F.softmax(z, 1)[range(N), s.y].sum().item() for z in s.teacher_logits]
        k = {m: float(t >= 2 or sure[i] < sure[1 - i]) for i, m in enumerate(NAMES)}
        more = {f"conv.{m}": k[m] * s.conv[m] for m in NAMES}
        more.update({f"norm.{m}": s.norm[m] for m in NAMES})
        steps.append(s.report(loss, **more))
    return steps


def cml(weight):
    steps = []
    for t in range(3):
        s = Step(t)
        whole = F.softmax(s.logits(), 1).max(1).values
        excess = 0
        for m in NAMES:
            less = F.softmax(s.classify({n: torch.zeros_like(s.x[n]) if n == m else s.x[n] for n in NAMES}), 1).max(1).values
            excess = excess + torch.clamp(less - whole, min=0).mean()
        steps.append(s.report(s.task() + weight * excess))
    return steps


def dgl():
    """Each modality's own loss, the other's features zero, the whole bias; the head learns from the task."""
    steps = []
    for t in range(2):
        s = Step(t)
        zero = lambda m: {n: s.x[n] if n == m else torch.zeros_like(s.x[n]) for n in NAMES}
        alone = {f"alone.{m}": F.cross_entropy(s.classify(zero(m)), s.y) for m in NAMES}
        steps.append(s.report(s.task(), **alone))
    return steps


def opm():
    """q = 1 for the modality that is ahead: it is always left out, and with features of one length the other counts twice."""
    steps = []
    for t in range(3):
        s = Step(t)
        score = {m: F.softmax(s.part(m), 1)[range(N), s.y].sum().item() for m in NAMES}
        ahead = max(score, key=score.get)
        q = {m: min(1.0, 0.5 * (1 + 0.5 * math.tanh(score[m] / score[n] - 1))) if m == ahead else 0.0 for m, n in zip(NAMES, NAMES[::-1])}
        x = {m: torch.zeros_like(s.x[m]) * s.x[m] if m == ahead else 2 * s.x[m] for m in NAMES}
        steps.append(s.report(F.cross_entropy(s.classify(x), s.y), **{f"q.{m}": torch.tensor(q[m]) for m in NAMES}))
    return steps


def tcmax():
    steps = []
    for t in range(2):
        s = Step(t)
        z = s.part("audio")[:, None, :] + s.part("video")[None, :, :]
        right = z[range(N), range(N), s.y]
        steps.append(s.report(-(right - torch.logsumexp(z.reshape(-1), 0)).mean() - math.log(N * N * CLASSES)))
    return steps


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, k):
        ctx.k = k
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.k, None


def agm(alpha):
    """Shapley values as the mean over orders of arrival; what no modality says counts as zero."""
    steps, mean = [], {m: 0.0 for m in NAMES}
    for t in range(4):
        s = Step(t)

        def value(present):
            if not present:
                return torch.zeros(N, CLASSES)
            return s.classify({m: s.x[m] if m in present else torch.zeros_like(s.x[m]) for m in NAMES})

        phi = {m: 0 for m in NAMES}
        orders = list(permutations(NAMES))
        for order in orders:
            for i, m in enumerate(order):
                phi[m] = phi[m] + (value(order[: i + 1]) - value(order[:i])) / len(orders)
        score = {m: -torch.log(F.softmax(phi[m], 1)[range(N), s.y].clamp(min=1e-8)).mean().item() for m in NAMES}
        other = {"audio": "video", "video": "audio"}
        k = {}
        for m in NAMES:
            r, tau = math.exp(score[other[m]] - score[m]), math.exp(mean[other[m]] - mean[m])
            k[m] = math.exp(alpha * min(tau - r, 10))
        loss = F.cross_entropy(sum(Scaled.apply(phi[m], k[m]) for m in NAMES), s.y)
        mean = {m: mean[m] * t / (t + 1) + score[m] / (t + 1) for m in NAMES}
        steps.append(s.report(loss, scores=[mean[m] for m in NAMES]))
    return steps


def pmr(alpha, momentum, mu):
    """Two epochs of two steps and one step more; the third class comes late."""
    steps, proto, known = [], None, set()
    clip = lambda v: min(max(v, 0.0), 1.0)
    late = lambda t: labels(t) % 2 if t < 2 else labels(t)
    for t in range(5):
        s = Step(t)
        s.y = late(t)
        loss = s.task()
        if t > 0 and t % 2 == 0:
            rows = {m: torch.zeros(CLASSES, WIDTH) for m in NAMES}
            for c in range(CLASSES):
                for m in NAMES:
                    own = torch.cat([Step(u).x[m][late(u) == c] for u in (t - 2, t - 1)]).detach()
                    if len(own) == 0:
                        rows[m][c] = proto[m][c] if proto else 0.0
                    else:
                        rows[m][c] = own.mean(0) if c not in known else (1 - momentum) * own.mean(0) + momentum * proto[m][c]
            proto = rows
            known |= {int(c) for u in (t - 2, t - 1) for c in late(u)}
        if proto:
            columns = sorted(known)
            z = {m: -torch.cdist(s.x[m], proto[m][columns]) for m in NAMES}
            rows = [i for i in range(N) if int(s.y[i]) in known]
            place = torch.tensor([columns.index(int(s.y[i])) for i in rows])
            score = {m: F.softmax(z[m], 1)[rows, place].sum().item() for m in NAMES}
            rho = score["audio"] / score["video"]
            pull = {"audio": clip(1 / rho - 1), "video": clip(rho - 1)}
            hold = {"audio": clip(rho - 1), "video": clip(1 / rho - 1)}
            for m in NAMES:
                p = F.softmax(z[m], 1)
                loss = loss + alpha * pull[m] * F.cross_entropy(z[m][rows], place)
                if t // 2 < 2:
                    loss = loss + mu * hold[m] * (p * p.log()).sum(1).mean()
        more = {f"prototypes.{m}": proto[m] for m in NAMES} if proto else {}
        steps.append(s.report(loss, **more))
    return steps


def g_blend(weights):
    steps = []
    for t in range(2):
        s = Step(t)
        steps.append(s.report(weights["joint"] * s.task() + sum(weights[m] * s.aux(m) for m in NAMES)))
    before = [(1.0, 1.1), (1.2, 1.25), (0.9, 1.0), (1.0, 1.0)]
    after = [(0.5, 0.9), (0.8, 1.15), (0.2, 0.95), (0.1, 1.3)]
    raw = []
    for (t0, v0), (t1, v1) in zip(before, after):
        generalised, overfitted = v0 - v1, (v1 - t1) - (v0 - t0)
        raw.append(max(generalised, 0) / overfitted**2)
    return {"steps": steps, "before": before, "after": after, "weights": [w / sum(raw) for w in raw]}


def mmpareto(gamma):
    """The second step's uni-modal gradients point away from the multi-modal ones."""
    steps = []
    for t in range(2):
        s = Step(t)
        sign = 1.0 if t == 0 else -1.0
        more = {}
        for i, m in enumerate(NAMES):
            g = [s.conv[m], s.norm[m]]
            u = [sign * s.conv[m] + made(CONV, 2300 + i, 0.3), sign * 2 * s.norm[m] + made((5,), 2310 + i, 0.3)]
            flat = lambda v: torch.cat([p.reshape(-1) for p in v])
            a, b = flat(g), flat(u)
            best = 0.5
            if F.cosine_similarity(a, b, dim=0) <= 0:
                grid = torch.linspace(0, 1, 2_000_001)
                best = grid[((a @ a) * grid**2 + 2 * (a @ b) * grid * (1 - grid) + (b @ b) * (1 - grid) ** 2).argmin()].item()
            for name, p, q in zip(("conv", "norm"), g, u):
                new = 2 * best * p + 2 * (1 - best) * q
                more[f"{name}.{m}"] = gamma * new * max(1.0, ((p + q).norm() / new.norm()).item())
            more[f"weight.{m}"] = best
        steps.append(s.report(s.task() + sum(s.aux(m) for m in NAMES), **more))
    return steps


def mmcosine(scale):
    steps = []
    for t in range(2):
        s = Step(t)
        z = scale * sum(F.normalize(s.x[m], dim=1) @ F.normalize(s.own[m], dim=1).T for m in NAMES)
        steps.append(s.report(F.cross_entropy(z, s.y)))
    return steps


def mla(alpha):
    """One modality per step; P by solving the least squares anew: P = a (a I + sum h h^T)^-1."""
    steps, seen = [], []
    for t in range(4):
        s = Step(t)
        m = NAMES[t % 2]
        loss = F.cross_entropy(s.x[m] @ s.own["audio"].T + s.own_bias["audio"], s.y)
        p = alpha * torch.linalg.inv(alpha * torch.eye(WIDTH) + sum((torch.outer(h, h) for h in seen), torch.zeros(WIDTH, WIDTH)))
        out = s.report(loss, projection=p)
        out["projected"] = [float(v) for v in (s.own["audio"].grad @ p).reshape(-1)]
        seen.append(s.x[m].detach().mean(0))
        steps.append(out)
    return steps


def main():
    mse, l1 = F.mse_loss, F.l1_loss
    cosine = lambda x, t: (1 - F.cosine_similarity(x, t, dim=1)).mean()
    out = {
        "feature-mse": feature(mse, lambda t: 10.0),
        "feature-l1": feature(l1, lambda t: 2.0),
        "feature-cosine": feature(cosine, lambda t: 3.0),
        "feature-ramp": feature(mse, lambda t: 1.0 + 4.0 * min(1.0, t / 2)),
        "feature-share": feature_share(0.3),
        "logit-kd": logit_kd(0.4, 3.0),
        "aux-heads": [s.report(s.task() + 0.7 * sum(s.aux(m) for m in NAMES)) for s in (Step(0), Step(1))],
        "ogm": ogm(0.4),
        "agm": agm(0.8),
        "pmr": pmr(0.9, 0.2, 0.05),
        "g-blend": g_blend({"audio": 0.2, "video": 0.3, "joint": 0.5}),
        "mmpareto": mmpareto(1.5),
        "mmcosine": mmcosine(7.0),
        "mla": mla(0.1),
        "smp": smp(),
        "g2d": g2d(0.7, 0.6, 2.0),
        "cml": cml(3.0),
        "dgl": dgl(),
        "opm": opm(),
        "tcmax": tcmax(),
    }
    short = lambda v: [round(x, 9) for x in v] if isinstance(v, list) and v and isinstance(v[0], float) else v
    tidy = lambda v: {k: tidy(x) for k, x in v.items()} if isinstance(v, dict) else [tidy(x) for x in v] if isinstance(v, list) and v and isinstance(v[0], (dict, list)) else short(v)
    text = json.dumps(tidy(out), separators=(",", ":"))
    sys.stdout.write(text.replace("},{", "},\n{").replace("],\"", "],\n\"") + "\n")


main()
