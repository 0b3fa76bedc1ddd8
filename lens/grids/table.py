"""The tidy table of a grid: one row a run, what was set and what was measured, as CSV and parquet."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lens.base.errors import BadInput, nearest
from lens.base.files import read_bytes, reading
from lens.base.intervals import too_few
from lens.grids.grid import MEASURES, Grid, GridRun
from lens.protocols.lookup import short_names
from lens.record.run import RECORD
from lens.results import columns
from lens.results.downstream import Downstream
from lens.results.figure import Estimate, Figure
from lens.results.removal import JUDGES, OnProbe
from lens.results.summary import Summary
from lens.settings.parsing import parse

Row = dict[str, Any]


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
        told: Row = {}
        if file.exists():
            status = "finished"
            with reading(file, f"delete {place} and run it again"):
                told = measured(schemas.summary(read_bytes(file, RECORD)))
        else:
            status = "failed" if run.slug in failed else "unfinished" if place.exists() else "missing"
        head = {**run.cell, "seed": run.seed, "status": status, "directory": place.relative_to(out).as_posix()}
        found.append(head | {_beside(name, grid): value for name, value in told.items()})
    known = columns.every(only_always=True)
    measures = [one for one in known if one.interval]
    plain = [one for one in known if not one.interval]
    fixed = [part for one in measures for part in (one.column, f"{one.column}_low", f"{one.column}_high")]
    for words in (False, True):
        fixed += [one.column for one in plain if one.column not in columns.OF_IMAGES and (one.unit == "word") == words]
    fixed += [f"val_{one.column}" for one in known if one.validated] + list(columns.OF_IMAGES)
    names = dict.fromkeys([*grid.axes, "seed", "status", "directory", *(_beside(name, grid) for name in fixed)])
    names |= dict.fromkeys(name for row in found for name in row)
    return [{name: row.get(name) for name in names} for row in found]


def measured(summary: Summary) -> Row:
    """A run's summary in columns; accuracies in [0, 1], PSNR in dB, None where it has nothing.

    What is not called val_… is of test images.
    """
    row: Row = {}

    def take(one: Figure, column: str, value: Any) -> None:
        estimate = value if isinstance(value, Estimate) else Estimate(value)
        row[column] = estimate.value
        if one.interval:
            ends = estimate.interval
            row[f"{column}_low"], row[f"{column}_high"] = (None, None) if not ends or too_few(ends) else ends
        if one.validation_part:
            row[f"val_{column}"] = getattr(summary.validation, one.key, None)
        elif one.validated and (estimate.validation is not None or not one.interval):
            row[f"val_{column}"] = estimate.validation

    for level in columns.levels():
        if level.is_left_out(summary):
            continue
        found = level.found(summary)
        for at, (source, part) in enumerate(found):
            for one in level.figures():
                if at == 0:
                    take(one, one.column, getattr(part, one.key, None))
                if one.each and len(found) > 1:
                    take(one, f"{one.column}_{source}", getattr(part, one.key, None))
        for name, several in level.by_key():
            for at, (source, part) in enumerate(found):
                for key, value in getattr(part, name, {}).items():
                    one = several.of(key)
                    if at == 0:
                        take(one, one.column, value)
                    if one.each and len(found) > 1:
                        take(one, f"{one.column}_{source}", value)
    if row["psnr_planted"] is None and summary.removal:  # of a run of an older version: over the proof's images
        row["psnr_planted"] = summary.removal.psnr_planted
    return row


def _beside(measure: str, grid: Grid) -> str:
    """A measure's column: an axis that is called like it (recon_weight) keeps the name for what was asked."""
    return f"{measure}_measured" if measure in grid.axes else measure


def validation_of(measure: str, grid: Grid) -> str | None:
    """The column of a measure's validation figures; None where it is of no images (seconds), or is such a column itself."""
    bare = measure.removesuffix("_measured")
    one = columns.described(bare)
    no_images = one is not None and not one.validated and one.interval is None
    return None if no_images or bare.startswith("val_") else _beside(f"val_{bare}", grid)


def _known_measures() -> list[str]:
    """What can be a measure in any grid: those of one source among several, such as downstream_stl10, are more."""
    figures = [one for one in columns.every() if one.unit not in ("word", "count")]
    known = [one.column for one in figures] + [f"val_{one.column}" for one in figures if one.validated]
    judges = [several.of(key) for several in columns.by_key() for key in JUDGES]
    return known + [f"{prefix}{one.column}" for one in judges for prefix in ("", "val_")]


def check_measures(grid: Grid) -> None:
    """Raise BadInput for a measure that no table has, and for one that stands twice."""
    known = _known_measures()
    of_a_source = tuple(f"{one.column}_" for one in columns.every() if one.each and one.unit not in ("word", "count"))
    for measure in grid.measures:
        if grid.measures.count(measure) > 1:
            raise BadInput(f"measures: {measure!r} stands twice: drop one")
        bare = measure.removesuffix("_measured")
        if bare not in known and not measure.removeprefix("val_").startswith(of_a_source):
            raise BadInput(f"measures: unknown measure {measure!r}: {nearest(measure, known)}")
        if _beside(bare, grid) != measure:
            raise BadInput(
                f"measures: {measure!r} is an axis here: what was measured is called {_beside(bare, grid)!r}"
            )


def check_probed(grid: Grid, runs: Sequence[GridRun]) -> None:
    """Raise BadInput for a measure of one probed source among several that no run will have: `runs` are about to be made.

    Which of the sources have labels is not known yet; one that is probed alone has no column of its own.
    """
    probed = [level for level in columns.levels() if level.of in (Downstream, OnProbe)]
    figures = [one.column for level in probed for one in level.figures() if one.each]
    known = _known_measures()
    bare = {measure: measure.removeprefix("val_") for measure in grid.measures if measure not in known}
    asked = {measure: name for measure, name in bare.items() if name.startswith(tuple(f"{one}_" for one in figures))}
    if not asked:
        return
    names: set[str] = set()
    for run in runs:
        if run.seed == grid.seeds[0]:
            settings = parse(run.words, "lens.train", refuse_idle=False).settings
            keys = list(dict.fromkeys(settings.measuring.probes or settings.data.sources))
            # Sources without labels drop out, and with them it may be that two share a name.
            alone = [short_names([key])[0] for key in keys]
            names |= {*short_names(keys), *alone} if len(keys) > 1 else set()
    there = [f"{figure}_{name}" for figure in figures for name in sorted(names)]
    for measure, name in asked.items():
        if name not in there:
            hint = (
                nearest(name, there)
                if there
                else "none is probed on several sources, and the figure of one bears no source's name"
            )
            raise BadInput(f"measures: no run will have {measure!r}: {hint}")


def unmeasured(grid: Grid, table: Sequence[Row]) -> list[str]:
    """The measures of which a grid's table has no column, once a run has finished."""
    finished = any(row["status"] == "finished" for row in table)
    return [measure for measure in grid.measures if finished and measure not in table[0]]


def with_measures(grid: Grid, without: Sequence[str]) -> Grid:
    """A grid without some of its measures; where none is left, with those of a grid that names none."""
    left = [measure for measure in grid.measures if measure not in without]
    return dataclasses.replace(grid, measures=left or [_beside(measure, grid) for measure in MEASURES])


def higher_is_better(measure: str, group: Sequence[Row]) -> bool | None:
    """Whether more is better; None where neither is, or where nothing is known. A task without classes has a loss."""
    one = columns.described(measure)
    if one is None or one.higher_is_better is None:
        return None
    if one.unit == "score":
        metrics = {row["metric"] for row in group if row.get("metric")}
        return None if len(metrics) != 1 else metrics == {"accuracy"}
    return one.higher_is_better


def is_share(measure: str, group: Sequence[Row]) -> bool:
    """Whether a measure is a share of 1, shown in %."""
    one = columns.described(measure)
    if one is not None and one.unit == "score":
        return not any(row.get("metric") == "loss" for row in group)
    return one is not None and one.unit == "share"


def files(table: Sequence[Row], axes: Sequence[str]) -> dict[str, str | bytes]:
    """The contents of table.csv (empty cells for None) and table.parquet (nulls)."""
    import pyarrow
    import pyarrow.parquet

    known: dict[str, str] = {name: one.unit for name in table[0] if (one := columns.described(name))}
    known |= dict.fromkeys((*axes, "status", "directory"), "word") | {"seed": "count"}
    types = {name: {"word": "string", "count": "int64"}.get(known.get(name, ""), "float64") for name in table[0]}
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
