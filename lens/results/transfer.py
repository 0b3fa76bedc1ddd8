"""How hard each run's task is on images that each one's lens has edited: transfer.json."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lens.results.compared import Compared
from lens.results.figure import Estimate, Number, beside
from lens.results.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics(Result):
    """The score on lensed images with one set of batch-norm statistics."""

    lensed: Estimate = beside(required=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell(Result):
    """The task of run `task` on images of the lens of run `lens`, both by their place: accuracies in [0, 1], or losses.

    `lensed` is with the set of `statistics`, `gap` raw − lensed, paired; `mse` on [0, 1] and PSNR in dB are what the lens changed.
    """

    task: int
    lens: int
    metric: Literal["accuracy", "loss"]
    chance: Number
    images: int
    raw: Estimate = beside(required=True)
    lensed: Estimate = beside(required=True)
    gap: Estimate = beside(required=True)
    statistics: Literal["raw", "lensed"]
    mse: Estimate = beside(interval=False, required=True)
    psnr: Estimate = beside(required=True)
    with_raw_statistics: Statistics
    with_lensed_statistics: Statistics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transfer(Result):
    """The runs, a cell for each task and each lens, and what to know of it."""

    runs: list[Compared]
    cells: list[Cell]
    notes: list[str]
