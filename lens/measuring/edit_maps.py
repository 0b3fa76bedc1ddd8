"""Figures of mean edit maps (H, W): how concentrated one is, how alike two are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
TOP = 0.05
"""The share of the pixels that are called the strongest."""


def clip(mean_edit: Array) -> float:
    """The 95th percentile of a map, at which it is shown clipped (Minderer et al. 2020, figure 3)."""
    return float(np.quantile(mean_edit, 0.95))


def top_share(mean_edit: Array) -> float | None:
    """The share, 0.05 to 1, of a map's sum that lies in the strongest 5 % of its pixels; None where nothing is edited.

    0.05 is a map that is the same everywhere.
    """
    values = np.sort(mean_edit, axis=None)[::-1]
    total = float(values.sum())
    return float(values[: math.ceil(TOP * len(values))].sum()) / total if total > 0 else None


def rank_correlation(first: Array, second: Array) -> float | None:
    """Spearman's (1904) correlation over the pixels of two maps, −1 to 1; None where one is the same everywhere.

    Maps of different sizes are averaged over areas to the smaller size first.
    """
    from scipy.stats import rankdata

    size = (min(first.shape[0], second.shape[0]), min(first.shape[1], second.shape[1]))
    one, other = (rankdata(resized(values, size), axis=None) for values in (first, second))
    if one.min() == one.max() or other.min() == other.max():
        return None
    return float(np.corrcoef(one, other)[0, 1])


def resized(mean_edit: Array, size: tuple[int, int]) -> Array:
    """A map (H, W) averaged over areas to a smaller size (h, w)."""
    import torch
    from torch.nn import functional

    if mean_edit.shape == size:
        return mean_edit
    values = torch.from_numpy(mean_edit)[None, None]
    smaller: Array = functional.adaptive_avg_pool2d(values, size)[0, 0].numpy()
    return smaller
