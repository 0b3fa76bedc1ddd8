"""95 % intervals of means and ratios by resampling groups of images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lens.base.intervals import FEWEST, Interval, TooFew, effective_groups, too_few
from lens.measuring.proportions import stand_in_several, sums_by_group
from lens.operations.quality import psnr

Array = np.ndarray[Any, Any]


def bootstrap(
    values: Array, weights: Array, group: Array | None, seed: int, resamples: int = 2000, stratum: Array | None = None
) -> Interval:
    """The 95 % interval of sum(values) / sum(weights), resampling groups of images: the expanded percentile.

    That of the percentile bootstrap, whose tails are cut further out, as far as Student's t at G_eff − 1 and a variance over
    G − 1 ask for (Hesterberg 2015, arXiv:1411.5279): of few groups the plain one is too narrow. With `stratum` (n,) it is that of
    the mean of the strata's ratios, each resampled by itself, or all of them together where groups stand in several, and the
    smallest of them cuts. With fewer than `FEWEST` effective groups there is none.
    """
    if stratum is None:
        parts = [(sums_by_group(group, values, weights), np.random.default_rng(seed))]
    else:
        parts = [
            (sums_by_group(None if group is None else group[mine], values[mine], weights[mine]), np.random.default_rng([seed, place]))
            for place, mine in enumerate(stratum == number for number in np.unique(stratum))
        ]  # fmt: skip
    groups = min(effective_groups(sizes) for (_, sizes), _ in parts)
    if groups < FEWEST:
        return {"too_few_groups": groups}
    if stratum is not None and group is not None and stand_in_several(stratum, group):
        ratios = _resampled_together(values, weights, group, stratum, np.random.default_rng(seed), resamples)
    else:
        ratios = np.mean([_resampled(sums, sizes, rng, resamples) for (sums, sizes), rng in parts], axis=0)
    tail = expanded_tail(groups)
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return [float(low), float(high)]


def expanded_tail(groups: float) -> float:
    """The share of resamples beyond each end of a 95 % interval: Φ(−t √(G / (G − 1))), t at G − 1 (Hesterberg 2015)."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(stdtrit(groups - 1, 0.025) * math.sqrt(groups / (groups - 1))))


def psnr_interval(mse: Interval) -> list[float | None] | TooFew:
    """The interval of a PSNR from that of its mean squared error."""
    return mse if too_few(mse) else [psnr(mse[1]), psnr(mse[0])]


def _resampled(values: Array, weights: Array, rng: np.random.Generator, resamples: int) -> Array:
    """sum(values) / sum(weights) of each resample of the groups."""
    ratios = []
    for start in range(0, resamples, 100):  # in parts: each holds 100 × groups draws
        chosen = rng.integers(0, len(values), size=(min(100, resamples - start), len(values)))
        ratios.append(values[chosen].sum(axis=1) / weights[chosen].sum(axis=1))
    return np.concatenate(ratios)


def _resampled_together(
    values: Array, weights: Array, group: Array, stratum: Array, rng: np.random.Generator, resamples: int
) -> Array:
    """The mean of the strata's ratios in each resample of groups that stand in several; a stratum that no group has left is not in it."""
    groups, member = np.unique(group, return_inverse=True)
    kinds, place = np.unique(stratum, return_inverse=True)
    sums, sizes = (
        np.bincount(member * len(kinds) + place, each, len(groups) * len(kinds)).reshape(len(groups), len(kinds))
        for each in (values, weights)
    )
    found = []
    for start in range(0, resamples, 100):
        times = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=min(100, resamples - start))
        of = times @ sizes
        found.append(np.nanmean(np.where(of > 0, times @ sums / np.where(of > 0, of, 1), np.nan), axis=1))
    return np.concatenate(found)
