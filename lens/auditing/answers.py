"""What a judge answers for one cue: which source each test image is of, and which pseudo-source."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lens.auditing.columns import Columns
from lens.auditing.scores import accuracy
from lens.auditing.seen import Seen
from lens.images.splits import SPLITS
from lens.measuring.trees import Trees, grow

Array = np.ndarray[Any, Any]
TREES = Trees(most=200)


@dataclasses.dataclass(frozen=True)
class Answers:
    """The probability (T, K) of each source for each test image, the balanced accuracy about pseudo-sources, the time in s.

    `judge` is "trees" or "network".
    """

    name: str
    judge: str
    odds: Array
    null: float
    seconds: float

    @property
    def key(self) -> str:
        """What a row is called among all."""
        return self.name if self.judge == "trees" else f"{self.name} ({self.judge})"


def of_trees(seen: Seen, name: str, seed: int) -> Answers:
    """Boosted trees on the descriptors of the cue `name`."""
    begin = time.monotonic()
    levels = _levels(seen, seen.columns[name])
    words = seen.columns[name].categorical

    def asked(source: Array) -> Array:
        answer = {split: source[seen.rows(split)] for split in SPLITS}
        return grow(levels, answer, seed, TREES, words).odds

    return answered(seen, name, "trees", asked, begin)


def answered(seen: Seen, name: str, judge: str, asked: Callable[[Array], Array], begin: float) -> Answers:
    """Ask a judge about the sources, then about pseudo-sources: it gives probabilities (T, K) for the sources (n,) of all images."""
    odds = asked(seen.images.source)
    null = accuracy(asked(seen.pseudo), seen.pseudo[seen.rows("test")])
    return Answers(name, judge, odds, null, time.monotonic() - begin)


def _levels(seen: Seen, columns: Columns) -> dict[str, Array]:
    levels = columns.levels(seen.rows("train"))
    return {split: levels[seen.rows(split)] for split in SPLITS}
