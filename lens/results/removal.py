"""The proof of removal: what judges read before a lens and after it, and what the lens cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from lens.results.figure import Estimate, Number, beside, figure
from lens.results.result import Result, optional

TRAINED_ON = "the extractor, trained on"
JUDGES = ("trained_on", "forensic", "raised")
"""The keys of the further judges of a proof."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeds(Result):
    """What each seed of one architecture of fresh judges reads, and how its training went."""

    balanced_accuracy: list[float]
    validation: list[float] | None = optional()
    steps: list[int] | None = optional()
    plateau: list[bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Read(Result):
    """What fresh judges read on one kind of images: the best of them in validation, by class (or source), and each."""

    excess: Estimate | None = beside()
    by_source: list[Number] | None = optional()
    by_class: list[Number] | None = optional()
    by_architecture: Mapping[str, Seeds] | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadRaw(Read):
    """What the best fresh judge reads on raw images, and what further ones that begin with nothing read there, by their keys."""

    balanced_accuracy: Estimate = figure("{asked}_raw", interval="ci", required=True, each=True)
    judges: Mapping[str, Estimate] = figure("{asked}_raw", several=True, each=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadLensed(Read):
    """The same on lensed images, and what further judges read there, by their keys."""

    balanced_accuracy: Estimate = figure(
        "{asked}_lensed", interval="ci", higher_is_better=False, required=True, each=True
    )
    judges: Mapping[str, Estimate] = figure("{asked}", higher_is_better=False, several=True, each=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged(Result):
    """What judges answer to a question before a lens and after it, and what may be said of it.

    `judges` names the further judges by their keys. `fall` is how far falls what can be read by judges that begin with nothing, of
    which on each side the best in validation counts; `left` is the share of what could be read that the strictest of all,
    `left_to`, still reads. `close` is the accuracy up to which chance counts as reached, and `wide` tells that an interval that
    holds chance goes on beyond it.
    """

    ASKED: ClassVar[tuple[str, ...]] = ("verdict", "chance", "raw", "lensed")
    """What is said of every question that was asked, all of it or nothing."""

    chance: Number = optional()
    readable: bool | None = optional()
    fall: Estimate | None = beside()
    left: Estimate | None = beside()
    left_to: str | None = optional()
    verdict: str | None = figure(
        "{asked}_verdict", unit="word", interval=False, validated=False, optional=True, each=True
    )
    close: Number = optional()
    wide: bool | None = optional()
    judges: Mapping[str, str] = optional(dict)
    raw: ReadRaw | None = optional()
    lensed: ReadLensed | None = optional()

    @property
    def answered(self) -> tuple[ReadRaw, ReadLensed]:
        """What was read on raw and on lensed images, of a question that was asked."""
        assert self.raw is not None
        assert self.lensed is not None
        return self.raw, self.lensed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answered(Judged):
    """The same of a question beside the source, `asked`, with so many `classes`, or why there is `none`.

    `images` are the answers of each split; `psnr` in dB is what the lens changed there (None: nothing).
    """

    none: str | None = optional()
    asked: str | None = optional()
    classes: int | None = optional()
    images: Mapping[str, int] | None = optional()
    psnr: Number = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound(Result):
    """What was proved of any classifier, or why nothing was (`none`).

    Of `of` pairs of images with and without the cue, by source, the shares `differ` leave the lens different, at most `upper`
    at a confidence of 95 % (they come in so many `groups`, where images of one are not independent); so `proved` is the most that a classifier reads, `at_best` what the shares themselves allow.
    `unfinished` images had passes left. Of a lens that draws what it hides `differ` is the mean distance of two laws: of which
    share of `replays` of each picture something is left (`missed`), and in which something was `found_without` the cue.
    """

    none: str | None = optional()
    differ: list[float] | None = optional()
    upper: list[float] | None = optional()
    of: int | None = optional()
    groups: int | None = optional()
    at_best: Number = optional()
    proved: Number = optional()
    unfinished: int | None = optional()
    missed: list[float] | None = optional()
    found_without: Number = optional()
    replays: int | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedCue(Result):
    """One cue: its `presence`, and which of `classes` it is (`theta`).

    `native` tells that the classes of θ are the shortcut's own, not bins. `by_theta` is what share of the images with a cue of each class
    the best fresh judge takes for such, on raw and on lensed ones; `change` the mean squared change of the images `without` and
    `with` a cue; `bound` what any classifier reads of its presence at most.
    """

    classes: int
    native: bool
    by_theta: Mapping[str, list[Number]]
    change: Mapping[str, float]
    presence: Answered | None = optional(asked="presence")
    theta: Answered | None = optional(asked="theta")
    bound: Bound | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cue(Result):
    """The planted cue itself, or each of several by its name, asked with a random `key`; or why there is `none`."""

    none: str | None = optional()
    key: str | None = optional()
    planted: Mapping[str, PlantedCue] = optional(dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestPossible(Result):
    """No lens does better: PSNR in dB of the mean of the `sides`' mean squared changes at which all have one law, if known.

    `found` is that of the run's lens, over the same sides: of few use unless the cue is gone. `none` says why it is not known.
    """

    none: str | None = optional()
    sides: str | None = optional()
    psnr: Number = optional()
    found: Number = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels(Result):
    """What a lens costs fresh classifiers of the class labels."""

    raw: Estimate | None = figure("class_raw", interval=False)
    lensed: Estimate | None = figure("class_lensed", interval=False, higher_is_better=True)
    cost: Estimate | None = figure(higher_is_better=False)
    seeds: Mapping[str, list[float]] | None = optional()
    plateau: Mapping[str, list[bool]] | None = optional()
    chance: Number = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frozen(Result):
    """What frozen features tell of class labels, before a lens and after it; untrained ones, of raw images, are the floor."""

    raw: Estimate | None = figure("frozen_raw")
    lensed: Estimate | None = figure("frozen_lensed", higher_is_better=True)
    untrained: Estimate | None = beside(validated=True)
    chance: Number = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnProbe(Result):
    """The same on the images of a probe, `source`, and the PSNR of the lens there in dB (None: nothing changed)."""

    raw: Estimate | None = figure("probe_raw", each=True)
    lensed: Estimate | None = figure("probe_lensed", higher_is_better=True, each=True)
    untrained: Estimate | None = beside(validated=True)
    chance: Number = optional()
    psnr: Number = None
    source: str | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rung(Result):
    """What boosted trees read of the source in one view of images, before and after a lens (`lens.cues`).

    `p` is that of a rise by luck, corrected over all rungs; `risen`: it is at most 0.05.
    """

    raw: Estimate = beside(required=True)
    lensed: Estimate = beside(required=True)
    p: float
    risen: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Removal(Judged):
    """The proof of removal: what judges answer when they are asked for the source, and all that stands beside it.

    PSNR in dB, also by source and over the images with a planted cue. Where nobody was asked for the source, `source` says why
    there is `none`, and nothing is said of what is read of it.
    """

    source: Mapping[str, str] | None = optional()
    sources: list[str] | None = optional()
    images: Mapping[str, list[int]] | None = optional()
    groups: Mapping[str, list[int]] | None = optional()
    recipe: Mapping[str, Any] | None = optional()
    psnr: Estimate | None = beside()
    ssim: Number = optional()
    psnr_planted: Number
    psnr_by_source: list[Number] | None = optional()
    downstream: Labels | None
    frozen: Frozen | None
    probes: Mapping[str, OnProbe]
    bound: Bound | None = optional()
    cue: Cue | None = optional()
    question: Answered | None = optional(asked="question")
    best_possible: BestPossible | None = optional()
    rungs: Mapping[str, Rung] = optional(dict)
