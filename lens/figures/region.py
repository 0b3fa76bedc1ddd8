"""A region of runs' edits: its picture and how much of them lies in it."""

from __future__ import annotations

from pathlib import Path

from lens.base.markdown import markdown_table
from lens.figures.comparison import number
from lens.figures.drawing import NOISELESS, amplification, difference, pyplot, save_picture
from lens.measuring.edit_maps import clip
from lens.measuring.regions import Region, in_region
from lens.record import edits_file


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
        rows.append([directory.name, *("–" if value is None else number(value, True) for value in values)])
    return markdown_table(rows)
