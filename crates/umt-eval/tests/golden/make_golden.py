"""Writes metrics.json and probe.json: reference values of scikit-learn, scipy and numpy.

    python make_golden.py        # scikit-learn 1.9, scipy, numpy; not needed to run the tests
"""
import json, pathlib, warnings
import numpy as np
from scipy.special import log_softmax, softmax
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, log_loss, roc_auc_score, top_k_accuracy_score
from sklearn.preprocessing import StandardScaler

here = pathlib.Path(__file__).parent


def ece(p, y, bins=15):
    confidence, hit = p.max(1), p.argmax(1) == y
    edges = np.linspace(0, 1, bins + 1)
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return total


def metrics(logits, y):
    c = logits.shape[1]
    p = softmax(logits.astype(np.float64), axis=1)
    present = np.unique(y)
    ap = [average_precision_score(y == k, p[:, k]) for k in present]
    auc = [roc_auc_score(y == k, p[:, k]) for k in present]
    # Ranks with the project's rule for ties: the smaller class first.
    order = np.argsort(-logits, axis=1, kind="stable")
    top = lambda k: float((order[:, :k] == y[:, None]).any(1).mean())
    if all(len(set(row)) == c for row in logits.tolist()) and len(present) == c:
        assert top(5) == top_k_accuracy_score(y, logits, k=5)
    return {
        "top1": top(1), "top5": top(5), "map": float(np.mean(ap)),
        "dprime": float(np.sqrt(2) * norm.ppf(np.mean(auc))),
        "macro-f1": float(f1_score(y, p.argmax(1), average="macro", zero_division=0)),
        "ece": float(ece(p, y)), "nll": float(-log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(y)), y].mean()),
        "confusion": confusion_matrix(y, p.argmax(1), labels=range(c)).ravel().tolist(),
    }


rng = np.random.default_rng(0)
cases = []
for name, n, c, decimals, absent in [("plain", 90, 7, 3, []), ("ties", 120, 6, 3, []), ("absent classes", 60, 9, 2, [0, 4])]:
    y = rng.choice([k for k in range(c) if k not in absent], n)
    logits = rng.normal(size=(n, c)) * 1.5
    logits[np.arange(n), y] += 1.2
    logits = np.round(logits, decimals).astype(np.float32)
    # Ties that hold to the last bit in any arithmetic: whole rows repeated, and equal logits within a row.
    if name == "ties":
        logits[60:90] = logits[:30]
        logits[20:50, 3] = logits[20:50, 1]
        logits[100:] = 0.5
    cases.append({"name": name, "classes": c, "labels": y.tolist(), "logits": [round(float(v), 3) for v in logits.ravel()], "expected": metrics(logits, y)})
json.dump({"cases": cases}, open(here / "metrics.json", "w"))

# Probe: features with offsets and scales far apart, so that standardisation matters.
n, held, d, c = 240, 120, 10, 5
y = rng.integers(0, c, n + held)
x = rng.normal(size=(c, d))[y] * 0.9 + rng.normal(size=(n + held, d))
x = np.round(x * np.logspace(-1, 2, d) + np.linspace(-50, 50, d), 3).astype(np.float32)
scaler = StandardScaler().fit(x[:n].astype(np.float64))
z = scaler.transform(x.astype(np.float64))
fits = []
for l2 in [1.0, 1e-1, 1e-2, 1e-3, 1e-4]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        m = LogisticRegression(C=1 / (n * l2), tol=1e-8, max_iter=10000).fit(z[:n], y[:n])
    fits.append({"l2": l2, "weight": np.round(m.coef_, 6).ravel().tolist(), "bias": np.round(m.intercept_ - m.intercept_.mean(), 6).tolist(),
                 "top1": float((m.predict(z[n:]) == y[n:]).mean()), "nll": float(log_loss(y[n:], m.predict_proba(z[n:]))), "predicted": m.predict(z[n:]).tolist()})
json.dump({"width": d, "classes": c, "train": n, "features": [round(float(v), 3) for v in x.ravel()], "labels": y.tolist(), "fits": fits}, open(here / "probe.json", "w"))
