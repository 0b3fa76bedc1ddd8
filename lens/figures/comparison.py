"""Pictures and tables of a comparison of runs, from its saved numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lens.base import intervals
from lens.base.files import read_arrays, write_atomically
from lens.base.markdown import markdown_table
from lens.base.terminal import printable, show
from lens.figures.run import NOISELESS, amplification, difference, drawable, png, pyplot, save_picture
from lens.measuring.edit_maps import clip
from lens.measuring.regions import Region, in_region
from lens.record import edits_file

Array = np.ndarray[Any, Any]


def titles(runs: list[dict[str, Any]], between: str = "\n", shown: Callable[[str], str] = drawable) -> list[str]:
    """Each run's task, data and shortcut, with its directory's name where two runs would be called the same.

    `shown` makes of each of these what a picture, or a terminal, can show.
    """
    plain = [between.join(map(shown, run["title"])) for run in runs]
    names = [shown(Path(run["run"]).name) for run in runs]
    return [f"{t}{between}{name}" if plain.count(t) > 1 else t for t, name in zip(plain, names, strict=True)]


def _number(value: float | None, percent: bool) -> str:
    return "∞" if value is None else f"{100 * value:.1f} %" if percent else f"{value:.3f}"


def _interval(interval: Any, percent: bool) -> str:
    scale, digits = (100, 1) if percent else (1, 3)
    return intervals.words(interval, lambda end: f"{scale * end:.{digits}f}")


def _psnr(value: float | None) -> str:
    return "∞ dB" if value is None else f"{value:.1f} dB"


def _print(title: str, rows: list[list[str]], notes: list[str], where: Path | None) -> None:
    """A table whose first row holds the columns' names, and its notes below it."""
    dim = [(note, "dim") for note in notes]
    show(title, rows[0], rows[1:], left=rows[0][:1], where=where, lines=True, notes=dim)


# --- maps ------------------------------------------------------------------------------------------------------------


def draw_maps(folder: Path) -> None:
    """`maps.png` from `maps.json` and `maps.npz`, as `maps_picture` draws it."""
    numbers = json.loads((folder / "maps.json").read_text(encoding="utf-8"))
    arrays = read_arrays(folder / "maps.npz", edits_file.LARGEST)
    write_atomically(folder / "maps.png", maps_picture(numbers, arrays))


def maps_picture(numbers: dict[str, Any], arrays: dict[str, Array]) -> bytes:
    """The maps as a PNG file's bytes: a column a run, its mean image, its map, an example and its edit.

    Each map is clipped at its own 95th percentile, so that shapes can be compared and strengths cannot.
    """
    runs = numbers["runs"]
    plt = pyplot()
    rows = ("mean of test images", "mean squared edit", "an example", "through its lens", "difference")
    size = (1.9 * len(runs) + 0.5, 1.9 * len(rows) + 1.0)
    figure, axes = plt.subplots(len(rows), len(runs), figsize=size, squeeze=False)
    for n, (run, title) in enumerate(zip(runs, titles(runs), strict=True)):
        original, lensed = arrays[f"original_{n}"], arrays[f"lensed_{n}"]
        factor = amplification(original, lensed)
        column = axes[:, n]
        column[0].imshow(arrays[f"mean_image_{n}"])
        column[0].set_title(title, fontsize=8)
        column[1].imshow(arrays[f"map_{n}"], vmin=0, vmax=run["map_95th_percentile"] or 1, cmap="magma")
        column[1].set_xlabel(
            f"brightest: ≥ {run['map_95th_percentile']:.1e}\n{_psnr(run['psnr'])}, {run['map_images']} images",
            fontsize=7,
        )
        column[2].imshow(original, interpolation="nearest")
        column[3].imshow(lensed, interpolation="nearest")
        column[4].imshow(difference(original, lensed, factor), interpolation="nearest")
        column[4].set_xlabel(f"× {factor:.1f}, grey: unchanged", fontsize=7)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(name, fontsize=8)
    figure.tight_layout(pad=0.4)
    return png(plt, figure)


def maps_table(numbers: dict[str, Any]) -> list[list[str]]:
    """A row a run: its error, its map's figures, and its rank correlation with each run's map."""
    names = titles(numbers["runs"], ", ", printable)
    rows = [["run", "PSNR", "95th percentile", "strongest 5 %", *(f"ρ with {n + 1}" for n in range(len(names)))]]
    for n, (run, name) in enumerate(zip(numbers["runs"], names, strict=True)):
        share = "nothing edited" if run["strongest_5_percent"] is None else _number(run["strongest_5_percent"], True)
        ranks = ["–" if value is None else f"{value:.2f}" for value in numbers["rank_correlation"][n]]
        rows.append([f"{n + 1}. {name}", _psnr(run["psnr"]), f"{run['map_95th_percentile']:.2e}", share, *ranks])
    return rows


def print_maps(numbers: dict[str, Any], where: Path | None = None) -> None:
    """Print the figures of the maps; `where` is the file that holds them."""
    _print("where the lenses edit", maps_table(numbers), numbers["notes"], where)


# --- transfer --------------------------------------------------------------------------------------------------------


def transfer_table(numbers: dict[str, Any]) -> list[list[str]]:
    """A column a task, a row a lens, the raw images above them; each cell with its interval, both statistics, the PSNR."""
    names = titles(numbers["runs"], ", ", printable)
    cell = {(entry["lens"], entry["task"]): entry for entry in numbers["cells"]}
    every = range(len(names))

    def head(task: int) -> str:
        entry = cell[task, task]
        chance = "" if entry["chance"] is None else f", chance {100 * entry['chance']:.0f} %"
        return f"task {task + 1}: {numbers['runs'][task]['task']} ({entry['metric']}{chance})"

    def shown(entry: dict[str, Any], key: str) -> str:
        percent = entry["metric"] == "accuracy"
        return f"{_number(entry[key], percent)} ({_interval(entry[f'{key}_ci'], percent)})"

    def lensed(entry: dict[str, Any]) -> str:
        beside = "raw" if entry["statistics"] == "lensed" else "lensed"
        other = _number(entry[f"with_{beside}_statistics"]["lensed"], entry["metric"] == "accuracy")
        own = "own lens; " if entry["lens"] == entry["task"] else ""
        return f"{shown(entry, 'lensed')}; {own}{beside} statistics {other}; {_psnr(entry['psnr'])}"

    rows = [["images", *map(head, every)], ["raw", *(shown(cell[t, t], "raw") for t in every)]]
    rows += [[f"lens {n + 1}: {names[n]}", *(lensed(cell[n, task]) for task in every)] for n in every]
    return rows


def transfer_markdown(numbers: dict[str, Any]) -> str:
    """The transfer table in Markdown, its notes below it."""
    head, *rows = transfer_table(numbers)
    table = markdown_table([head, ["---", *["---:"] * (len(head) - 1)], *rows])
    return "\n\n".join([table, *numbers["notes"], *intervals.note([head, *rows])]) + "\n"


def print_transfer(numbers: dict[str, Any], where: Path | None = None) -> None:
    """Print the transfer table; `where` is the file that holds its figures."""
    rows = transfer_table(numbers)
    _print("each task on each lens's images", rows, numbers["notes"] + intervals.note(rows), where)


def draw_transfer(folder: Path) -> None:
    """`transfer.png` from `transfer.json`, as `transfer_picture` draws it."""
    numbers = json.loads((folder / "transfer.json").read_text(encoding="utf-8"))
    write_atomically(folder / "transfer.png", transfer_picture(numbers))


def transfer_picture(numbers: dict[str, Any]) -> bytes:
    """A heat map of the accuracy that each lens takes from each task, as a PNG file's bytes.

    The colour is raw − lensed in percentage points, white at none, so that tasks of different accuracies stand side by
    side; losses have no colour. The diagonal, a lens and its own task, is framed.
    """
    plt = pyplot()
    names, cells = titles(numbers["runs"]), numbers["cells"]
    count = len(names)
    lost = np.full((count, count), np.nan)
    for entry in cells:
        if entry["metric"] == "accuracy":
            lost[entry["lens"], entry["task"]] = 100 * entry["gap"]
    limit = max(float(np.nanmax(np.abs(lost))) if np.isfinite(lost).any() else 0.0, 1.0)
    figure, axis = plt.subplots(figsize=(1.7 * count + 2.6, 1.2 * count + 1.9))
    colours = plt.get_cmap("RdBu_r").with_extremes(bad="0.93")
    shown = axis.imshow(lost, cmap=colours, vmin=-limit, vmax=limit, aspect="auto")
    for entry in cells:
        percent = entry["metric"] == "accuracy"
        value = _number(entry["lensed"], percent)
        text = f"{value}\n({_interval(entry['lensed_ci'], percent)})\n{_psnr(entry['psnr'])}"
        dark = abs(lost[entry["lens"], entry["task"]]) > 0.65 * limit
        axis.text(
            entry["task"], entry["lens"], text, ha="center", va="center", fontsize=7, color="white" if dark else "black"
        )
    for n in range(count):
        axis.add_patch(plt.Rectangle((n - 0.5, n - 0.5), 1, 1, fill=False, linewidth=1.5, edgecolor="black"))
    raw = {entry["task"]: (entry["raw"], entry["metric"] == "accuracy") for entry in cells}
    axis.set_xticks(range(count), [f"{name}\nraw {_number(*raw[n])}" for n, name in enumerate(names)], fontsize=7)
    axis.set_yticks(range(count), names, fontsize=7)
    axis.set_xlabel("task, asked of its own extractor", fontsize=8)
    axis.set_ylabel("lens that edited the images", fontsize=8)
    bar = figure.colorbar(shown, ax=axis)
    bar.set_label("accuracy lost, percentage points", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.tight_layout()
    return png(plt, figure)


# --- a region --------------------------------------------------------------------------------------------------------


def draw_region(directory: Path, region: Region, file: Path) -> None:
    """A region of a run's edits, from its `figures/edits.npz`: the map with the region's frame, then crops in rows.

    The rows are the original, the same through the lens, and their difference, amplified.
    """
    numbers = edits_file.load(directory)
    mean_edit, original, lensed = (numbers[name] for name in ("map", "original", "lensed"))
    plt = pyplot()
    factor = amplification(original, lensed)
    rows = {"original": original, "lensed": lensed, f"difference × {factor:.1f}": difference(original, lensed, factor)}
    top, left, high, wide = region.pixels(*mean_edit.shape)
    crop = min(max(1.3 * wide / high, 0.5), 2.6) + 0.1  # inches wide, at about 1.3 inches high
    count = len(original)
    figure = plt.figure(figsize=(4.2 + crop * count, 4.2))
    grid = figure.add_gridspec(3, count + 1, width_ratios=[4.0, *[crop] * count])
    axis = figure.add_subplot(grid[:, 0])
    axis.imshow(mean_edit, vmin=0, vmax=clip(mean_edit) or 1, cmap="magma")
    axis.add_patch(plt.Rectangle((left - 0.5, top - 0.5), wide, high, fill=False, edgecolor="cyan", linewidth=1.5))
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"mean squared edit, and the region\n{NOISELESS}", fontsize=8)
    for r, (name, pictures) in enumerate(rows.items()):
        for n, picture in enumerate(region.cut(pictures)):
            axis = figure.add_subplot(grid[r, 1 + n])
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if n == 0:
                axis.set_ylabel(name, fontsize=7)
    figure.tight_layout(pad=0.3)
    save_picture(plt, figure, file)


def region_markdown(directories: list[Path], region: Region) -> str:
    """How much of each run's edits lies in a region, beside rectangles of the same size elsewhere, in Markdown."""
    head = ["run", "in the region", "its share of the pixels", "mirrored region", "elsewhere, median", "elsewhere, largest", "rectangles with less"]  # fmt: skip
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for directory in directories:
        found = in_region(edits_file.load(directory)["map"], region)
        elsewhere = found["elsewhere"] or {"median": None, "largest": None}
        values = (found["share"], found["area"], found["mirror"], *elsewhere.values(), found["below"])
        rows.append([directory.name, *("–" if value is None else _number(value, True) for value in values)])
    return markdown_table(rows)
