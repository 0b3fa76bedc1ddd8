"""The picture of a grid: one panel for each combination of the other axes, its arms side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.figures.drawing import drawable, png, pyplot
from lens.grids.compare_arms import mean_sem
from lens.grids.grid import Grid
from lens.grids.summary import Entry, entries, title
from lens.grids.table import Row

COLUMNS = 4


def files(grid: Grid, rows: Sequence[Row]) -> dict[str, bytes]:
    """The pictures by their names: the first measure's is summary.png, each other one's summary_MEASURE.png."""
    names = ["summary.png", *(f"summary_{measure.replace('/', '_')}.png" for measure in grid.measures[1:])]
    return {
        name: panels(grid, entries(grid, rows, measure), measure)
        for name, measure in zip(names, grid.measures, strict=True)
    }


def panels(grid: Grid, found: Sequence[Entry], measure: str) -> bytes:
    """A PNG file's bytes. A point for each seed, mean ± s.e.m. beside them, the baseline's mean as a line across."""
    plt = pyplot()
    groups = list(dict.fromkeys(grid.group(entry.cell) for entry in found))
    arms = list(dict.fromkeys(grid.arm(entry.cell) for entry in found))
    columns = min(COLUMNS, len(groups))
    lines = -(-len(groups) // columns)
    width = max(2.0, 0.55 * len(arms) + 0.8)
    below = 0.035 * max(map(len, arms))  # inches that the slanted names of the arms take
    # Losses of different tasks have no common scale.
    figure, axes = plt.subplots(
        lines, columns, figsize=(max(4.0, width * columns), 2.5 * lines + 0.6 + below), squeeze=False,
        sharey=all(entry.share for entry in found), sharex=True,
    )  # fmt: skip
    for axis, group in zip(axes.flat, groups, strict=False):
        panel(axis, grid, [entry for entry in found if grid.group(entry.cell) == group], arms)
        axis.set_title(drawable(", ".join(group) or grid.name), fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel(drawable(title(measure, found)), fontsize=9)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for number, axis in enumerate(axes.flat[: len(groups)]):
        axis.set_xlim(-0.5, len(arms) - 0.5)
        axis.tick_params(labelsize=8)
        last = number + columns >= len(groups)
        axis.tick_params(axis="x", labelbottom=last)
        axis.set_xticks(range(len(arms)), list(map(drawable, arms)), rotation=30, ha="right")
    figure.suptitle(
        "points: seeds; bars: mean ± s.e.m.\ndashed: the baseline; *: p < 0.05 after correction",
        fontsize=7,
        color="0.4",
    )
    figure.tight_layout()
    return png(plt, figure)


def panel(axis: Any, grid: Grid, found: Sequence[Entry], arms: Sequence[str]) -> None:
    """One group's arms."""
    for entry in found:
        values = np.array(list(entry.values.values())) * (100 if entry.share else 1)
        if not len(values):
            continue
        at = arms.index(grid.arm(entry.cell))
        mean, sem = mean_sem(list(values))
        colour = "0.35" if entry.test is None else f"C{at}"
        if entry.test is None:
            axis.axhline(mean, color=colour, lw=0.8, ls="--", zorder=0)
        axis.scatter(np.full(len(values), at - 0.12), values, s=12, color=colour, alpha=0.5, lw=0)
        axis.errorbar(at + 0.12, mean, sem, fmt="o", ms=4, color=colour, capsize=3)
        if entry.significant:
            axis.annotate("*", (at + 0.12, mean), xytext=(5, 2), textcoords="offset points", fontsize=11)
    axis.margins(y=0.15)
