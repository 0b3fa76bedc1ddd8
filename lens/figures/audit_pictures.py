"""The pictures of an audit, from its saved results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lens.auditing.verdict import called
from lens.figures.audit_tables import percent
from lens.figures.drawing import drawable, mosaic, png, pyplot
from lens.protocols.lookup import short_names
from lens.results.audit import Audit, Row

Array = np.ndarray[Any, Any]
COLOURS = {"file": "#7b3294", "history": "#d95f02", "control": "#666666", "pixels": "#1b6ca8"}
KINDS = {"file": "the file, before a pixel is decoded", "history": "how pixels were processed and stored", "control": "no content at all", "pixels": "the pixels"}  # fmt: skip
MOST_ROWS = 6
"""Telling rows whose most extreme images are shown."""


def ladder_picture(audit: Audit) -> bytes:
    """Each row's accuracy with its interval, its null as a hollow mark, chance as a line; significant rows filled."""
    plt = pyplot()
    rows = audit.rows
    figure, axis = plt.subplots(figsize=(8.5, 0.26 * len(rows) + 1.6))
    for place, row in enumerate(rows):
        colour, y = COLOURS[row.kind], -place
        ends = row.balanced_accuracy.interval
        if isinstance(ends, list):
            axis.plot([100 * end for end in ends], [y, y], color=colour, linewidth=2, alpha=0.55, solid_capstyle="butt")
        face = colour if row.significant else "white"
        marker = "o" if row.judge == "trees" else "D"
        axis.plot(100 * row.accuracy, y, marker, color=colour, markerfacecolor=face, markersize=6, zorder=3)
        if row.null is not None:
            axis.plot(100 * row.null, y, "|", color="0.35", markersize=9, zorder=2)
    axis.axvline(100 * audit.chance, color="0.6", linewidth=1, linestyle="--", zorder=0)
    axis.set_yticks([-place for place in range(len(rows))], list(map(called, rows)), fontsize=8)
    for tick, row in zip(axis.get_yticklabels(), rows, strict=True):
        tick.set_color(COLOURS[row.kind])
    axis.set_ylim(-len(rows) + 0.4, 0.6)
    low = min([audit.chance, *(row.accuracy for row in rows), *(row.null or 1 for row in rows)])
    axis.set_xlim(max(0, 100 * low - 6), 101)
    axis.set_xlabel("balanced accuracy, % (bar: 95 % interval)", fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", color="0.93")
    axis.set_axisbelow(True)
    axis.set_title(drawable(f"what tells {', '.join(short_names(audit.sources))} apart"), fontsize=9)
    marks = [plt.Line2D([], [], color=COLOURS[kind], marker="s", linestyle="", label=words) for kind, words in KINDS.items() if any(row.kind == kind for row in rows)]  # fmt: skip
    marks += [
        plt.Line2D([], [], color="0.2", marker="o", linestyle="", label="significant"),
        plt.Line2D([], [], color="0.2", marker="o", markerfacecolor="white", linestyle="", label="not significant"),
        plt.Line2D([], [], color="0.35", marker="|", linestyle="", label="null: random parts"),
        plt.Line2D([], [], color="0.6", linestyle="--", label="chance"),
    ]
    figure.legend(handles=marks, loc="lower center", ncols=4, fontsize=7, frameon=False)
    figure.tight_layout(rect=(0, 0.55 / (0.26 * len(rows) + 1.6), 1, 1))
    return png(plt, figure)


def rows_shown(audit: Audit, arrays: Mapping[str, Array]) -> list[tuple[Row, str]]:
    """The telling rows whose extremes are shown, and the arrays' names: the strongest of each kind, then of the pixels."""
    found = []
    for row in sorted(audit.rows, key=lambda row: -row.excess):
        key = f"extreme/{row.name}" + (" (network)" if row.judge == "network" else "")
        if row.significant and key in arrays:
            found.append((row, key))
    first = [entry for n, entry in enumerate(found) if entry[0].kind not in [other.kind for other, _ in found[:n]]]
    pixels = [entry for entry in found if entry[0].kind == "pixels" and entry not in first]
    return [*first, *pixels][:MOST_ROWS]


def extremes_picture(audit: Audit, telling: list[tuple[Row, str]], arrays: Mapping[str, Array]) -> bytes:
    """Of each telling row the test images of each source that are most surely taken for it, the surest first."""
    plt = pyplot()
    names = short_names(audit.sources)
    figure, axes = plt.subplots(
        len(telling), len(names), figsize=(2.9 * len(names) + 1.2, 0.85 * len(telling) + 0.4), squeeze=False
    )
    for axis_row, (row, key) in zip(axes, telling, strict=True):
        for k, axis in enumerate(axis_row):
            axis.imshow(mosaic([arrays[key][k]], 2))
            axis.set_xticks([])
            axis.set_yticks([])
            for side in axis.spines.values():
                side.set_visible(False)
            if row is telling[0][0]:
                axis.set_title(drawable(names[k]), fontsize=8)
        axis_row[0].set_ylabel(
            f"{called(row)}\n{percent(row.accuracy)}", fontsize=7, rotation=0, ha="right", va="center"
        )
    figure.tight_layout(h_pad=0.2)
    return png(plt, figure)


def confusion_picture(audit: Audit) -> bytes:
    """Of the strongest row the share of each source's test images by the source that they are taken for."""
    plt = pyplot()
    row = max(audit.rows, key=lambda row: row.excess)
    names = [drawable(name) for name in short_names(audit.sources)]
    share = 100 * np.array(row.confusion)
    figure, axis = plt.subplots(figsize=(1.1 * len(names) + 2.4, 0.9 * len(names) + 1.7))
    axis.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for i, j in np.ndindex(*share.shape):
        axis.text(
            j,
            i,
            f"{share[i, j]:.0f} %",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if share[i, j] > 60 else "black",
        )
    axis.set_xticks(range(len(names)), names, fontsize=7, rotation=20 if max(map(len, names)) > 12 else 0)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.set_xlabel("taken for", fontsize=8)
    axis.set_ylabel("is of", fontsize=8)
    axis.set_title(f"by {called(row)}", fontsize=8)
    figure.tight_layout()
    return png(plt, figure)


def combs_speak(audit: Audit) -> bool:
    """Whether the rows of how pixels were stored tell, and the pictures of a source have steps in common."""
    return any(row.significant and row.kind == "history" for row in audit.rows) and any(
        np.any(one.steps) for one in audit.combs
    )


def combs_picture(audit: Audit) -> bytes:
    """How often one DCT coefficient of luminance has each size, for each source: a comb where it was quantised."""
    plt = pyplot()
    names = short_names(audit.sources)
    figure, axes = plt.subplots(len(names), 1, figsize=(7, 1.5 * len(names) + 0.7), squeeze=False, sharex=True)
    for axis, one, name in zip(axes[:, 0], audit.combs, names, strict=True):
        size = (np.arange(len(one.counts)) + 0.5) * one.width
        axis.fill_between(size, np.maximum(one.counts, 0.5), 0.5, step="mid", color=COLOURS["history"], linewidth=0)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, place: f"{value:,.0f}")
        step = one.steps[1][1]
        told = "no step told" if not step else f"step {step}"
        quality = f", JPEG quality {one.quality}" if one.quality is not None else ""
        axis.set_title(drawable(f"{name}: {told}{quality}"), fontsize=8)
        axis.tick_params(labelsize=7)
    axes[-1, 0].set_xlabel("size of the DCT coefficient in row 1, column 1, in levels", fontsize=8)
    figure.tight_layout()
    return png(plt, figure)


def where_picture(audit: Audit) -> bytes:
    """The maps of where, one for each source, in one range of colours."""
    plt = pyplot()
    assert audit.where is not None
    maps = np.array(audit.where.maps)
    limit = max(float(np.abs(maps).max()), 1e-6)
    names = short_names(audit.sources)
    figure, axes = plt.subplots(
        1, len(names), figsize=(2.4 * len(names) + 1.2, 2.9), squeeze=False, layout="constrained"
    )
    for axis, one, name in zip(axes[0], maps, names, strict=True):
        shown = axis.imshow(one, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(drawable(name), fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
    bar = figure.colorbar(shown, ax=list(axes[0]), shrink=0.8)
    bar.set_label("fall of log-odds", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    check = audit.where.fragility
    figure.suptitle(
        "where the network looks" + ("" if check is None else f" (with noise: rank correlation {check:.2f})"),
        fontsize=8,
    )
    return png(plt, figure)
