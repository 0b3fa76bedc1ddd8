"""The tidy table of a grid: one row a run, what was set and what was measured, as CSV and parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lens.base.errors import BadInput, nearest
from lens.base.files import read_bytes, reading
from lens.base.intervals import too_few
from lens.grids.grid import Grid, GridRun
from lens.record.run import RECORD

Row = dict[str, Any]
INTERVALS = (
    "downstream", "knn", "untrained", "pixels", "raw", "lensed", "clean", "gap", "psnr", "psnr_planted", "ssim", "mse",
    "mse_planted",
)  # fmt: skip
"""Measures that come with the ends of their 95 % intervals, NAME_low and NAME_high: empty where there are too few groups."""
PLAIN = (
    "downstream_chance", "chance", "seconds", "images_per_second", "recon_weight", "match_ratio",
)  # fmt: skip
REMOVAL = (
    "source_raw", "source_lensed", "source_trained_on", "class_raw", "class_lensed", "cost", "frozen_raw", "frozen_lensed",
    "probe_raw", "probe_lensed",
)  # fmt: skip
"""Accuracies of runs with --prove: what fresh classifiers read, the extractor, trained on, on lensed images, class labels and their
cost, frozen features on class labels, and on the (first) --probe set; of several sets also probe_raw_SET, probe_lensed_SET."""
VALIDATED = (
    "downstream", "knn", "untrained", "pixels", "raw", "lensed", "clean", "gap", "psnr", *REMOVAL,
)  # fmt: skip
"""Measures that are taken of validation images too, as val_NAME: a setting is chosen by these, the others are reported."""
IMAGES = ("val_images", "val_downstream_images")
"""How many images validation figures are of: the pretext task's and the PSNR's (--val_images bounds them), the probe's."""
WORDS = ("metric", "git_commit")
ACCURACIES = ("downstream", "knn", "untrained", "pixels", "raw", "lensed", "clean", "gap", "chance", *REMOVAL)


def folder(out: Path, run: GridRun) -> Path:
    """Where a run of the grid in `out` lies."""
    return place_of(out, run.slug)


def place_of(out: Path, slug: str) -> Path:
    """Where the run of this slug lies."""
    return out / "runs" / slug


def rows(out: Path, grid: Grid, runs: Sequence[GridRun], failed: dict[str, Any]) -> list[Row]:
    """One row a run, in the grid's order, all with the same columns; what a run does not have is None.

    `status` is finished, failed (the slug is in `failed`), unfinished (it can be resumed) or missing.
    """
    from lens.record import schemas

    found = []
    for run in runs:
        place = folder(out, run)
        file = place / "summary.json"
        summary = {}
        if file.exists():
            status = "finished"
            with reading(file, f"delete {place} and run it again"):
                summary = measured(schemas.summary(read_bytes(file, RECORD)))
        else:
            status = "failed" if run.slug in failed else "unfinished" if place.exists() else "missing"
        head = {**run.cell, "seed": run.seed, "status": status, "directory": place.relative_to(out).as_posix()}
        found.append(head | {_beside(name, grid): value for name, value in summary.items()})
    fixed = [part for name in INTERVALS for part in (name, f"{name}_low", f"{name}_high")] + [*PLAIN, *WORDS]
    fixed += [f"val_{name}" for name in VALIDATED if name not in REMOVAL] + [*IMAGES]
    columns = dict.fromkeys([*grid.axes, "seed", "status", "directory", *(_beside(name, grid) for name in fixed)])
    columns |= dict.fromkeys(name for row in found for name in row)
    return [{name: row.get(name) for name in columns} for row in found]


def measured(summary: dict[str, Any]) -> Row:
    """A run's summary.json in columns; accuracies in [0, 1], PSNR in dB, nothing where it has nothing.

    What is not called val_… is of test images.
    """
    row: Row = {}

    def take(name: str, part: dict[str, Any], key: str) -> None:
        row[name] = part.get(key)
        ends = part.get(f"{key}_ci")
        row[f"{name}_low"], row[f"{name}_high"] = (None, None) if not ends or too_few(ends) else ends
        if f"val_{key}" in part:
            row[f"val_{name}"] = part[f"val_{key}"]

    probes = summary.get("downstream") or {}
    for at, (source, probe) in enumerate(probes.items()):
        if at == 0:
            take("downstream", probe, "linear")
            for key in ("knn", "untrained", "pixels"):
                take(key, probe, key)
            row["downstream_chance"], row["val_downstream_images"] = probe.get("chance"), probe.get("n_val")
        if len(probes) > 1:
            take(f"downstream_{source}", probe, "linear")
    pretext, reconstruction = summary.get("pretext") or {}, summary.get("reconstruction") or {}
    for key in ("raw", "lensed", "clean", "gap"):
        take(key, pretext, key)
    for key in ("psnr", "psnr_planted", "ssim", "mse", "mse_planted"):
        take(key, reconstruction, key)
    row["chance"], row["metric"] = pretext.get("chance"), pretext.get("metric")
    validation = summary.get("validation") or {}
    row |= {f"val_{key}": validation.get(key) for key in ("raw", "lensed", "clean", "gap", "psnr", "images")}
    row["match_ratio"] = (summary.get("match") or {}).get("ratio")
    if proof := summary.get("removal"):
        for kind in ("raw", "lensed"):
            take(f"source_{kind}", proof[kind] | {"balanced_accuracy_ci": proof[kind]["ci"]}, "balanced_accuracy")
        for key in proof.get("judges", {}):
            take(f"source_{key}", proof["lensed"], key)
        labels = proof.get("downstream") or {}
        for kind in ("raw", "lensed"):
            row[f"class_{kind}"], row[f"val_class_{kind}"] = labels.get(kind), labels.get(f"val_{kind}")
        take("cost", labels, "cost")
        for kind in ("raw", "lensed"):
            take(f"frozen_{kind}", proof.get("frozen") or {}, kind)
            for at, (source, probe) in enumerate(proof["probes"].items()):
                if at == 0:
                    take(f"probe_{kind}", probe, kind)
                if len(proof["probes"]) > 1:
                    take(f"probe_{kind}_{source}", probe, kind)
        if row["psnr_planted"] is None:  # of a run of an older version: over the proof's images
            row["psnr_planted"] = proof["psnr_planted"]
    for key in ("seconds", "images_per_second", "recon_weight", "git_commit"):
        row[key] = summary.get(key)
    return row


def _beside(measure: str, grid: Grid) -> str:
    """A measure's column: an axis that is called like it (recon_weight) keeps the name for what was asked."""
    return f"{measure}_measured" if measure in grid.axes else measure


def validation_of(measure: str, grid: Grid) -> str | None:
    """The column of a measure's validation figures; None where it is of no images (seconds), or is such a column itself."""
    bare = measure.removesuffix("_measured")
    return None if bare in PLAIN or bare.startswith("val_") else _beside(f"val_{bare}", grid)


def check_measures(grid: Grid) -> None:
    """Raise BadInput for a measure that no table has."""
    of_a_source = ("downstream_", "probe_raw_", "probe_lensed_")
    known = (*INTERVALS, *PLAIN, *REMOVAL, *(f"val_{name}" for name in VALIDATED))
    for measure in grid.measures:
        bare = measure.removesuffix("_measured")
        if bare not in known and not measure.removeprefix("val_").startswith(of_a_source):
            raise BadInput(f"measures: unknown measure {measure!r}: {nearest(measure, known)}")
        if _beside(bare, grid) != measure:
            raise BadInput(
                f"measures: {measure!r} is an axis here: what was measured is called {_beside(bare, grid)!r}"
            )


def higher_is_better(measure: str, group: Sequence[Row]) -> bool | None:
    """Whether more is better; None where neither is, or where nothing is known. A task without classes has a loss."""
    measure = measure.removeprefix("val_")
    if measure in ("raw", "clean"):
        metrics = {row["metric"] for row in group if row.get("metric")}
        return None if len(metrics) != 1 else metrics == {"accuracy"}
    if measure in ("source_lensed", "source_trained_on", "cost"):
        return False
    more = measure in ("knn", "class_lensed", "frozen_lensed") or measure.startswith(("downstream", "probe_lensed"))
    return more or None


def is_share(measure: str, group: Sequence[Row]) -> bool:
    """Whether a measure is a share of 1, shown in %."""
    measure = measure.removeprefix("val_")
    if measure in ("raw", "lensed", "clean", "gap"):
        return not any(row.get("metric") == "loss" for row in group)
    return measure in ACCURACIES or measure.startswith(("downstream", "probe_"))


def files(table: Sequence[Row], axes: Sequence[str]) -> dict[str, str | bytes]:
    """The contents of table.csv (empty cells for None) and table.parquet (nulls)."""
    import pyarrow
    import pyarrow.parquet

    words = {*axes, "status", "directory", *WORDS}
    whole = {"seed", *IMAGES}
    types = {name: "string" if name in words else "int64" if name in whole else "float64" for name in table[0]}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in types.items()])
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(table), schema=schema), sink)
    return {"table.csv": text.getvalue(), "table.parquet": sink.getvalue().to_pybytes()}


def load(out: Path) -> list[Row]:
    """The rows of a grid's table.parquet. Raises BadInput where it cannot be read."""
    import pyarrow.parquet

    with reading(out / "table.parquet", "write it with python -m lens.ablate GRID.yaml --table"):
        found: list[Row] = pyarrow.parquet.read_table(out / "table.parquet").to_pylist()
    return found
