"""Every picture and table, from saved numbers."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lens.base import intervals
from lens.base.files import own_folder, write_atomically
from lens.base.markdown import markdown_table
from lens.base.terminal import printable, show
from lens.measuring.edit_maps import clip
from lens.record import edits_file

Array = np.ndarray[Any, Any]
COLUMNS = ("measure", "value", "95 % interval", "note")
NOISELESS = "without noise of the lens's own"
"""What is said of every edit map: it shows where the lens edits, and its noise is the same everywhere."""
LONGEST = 60
"""Characters of a name in a picture."""
DPI = 130


def pyplot() -> Any:
    """matplotlib without a screen, imported only where something is drawn."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["text.parse_math"] = False  # a name may hold dollars
    return plt


@functools.cache
def _glyphs() -> frozenset[int]:
    """The characters that matplotlib's font has."""
    from matplotlib import font_manager

    return frozenset(font_manager.get_font(font_manager.findfont(font_manager.FontProperties())).get_charmap())


def drawable(name: str) -> str:
    """A name as a picture can show it: printable, what the font lacks escaped, and no longer than a title may be."""
    text = "".join(
        c if ord(c) in _glyphs() else c.encode("ascii", "backslashreplace").decode() for c in printable(name)
    )
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-(LONGEST // 2) :]}"


def save_numbers(file: Path, numbers: dict[str, Array]) -> None:
    """Save the arrays that pictures are drawn from, whole or not at all."""
    write_atomically(file, npz(numbers))


def npz(numbers: dict[str, Array]) -> bytes:
    """Arrays as the bytes of an .npz file."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **numbers)
    return content.getvalue()


def draw(directory: Path, metrics: list[dict[str, Any]]) -> None:
    """Draw a run's pictures into `figures/`, from `figures/edits.npz` (where there is a lens) and the metrics."""
    folder = own_folder(directory / "figures")
    if (folder / "edits.npz").exists():
        drawn = edits_file.load(directory)
        edits(drawn, folder / "edits.png")
        edit_map(drawn, folder / "edit_map.png")
    curves(metrics, folder / "curves.png")


def table(summary: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """A summary's figures in rows: measure, value, 95 % interval, note."""
    rows = []

    def row(name: str, part: dict[str, Any], key: str, note: str = "", percent: bool = True, unit: str = "") -> None:
        if part.get(key) is None:
            return

        def form(x: float | None) -> str:
            return "∞" if x is None else f"{100 * x:.1f} %" if percent else f"{x:.2f}{unit}"

        rows.append((name, form(part[key]), intervals.words(part.get(f"{key}_ci"), form), note))

    pretext = summary["pretext"]
    percent = pretext["metric"] == "accuracy"
    what = f"{summary['task']} {pretext['metric']}"
    about = f"{some_of(pretext['images'], pretext.get('of_images'))} images"
    if percent:
        about = f"chance {100 * pretext['chance']:.0f} %, {about}"
    row(f"{what}, raw", pretext, "raw", about, percent)
    row(f"{what}, lensed", pretext, "lensed", "asked of the adversary itself", percent)
    if summary["shortcut"] != "none":
        row(f"{what}, clean", pretext, "clean", "without the planted shortcut", percent)
    row("gap, raw − lensed", pretext, "gap", "paired", percent)
    changed = summary.get("reconstruction") or {}
    changer = "the lens" if not summary.get("match") else summary["adversary"]
    row(f"PSNR of {changer}", changed, "psnr", "at 8 bits", False, " dB")
    if changed.get("psnr_planted") != changed.get("psnr"):
        row(f"PSNR of {changer}, planted", changed, "psnr_planted", "images that carry the cue", False, " dB")
    row(f"SSIM of {changer}", changed, "ssim", "", False)
    if summary.get("match"):
        match = summary["match"]
        row(
            "its change on validation / target",
            match,
            "ratio",
            f"target {match['target_mse']:.5f} (mean square)",
            False,
        )
    for name, probe in summary["downstream"].items():
        train, test = (some_of(probe[name], probe.get(f"{name}_of")) for name in ("n_train", "n_test"))
        about = f"chance {100 * probe['chance']:.1f} %, {train} train, {test} test"
        if left_out := probe.get("n_test_left_out"):
            about += f", {left_out:,} of classes that training lacks left out"
        row(f"{name}: linear", probe, "linear", about)
        row(f"{name}: linear, untrained", probe, "untrained", "the floor: same probe, initial weights")
        row(f"{name}: linear, 12×12 pixels", probe, "pixels", "the floor without an extractor")
        row(f"{name}: linear, lensed statistics", probe, "linear_lensed_statistics", "batch norm not re-estimated")
        row(f"{name}: k-NN", probe, "knn", "k = 20, cosine")
        epochs = f"{probe['fit_sgd']['epochs']} epochs" if "fit_sgd" in probe else ""
        row(f"{name}: linear, SGD", probe, "linear_sgd", epochs)
        row(f"{name}: linear, SGD, untrained", probe, "untrained_sgd", "the floor: same probe, initial weights")
        row(f"{name}: linear, SGD, 12×12 pixels", probe, "pixels_sgd", "the floor without an extractor")
        row(f"{name}: linear, SGD, lensed statistics", probe, "linear_lensed_statistics_sgd", "")
        for layer, part in probe.get("layers", {}).items():
            for key, method in (("", ""), ("_sgd", ", SGD")):
                row(f"{name}: linear{method}, {layer}", part, f"linear{key}", f"{part['features']} features")
                row(f"{name}: linear{method}, {layer}, untrained", part, f"untrained{key}", "the floor")
        for path, part in probe.get("fusion", {}).items():
            other, control = Path(path).name, Path(part["control_run"]).name
            both = f"{part['features']['fused']} features"
            for key, method in (("", ""), ("_sgd", ", SGD")):
                row(f"{name}: linear{method}, with {other}", part, f"fused{key}", both)
                row(
                    f"{name}: linear{method}, control",
                    part,
                    f"control{key}",
                    f"{other} with {control}, {both}",
                )
                row(f"{name}: linear{method}, this run alone", part, f"run{key}", f"{part['features']['run']} features")
                row(
                    f"{name}: linear{method}, {other} alone",
                    part,
                    f"other{key}",
                    f"{part['features']['other']} features",
                )
                row(f"{name}: gain over the control{method}", part, f"gain{key}", "paired")
    rows.append(
        ("images per second", f"{summary['images_per_second']:.1f}", "", f"{summary['seconds']:.0f} s of training")
    )
    if phases := summary.get("phases"):
        longest = sorted(phases, key=lambda name: -phases[name])[:4]
        parts = ", ".join(f"{name} {phases[name]:.0f}" for name in phases if name in longest)
        rows.append(("seconds in all", f"{sum(phases.values()):.0f}", "", f"{parts} s"))
    return rows


def some_of(count: int, available: int | None) -> str:
    """How many images were looked at, and of how many where not of all."""
    return f"{count:,}" if available in (None, count) else f"{count:,} of {available:,}"


def print_table(summary: dict[str, Any], where: Path | None = None) -> None:
    """Print a summary's figures as a table, each with its 95 % interval; `where` is the file that holds them."""
    title = f"{summary['task']} on {summary['data']}, {summary['steps']} steps, seed {summary['seed']}"
    rows = table(summary)
    notes = [(line, "bold") for line in intervals.note(rows)]
    show(title, COLUMNS, rows, left=("measure", "note"), where=where, notes=notes)


def markdown(summary: dict[str, Any]) -> str:
    """A summary's figures as a Markdown table."""
    return markdown_table([COLUMNS, ("---", "---:", "---:", "---"), *table(summary)])


def amplification(original: Array, lensed: Array) -> float:
    """The factor that brings the 99.5th percentile of the change to half of the range."""
    change = np.abs(lensed.astype(float) - original.astype(float))
    return float(np.clip(127 / max(float(np.quantile(change, 0.995)), 1.0), 1, 30))


def difference(original: Array, lensed: Array, factor: float) -> Array:
    """The change, amplified around grey: uint8 pictures in, uint8 out."""
    change = lensed.astype(float) - original.astype(float)
    shown: Array = (127.5 + factor * change).clip(0, 255).astype(np.uint8)
    return shown


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


def mosaic(rows: Sequence[Array], gap: int) -> Array:
    """Rows of as many pictures each (n, H, W, C) uint8 as one picture, `gap` white pixels between them."""
    stacked = np.stack(rows)
    padded = np.pad(stacked, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    r, n, h, w, c = padded.shape
    return padded.transpose(0, 2, 1, 3, 4).reshape(r * h, n * w, c)[:-gap, :-gap]


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
            axis.text(0.5, 0.5, "no lens", ha="center", va="center", transform=axis.transAxes, color="grey")
    figure.tight_layout()
    save_picture(plt, figure, file)


def save_picture(plt: Any, figure: Any, file: Path) -> None:
    """Save a figure as PNG, whole or not at all, and close it."""
    write_atomically(file, png(plt, figure))


def png(plt: Any, figure: Any) -> bytes:
    """A figure as the bytes of a PNG file; it is closed."""
    content = io.BytesIO()
    figure.set_dpi(DPI)
    figure.canvas.print_png(content)  # figure.savefig would draw it twice
    plt.close(figure)
    return content.getvalue()
