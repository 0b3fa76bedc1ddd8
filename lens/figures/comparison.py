"""What the tables and pictures of a comparison of runs share: the runs' titles, numbers in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lens.base import intervals
from lens.base.table import show
from lens.figures.drawing import drawable
from lens.results.compared import Compared


def titles(runs: Sequence[Compared], between: str = "\n", shown: Callable[[str], str] = drawable) -> list[str]:
    """Each run's task, data and shortcut, with its directory's name where two runs would be called the same.

    `shown` makes of each of these what a picture, or a terminal, can show.
    """
    plain = [between.join(map(shown, run.title)) for run in runs]
    names = [shown(Path(run.run).name) for run in runs]
    return [f"{t}{between}{name}" if plain.count(t) > 1 else t for t, name in zip(plain, names, strict=True)]


def number(value: float | None, percent: bool) -> str:
    return "∞" if value is None else f"{100 * value:.1f} %" if percent else f"{value:.3f}"


def interval_words(interval: Any, percent: bool) -> str:
    scale, digits = (100, 1) if percent else (1, 3)
    return intervals.words(interval, lambda end: f"{scale * end:.{digits}f}")


def decibels(value: float | None) -> str:
    return "∞ dB" if value is None else f"{value:.1f} dB"


def print_rows(title: str, rows: list[list[str]], notes: list[str], where: Path | None) -> None:
    """A table whose first row holds the columns' names, and its notes below it."""
    dim = [(note, "dim") for note in notes]
    show(title, rows[0], rows[1:], left=rows[0][:1], where=where, lines=True, notes=dim)
