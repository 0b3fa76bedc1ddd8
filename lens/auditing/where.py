"""Where a network looks: cells of held-out images are covered one by one, and its score falls, or does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from lens.auditing.networks import odds
from lens.auditing.seen import Seen
from lens.base.bar import Bar
from lens.results.audit import Where

Array = np.ndarray[Any, Any]
CELLS = 6
"""Rows and columns of the grid."""
IMAGES = 60
"""Test images of each source that are looked at, at most: the first ones in a random order."""
NOISE = 2
"""Levels, of 255, by which pixels are moved up or down at random for the check: nobody sees it."""


def where(model: nn.Module, seen: Seen, device: torch.device, seed: int) -> Where:
    """The mean fall of the true source's log-odds as each cell is covered with the image's mean colour (Zeiler & Fergus 2014).

    The map is made again of the same images with noise that nobody sees: `fragility` is the rank correlation of both, taken
    over all cells of all sources. Where it is low the map moves without a reason, and tells nothing (Ghorbani et al. 2019).
    """
    chance = np.random.default_rng(seed)
    test = seen.rows("test")
    source = seen.images.source[test]
    chosen = [chance.permutation(test[source == k])[:IMAGES] for k in range(len(seen.images.keys))]
    plain, moved = [], []
    with Bar("where the network looks", 2 * len(chosen) * CELLS * CELLS, "cells") as bar:
        for k, index in enumerate(chosen):
            images = seen.fetch(np.sort(index))
            noise = chance.choice([-NOISE, NOISE], images.shape)
            noisy = np.clip(images.astype(np.int16) + noise, 0, 255).astype(np.uint8)
            plain.append(_falls(model, images, k, device, bar))
            moved.append(_falls(model, noisy, k, device, bar))
    from scipy.stats import spearmanr

    first, second = np.concatenate(plain).ravel(), np.concatenate(moved).ravel()
    fragility = float(spearmanr(first, second).statistic) if np.ptp(first) and np.ptp(second) else None
    return Where(
        cells=CELLS, maps=[one.round(4).tolist() for one in plain], images=sum(map(len, chosen)), noise=NOISE / 255,
        fragility=fragility,
    )  # fmt: skip


def _falls(model: nn.Module, images: Array, source: int, device: torch.device, bar: Bar) -> Array:
    """Of images (n, S, S, 3) of one source the mean fall of its log-odds for each covered cell: (CELLS, CELLS)."""
    before = _log_odds(odds(model, images, device), source)
    mean = images.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    ends = np.linspace(0, images.shape[1], CELLS + 1).round().astype(int)
    found = np.empty((CELLS, CELLS))
    for row in range(CELLS):
        for column in range(CELLS):
            covered = images.copy()
            covered[:, ends[row] : ends[row + 1], ends[column] : ends[column + 1]] = mean
            found[row, column] = (before - _log_odds(odds(model, covered, device), source)).mean()
            bar.add()
    return found


def _log_odds(share: Array, source: int) -> Array:
    p = share[:, source].astype(np.float64).clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))
