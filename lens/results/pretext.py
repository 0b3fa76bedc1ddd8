"""What the pretext task says of raw, lensed and clean images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from lens.results.figure import Estimate, Number, beside, figure
from lens.results.result import Result, optional


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unlensed(Result):
    """The same of images that no lens has seen."""

    raw: Estimate | None = beside()
    clean: Estimate | None = beside()


def _score(higher_is_better: bool | None = None) -> Any:
    return figure(unit="score", higher_is_better=higher_is_better, validation_part=True, of_images="val_images")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretext(Result):
    """What the task's own extractor scores: accuracies in [0, 1], or mean losses (`metric`); `gap` is raw − lensed, paired.

    Without a lens `lensed` and `gap` have no value. `loss` is that of each kind beside its accuracy, `images` of how many of
    `of_images`, `lensed_statistics` what unlensed images give with the lensed set of batch-norm statistics, where training
    only ever updated that.
    """

    metric: Literal["accuracy", "loss"] = figure(unit="word", interval=False, validated=False, required=True)
    images: int
    chance: Number = figure(interval=False, validated=False, required=True)
    loss: Mapping[str, float] | None = optional()
    raw: Estimate | None = _score(higher_is_better=True)
    lensed: Estimate | None = _score()
    clean: Estimate | None = _score(higher_is_better=True)
    gap: Estimate | None = _score()
    lensed_statistics: Unlensed | None = optional()
    of_images: int | None = optional()
