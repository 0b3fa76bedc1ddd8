"""Probes, intervals and image quality: sums divided once at the end, padding excluded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from einops import reduce
from torch import Tensor
from torch.nn import functional

from lens.base.intervals import FEWEST, Interval, TooFew, effective_groups, too_few
from lens.measuring.feature_store import chunks, is_stored

Array = np.ndarray[Any, Any]
NEIGHBOURS = 20
Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def proportion(correct: Array, count: Array, group: Array | None = None) -> tuple[float, Interval]:
    """Accuracy and its 95 % interval from each image's number of correct and of all answers.

    Answers about one image, or one group of images, come together: the interval is Wilson's (1927) at an effective sample
    size. That is the number of independent answers that would spread as much as the groups do (Kish 1965, section 8.2; the
    cluster-robust variance of Liang & Zeger 1986), times (z / t)² for what its estimate is worth (Korn & Graubard 1998). It
    is never more than the number of answers, nor less than that of effective groups: those are what is left where a group
    answers as one. Of single images, one answer each, it is their number. The degrees of freedom of t are the effective
    groups that the rarer answers come from: of few wrong answers in one group nobody can tell how alike groups answer.
    How often it holds the truth: results/coverage.md. With fewer than `FEWEST` effective groups there is none.
    """
    correct, count = _by_group(group, correct, count)
    total, groups = float(count.sum()), effective_groups(count)
    p = float(correct.sum()) / total
    if groups < FEWEST:
        return p, {"too_few_groups": groups}
    if p in (0, 1):  # that no group differs says nothing about how far they would spread
        return p, wilson(p, groups)
    from scipy.special import stdtrit

    variance = float(((correct - p * count) ** 2).sum()) / total**2 * len(count) / (len(count) - 1)
    rarer = correct if p < 0.5 else count - correct
    t = float(stdtrit(min(effective_groups(rarer), groups - 1), 0.975))
    spread = p * (1 - p) / variance if variance else math.inf
    return p, wilson(p, min(max(spread * (Z / t) ** 2, groups), total))


def _by_group(group: Array | None, *each: Array) -> list[Array]:
    """Sums over the groups of images of what each image has; an image without a group is one."""
    if group is None:
        return list(each)
    _, member = np.unique(group, return_inverse=True)
    return [np.bincount(member, values) for values in each]


def wilson(p: float, n: float) -> list[float]:
    """Wilson's 95 % score interval for a proportion `p` of `n` independent answers."""
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return [max(0.0, centre - half), min(1.0, centre + half)]


def balanced_accuracy(
    correct: Array, count: Array, source: Array, group: Array | None = None
) -> tuple[float, Interval]:
    """The mean of the sources' accuracies and its 95 % interval, from each image's counts as `proportion` takes them.

    Every source weighs the same, however many images it has. The interval puts the sources' own intervals (l_k, u_k)
    together as independent: its ends are p ∓ √Σ((p_k − end_k) / K)² (Newcombe 1998, method 10; Zou & Donner 2008). So
    that sources that are all right or few still count: ten right answers of ten leave room for doubt. A group that
    stands in two sources counts once in each. There is none where one source has too few groups.
    """
    parts = [
        proportion(correct[mine], count[mine], None if group is None else group[mine])
        for mine in (source == number for number in np.unique(source))
    ]
    p = float(np.mean([one for one, _ in parts]))
    if few := [ends["too_few_groups"] for _, ends in parts if too_few(ends)]:
        return p, {"too_few_groups": min(few)}
    each, low, high = (np.array(x) for x in zip(*((one, *ends) for one, ends in parts), strict=True))
    below, above = (float(np.sqrt(np.square(each - end).sum()) / len(each)) for end in (low, high))
    return p, [max(0.0, p - below), min(1.0, p + above)]


def bootstrap(
    values: Array, weights: Array, group: Array | None, seed: int, resamples: int = 2000, stratum: Array | None = None
) -> Interval:
    """The 95 % interval of sum(values) / sum(weights), resampling groups of images: the expanded percentile.

    That of the percentile bootstrap, whose tails are cut further out, as far as Student's t at G_eff − 1 and a variance over
    G − 1 ask for (Hesterberg 2015, arXiv:1411.5279): of few groups the plain one is too narrow. With `stratum` (n,) it is that of
    the mean of the strata's ratios, each resampled by itself, and the smallest of them cuts. With fewer than `FEWEST`
    effective groups there is none.
    """
    if stratum is None:
        parts = [(_by_group(group, values, weights), np.random.default_rng(seed))]
    else:
        parts = [
            (_by_group(None if group is None else group[mine], values[mine], weights[mine]), np.random.default_rng([seed, place]))
            for place, mine in enumerate(stratum == number for number in np.unique(stratum))
        ]  # fmt: skip
    groups = min(effective_groups(sizes) for (_, sizes), _ in parts)
    if groups < FEWEST:
        return {"too_few_groups": groups}
    ratios = np.mean([_resampled(sums, sizes, rng, resamples) for (sums, sizes), rng in parts], axis=0)
    tail = expanded_tail(groups)
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return [float(low), float(high)]


def expanded_tail(groups: float) -> float:
    """The share of resamples beyond each end of a 95 % interval: Φ(−t √(G / (G − 1))), t at G − 1 (Hesterberg 2015)."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(stdtrit(groups - 1, 0.025) * math.sqrt(groups / (groups - 1))))


def _resampled(values: Array, weights: Array, rng: np.random.Generator, resamples: int) -> Array:
    """sum(values) / sum(weights) of each resample of the groups."""
    ratios = []
    for start in range(0, resamples, 100):  # in parts: each holds 100 × groups draws
        chosen = rng.integers(0, len(values), size=(min(100, resamples - start), len(values)))
        ratios.append(values[chosen].sum(axis=1) / weights[chosen].sum(axis=1))
    return np.concatenate(ratios)


def psnr_interval(mse: Interval) -> list[float | None] | TooFew:
    """The interval of a PSNR from that of its mean squared error."""
    return mse if too_few(mse) else [psnr(mse[1]), psnr(mse[0])]


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
