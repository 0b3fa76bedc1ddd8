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
    together: its ends are p ∓ √(Σ_jk r_jk d_j d_k) / K, with d_k = p_k − end_k and r_jk the correlation of the sources'
    accuracies. It is 0 where no group stands in two sources (Newcombe 1998, method 10; Zou & Donner 2008), so that sources
    that are all right or few still count: ten right answers of ten leave room for doubt. Else it is estimated from the
    groups (`_shared`), and the interval is no narrower than that of as many images without groups. There is none where one
    source has too few groups.
    """
    kinds, place = np.unique(source, return_inverse=True)
    every = [place == k for k in range(len(kinds))]

    def parts(group: Array | None) -> list[tuple[float, Interval]]:
        return [proportion(correct[x], count[x], None if group is None else group[x]) for x in every]

    found = parts(group)
    p = float(np.mean([one for one, _ in found]))
    if few := [ends["too_few_groups"] for _, ends in found if too_few(ends)]:
        return p, {"too_few_groups": min(few)}
    each, low, high = (np.array(x) for x in zip(*((one, *ends) for one, ends in found), strict=True))
    below, above = (float(np.sqrt(np.square(each - end).sum()) / len(each)) for end in (low, high))
    if group is not None and stand_in_several(place, group):
        told = correct - each[place] * count
        below, above = (_shared(told, each - end, place, group) for end in (low, high))
        alone = [ends for _, ends in parts(None) if not too_few(ends)]
        if len(alone) == len(each):
            floors = (np.array([ends[side] for ends in alone]) for side in (0, 1))
            least = (float(np.sqrt(np.square(each - end).sum()) / len(each)) for end in floors)
            below, above = map(max, (below, above), least)
    return p, [max(0.0, p - below), min(1.0, p + above)]


def stand_in_several(stratum: Array, group: Array) -> bool:
    """Whether images of one group stand in several strata."""
    return len(np.unique(np.stack([group, stratum]), axis=1).T) > len(np.unique(group))


def _shared(told: Array, reach: Array, place: Array, group: Array) -> float:
    """√(Σ_jk r_jk d_j d_k) / K, the `reach` d (K,) of sources that share groups, from what each image's answers are above p_k (n,).

    r_jk = Σ_g e_gj e_gk / √(Σ_g e_gj² Σ_g e_gk²) with e_gk the sum over the images of group g in source k (Zou 2008, Statistics
    in Medicine 27, for sums of correlated estimates; the cluster-robust covariance of Liang & Zeger 1986).
    """
    both, member = np.unique(np.stack([group, place]), axis=1, return_inverse=True)
    e = np.bincount(member.reshape(-1), told)
    kind = both[1].astype(np.int64)
    length = np.sqrt(np.bincount(kind, e**2, len(reach)))
    known = length[kind] > 0  # all of a source right, or none: nothing is known of how it goes with others
    share = np.where(known, e * reach[kind] / np.where(known, length[kind], 1), 0)
    _, mine = np.unique(both[0], return_inverse=True)
    alone = np.square(reach[length == 0]).sum()
    return float(np.sqrt(np.square(np.bincount(mine.reshape(-1), share)).sum() + alone) / len(reach))


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
