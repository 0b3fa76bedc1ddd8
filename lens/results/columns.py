"""The columns that a grid's table has of a summary's figures: derived from its dataclasses, listed nowhere."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from lens.results.figure import Figure
from lens.results.result import Part, Result
from lens.results.summary import Summary

OF_IMAGES = {"val_images": "the pretext task and the PSNR", "val_downstream_images": "probes"}
"""The columns that say of how many images validation figures are, and of which figures."""


@dataclasses.dataclass(frozen=True)
class Level:
    """A result somewhere in a summary: its class, and the fields that lead to it."""

    of: type[Result]
    path: tuple[Part, ...] = ()

    @property
    def always(self) -> bool:
        """Whether every table has its columns: of what a summary may leave out only one where some run has it."""
        return not any(part.optional for part in self.path)

    def figures(self) -> list[Figure]:
        """Its figures that a table has, in their order."""
        own = [part.figure for part in self.of.parts() if part.kind != "estimates"]
        return [self._named(one) for one in own if one and one.shown]

    def by_key(self) -> list[tuple[str, Figure]]:
        """The fields whose figures lie by their keys, and what these are called after."""
        return [
            (part.name, self._named(part.figure))
            for part in self.of.parts()
            if part.kind == "estimates" and part.figure
        ]

    def _named(self, one: Figure) -> Figure:
        """A figure whose column is called after what was asked."""
        asked = [part.asked for part in self.path if part.asked]
        return dataclasses.replace(one, column=one.column.format(asked=asked[-1])) if asked else one

    def is_left_out(self, summary: Result) -> bool:
        """Whether a summary leaves it out: it has not been measured."""
        found: list[tuple[str, Any]] = [("", summary)]
        for part in self.path:
            there = [(name, one) for name, one in found if one is not None]
            if not there or (part.optional and not any(getattr(one, part.name) for _, one in there)):
                return part.optional
            found = _below(there, part)
        return False

    def found(self, summary: Result) -> list[tuple[str, Result | None]]:
        """What a summary has of it, each with its source's name ("" where there is one alone); nothing is one None."""
        found: list[tuple[str, Any]] = [("", summary)]
        for part in self.path:
            found = _below(found, part)
        return found


def _below(found: list[tuple[str, Any]], part: Part) -> list[tuple[str, Any]]:
    """What results have in one of their fields: of several by name each with its name."""
    if part.kind != "by name":
        return [(name, None if one is None else getattr(one, part.name)) for name, one in found]
    return [pair for _, one in found for pair in ((one and getattr(one, part.name)) or {"": None}).items()]


def levels() -> tuple[Level, ...]:
    """Every result within a summary, in the order of the fields."""
    return _within(Level(Summary))


@functools.cache
def _within(level: Level) -> tuple[Level, ...]:
    found = [level]
    by_name = any(part.kind == "by name" for part in level.path)
    for part in level.of.parts():
        # What lies by name in what lies by name (a probe's layers) has no column.
        if part.kind in ("result", "inlined") or (part.kind == "by name" and not by_name):
            found += _within(Level(part.of, (*level.path, part)))
    return tuple(found)


def every(only_always: bool = False) -> list[Figure]:
    """All figures that tables have, or those alone whose columns every table has."""
    return [one for level in levels() if level.always or not only_always for one in level.figures()]


def by_key() -> list[Figure]:
    """What figures are called after that lie by their keys: the judges of a proof."""
    return [one for level in levels() for _, one in level.by_key()]


def described(column: str) -> Figure | None:
    """The figure that a column of a grid's table shows, also as val_COLUMN, COLUMN_measured, COLUMN_SOURCE or COLUMN_KEY."""
    figures = {one.column: one for one in every()}
    bare = column.removesuffix("_measured")
    for name in (bare, bare.removeprefix("val_")):
        if name in figures:
            return figures[name]
    several = [*(one for one in figures.values() if one.each), *by_key()]
    found = [one for one in several if bare.removeprefix("val_").startswith(f"{one.column}_")]
    return max(found, key=lambda one: len(one.column), default=None)
