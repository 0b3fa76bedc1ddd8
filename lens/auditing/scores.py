"""What one judge's answers about the test images are worth: accuracy with its interval, area under the curve, confusion."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lens.measuring import proportions
from lens.results.figure import Estimate

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Scores:
    """Balanced accuracy, the macro average of one against the rest's area under the ROC curve, shares taken for what (K, K)."""

    accuracy: Estimate
    auc: float
    confusion: list[list[float]]


def scores(odds: Array, source: Array, group: Array) -> Scores:
    """Probabilities (T, K) of the sources of test images, the true ones (T,) and the images' groups (T,) → what they are worth."""
    told = odds.argmax(axis=1)
    value, interval = proportions.balanced_accuracy((told == source).astype(float), np.ones(len(source)), source, group)
    count = odds.shape[1]
    confusion = [[float((told[source == k] == j).mean()) for j in range(count)] for k in range(count)]
    return Scores(Estimate(value, interval), auc(odds, source), confusion)


def auc(odds: Array, source: Array) -> float:
    """The mean over the sources of P(an image of it is given a higher probability of it than one of another), ties half.

    (Hanley & McNeil 1982; one against the rest, every source the same weight.)
    """
    from scipy.stats import rankdata

    found = []
    for k in range(odds.shape[1]):
        mine = source == k
        ranks = rankdata(odds[:, k])
        n, m = int(mine.sum()), int((~mine).sum())
        found.append((ranks[mine].sum() - n * (n + 1) / 2) / (n * m))
    return float(np.mean(found))


def accuracy(odds: Array, source: Array) -> float:
    """Balanced accuracy alone."""
    return float(proportions.means_by_class(odds.argmax(axis=1) == source, source).mean())
