"""When an interval over groups of images can be called 95 %, and what stands in its place where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from typing_extensions import TypedDict, TypeIs  # before Python 3.12 pydantic cannot read the standard library's

FEWEST = 10
"""Effective groups below which no rule that was tried covers as it says (results/coverage.md)."""


class TooFew(TypedDict):
    """In place of the two ends: the effective number of groups, which is below `FEWEST`."""

    too_few_groups: float


Interval = list[float] | TooFew
"""The two ends of a 95 % interval, or that there are too few groups for one."""


def effective_groups(sizes: np.ndarray[Any, Any]) -> float:
    """G_eff = (Σn)² / Σn² of groups of n answers: their number where all are of one size, else less.

    The effective number of clusters of Carter, Schnepel & Steigerwald (2017), for answers that are one within a group.
    """
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def too_few(interval: Any) -> TypeIs[TooFew]:
    """Whether there are too few groups for an interval."""
    return isinstance(interval, dict)


def mapped(interval: Interval, function: Callable[[float], float]) -> Interval:
    """A rising function of both ends."""
    return [function(end) for end in interval] if isinstance(interval, list) else interval


def words(interval: Any, form: Callable[[float], str]) -> str:
    """An interval as text, each end by `form`: nothing where there is none, why where there are too few groups."""
    if too_few(interval):
        return f"too few groups (G_eff {interval['too_few_groups']:.1f})"
    return " – ".join(map(form, interval)) if interval else ""


def note(rows: Iterable[Iterable[str]]) -> list[str]:
    """A line for below a table, where one of its cells says that there are too few groups."""
    if not any("too few groups" in cell for row in rows for cell in row):
        return []
    return [
        f"Too few groups: with fewer than {FEWEST} effective ones (G_eff: their number, less where their sizes are unequal; an "
        "image without a group is one) no interval is known to hold the truth 95 times in 100. Measure on more groups."
    ]
