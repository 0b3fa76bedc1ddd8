"""Probes, intervals and image quality: sums divided once at the end, padding excluded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from einops import reduce
from torch import Tensor
from torch.nn import functional

from lens.feature_store import chunks, is_stored

Array = np.ndarray[Any, Any]
NEIGHBOURS = 20


def proportion(correct: Array, count: Array, group: Array | None = None) -> tuple[float, list[float]]:
    """Accuracy and its 95 % interval from each image's number of correct and of all answers.

    Answers about one image, or one group of images, come together: the interval is Wilson's (1927) at the effective
    sample size, the number of independent answers that would spread as much as the groups do (Kish 1965, section 8.2),
    and never more than the number of answers.
    """
    if group is not None:
        _, member = np.unique(group, return_inverse=True)
        correct, count = np.bincount(member, correct), np.bincount(member, count)
    total = float(count.sum())
    p = float(correct.sum()) / total
    groups = len(count)
    variance = float(((correct - p * count) ** 2).sum()) / total**2 * groups / max(groups - 1, 1)
    # Where every group agrees the spread is zero and says nothing: each group then counts as one answer.
    effective = min(p * (1 - p) / variance, total) if variance > 0 else groups
    return p, wilson(p, effective)


def wilson(p: float, n: float) -> list[float]:
    """Wilson's 95 % score interval for a proportion `p` of `n` independent answers."""
    z = 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return [max(0.0, centre - half), min(1.0, centre + half)]


def balanced_accuracy(
    correct: Array, count: Array, source: Array, group: Array | None = None
) -> tuple[float, list[float]]:
    """The mean of the sources' accuracies and its 95 % interval, from each image's counts as `proportion` takes them.

    Every source weighs the same, however many images it has. The interval puts the sources' own intervals (l_k, u_k)
    together as independent: its ends are p ∓ √Σ((p_k − end_k) / K)² (Newcombe 1998, method 10; Zou & Donner 2008). So
    that sources that are all right or few still count: ten right answers of ten leave room for doubt. A group that
    stands in two sources counts once in each.
    """
    parts = [
        proportion(correct[mine], count[mine], None if group is None else group[mine])
        for mine in (source == number for number in np.unique(source))
    ]
    each, low, high = (np.array(x) for x in zip(*((p, *ends) for p, ends in parts), strict=True))
    p = float(each.mean())
    below, above = (float(np.sqrt(np.square(each - end).sum()) / len(each)) for end in (low, high))
    return p, [max(0.0, p - below), min(1.0, p + above)]


def bootstrap(
    values: Array, weights: Array, group: Array | None, seed: int, resamples: int = 2000, stratum: Array | None = None
) -> list[float]:
    """The 95 % percentile interval of sum(values) / sum(weights), resampling groups of images.

    With `stratum` (n,) it is that of the mean of the strata's ratios, each resampled by itself.
    """
    if stratum is None:
        ratios = _resampled(values, weights, group, np.random.default_rng(seed), resamples)
    else:
        drawn = [
            _resampled(
                values[mine], weights[mine], None if group is None else group[mine],
                np.random.default_rng([seed, place]), resamples,
            )
            for place, mine in enumerate(stratum == number for number in np.unique(stratum))
        ]  # fmt: skip
        ratios = np.mean(drawn, axis=0)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return [float(low), float(high)]


def _resampled(values: Array, weights: Array, group: Array | None, rng: np.random.Generator, resamples: int) -> Array:
    """sum(values) / sum(weights) of each resample of the groups."""
    if group is not None:
        _, member = np.unique(group, return_inverse=True)
        values, weights = np.bincount(member, values), np.bincount(member, weights)
    ratios = []
    for start in range(0, resamples, 100):  # in parts: each holds 100 × groups draws
        chosen = rng.integers(0, len(values), size=(min(100, resamples - start), len(values)))
        ratios.append(values[chosen].sum(axis=1) / weights[chosen].sum(axis=1))
    return np.concatenate(ratios)


def psnr(mse: float) -> float | None:
    """Peak signal-to-noise ratio in dB of images in [0, 1]; None where nothing changed (it would be infinite)."""
    return -10 * math.log10(mse) if mse > 0 else None


def to_8_bits(images: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to 8 bits: what a file would hold, so that no cue hides below the last bit."""
    return (images.clamp(0, 1) * 255).round() / 255


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, 11 px Gaussian window) of each pair in [0, 1]: (B, C, H, W) → (B,)."""
    from kornia.metrics import ssim as ssim_map

    return ssim_map(images, others, window_size=11).mean(dim=(1, 2, 3))


def knn_probe(
    features: dict[str, Array], labels: dict[str, Array], device: torch.device | str = "cpu", split: str = "test"
) -> Array:
    """Majority of the 20 nearest training images by cosine similarity; which images of a split it gets right (n,).

    Features that lie in a file are compared a part at a time, on `device`.
    """
    if is_stored(features["train"]):
        return _streamed_knn(features, labels, device, split)
    from sklearn.neighbors import KNeighborsClassifier

    unit = {
        s: features[s] / np.maximum(np.linalg.norm(features[s], axis=1, keepdims=True), 1e-12) for s in ("train", split)
    }
    # On unit vectors the Euclidean order is the cosine order.
    model = KNeighborsClassifier(min(NEIGHBOURS, len(unit["train"])), algorithm="brute")
    model.fit(unit["train"], labels["train"])
    return np.asarray(model.predict(unit[split]) == labels[split])


def _streamed_knn(
    features: dict[str, Array], labels: dict[str, Array], device: torch.device | str, split: str
) -> Array:
    def unit(rows: Array) -> Tensor:
        return functional.normalize(torch.from_numpy(np.array(rows, np.float32)).to(device), eps=1e-12)

    test, train = features[split], features["train"]
    neighbours = min(NEIGHBOURS, len(train))
    correct = []
    for asked in chunks(len(test)):
        rows = unit(test[asked])
        nearest = torch.full((len(rows), neighbours), -2.0, device=device)
        answers = torch.zeros((len(rows), neighbours), dtype=torch.int64, device=device)
        for part in chunks(len(train)):
            similar = rows @ unit(train[part]).T
            theirs = torch.from_numpy(labels["train"][part]).to(device).expand(len(rows), -1)
            nearest, chosen = torch.cat([nearest, similar], dim=1).topk(neighbours, dim=1)
            answers = torch.cat([answers, theirs], dim=1).gather(1, chosen)
        votes = functional.one_hot(answers).sum(dim=1)  # of equal votes the first class, as scikit-learn has it
        correct.append(votes.argmax(dim=1).cpu().numpy() == labels[split][asked])
    return np.concatenate(correct)


def chance(labels: Array) -> float:
    """The share of the most frequent class: what answering it always would get right."""
    return float(np.bincount(labels).max() / len(labels))


def pooled(features: Tensor, images: int) -> Tensor:
    """Average the features (rows, F) of each image where a task cuts an image into several rows: (B, F)."""
    averaged: Tensor = reduce(features, "(image row) f -> image f", "mean", image=images)
    return averaged
