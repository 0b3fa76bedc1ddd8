"""Could this accuracy be luck? Permutation tests of held predictions, and Holm's correction over many of them.

Letters: R rows (predictors), T test images, K sources, G groups, D draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DRAWS = 10_000
CELLS = 1 << 22
"""Labels that are drawn at a time."""


def permutation_p(answers: Sequence[Array], source: Array, group: Array, seed: int, draws: int = DRAWS) -> list[float]:
    """Of R predictors' answers (T,) each about the `source` (T,) of test images: p of each one's balanced accuracy.

    The predictions are held, the sources permuted: among the groups that stand in one source, each whole, and within each
    group that stands in several. p = (1 + draws with as high an accuracy) / (1 + draws), which is valid whatever the number
    of draws (Phipson & Smyth 2010). The same draws serve all predictors.
    """
    classes, label = np.unique(source, return_inverse=True)
    told = np.stack([np.asarray(one) for one in answers])
    hits = (told[:, :, None] == classes).astype(np.float64)  # (R, T, K): whether the image would be right, were it of k
    observed = _balanced([hits[:, label == k, k].sum(axis=1) for k in range(len(classes))], np.bincount(label))
    _, member = np.unique(group, return_inverse=True)
    mixed = _mixed(member, label)[member]
    above = np.zeros(len(answers), np.int64)
    chance = np.random.default_rng(seed)
    pure = np.flatnonzero(~mixed)
    unit, first, place = np.unique(member[pure], return_index=True, return_inverse=True)
    size = np.bincount(place, minlength=len(unit)).astype(np.float64)
    of_unit = np.zeros((len(unit), len(classes), len(answers)))
    np.add.at(of_unit, place, hits[:, pure].transpose(1, 2, 0))
    within = np.flatnonzero(mixed)
    within = within[np.argsort(member[within], kind="stable")]
    for count in _parts(draws, len(source)):
        units = chance.permuted(np.tile(label[pure][first], (count, 1)), axis=1)
        order = np.argsort(member[within] + chance.random((count, len(within))), axis=1)
        inner = label[within][order]
        right, images = [], []
        for k in range(len(classes)):
            mine, own = (units == k).astype(np.float64), (inner == k).astype(np.float64)
            right.append((mine @ of_unit[:, k] + own @ hits[:, within, k].T).T)  # (R, count)
            images.append(mine @ size + own.sum(axis=1))
        above += (_balanced(right, images) >= observed[:, None] - 1e-12).sum(axis=1)
    return [float(number) for number in (1 + above) / (1 + draws)]


def _balanced(right: Sequence[Array], images: Sequence[Array] | Array) -> Array:
    """The mean over the sources of the share that is right."""
    return np.asarray(sum(r / np.maximum(n, 1) for r, n in zip(right, images, strict=True)) / len(right))


def _mixed(member: Array, label: Array) -> Array:
    """Whether each group (G,) has images of several sources."""
    lowest = np.full(member.max() + 1, label.max() + 1)
    highest = np.full(member.max() + 1, -1)
    np.minimum.at(lowest, member, label)
    np.maximum.at(highest, member, label)
    return np.asarray(lowest != highest)


def _parts(draws: int, images: int) -> Iterator[int]:
    size = max(1, CELLS // max(1, images))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several questions corrected so that one of them being below 0.05 by luck is a chance of 5 % (Holm 1979)."""
    order = sorted(range(len(p)), key=lambda number: p[number])
    found, highest = [0.0] * len(p), 0.0
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, p[number] * (len(p) - rank)))
        found[number] = highest
    return found
