"""The pictures and the table of several runs' mean edit maps, from their saved numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lens.base.characters import printable
from lens.base.files import read_arrays, write_atomically
from lens.figures.comparison import decibels, number, print_rows, titles
from lens.figures.drawing import amplification, difference, png, pyplot
from lens.record import edits_file
from lens.results.maps import Maps

Array = np.ndarray[Any, Any]


def draw_maps(folder: Path) -> None:
    """`maps.png` from `maps.json` and `maps.npz`, as `maps_picture` draws it."""
    maps = Maps.of_json(json.loads((folder / "maps.json").read_text(encoding="utf-8")))
    arrays = read_arrays(folder / "maps.npz", edits_file.LARGEST)
    write_atomically(folder / "maps.png", maps_picture(maps, arrays))


def maps_picture(maps: Maps, arrays: dict[str, Array]) -> bytes:
    """The maps as a PNG file's bytes: a column a run, its mean image, its map, an example and its edit.

    Each map is clipped at its own 95th percentile, so that shapes can be compared and strengths cannot.
    """
    runs = maps.runs
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
        column[1].imshow(arrays[f"map_{n}"], vmin=0, vmax=run.map_95th_percentile or 1, cmap="magma")
        column[1].set_xlabel(
            f"brightest: ≥ {run.map_95th_percentile:.1e}\n{decibels(run.psnr.value)}, {run.map_images} images",
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


def maps_table(maps: Maps) -> list[list[str]]:
    """A row a run: its error, its map's figures, and its rank correlation with each run's map."""
    names = titles(maps.runs, ", ", printable)
    rows = [["run", "PSNR", "95th percentile", "strongest 5 %", *(f"ρ with {n + 1}" for n in range(len(names)))]]
    for n, (run, name) in enumerate(zip(maps.runs, names, strict=True)):
        share = "nothing edited" if run.strongest_5_percent is None else number(run.strongest_5_percent, True)
        ranks = ["–" if value is None else f"{value:.2f}" for value in maps.rank_correlation[n]]
        rows.append([f"{n + 1}. {name}", decibels(run.psnr.value), f"{run.map_95th_percentile:.2e}", share, *ranks])
    return rows


def print_maps(maps: Maps, where: Path | None = None) -> None:
    """Print the figures of the maps; `where` is the file that holds them."""
    print_rows("where the lenses edit", maps_table(maps), maps.notes, where)
