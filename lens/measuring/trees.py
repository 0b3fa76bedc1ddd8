"""Boosted trees on descriptors in few levels: grown until validation has nothing more to give."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.base.errors import BadInput
from lens.measuring.proportions import means_by_class

Array = np.ndarray[Any, Any]
BINS = 64
"""Levels that a tree sees of a descriptor, quantiles of training."""


@dataclasses.dataclass(frozen=True)
class Trees:
    """How the trees are grown (Ke et al. 2017, "LightGBM"): `more` at a time, until validation's loss has not fallen
    `patience` times, or is at most `enough`, or there are `most`."""

    most: int = 300
    more: int = 20
    patience: int = 3
    enough: float = 0.01
    leaves: int = 15
    rate: float = 0.1


USUAL = Trees()


@dataclasses.dataclass(frozen=True)
class Grown:
    """What trees make of the test rows: the probability (n, K) of each of `classes` (K,), and how they grew.

    `steps` are the trees of each class that are kept: those with the lowest `loss` on validation, whose balanced accuracy
    is `validation`; `plateau` tells that more of them were not better.
    """

    odds: Array
    classes: Array
    validation: float
    loss: float
    steps: int
    plateau: bool

    @property
    def answers(self) -> Array:
        """The likeliest class of each row (n,) int64."""
        told: Array = self.classes[self.odds.argmax(axis=1)].astype(np.int64)
        return told


def grow(
    levels: dict[str, Array], answer: dict[str, Array], seed: int, trees: Trees = USUAL, words: Sequence[int] = ()
) -> Grown:
    """Grow trees on the rows of `train` (n, D) uint8, stop on those of `val`, answer about those of `test`.

    The classes count equally. The columns `words` are categories, without an order. Raises BadInput where training has one
    class only.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    classes = np.unique(answer["train"])
    if len(classes) < 2:
        raise BadInput(f"all {len(answer['train'])} training images have one answer: a judge needs two or more")
    model = HistGradientBoostingClassifier(
        learning_rate=trees.rate, max_leaf_nodes=trees.leaves, max_features=0.5, l2_regularization=1.0,
        early_stopping=False, warm_start=True, class_weight="balanced", random_state=seed,
        max_bins=BINS + 1,  # a level each, and one for what is missing: of the usual 255 most would be empty, and cost time
        categorical_features=list(words) or None,
    )  # fmt: skip
    best = Grown(np.zeros((0, len(classes))), classes, 0.0, float("inf"), 0, False)
    waited, rounds, asked = 0, 1, 0
    while waited < trees.patience and best.loss > trees.enough and asked < trees.most:
        # Each fit bins all rows again, which takes as long as growing: after the first one as many trees as are surely waited for.
        model.set_params(max_iter=asked + rounds * trees.more).fit(levels["train"], answer["train"])
        for steps, odds in enumerate(model.staged_predict_proba(levels["val"]), 1):
            if steps <= asked or steps % trees.more or waited == trees.patience or best.loss <= trees.enough:
                continue
            asked = steps
            loss, accuracy = _balanced(odds, classes, answer["val"])
            if loss < best.loss:
                best, waited = Grown(best.odds, classes, accuracy, loss, steps, False), 0
            else:
                waited += 1
        rounds = min(trees.patience - waited, -(-(trees.most - asked) // trees.more))
    odds = next(itertools.islice(model.staged_predict_proba(levels["test"]), best.steps - 1, None))
    best = dataclasses.replace(best, odds=odds)
    return dataclasses.replace(best, plateau=waited >= trees.patience or best.loss <= trees.enough)


def edges_of(rows: Array) -> Array:
    """The quantiles (BINS − 1, D) of training's descriptors (n, D) that part the levels.

    scikit-learn looks for weighted quantiles one by one, minutes for hundreds of columns: of few levels it needs none.
    """
    return np.asarray(np.quantile(rows, np.arange(1, BINS) / BINS, axis=0, method="inverted_cdf"))


def levels_of(rows: Array, edges: Array) -> Array:
    """Descriptors (n, D) as the number of edges (BINS − 1, D) that lie below each: (n, D) uint8."""
    columns = [np.searchsorted(edge, values) for edge, values in zip(edges.T, rows.T, strict=True)]
    return np.stack(columns, axis=1).astype(np.uint8)


def _balanced(odds: Array, classes: Array, answer: Array) -> tuple[float, float]:
    """The mean over the classes of the log loss, and of the accuracy, of probabilities (n, K)."""
    place = np.searchsorted(classes, answer).clip(max=len(classes) - 1)
    known = classes[place] == answer
    right = np.where(known, odds[np.arange(len(odds)), place], 0)
    loss = -np.log(right.clip(min=1e-7))
    told = classes[odds.argmax(axis=1)] == answer
    return float(means_by_class(loss, answer).mean()), float(means_by_class(told, answer).mean())
