"""The picture of a proof of removal, from its saved numbers."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from lens.base import intervals
from lens.figures.drawing import NOISELESS, amplification, difference, drawable, npz, png, pyplot
from lens.figures.removal_table import asked, decibels, headline, presence_bounds
from lens.protocols.lookup import short_names
from lens.results.removal import (
    Judged,
    ReadLensed,
    ReadRaw,
    Removal,
)

Array = np.ndarray[Any, Any]


def files(found: Removal, pictures: dict[str, Array]) -> dict[str, str | bytes]:
    """The picture of a proof and the arrays that it is drawn from, by their names in a run's directory."""
    return {"figures/removal.npz": npz(pictures), "figures/removal.png": draw(found, pictures)}


def draw(found: Removal, pictures: dict[str, Array]) -> bytes:
    """A PNG file's bytes. For each source its raw images, lensed ones, amplified differences and mean edit map; below, the accuracies."""
    plt = pyplot()
    raw, lensed = pictures["raw"], pictures["lensed"]
    sources, each = raw.shape[:2]
    factor = amplification(raw.reshape(-1, *raw.shape[2:]), lensed.reshape(-1, *raw.shape[2:]))
    parts_asked = {drawable(name): part for name, part in asked(found).items()}
    rows, below, margin = 3 * sources, 0.6 + 0.6 * max(1, len(parts_asked)), 2.6 if any(parts_asked) else 1.3
    width, height = 1.25 * (each + 2) + margin, 1.25 * (rows + below) + 0.7
    figure = plt.figure(figsize=(width, height))
    figure.subplots_adjust(left=margin / width, right=1 - 0.15 / width, top=1 - 0.45 / height, bottom=0.5 / height)
    title = textwrap.fill(headline(found, drawable), int(13 * width))
    figure.suptitle(title, fontsize=9, y=1 - 0.08 / height)
    grid = figure.add_gridspec(rows + 1, each + 2, height_ratios=[1] * rows + [below], hspace=0.08, wspace=0.08)
    top = max(float(np.quantile(pictures["map"], 0.98)), 1e-12)
    for k, name in enumerate(map(drawable, short_names(found.sources or []))):
        parts = (
            ("raw", raw[k]),
            ("lensed", lensed[k]),
            (f"difference × {factor:.1f}", difference(raw[k], lensed[k], factor)),
        )
        for r, (title, row) in enumerate(parts):
            for c, picture in enumerate(row):
                axis = figure.add_subplot(grid[3 * k + r, c])
                axis.imshow(picture, interpolation="nearest")
                axis.set(xticks=[], yticks=[])
                if c == 0:
                    label = f"{name}\n{title}" if r == 0 else title
                    axis.set_ylabel(label, fontsize=7)
        axis = figure.add_subplot(grid[3 * k : 3 * k + 3, each:])
        axis.imshow(pictures["map"][k], vmin=0, vmax=top, cmap="magma")
        axis.set(xticks=[], yticks=[])
        axis.set_title(
            f"mean squared edit, {NOISELESS}\nPSNR with all of it: {decibels((found.psnr_by_source or [])[k])}",
            fontsize=7,
        )
    axis = figure.add_subplot(grid[rows, :])
    _all_accuracies(axis, parts_asked, found)
    return png(plt, figure)


def _all_accuracies(axis: Any, asked: dict[str, Judged], found: Removal) -> None:
    """What judges read of all that was asked, one below the other, and the best possible line in words."""
    bounds = {drawable(name): bound for name, bound in presence_bounds(found).items()}
    if found.bound:
        bounds[""] = found.bound
    for row, (name, part) in enumerate(asked.items()):
        _accuracies(axis, part, -2 * row)
        if name in bounds and bounds[name].proved is not None:
            axis.plot(100 * bounds[name].proved, 0.25 - 2 * row, "v", color="C2")  # type: ignore[operator]
    axis.set(
        yticks=[y - 2 * row for row in range(len(asked)) for y in (1, 0)],
        yticklabels=[f"{name or 'the source'}, {kind}" for name in asked for kind in ("raw", "lensed")],
        ylim=(1.4 - 2 * max(1, len(asked)), 1.5),
        xlim=(min([45.0, *(end for part in asked.values() for end in _lowest(part))]), 101),
    )
    axis.tick_params(labelsize=7)
    label = (
        "balanced accuracy, % (dot: the best fresh classifier in validation, 95 % interval; |: each; ×: other judges; "
        "▾: proved bound; dotted: chance)"
    )
    line = found.best_possible
    if line and line.sides:
        label += f"\nPSNR, mean of {line.sides}: {decibels(line.found)}; at most {decibels(line.psnr)} where they come out alike"
    axis.set_xlabel(label, fontsize=7)


def _accuracies(axis: Any, part: Judged, low: int) -> None:
    """What judges read, on raw images at height `low` + 1 and on lensed ones at `low`, and chance."""
    assert part.chance is not None
    raw, lensed = part.answered
    heights: tuple[tuple[int, ReadRaw | ReadLensed], ...] = ((low + 1, raw), (low, lensed))
    for y, read in heights:
        found = read.balanced_accuracy
        at, ends = 100 * (found.value or 0), found.interval
        if intervals.too_few(ends):
            side = "right" if at > 75 else "left"
            why = intervals.words(ends, str)
            axis.annotate(why, (at, y), (0, 5), textcoords="offset points", ha=side, fontsize=7)
        elif ends:
            axis.plot([100 * (end or 0) for end in ends], [y, y], color="C0", linewidth=3, solid_capstyle="butt")
        axis.plot(at, y, "o", color="C0")
        every = [100 * one for judges in (read.by_architecture or {}).values() for one in judges.balanced_accuracy]
        axis.plot(every, [y - 0.25] * len(every), "|", color="grey")
        others = [100 * (one.value or 0) for one in read.judges.values()]
        axis.plot(others, [y] * len(others), "x", color="C3")
    axis.plot([100 * part.chance] * 2, [low - 0.6, low + 1.5], color="black", linestyle=":", linewidth=1)


def _lowest(part: Judged) -> list[float]:
    """Where each judge's accuracy, the intervals' ends and chance lie, in %, less a little."""
    every = [part.chance]
    for read in part.answered:
        ends = read.balanced_accuracy.interval
        every += [] if intervals.too_few(ends) else list(ends or ())
        every += [one.value for one in (read.balanced_accuracy, *read.judges.values())]
    return [100 * one - 5 for one in every if one is not None]
