"""Which cues tell sources apart: audit.json."""

from __future__ import annotations

import dataclasses
from typing import Any

from lens.results.figure import Estimate, Number, figure
from lens.results.result import Result, optional


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row(Result):
    """One cue, asked by one kind of judge: "trees" on its descriptors, or a "network" on what it leaves of images.

    `balanced_accuracy` is the mean over the sources of the share of test images that are named rightly, `auc` the mean over the
    sources of the area under the ROC curve of one against the rest, `excess` (accuracy − chance) / (1 − chance). `null`: the
    accuracy of the same row about random pseudo-sources. `p` is a permutation's, `p_holm` corrected over the rows of trees, or
    of networks; `significant`: it is at most 0.05. `confusion` (K, K): shares of test images of each source by what they
    are taken for. `says`: what its descriptors say of the sources, in words. `extremes`: the names
    of each source's test images that are most surely taken for it, of a significant row.
    """

    name: str
    kind: str
    judge: str
    about: str
    points_to: str
    acquisition: bool | None = None
    balanced_accuracy: Estimate = figure(interval="ci", validated=False, higher_is_better=False, required=True)
    auc: float = figure(unit="score", required=True)
    excess: float = figure(required=True)
    null: Number = figure(required=True)
    p: float = figure(unit="score", digits=4, required=True)
    p_holm: float
    significant: bool
    confusion: list[list[float]]
    says: list[str]
    extremes: list[list[str]]
    seconds: float
    within_classes: dict[str, Any] | None = optional()

    @property
    def accuracy(self) -> float:
        """The balanced accuracy's value."""
        assert self.balanced_accuracy.value is not None
        return self.balanced_accuracy.value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Across(Result):
    """Classifiers of the shared classes, trained on each source and tested on each: accuracies (K, K), trained on the row's.

    `drop` of each source: (its own − mean of the others) / its own (Torralba & Efros 2011, table 1). `ci` are the accuracies'
    intervals. `worth`: one image of source i is worth so many of source j, for testing on j (section 4), None where no number
    of images is; `basket` is the mean of a source over the markets.
    """

    classes: list[str]
    accuracy: list[list[float]]
    ci: list[list[Any]]
    chance: float
    drop: list[float]
    worth: list[list[Number]]
    basket: list[Number]
    notes: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comb(Result):
    """The steps of quantisation that one source's pictures have in common: `steps` of luminance (8, 8), 0 where none is told.

    `quality` and `chroma_quality` are libjpeg's, None where its tables do not fit; `sampling` how chroma was stored. `counts` are how
    often one coefficient (row and column 1) has each size, in bins of `width` levels.
    """

    quality: int | None
    chroma_quality: int | None
    sampling: str | None
    steps: list[list[int]]
    width: float
    counts: list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Levels(Result):
    """Between which levels (0 to 255) each channel of a source's pixels lies, red, green, blue: all but one in ten thousand."""

    lowest: list[int]
    highest: list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Where(Result):
    """Where a network looks: the mean fall of its score as each cell is covered, (cells, cells), for each source.

    `fragility` is the rank correlation with the same map of images with noise that nobody sees: far below 1, the map says nothing.
    """

    cells: int
    maps: list[list[list[float]]]
    images: int
    noise: float
    fragility: Number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit(Result):
    """The sources, what was looked at, the rows in the ladder's order, and what follows from them."""

    sources: list[str]
    images: list[int]
    listed: list[int]
    test_images: list[int]
    chance: float
    verdict: list[str]
    rows: list[Row]
    duplicates: list[dict[str, Any]]
    skipped: list[dict[str, str]]
    notes: list[str]
    settings: dict[str, Any]
    seconds: dict[str, float]
    peak_memory: float
    combs: list[Comb]
    levels: list[Levels]
    across: Across | None = optional()
    where: Where | None = optional()
