"""Is an arm different from its baseline? Paired t-tests over seeds, and Holm's correction for how many are asked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Paired:
    """The mean difference of `n` pairs, its 95 % t-interval and the two-sided p-value; None where there is none."""

    n: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


def mean_sem(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean of one or more values, and its standard error (None for a single value)."""
    array = np.asarray(values, dtype=float)
    sem = float(array.std(ddof=1) / math.sqrt(len(array))) if len(array) > 1 else None
    return float(array.mean()), sem


def paired(arm: Mapping[int, float], baseline: Mapping[int, float]) -> Paired:
    """The paired t-test of an arm's values against its baseline's, each by seed, over the seeds that both have.

    One pair gives a difference without interval or p. Where all differences are the same there is no spread to test
    against and no interval: p is 1 if they are zero, and None otherwise (it would be 0, of n equal numbers).
    """
    from scipy import stats

    seeds = sorted(arm.keys() & baseline.keys())
    if not seeds:
        return Paired(0, None, None, None, None)
    ours, theirs = (np.array([values[seed] for seed in seeds], dtype=float) for values in (arm, baseline))
    differences = ours - theirs
    mean = float(differences.mean())
    if len(seeds) == 1:
        return Paired(1, mean, None, None, None)
    # Below this, what differs between the differences is rounding.
    rounding = 1e-12 * max(1e-300, float(np.abs(np.concatenate([ours, theirs])).max()))
    if float(np.ptp(differences)) <= rounding:
        return Paired(len(seeds), mean, None, None, 1.0 if abs(mean) <= rounding else None)
    test = stats.ttest_rel(ours, theirs)
    low, high = test.confidence_interval(0.95)
    return Paired(len(seeds), mean, float(low), float(high), float(test.pvalue))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down p-values, in the order of `ps`: the chance of one or more false finds among all stays below α.

    The k-th smallest (from 0) of m is multiplied by m − k; none is below an earlier one, none above 1.
    """
    corrected = [0.0] * len(ps)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[at]))
        corrected[at] = highest
    return corrected
