"""What a judge is: something with a name that learns from pictures with answers, and answers about others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images (n, H, W, C) uint8, as files would hold them, and the answer of each (n,) int64.

    Of an image that is asked E things they are (n, E); `question` then says what is asked beside it, (n, …, …) each.
    """

    images: Array
    answer: Array
    question: Mapping[str, Array] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class JudgeResult:
    """What one judge makes of the test images: its answers (n,), or (n·E,), and how its training went."""

    answers: Array
    validation: float
    """Balanced accuracy on validation of the weights that were kept: those with the best one, of equals the lowest loss."""
    loss: float
    steps: int
    plateau: bool
    """Whether the training ended because validation had nothing more to give."""


class Judge(Protocol):
    """What can be read from pictures is what the strictest judge reads."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def read(self, pictures: dict[str, Pictures], seed: int, what: str) -> JudgeResult:
        """Learn from the pictures of `train`, choose by those of `val`, answer about those of `test`.

        `what` says to the person who waits what is being read.
        """
        ...


def best(results: list[JudgeResult]) -> JudgeResult:
    """The best of several in validation, of equals that of the lowest loss: never chosen by its answers about `test`."""
    return max(results, key=lambda one: (one.validation, -one.loss))
