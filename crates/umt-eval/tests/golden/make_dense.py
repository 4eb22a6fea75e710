"""Writes dense.json: scikit-learn's figures of label maps with pixels that count nowhere.

    python make_dense.py         # scikit-learn 1.9, numpy; not needed to run the tests
"""
import json, pathlib
import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

VOID = 255
rng = np.random.default_rng(3)
cases = []
for name, classes, absent, noise in [("plain", 5, [], 0.4), ("class nowhere", 6, [4], 0.3), ("only predicted", 4, [2], 0.5)]:
    maps = []
    for h, w in [(6, 8), (5, 7), (4, 9)]:
        truth = rng.choice([k for k in range(classes) if k not in absent], (h, w))
        other = [k for k in range(classes) if k not in absent or name == "only predicted"]
        predicted = np.where(rng.random((h, w)) < noise, rng.choice(other, (h, w)), truth)
        truth = np.where(rng.random((h, w)) < 0.15, VOID, truth)
        maps.append((truth, predicted))
    y = np.concatenate([t.ravel() for t, _ in maps])
    p = np.concatenate([q.ravel() for _, q in maps])[y != VOID]
    y = y[y != VOID]
    cases.append({
        "name": name, "classes": classes,
        "truth": [t.ravel().tolist() for t, _ in maps], "predicted": [q.ravel().tolist() for _, q in maps],
        "confusion": confusion_matrix(y, p, labels=range(classes)).ravel().tolist(),
        "expected": {
            # ESANet's convention: over the classes that occur in the truth.
            "miou": float(jaccard_score(y, p, labels=np.unique(y), average="macro")),
            "pixel-accuracy": float(accuracy_score(y, p)),
            "mean-accuracy": float(recall_score(y, p, labels=np.unique(y), average="macro")),
        },
        "iou": [float(jaccard_score(y, p, labels=[k], average="macro")) if k in y else None for k in range(classes)],
    })
json.dump({"cases": cases}, open(pathlib.Path(__file__).parent / "dense.json", "w"))
