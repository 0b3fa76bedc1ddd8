"""The pictures of a run, from saved numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lens.base.files import own_folder
from lens.figures.drawing import NOISELESS, amplification, difference, drawable, mosaic, pyplot, save_picture
from lens.measuring.edit_maps import clip
from lens.record import edits_file

Array = np.ndarray[Any, Any]


def draw(directory: Path, metrics: list[dict[str, Any]]) -> None:
    """Draw a run's pictures into `figures/`, from `figures/edits.npz` (where there is a lens) and the metrics."""
    folder = own_folder(directory / "figures")
    if (folder / "edits.npz").exists():
        drawn = edits_file.load(directory)
        edits(drawn, folder / "edits.png")
        edit_map(drawn, folder / "edit_map.png")
    curves(metrics, folder / "curves.png")


def edits(numbers: dict[str, Array], file: Path) -> None:
    """Held-out images in rows: original | lensed (or what changed them) | amplified difference (grey is no change).

    Where a cue is planted, clean images stand above them.
    """
    plt = pyplot()
    original, lensed = numbers["original"], numbers["lensed"]
    factor = amplification(original, lensed)
    rows = [
        ("original", original),
        (drawable(str(numbers.get("by", "lensed"))), lensed),
        (f"difference × {factor:.1f}", difference(original, lensed, factor)),
    ]
    if not np.array_equal(numbers["clean"], original):
        rows = [("clean", numbers["clean"]), ("planted", original), *rows[1:]]
    count, gap = len(original), max(1, original.shape[1] // 24)
    figure, axis = plt.subplots(figsize=(1.3 * count + 0.6, 1.3 * len(rows) + 0.2))
    # One axis for all pictures: one for each of them takes ten times as long.
    axis.imshow(mosaic([pictures for _, pictures in rows], gap), interpolation="nearest")
    height = original.shape[1] + gap
    axis.set_yticks(
        [height * number + (height - gap - 1) / 2 for number in range(len(rows))],
        [title for title, _ in rows],
        rotation=90,
        va="center",
        fontsize=8,
    )
    axis.tick_params(length=0)
    axis.set(xticks=[])
    axis.spines[:].set_visible(False)
    figure.tight_layout(pad=0.3)
    save_picture(plt, figure, file)


def edit_map(numbers: dict[str, Array], file: Path) -> None:
    """The mean image, and beside it the mean edit map, without the lens's own noise, clipped at its 95th percentile."""
    plt = pyplot()
    mean_edit, count = numbers["map"], int(numbers["map_images"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6))
    left.imshow(numbers["mean_image"])
    left.set_title(f"mean of {count} test images", fontsize=9)
    shown = right.imshow(mean_edit, vmax=clip(mean_edit), vmin=0, cmap="magma")
    right.set_title(f"mean squared edit, {NOISELESS}\n(clipped at its 95th percentile)", fontsize=9)
    for axis in (left, right):
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=right)
    figure.tight_layout()
    save_picture(plt, figure, file)


def curves(metrics: list[dict[str, Any]], file: Path) -> None:
    """Losses, reconstruction weight and PSNR, and held-out accuracies, against the step."""
    plt = pyplot()
    training = [line for line in metrics if line["kind"] == "train"]
    held_out = [line for line in metrics if line["kind"] == "val"]
    # Where nothing is planted, clean images are the raw ones.
    planted = any(line["clean"] != line["raw"] for line in held_out)
    weight = "strength of the change" if any("strength" in line for line in training) else "reconstruction weight λ"
    panels: list[tuple[str, list[dict[str, Any]], list[str]]] = [
        ("training loss", training, ["extractor", "adversarial"]),
        ("PSNR, dB", training, ["psnr"]),
        (weight, training, ["recon_weight", "strength"]),
        ("validation", held_out, ["raw", "lensed", *(["clean"] if planted else [])]),
    ]
    figure, axes = plt.subplots(1, 4, figsize=(14, 3))
    for axis, (title, lines, keys) in zip(axes, panels, strict=True):
        for key in keys:
            points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=key, marker="." if len(points) < 30 else None)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=7)
        else:
            axis.text(0.5, 0.5, "none in this run", ha="center", va="center", transform=axis.transAxes, color="grey")
    figure.tight_layout()
    save_picture(plt, figure, file)
