"""What judges answer to a question about raw and about lensed images: who reads the most, and how far it falls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lens.base.intervals import Interval, mapped, too_few
from lens.measuring import proportions, resampling
from lens.measuring.judge import Judge, Pictures, best
from lens.measuring.judges import Judging, Network
from lens.measuring.proportions import means_by_class
from lens.measuring.raised import Raised
from lens.proving import verdict

Array = np.ndarray[Any, Any]
READABLE = 0.95
"""Balanced accuracy on raw images from which an answer counts as readable: below it a removal has little to prove."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question about images before and after a lens, with one answer of `classes` each.

    `raw` and `lensed` are the pictures of train, val and test; `group` (n,) is that of each answer about test images, and `psnr`
    in dB what the lens changed (None: nothing). Where every image is asked about every class, or about many at random
    (`paired`), the answers about an image come together: intervals are over images. Else those of the classes are put together.
    """

    name: str
    raw: dict[str, Pictures]
    lensed: dict[str, Pictures]
    classes: int
    group: Array
    psnr: float | None = None
    paired: bool = False

    @property
    def truth(self) -> Array:
        """The answers about test images (n,)."""
        return self.raw["test"].answer.reshape(-1)

    def accuracy(self, right: Array) -> tuple[float, Interval]:
        """The balanced accuracy of answers of which these are right (n,), and its 95 % interval."""
        each, ones = right.astype(float), np.ones(len(right))
        if self.paired:
            return proportions.proportion(each, ones, self.group)
        return proportions.balanced_accuracy(each, ones, self.truth, self.group)


def compared(
    asked: Asked, judging: Judging, make: Callable[[str], Network], further: Mapping[str, Judge]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """What judges answer before and after the lens, how far it falls, and what may be said of it.

    Beside it, of raw and of lensed test images, which the best fresh judge got right.

    Fresh judges, of which `make` gives that of an architecture, learn from raw and from lensed images; `further` ones look at
    lensed images, each with its own figure, by its key; the strictest of all counts.
    """
    found: dict[str, Any] = {"asked": asked.name, "classes": asked.classes, "chance": 1 / asked.classes}
    found["images"] = {split: len(shown.answer) for split, shown in asked.raw.items()}
    found["psnr"] = asked.psnr
    right = {}
    for kind in ("raw", "lensed"):
        found[kind], right[kind] = fresh(asked, kind, judging, make)
    conclude(found, asked, right, judging, make, further)
    return found, right


def conclude(
    found: dict[str, Any],
    asked: Asked,
    right: dict[str, Array],
    judging: Judging,
    make: Callable[[str], Network],
    further: Mapping[str, Judge],
) -> None:
    """Add to what fresh judges have found, with its chance and PSNR, what further ones read, how far it falls and the verdict."""
    further = with_raised(further, asked, judging, make)
    found["judges"] = {key: judge.name for key, judge in further.items()}
    for key, judge in further.items():
        found["lensed"] |= read_by(judge, key, asked, judging.seed)
    found["readable"] = found["raw"]["balanced_accuracy"] >= READABLE
    found["fall"], found["fall_ci"] = fall(found, asked, right, judging.seed)
    found["left"], found["left_ci"], found["left_to"] = verdict.left(found)
    found["verdict"] = verdict.of(found)
    found["close"] = verdict.close(found["chance"])
    found["wide"] = any(verdict.too_wide(found, ends) for ends in verdict.intervals(found))


def fresh(asked: Asked, kind: str, judging: Judging, make: Callable[[str], Network]) -> tuple[dict[str, Any], Array]:
    """How well fresh judges answer about one `kind` of images (raw, lensed), and which answers the best got right.

    The best in validation counts. `val_balanced_accuracy` is what it reads of validation images, the highest of all: a little
    too high.
    """
    pictures: dict[str, Pictures] = getattr(asked, kind)
    truth, what = asked.truth, f"{kind}, {asked.name}"
    every = {name: [make(name).read(pictures, seed, what) for seed in judging.seeds] for name in judging.architectures}
    strictest = best([one for results in every.values() for one in results])
    right = strictest.answers == truth
    accuracy, interval = asked.accuracy(right)
    chance = 1 / asked.classes
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
        "by_class": means_by_class(right, truth).tolist(),
        "by_architecture": by_architecture,
    }, right  # fmt: skip


def with_raised(
    further: Mapping[str, Judge], asked: Asked, judging: Judging, make: Callable[[str], Network]
) -> dict[str, Judge]:
    """The further judges, with a raised one of the first architecture where such are asked."""
    first = next(iter(judging.architectures))
    return {**further, "raised": Raised(make(first), asked.raw)} if judging.raised else dict(further)


def read_by(judge: Judge, key: str, asked: Asked, seed: int) -> dict[str, Any]:
    """What one more judge reads of lensed images: under its key the balanced accuracy, its interval, and of validation images."""
    result = judge.read(asked.lensed, seed, f"lensed, {asked.name}")
    reads, interval = asked.accuracy(result.answers == asked.truth)
    return {key: reads, f"{key}_ci": interval, f"val_{key}": result.validation}


def fall(found: dict[str, Any], asked: Asked, right: dict[str, Array], seed: int) -> tuple[float, Interval]:
    """How far the best classifiers' balanced accuracy falls from raw to lensed, paired over the test images.

    One whose interval ends below chance has read the answer and says another: its accuracy is mirrored at chance.
    """
    each = {kind: answers.astype(float) for kind, answers in right.items()}
    for kind in each:
        ends = found[kind]["ci"]
        if not too_few(ends) and ends[1] < found["chance"]:
            each[kind] = 2 * found["chance"] - each[kind]
    difference = each["raw"] - each["lensed"]
    ones, stratum = np.ones(len(difference)), None if asked.paired else asked.truth
    mean = float(difference.mean() if asked.paired else means_by_class(difference, asked.truth).mean())
    return mean, resampling.bootstrap(difference, ones, asked.group, seed, stratum=stratum)
