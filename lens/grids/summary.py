"""The summary of a grid: mean ± s.e.m. of every cell, and each arm tested against its baseline, as Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from lens.base.characters import printable
from lens.base.markdown import markdown_table
from lens.base.table import show
from lens.grids.compare_arms import Paired, holm, mean_sem, paired
from lens.grids.grid import Grid
from lens.grids.matching import Cell
from lens.grids.table import Row, higher_is_better, is_share, validation_of
from lens.results.columns import OF_IMAGES, described

ALPHA = 0.05


@dataclasses.dataclass(frozen=True)
class Entry:
    """One cell and one measure: its values by seed, and the test against the baseline (None for a baseline)."""

    cell: Cell
    measure: str
    values: dict[int, float]
    test: Paired | None
    corrected: float | None
    better: bool | None
    """Whether the arm is better than its baseline; None where neither direction is."""
    share: bool

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 0.05."""
        return self.corrected is not None and self.corrected < ALPHA

    def mean(self) -> str:
        """Mean ± s.e.m. over seeds, accuracies in %, and – where there is nothing."""
        if not self.values:
            return "–"
        mean, sem = mean_sem(list(self.values.values()))
        return self._number(mean) + ("" if sem is None else f" ± {self._number(sem)}")

    def mark(self) -> str:
        """▲ or ▼ where an arm is significantly better or worse, ↑ or ↓ where it is higher or lower, else nothing."""
        if not self.significant or self.test is None or self.test.difference is None:
            return ""
        if self.better is not None:
            return " ▲" if self.better else " ▼"
        return " ↑" if self.test.difference > 0 else " ↓"

    def difference(self) -> str:
        """The mean paired difference with its 95 % t-interval."""
        test = self.test
        if test is None or test.difference is None:
            return "–"
        if test.low is None or test.high is None:
            return self._number(test.difference, "+")
        interval = f"{self._number(test.low, '+')} to {self._number(test.high, '+')}"
        return f"{self._number(test.difference, '+')} ({interval})"

    def _number(self, value: float, sign: str = "") -> str:
        one = described(self.measure)
        digits = one.digits if one is not None and one.unit not in ("share", "score") else 1 if self.share else 3
        return f"{100 * value if self.share else value:{sign}.{digits}f}"


def entries(grid: Grid, rows: Sequence[Row], measure: str) -> list[Entry]:
    """Every cell of one measure, in the grid's order; p-values are corrected over all comparisons of the measure."""
    values: dict[tuple[str, ...], dict[int, float]] = {tuple(cell.values()): {} for cell in grid.cells()}
    members: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = tuple(row[axis] for axis in grid.axes)
        members.setdefault(grid.group({axis: row[axis] for axis in grid.axes}), []).append(row)
        if row.get(measure) is not None:
            values[key][row["seed"]] = row[measure]
    found = []
    for cell in grid.cells():
        own, group = values[tuple(cell.values())], members.get(grid.group(cell), [])
        rival = cell | grid.baseline
        test = None if rival == cell else paired(own, values.get(tuple(rival.values()), {}))
        upwards, better = higher_is_better(measure, group), None
        if test is not None and test.difference and upwards is not None:
            better = (test.difference > 0) == upwards
        found.append(Entry(cell, measure, own, test, None, better, is_share(measure, group)))
    tested = [at for at, entry in enumerate(found) if entry.test is not None and entry.test.p is not None]
    ps = holm([entry.test.p for entry in found if entry.test is not None and entry.test.p is not None])
    for at, p in zip(tested, ps, strict=True):
        found[at] = dataclasses.replace(found[at], corrected=p)
    return found


def overview(grid: Grid, rows: Sequence[Row]) -> tuple[list[str], list[list[str]], list[list[bool]]]:
    """Headings, one row a cell (axes, seeds, each measure), and which of its words are to be bold.

    Beside each measure stands what it is on validation images, untested, where a measure can have that.
    """
    columns = with_validation(grid)
    every = [entries(grid, rows, column) for column in columns]
    headings = [*grid.axes, "seeds", *(title(column, e) for column, e in zip(columns, every, strict=True))]
    lines, bold = [], []
    for of_cell in zip(*every, strict=True):
        cell = of_cell[0].cell
        seeds = [row["seed"] for row in rows if row["status"] == "finished" and _is(row, cell)]
        tested = [entry.measure in grid.measures for entry in of_cell]
        words = [entry.mean() + entry.mark() * test for entry, test in zip(of_cell, tested, strict=True)]
        lines.append([*cell.values(), str(len(seeds)), *words])
        significant = [entry.significant and test for entry, test in zip(of_cell, tested, strict=True)]
        bold.append([False] * (len(cell) + 1) + significant)
    return headings, lines, bold


def with_validation(grid: Grid) -> list[str]:
    """The columns of the overview: each measure, and beside it its validation figures, where it can have some."""
    columns = [column for measure in grid.measures for column in (measure, validation_of(measure, grid))]
    return list(dict.fromkeys(column for column in columns if column is not None))


def choice(grid: Grid, rows: Sequence[Row]) -> list[str]:
    """By which columns a setting may be chosen, and of how many images they are; nothing where no measure is of images."""
    validated = [column for column in with_validation(grid) if column.startswith("val_")]
    if not validated:
        return []
    text = "Choose by the columns marked val; the others are test figures and are for reporting."
    if not any(row.get(column) is not None for row in rows for column in validated):
        return [f"{text} There are none here (–): the runs have no validation figures of these measures."]
    shown = {one.of_images for column in validated if (one := described(column)) is not None}
    for column, about in OF_IMAGES.items():
        counts = sorted({row[column] for row in rows if row.get(column) is not None})
        if counts and column in shown:
            span = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
            text += f" Those of {about} are of {span} images a run."
    return [text]


def title(measure: str, found: Sequence[Entry]) -> str:
    """A measure's heading, with its unit."""
    unit = " (%)" if all(entry.share for entry in found) else " (% or loss)" if any(e.share for e in found) else ""
    one = described(measure)
    return measure + (f" ({one.unit})" if one is not None and one.unit in ("dB", "s") else unit)


def markdown(grid: Grid, rows: Sequence[Row]) -> str:
    """The whole summary: the overview, then for each measure every comparison with its interval and both p-values."""
    counts = {s: sum(row["status"] == s for row in rows) for s in ("finished", "failed", "unfinished", "missing")}
    state = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    baseline = printable(", ".join(f"{axis} = {value}" for axis, value in grid.baseline.items()))
    headings, lines, bold = overview(grid, rows)
    few = min((len(entry.values) for entry in entries(grid, rows, grid.measures[0])), default=0)
    text = [
        f"# {printable(grid.name)}",
        "",
        f"{len(rows)} runs: {state}. Seeds: {', '.join(map(str, grid.seeds))} ({len(grid.seeds)}). Mean ± standard error of",
        f"the mean over seeds. Each arm is tested against its baseline ({baseline}) of the same other axes by a paired t-test",
        "over the seeds that both have. **Bold**: p < 0.05 after Holm's correction over all comparisons of a measure; ▲ better,",
        "▼ worse (↑ higher, ↓ lower where neither is better).",
    ]
    if few < 5:
        text.append("With fewer than five seeds a paired t-test has little power: what is not bold may still be there.")
    text += choice(grid, rows)
    text += ["", *_table(headings, [_bold(line, b) for line, b in zip(lines, bold, strict=True)]), ""]
    for measure in grid.measures:
        found = entries(grid, rows, measure)
        compared = [entry for entry in found if entry.test is not None]
        if not any(entry.test.n for entry in compared if entry.test is not None):
            continue  # the baseline has no such measure: the PSNR of no lens
        count = sum(entry.corrected is not None for entry in compared)
        head = [*grid.axes, "pairs", "difference (95 % interval)", "p", "p, corrected"]
        body = [
            _bold(
                [
                    *entry.cell.values(), str(entry.test.n if entry.test else 0), entry.difference(),
                    _p(entry.test.p if entry.test else None), _p(entry.corrected) + entry.mark(),
                ],
                [False] * (len(entry.cell) + 1) + [entry.significant] * 3,
            )
            for entry in compared
        ]  # fmt: skip
        corrected = f"Corrected for {count} comparison{'' if count == 1 else 's'}."
        text += [f"## {printable(title(measure, found))}: arm − baseline", "", corrected, "", *_table(head, body), ""]
    if failed := [row["directory"] for row in rows if row["status"] == "failed"]:
        text += [f"Failed: {printable(', '.join(failed))}; their logs are in `logs/`.", ""]
    return "\n".join(text)


def print_overview(grid: Grid, rows: Sequence[Row], where: Path | None = None) -> None:
    """Print the overview as a table; `where` is the file that holds its figures."""
    headings, lines, bold = overview(grid, rows)
    caption = "bold: corrected p < 0.05 against the baseline, ▲ better ▼ worse; choose by the columns marked val"
    title = f"{grid.name}, mean ± s.e.m."
    show(title, headings, lines, left=list(grid.axes), where=where, bold=bold, caption=caption)


def _is(row: Row, cell: Cell) -> bool:
    return all(row[axis] == value for axis, value in cell.items())


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _bold(words: list[str], flags: list[bool]) -> list[str]:
    return [f"**{word}**" if flag else word for word, flag in zip(words, flags, strict=True)]


def _table(headings: list[str], lines: list[list[str]]) -> list[str]:
    return markdown_table([headings, ["---"] * len(headings), *lines]).split("\n")
