"""Features in three clusters, a class each."""

import numpy as np


def clusters(n, rng, spread=0.3):
    labels = rng.integers(0, 3, n)
    return np.eye(3)[labels] * 2 + rng.normal(0, spread, (n, 3)), labels


def make(rng, spread=0.3):
    parts = {split: clusters(n, rng, spread) for split, n in (("train", 300), ("val", 100), ("test", 200))}
    return {s: f for s, (f, _) in parts.items()}, {s: y for s, (_, y) in parts.items()}
