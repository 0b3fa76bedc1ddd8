"""The table of a run's summary: printed, and as Markdown."""

from __future__ import annotations

from pathlib import Path

from lens.base import intervals
from lens.base.markdown import markdown_table
from lens.base.table import show
from lens.results.downstream import Downstream, Layer
from lens.results.figure import Estimate
from lens.results.fusion import Fusion
from lens.results.summary import Summary

COLUMNS = ("measure", "value", "95 % interval", "note")


Row = tuple[str, str, str, str]


def table(summary: Summary) -> list[Row]:
    """A summary's figures in rows: measure, value, 95 % interval, note."""
    rows = [*_of_the_task(summary), *_of_the_lens(summary)]
    for name, probe in summary.downstream.items():
        rows += _of_a_probe(name, probe)
        for layer, part in probe.layers.items():
            rows += _of_a_layer(f"{name}: linear", layer, part)
        for path, fusion in probe.fusion.items():
            rows += _of_a_fusion(name, Path(path).name, fusion)
    trained = summary.trained
    rows.append(("images per second", f"{trained.images_per_second:.1f}", "", f"{trained.seconds:.0f} s of training"))
    if phases := summary.phases:
        longest = sorted(phases, key=lambda name: -phases[name])[:4]
        parts = ", ".join(f"{name} {phases[name]:.0f}" for name in phases if name in longest)
        rows.append(("seconds in all", f"{sum(phases.values()):.0f}", "", f"{parts} s"))
    return rows


def _row(name: str, one: Estimate | None, note: str = "", percent: bool = True, unit: str = "") -> list[Row]:
    """One row, or none where there is no figure."""
    if one is None or one.value is None:
        return []

    def form(x: float | None) -> str:
        return "∞" if x is None else f"{100 * x:.1f} %" if percent else f"{x:.2f}{unit}"

    return [(name, form(one.value), intervals.words(one.interval, form), note)]


def _of_the_task(summary: Summary) -> list[Row]:
    pretext, percent = summary.pretext, summary.pretext.metric == "accuracy"
    what = f"{summary.trained.task} {pretext.metric}"
    about = f"{out_of(pretext.images, pretext.of_images)} images"
    if pretext.chance is not None:
        about = f"chance {100 * pretext.chance:.0f} %, {about}"
    clean = pretext.clean if summary.trained.shortcut != "none" else None
    return [
        *_row(f"{what}, raw", pretext.raw, about, percent),
        *_row(f"{what}, lensed", pretext.lensed, "asked of the extractor that it plays", percent),
        *_row(f"{what}, clean", clean, "without the planted shortcut", percent),
        *_row("gap, raw − lensed", pretext.gap, "paired", percent),
    ]


def _of_the_lens(summary: Summary) -> list[Row]:
    changed, match, rows = summary.reconstruction, summary.match, []
    if changed is not None:
        changer = "the lens" if match is None else summary.trained.lens
        rows += _row(f"PSNR of {changer}", changed.psnr, "at 8 bits", False, " dB")
        if changed.psnr_planted is not None and changed.psnr_planted.value != (changed.psnr or Estimate(None)).value:
            rows += _row(f"PSNR of {changer}, planted", changed.psnr_planted, "images that carry the cue", False, " dB")
        rows += _row(f"SSIM of {changer}", changed.ssim, "", False)
    if match is not None:
        note = f"target {match.target_mse:.5f} (mean square)"
        rows += _row("its change on validation / target", Estimate(match.ratio), note, False)
    return rows


def _of_a_probe(name: str, probe: Downstream) -> list[Row]:
    train, test = out_of(probe.n_train, probe.n_train_of), out_of(probe.n_test, probe.n_test_of)
    about = f"chance {100 * probe.chance:.1f} %, {train} train, {test} test"
    if probe.n_test_left_out:
        about += f", {probe.n_test_left_out:,} of classes that training lacks left out"
    epochs = f"{probe.fit_sgd.epochs} epochs" if probe.fit_sgd else ""
    untrained, pixels = "the floor: same probe, initial weights", "the floor without an extractor"
    lensed, sgd = "linear, lensed statistics", "linear, SGD"
    return [
        *_row(f"{name}: linear", probe.linear, about),
        *_row(f"{name}: linear, untrained", probe.untrained, untrained),
        *_row(f"{name}: linear, 12×12 pixels", probe.pixels, pixels),
        *_row(f"{name}: {lensed}", probe.linear_lensed_statistics, "batch norm not re-estimated"),
        *_row(f"{name}: k-NN", probe.knn, "k = 20, cosine"),
        *_row(f"{name}: {sgd}", probe.linear_sgd, epochs),
        *_row(f"{name}: {sgd}, untrained", probe.untrained_sgd, untrained),
        *_row(f"{name}: {sgd}, 12×12 pixels", probe.pixels_sgd, pixels),
        *_row(f"{name}: {sgd}, lensed statistics", probe.linear_lensed_statistics_sgd),
    ]


def _of_a_layer(linear: str, layer: str, part: Layer) -> list[Row]:
    about = f"{part.features} features"
    return [
        *_row(f"{linear}, {layer}", part.linear, about),
        *_row(f"{linear}, {layer}, untrained", part.untrained, "the floor"),
        *_row(f"{linear}, SGD, {layer}", part.linear_sgd, about),
        *_row(f"{linear}, SGD, {layer}, untrained", part.untrained_sgd, "the floor"),
    ]


def _of_a_fusion(name: str, other: str, part: Fusion) -> list[Row]:
    both, control = f"{part.features['fused']} features", Path(part.control_run).name
    alone = (f"{part.features['run']} features", f"{part.features['other']} features")
    rows = []
    for method, fused, beside, run, their, gain in (
        ("", part.fused, part.control, part.run, part.other, part.gain),
        (", SGD", part.fused_sgd, part.control_sgd, part.run_sgd, part.other_sgd, part.gain_sgd),
    ):
        rows += _row(f"{name}: linear{method}, with {other}", fused, both)
        rows += _row(f"{name}: linear{method}, control", beside, f"{other} with {control}, {both}")
        rows += _row(f"{name}: linear{method}, this run alone", run, alone[0])
        rows += _row(f"{name}: linear{method}, {other} alone", their, alone[1])
        rows += _row(f"{name}: gain over the control{method}", gain, "paired")
    return rows


def out_of(count: int, available: int | None) -> str:
    """How many images were looked at, and of how many where not of all."""
    return f"{count:,}" if available in (None, count) else f"{count:,} of {available:,}"


def print_table(summary: Summary, where: Path | None = None) -> None:
    """Print a summary's figures as a table, each with its 95 % interval; `where` is the file that holds them."""
    trained = summary.trained
    title = f"{trained.task} on {trained.data}, {trained.steps} steps, seed {trained.seed}"
    rows = table(summary)
    notes = [(line, "bold") for line in intervals.note(rows)]
    show(title, COLUMNS, rows, left=("measure", "note"), where=where, notes=notes)


def markdown(summary: Summary) -> str:
    """A summary's figures as a Markdown table."""
    return markdown_table([COLUMNS, ("---", "---:", "---:", "---"), *table(summary)])
