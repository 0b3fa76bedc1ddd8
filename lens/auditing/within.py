"""Each row again within classes: what still tells sources apart whose pictures show the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.auditing.answers import TREES
from lens.auditing.permutation import holm, permutation_p
from lens.auditing.seen import Seen
from lens.auditing.shared import Shared
from lens.base.bar import Bar
from lens.base.draws import step_seed
from lens.measuring.proportions import means_by_class
from lens.measuring.trees import grow
from lens.results.audit import Row

Array = np.ndarray[Any, Any]


def within(seen: Seen, shared: Shared, rows: Sequence[Row], seed: int, level: float) -> list[Row]:
    """The rows of trees with `within_classes`: trees on images of shared classes, of each as many of every source.

    `balanced_accuracy` is the mean over classes of that within each; p is a permutation's of the sources within the classes,
    of one test image of each group, Holm's correction over the rows; `significant` at `level`.
    """
    index = {split: shared.matched(seen, split, seed) for split in ("train", "val")}
    test = seen.rows("test")
    test = test[shared.label[test] >= 0]
    test = test[np.unique(seen.images.group[test], return_index=True)[1]]
    index["test"] = test
    source, label = seen.images.source[test], shared.label[test]
    asked = [row for row in rows if row.judge == "trees"]
    told = []
    with Bar("within classes", len(asked), "cues") as bar:
        for row in asked:
            columns = seen.columns[row.name]
            levels = columns.levels(index["train"])
            answer = {split: seen.images.source[own] for split, own in index.items()}
            grown = grow({split: levels[own] for split, own in index.items()}, answer, seed, TREES, columns.categorical)
            told.append(grown.answers)
            bar.add()
    p = permutation_p(told, source, label, step_seed(seed, 0, "permutations within classes"))
    found = {
        row.name: {
            "balanced_accuracy": _accuracy(answers, source, label),
            "p": own,
            "p_holm": corrected,
            "significant": corrected <= level,
            "classes": len(shared.names),
            "test_images": len(test),
        }
        for row, answers, own, corrected in zip(asked, told, p, holm(p), strict=True)
    }
    return [dataclasses.replace(row, within_classes=found[row.name]) if row.judge == "trees" else row for row in rows]


def _accuracy(told: Array, source: Array, label: Array) -> float:
    """The mean over the classes of balanced accuracy within each, over those that have test images of several sources."""
    parts = [label == k for k in np.unique(label)]
    several = [part for part in parts if len(np.unique(source[part])) > 1]
    return float(np.mean([means_by_class(told[part] == source[part], source[part]).mean() for part in several]))
