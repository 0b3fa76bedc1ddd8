"""What judges answer to a question about raw and about lensed images: who reads the most, and how far it falls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lens.base.intervals import Interval, mapped
from lens.measuring import proportions, resampling
from lens.measuring.judge import Judge, Pictures, best
from lens.measuring.judges import Judging, Network
from lens.measuring.proportions import means_by_class
from lens.measuring.raised import Raised
from lens.proving import verdict
from lens.results.figure import Ends, Estimate
from lens.results.removal import Answered, Judged, ReadLensed, ReadRaw, Seeds

Array = np.ndarray[Any, Any]
NOTHING: Mapping[str, Judge] = {}


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

    @property
    def chance(self) -> float:
        """What who sees nothing gets at most: one answer always is right of one of the classes that test images have."""
        return 1 / (self.classes if self.paired else len(np.unique(self.truth)))

    def accuracy(self, right: Array) -> tuple[float, Interval]:
        """The balanced accuracy of answers of which these are right (n,), and its 95 % interval."""
        each, ones = right.astype(float), np.ones(len(right))
        if self.paired:
            return proportions.proportion(each, ones, self.group)
        return proportions.balanced_accuracy(each, ones, self.truth, self.group)


def compared(
    asked: Asked,
    judging: Judging,
    make: Callable[[str], Network],
    further: Mapping[str, Judge] = NOTHING,
    both: Mapping[str, Judge] = NOTHING,
) -> tuple[Answered, dict[str, Array]]:
    """What judges answer before and after the lens, how far it falls, and what may be said of it.

    Beside it, of raw and of lensed test images, which the best fresh judge got right.

    Fresh judges, of which `make` gives that of an architecture, learn from raw and from lensed images, as do `both`; `further` ones
    look at lensed images. Each of these two has its own figure, by its key; the strictest of all counts.
    """
    read, right = {}, {}
    for kind in ("raw", "lensed"):
        read[kind], right[kind] = fresh(asked, kind, judging, make)
    found = concluded(read, right, asked, judging, make, further, both)
    images = {split: len(shown.answer) for split, shown in asked.raw.items()}
    own = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return Answered(**own, asked=asked.name, classes=asked.classes, images=images, psnr=asked.psnr), right


def concluded(
    read: Mapping[str, Mapping[str, Any]],
    right: Mapping[str, Array],
    asked: Asked,
    judging: Judging,
    make: Callable[[str], Network],
    further: Mapping[str, Judge],
    both: Mapping[str, Judge],
) -> Judged:
    """From what fresh judges `read` on raw and on lensed images, and got `right`: what others read, the fall, the verdict."""
    further = with_raised(further, asked, judging, make)
    also = {key: read_by(judge, asked, judging.seed)[0] for key, judge in further.items()}
    by = {kind: {key: read_by(judge, asked, judging.seed, kind) for key, judge in both.items()} for kind in read}
    others = {kind: {key: one for key, (one, _) in found.items()} for kind, found in by.items()}
    found = Judged(
        chance=asked.chance,
        judges={key: judge.name for key, judge in (*further.items(), *both.items())},
        raw=ReadRaw(**read["raw"], judges=others["raw"]),
        lensed=ReadLensed(**read["lensed"], judges=also | others["lensed"]),
    )
    each = {}
    for kind, best_fresh in zip(("raw", "lensed"), (part.balanced_accuracy for part in found.answered), strict=True):
        key = verdict.strictest(best_fresh, others[kind])
        one, answers = by[kind][key] if key else (best_fresh, right[kind])
        each[kind] = mirrored(answers, one.interval, asked.chance)
    found = dataclasses.replace(found, fall=fall(asked, each["raw"] - each["lensed"], judging.seed))
    return verdict.added(found, changed=asked.psnr is not None)


def fresh(asked: Asked, kind: str, judging: Judging, make: Callable[[str], Network]) -> tuple[dict[str, Any], Array]:
    """How well fresh judges answer about one `kind` of images (raw, lensed), as a `Read`, and which answers the best got right.

    The best in validation counts. What it reads of validation images is the highest of all: a little too high.
    """
    pictures: dict[str, Pictures] = getattr(asked, kind)
    truth, what = asked.truth, f"{kind}, {asked.name}"
    every = {name: [make(name).read(pictures, seed, what) for seed in judging.seeds] for name in judging.architectures}
    strictest = best([one for results in every.values() for one in results])
    right = strictest.answers == truth
    accuracy, interval = asked.accuracy(right)
    chance = asked.chance
    by_architecture = {
        name: Seeds(
            balanced_accuracy=[asked.accuracy(one.answers == truth)[0] for one in results],
            validation=[one.validation for one in results],
            steps=[one.steps for one in results],
            plateau=[one.plateau for one in results],
        )
        for name, results in every.items()
    }
    return {
        "balanced_accuracy": Estimate(accuracy, interval, strictest.validation),
        "excess": Estimate((accuracy - chance) / (1 - chance), mapped(interval, lambda end: (end - chance) / (1 - chance))),
        "by_class": means_by_class(right, truth).tolist(),
        "by_architecture": by_architecture,
    }, right  # fmt: skip


def with_raised(
    further: Mapping[str, Judge], asked: Asked, judging: Judging, make: Callable[[str], Network]
) -> dict[str, Judge]:
    """The further judges, with a raised one of the first architecture where such are asked."""
    first = next(iter(judging.architectures))
    return {**further, "raised": Raised(make(first), asked.raw)} if judging.raised else dict(further)


def read_by(judge: Judge, asked: Asked, seed: int, kind: str = "lensed") -> tuple[Estimate, Array]:
    """What one more judge reads of a `kind` of images: balanced accuracy, interval, that of validation; and which are right (n,)."""
    right = (result := judge.read(getattr(asked, kind), seed, f"{kind}, {asked.name}")).answers == asked.truth
    return Estimate(*asked.accuracy(right), result.validation), right


def mirrored(right: Array, interval: Ends, chance: float) -> Array:
    """Of each answer how much of it is right (n,): 0 or 1.

    One whose interval ends below chance has read the answer and says another: its accuracy is mirrored at chance.
    """
    each = right.astype(float)
    return 2 * chance - each if verdict.below(interval, chance) else each


def fall(asked: Asked, difference: Array, seed: int) -> Estimate:
    """How far balanced accuracy falls from raw to lensed, from that `difference` of each answer (n,), paired over the test images."""
    ones, stratum = np.ones(len(difference)), None if asked.paired else asked.truth
    mean = float(difference.mean() if asked.paired else means_by_class(difference, asked.truth).mean())
    return Estimate(mean, resampling.bootstrap(difference, ones, asked.group, seed, stratum=stratum))
