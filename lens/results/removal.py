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
class Read(Result):
    """What fresh classifiers read of the source on one kind of images: balanced accuracies, of the best, by source, of each."""

    excess: Estimate | None = beside()
    by_source: list[float] | None = optional()
    by_architecture: Mapping[str, Any] | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadRaw(Read):
    """What the best fresh classifier reads of the source on raw images."""

    balanced_accuracy: Estimate = figure("source_raw", interval="ci", required=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadLensed(Read):
    """The same on lensed images, and what further judges read there, by their keys."""

    balanced_accuracy: Estimate = figure("source_lensed", interval="ci", higher_is_better=False, required=True)
    judges: Mapping[str, Estimate] = figure("source", higher_is_better=False, several=True)


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
class Bound(Result):
    """What was proved of any classifier, or why nothing was (`none`).

    Of `of` pairs of images with and without the cue, by source, the shares `differ` leave the lens different, at most `upper`
    at a confidence of 95 %; so `proved` is the most that a classifier reads, `at_best` what the shares themselves allow.
    `unfinished` images had passes left. Of a lens that draws what it hides `differ` is the mean distance of two laws: of which
    share of `replays` of each picture something is left (`missed`), and in which something was `found_without` the cue.
    """

    none: str | None = optional()
    differ: list[float] | None = optional()
    upper: list[float] | None = optional()
    of: int | None = optional()
    at_best: Number = optional()
    proved: Number = optional()
    unfinished: int | None = optional()
    missed: list[float] | None = optional()
    found_without: Number = optional()
    replays: int | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Removal(Result):
    """The proof of removal.

    `judges` names the further judges by their keys; `left` is the share of what could be read that
    the strictest, `left_to`, still reads; PSNR in dB, also by source and over the images with a planted cue.

    Where nobody was asked for the source, `source` says why there is `none`, and nothing is said of what is read of it.
    """

    OF_THE_SOURCE: ClassVar[tuple[str, ...]] = ("verdict", "chance", "raw", "lensed")
    """What a proof says of the source, all of it or nothing."""

    source: Mapping[str, str] | None = optional()
    sources: list[str] | None = optional()
    chance: Number = optional()
    images: Mapping[str, list[int]] | None = optional()
    groups: Mapping[str, list[int]] | None = optional()
    recipe: Mapping[str, Any] | None = optional()
    readable: bool | None = optional()
    fall: Estimate | None = beside()
    left: Estimate | None = beside()
    left_to: str | None = optional()
    psnr: Estimate | None = beside()
    ssim: Number = optional()
    psnr_planted: Number
    psnr_by_source: list[Number] | None = optional()
    verdict: str | None = optional()
    close: Number = optional()
    wide: bool | None = optional()
    judges: Mapping[str, str] = optional(dict)
    raw: ReadRaw | None = optional()
    lensed: ReadLensed | None = optional()
    downstream: Labels | None
    frozen: Frozen | None
    probes: Mapping[str, OnProbe]
    bound: Bound | None = optional()
