"""The picture and the table of each task on each lens's images, from their saved numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lens.base import intervals
from lens.base.characters import printable
from lens.base.files import write_atomically
from lens.base.markdown import markdown_table
from lens.figures.comparison import decibels, interval_words, number, print_rows, titles
from lens.figures.drawing import png, pyplot
from lens.results.figure import Estimate
from lens.results.transfer import Cell, Transfer


def transfer_table(transfer: Transfer) -> list[list[str]]:
    """A column a task, a row a lens, the raw images above them; each cell with its interval, both statistics, the PSNR."""
    names = titles(transfer.runs, ", ", printable)
    cell = {(entry.lens, entry.task): entry for entry in transfer.cells}
    every = range(len(names))

    def head(task: int) -> str:
        entry = cell[task, task]
        chance = "" if entry.chance is None else f", chance {100 * entry.chance:.0f} %"
        return f"task {task + 1}: {transfer.runs[task].task} ({entry.metric}{chance})"

    def shown(entry: Cell, one: Estimate) -> str:
        percent = entry.metric == "accuracy"
        return f"{number(one.value, percent)} ({interval_words(one.interval, percent)})"

    def lensed(entry: Cell) -> str:
        raw = entry.statistics == "lensed"
        beside, other_set = ("raw", entry.with_raw_statistics) if raw else ("lensed", entry.with_lensed_statistics)
        other = number(other_set.lensed.value, entry.metric == "accuracy")
        own = "own lens; " if entry.lens == entry.task else ""
        return f"{shown(entry, entry.lensed)}; {own}{beside} statistics {other}; {decibels(entry.psnr.value)}"

    rows = [["images", *map(head, every)], ["raw", *(shown(cell[t, t], cell[t, t].raw) for t in every)]]
    rows += [[f"lens {n + 1}: {names[n]}", *(lensed(cell[n, task]) for task in every)] for n in every]
    return rows


def transfer_markdown(transfer: Transfer) -> str:
    """The transfer table in Markdown, its notes below it."""
    head, *rows = transfer_table(transfer)
    table = markdown_table([head, ["---", *["---:"] * (len(head) - 1)], *rows])
    return "\n\n".join([table, *transfer.notes, *intervals.note([head, *rows])]) + "\n"


def print_transfer(transfer: Transfer, where: Path | None = None) -> None:
    """Print the transfer table; `where` is the file that holds its figures."""
    rows = transfer_table(transfer)
    print_rows("each task on each lens's images", rows, transfer.notes + intervals.note(rows), where)


def draw_transfer(folder: Path) -> None:
    """`transfer.png` from `transfer.json`, as `transfer_picture` draws it."""
    transfer = Transfer.of_json(json.loads((folder / "transfer.json").read_text(encoding="utf-8")))
    write_atomically(folder / "transfer.png", transfer_picture(transfer))


def transfer_picture(transfer: Transfer) -> bytes:
    """A heat map of the accuracy that each lens takes from each task, as a PNG file's bytes.

    The colour is raw − lensed in percentage points, white at none, so that tasks of different accuracies stand side by
    side; losses have no colour. The diagonal, a lens and its own task, is framed.
    """
    plt = pyplot()
    names, cells = titles(transfer.runs), transfer.cells
    count = len(names)
    lost = np.full((count, count), np.nan)
    for entry in cells:
        if entry.metric == "accuracy":
            lost[entry.lens, entry.task] = 100 * float(entry.gap.value or 0)
    limit = max(float(np.nanmax(np.abs(lost))) if np.isfinite(lost).any() else 0.0, 1.0)
    figure, axis = plt.subplots(figsize=(1.7 * count + 2.6, 1.2 * count + 1.9))
    colours = plt.get_cmap("RdBu_r").with_extremes(bad="0.93")
    shown = axis.imshow(lost, cmap=colours, vmin=-limit, vmax=limit, aspect="auto")
    for entry in cells:
        percent = entry.metric == "accuracy"
        value = number(entry.lensed.value, percent)
        text = f"{value}\n({interval_words(entry.lensed.interval, percent)})\n{decibels(entry.psnr.value)}"
        dark = abs(lost[entry.lens, entry.task]) > 0.65 * limit
        axis.text(
            entry.task, entry.lens, text, ha="center", va="center", fontsize=7, color="white" if dark else "black"
        )
    for n in range(count):
        axis.add_patch(plt.Rectangle((n - 0.5, n - 0.5), 1, 1, fill=False, linewidth=1.5, edgecolor="black"))
    raw = {entry.task: (entry.raw.value, entry.metric == "accuracy") for entry in cells}
    axis.set_xticks(range(count), [f"{name}\nraw {number(*raw[n])}" for n, name in enumerate(names)], fontsize=7)
    axis.set_yticks(range(count), names, fontsize=7)
    axis.set_xlabel("task, asked of its own extractor", fontsize=8)
    axis.set_ylabel("lens that edited the images", fontsize=8)
    bar = figure.colorbar(shown, ax=axis)
    bar.set_label("accuracy lost, percentage points", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.tight_layout()
    return png(plt, figure)
