"""What judges read of an answer, on raw and on lensed images: who reads the most, and how far it falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lens.base.intervals import Interval, mapped, too_few
from lens.measuring import proportions, resampling
from lens.measuring.judge import Judge, Pictures, best
from lens.measuring.judges import Judging, Network
from lens.measuring.proportions import means_by_class

Array = np.ndarray[Any, Any]


def fresh(
    pictures: dict[str, Pictures],
    group: Array,
    classes: int,
    judging: Judging,
    make: Callable[[str], Network],
    what: str,
) -> tuple[dict[str, Any], Array]:
    """How well fresh judges answer about one kind of images; the best in validation counts. Beside it which answers it got right.

    `make` gives the judge of an architecture, `group` (n,) is that of each test image, `what` says what is being read.
    `val_balanced_accuracy` is what the best reads of validation images, the highest of all: a little too high.
    """
    truth = pictures["test"].answer
    every = {name: [make(name).read(pictures, seed, what) for seed in judging.seeds] for name in judging.architectures}
    strictest = best([one for results in every.values() for one in results])
    right = strictest.answers == truth
    accuracy, interval = proportions.balanced_accuracy(right.astype(float), np.ones(len(truth)), truth, group)
    chance = 1 / classes
    by_architecture = {
        name: {
            "balanced_accuracy": [float(means_by_class(one.answers == truth, truth).mean()) for one in results],
            "validation": [one.validation for one in results],
            "steps": [one.steps for one in results],
            "plateau": [one.plateau for one in results],
        }
        for name, results in every.items()
    }
    return {
        "balanced_accuracy": accuracy,
        "ci": interval,
        "val_balanced_accuracy": strictest.validation,
        "excess": (accuracy - chance) / (1 - chance),
        "excess_ci": mapped(interval, lambda end: (end - chance) / (1 - chance)),
        "by_source": means_by_class(right, truth).tolist(),
        "by_architecture": by_architecture,
    }, right  # fmt: skip


def read_by(
    judge: Judge, key: str, pictures: dict[str, Pictures], group: Array, seed: int, what: str = "lensed"
) -> dict[str, Any]:
    """What one more judge reads of lensed images: under its key the balanced accuracy, its interval, and of validation images."""
    result, truth = judge.read(pictures, seed, what), pictures["test"].answer
    right = (result.answers == truth).astype(float)
    reads, interval = proportions.balanced_accuracy(right, np.ones(len(right)), truth, group)
    return {key: reads, f"{key}_ci": interval, f"val_{key}": result.validation}


def fall(
    found: dict[str, Any], truth: Array, group: Array, right: dict[str, Array], seed: int
) -> tuple[float, Interval]:
    """How far the best classifiers' balanced accuracy falls from raw to lensed, paired over the test images.

    One whose interval ends below chance has read the answer and says the opposite: its accuracy is mirrored at chance.
    """
    each = {kind: answers.astype(float) for kind, answers in right.items()}
    for kind in each:
        ends = found[kind]["ci"]
        if not too_few(ends) and ends[1] < found["chance"]:
            each[kind] = 2 * found["chance"] - each[kind]
    difference = each["raw"] - each["lensed"]
    ones = np.ones(len(difference))
    mean = float(means_by_class(difference, truth).mean())
    return mean, resampling.bootstrap(difference, ones, group, seed, stratum=truth)
