"""The table of a run's summary: printed, and as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lens.base import intervals
from lens.base.files import reading
from lens.base.markdown import markdown_table
from lens.base.table import show

COLUMNS = ("measure", "value", "95 % interval", "note")


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
    about = f"{out_of(pretext['images'], pretext.get('of_images'))} images"
    if percent:
        about = f"chance {100 * pretext['chance']:.0f} %, {about}"
    row(f"{what}, raw", pretext, "raw", about, percent)
    row(f"{what}, lensed", pretext, "lensed", "asked of the extractor that it plays", percent)
    if summary["shortcut"] != "none":
        row(f"{what}, clean", pretext, "clean", "without the planted shortcut", percent)
    row("gap, raw − lensed", pretext, "gap", "paired", percent)
    changed = summary.get("reconstruction") or {}
    changer = "the lens" if not summary.get("match") else summary["lens"]
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
        train, test = (out_of(probe[name], probe.get(f"{name}_of")) for name in ("n_train", "n_test"))
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


def out_of(count: int, available: int | None) -> str:
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


def refuse_damaged(summary: dict[str, Any], directory: Path) -> None:
    """Raise BadInput for a summary that cannot be shown: that is told before anything is measured, and not after it."""
    with reading(directory / "summary.json", f"delete it, then measure again with --resume {directory}"):
        table(summary)
