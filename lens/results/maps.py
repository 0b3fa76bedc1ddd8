"""Where several runs' lenses edit: maps.json."""

from __future__ import annotations

import dataclasses

from lens.results.compared import Compared
from lens.results.figure import Number
from lens.results.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mapped(Compared):
    """A run's mean edit map: over how many images, its height and width, and how its squared edits are spread.

    `strongest_5_percent` is the share of all edits in the strongest 5 % of the pixels, None where nothing is edited.
    """

    map_images: int
    size: list[int]
    map_95th_percentile: float
    strongest_5_percent: Number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Maps(Result):
    """The runs, Spearman's correlation of each one's map with each one's (None where one is flat), and what to know of it."""

    runs: list[Mapped]
    rank_correlation: list[list[Number]]
    notes: list[str]
