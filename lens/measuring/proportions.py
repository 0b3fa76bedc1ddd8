"""Accuracies over groups of images with their 95 % intervals: sums divided once at the end, padding excluded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lens.base.intervals import FEWEST, Interval, effective_groups, too_few

Array = np.ndarray[Any, Any]
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
    correct, count = sums_by_group(group, correct, count)
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


def means_by_class(values: Array, truth: Array) -> Array:
    """The mean of the values (n,) of each class in `truth` (n,), in the classes' order: (K,). Their mean is the balanced one."""
    return np.array([values[truth == k].mean() for k in np.unique(truth)])


def chance(labels: Array) -> float:
    """The share of the most frequent class: what answering it always would get right."""
    return float(np.bincount(labels).max() / len(labels))


def sums_by_group(group: Array | None, *each: Array) -> list[Array]:
    """Sums over the groups of images of what each image has; an image without a group is one."""
    if group is None:
        return list(each)
    _, member = np.unique(group, return_inverse=True)
    return [np.bincount(member, values) for values in each]
