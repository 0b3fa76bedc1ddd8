"""Run a grid of settings, several runs at a time, and make its table with means, errors and significance."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lens.base.bar import Bar
from lens.base.disk_errors import refusal
from lens.base.entry_point import guard
from lens.base.errors import BadInput, check_number
from lens.base.files import own_folder, read_bytes, reading, remove, write_atomically, write_together
from lens.base.stopping import stop_signals
from lens.base.terminal import say
from lens.grids import table as grid_table
from lens.grids.file import naming, overrides, read
from lens.grids.grid import Grid, GridRun
from lens.grids.processes import POLL, Job, work
from lens.record.lock import holder
from lens.record.run import RECORD, held
from lens.settings import old_names
from lens.settings.arguments import normalise_arguments
from lens.settings.field import setting
from lens.settings.groups.machine import MOST_PROCESSES
from lens.settings.run_settings import PLUGINS, Settings
from lens.settings.small_verbs import parse_simple
from lens.settings.words import key_of

TRAIN = [sys.executable, "-P", "-m", "lens.train"]
"""How a run is started; -P: nothing is imported from the working directory, which may be a stranger's."""


@dataclasses.dataclass(frozen=True)
class AblateSettings:
    """Settings of a grid's execution. Any other --setting, and all after --, is one of lens.train for every run."""

    grid: str = setting(dataclasses.MISSING, path=True)
    """The grid: a YAML file, such as those of configs/ablations. In it `match_mse: NAME` holds a rival to the change of the
    lens run of the same cell and seed, but for the axis that has a value NAME."""
    out: str | None = setting(None, path=True)
    """Directory of the grid; default runs/<name>. Finished runs in it are kept, unfinished ones resumed."""
    jobs: int = setting(1, was="workers")
    """Runs at a time, 1 or more; on a small machine give each of them --threads 1."""
    table: bool = False
    """Run nothing, write the tables of what is there."""
    trust: list[str] = setting([], path=True)
    """Files of code that the grid may use as a task or a shortcut, such as ./my_task.py."""

    def __post_init__(self) -> None:
        """Raise BadInput for a value outside its range."""
        check_number("jobs", self.jobs, low=1, high=MOST_PROCESSES)
        if self.table and self.jobs != 1:
            raise BadInput(f"--jobs {self.jobs} would be ignored: --table runs nothing; leave one of them out")


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.ablate` and `lens ablate`."""
    arguments = sys.argv[1:] if argv is None else argv
    return guard(lambda: ablate(arguments))


def ablate(argv: list[str]) -> int:
    """Check every cell, run what is not finished, write the tables. 1 where a run failed, 128 + signal where stopped."""
    own, more = split_words(old_names.renamed(argv, AblateSettings))
    asked = parse_simple(own, "lens.ablate", AblateSettings, "grid", "YAML file of a grid")
    told = overrides(normalise_arguments(more, Settings))
    trusted = [*asked.trust, *(str(value) for key, value in told if key in PLUGINS)]
    grid = read(Path(asked.grid), told)
    out = Path(asked.out or Path("runs") / grid.name)
    with naming(Path(asked.grid)):
        grid_table.check_measures(grid)
        runs = grid.runs(trusted)
        grid.refuse_no_baseline()
        if not asked.table and not (out / "grid.yaml").exists():  # runs that are there may have been probed on more
            grid_table.check_probed(grid, runs)
    grid.refuse_needless(asked.trust)
    if asked.table:
        if not (out / "grid.yaml").exists():
            raise BadInput(f"{out} holds no grid yet: run it first, without --table")
        refuse_another(out, runs, trusted)
        with refusals_are_told(out):
            report(asked, out, grid, runs)
        return 0
    if (out / "grid.yaml").exists():
        refuse_another(out, runs, trusted)
    elif out.exists() and (not out.is_dir() or {file.name for file in out.iterdir()} - {"lock"}):
        raise BadInput(f"{out} exists and holds no grid: choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write the grid's directory {out} ({error.strerror}): choose another --out") from error
    with refusals_are_told(out), held(out):
        if (out / "grid.yaml").exists():
            refuse_another(out, runs, trusted)
        write_atomically(out / "grid.yaml", grid.content())
        return run_all(asked, out, grid, runs, argv)


@contextmanager
def refusals_are_told(out: Path) -> Iterator[None]:
    """Give what the disk of a grid's directory refuses its one line; the tables are written all or none."""
    try:
        yield
    except OSError as error:
        if told := refusal(
            error, out, "give the same command again", "the runs and the tables that are there are whole"
        ):
            raise told from error
        raise


def run_all(asked: AblateSettings, out: Path, grid: Grid, runs: Sequence[GridRun], argv: list[str]) -> int:
    """Run what is not finished, say what failed, write the tables.

    Raises BadInput where a link or a file stands in the place of a run, of all of them or of their logs.
    """
    own_folder(out / "runs")
    own_folder(out / "logs")
    for place in (grid_table.folder(out, run) for run in runs):
        if os.path.lexists(place):
            own_folder(place)
    todo = {run.slug: run for run in runs if not (grid_table.folder(out, run) / "summary.json").exists()}
    done = len(runs) - len(todo)
    say(f"{grid.name}: {len(runs)} runs, {done} of them finished, in {out}")
    failed = {slug: error for slug, error in failures(out).items() if slug in todo}

    def keep_failures() -> None:
        """Write failed.json, or remove it where nothing failed."""
        if failed:
            write_atomically(out / "failed.json", json.dumps(failed, indent=2) + "\n")
        else:
            remove(out / "failed.json")

    keep_failures()
    with stop_signals() as stops, Bar("runs", len(runs), "runs", done) as bar:
        wait_for_holders([grid_table.folder(out, run) for run in todo.values()], stops)

        def ended(job: Job, code: int, error: str) -> None:
            nonlocal done
            run = todo[job.name]
            finished = (grid_table.folder(out, run) / "summary.json").exists()
            failed.pop(job.name, None)
            if not finished and not stops:
                failed[job.name] = error if code else "it ended without a summary"
                say(f"failed: {run.title}: {error} (log: {job.log})")
            keep_failures()
            if finished or not stops:  # one that was stopped has saved what it had
                done += 1
                bar.advance(done, f"{len(failed)} failed" if failed else "")

        def tick() -> None:
            if bar.live is not None:
                bar.advance(done)

        work([job_of(out, run) for run in todo.values()], asked.jobs, stops, ended, tick)
    report(asked, out, grid, runs)
    if stops:
        left = sum(not (grid_table.folder(out, run) / "summary.json").exists() for run in runs)
        if left:
            say(
                f"stopped by a signal; {len(runs) - left} of {len(runs)} runs are finished, the others have saved what they "
                f"had. Continue with: python -m lens.ablate {shlex.join(argv)}"
            )
            return 128 + stops[0]
    for slug, error in failed.items():
        say(f"failed: {todo[slug].title}: {error} (log: {log_of(out, slug)})")
    return 1 if failed else 0


PATIENCE = 120.0
"""Seconds that runs of a killed grid have to save."""


def wait_for_holders(places: Sequence[Path], stops: list[int]) -> None:
    """Wait while runs of an earlier call, whose grid was killed, still save; after `PATIENCE` they are left as they are."""
    end = time.monotonic() + PATIENCE
    told = False
    while not stops and time.monotonic() < end:
        held_by = {place: who for place in places if (who := holder(place)) is not None}
        if not held_by:
            return
        if not told:
            place, who = next(iter(held_by.items()))
            say(
                f"waiting for {len(held_by)} run(s) that an earlier call has left and that still save: {place} is used by {who}"
            )
            told = True
        time.sleep(POLL)


def job_of(out: Path, run: GridRun) -> Job:
    """Start a run that is missing, resume one that is there; a rival is told the directory of the run that it is held to."""
    place = grid_table.folder(out, run)
    if (place / "settings.yaml").exists():
        words = [f"--resume={place}", *run.machine_words()]
    else:
        words = [*run.words, f"--seed={run.seed}", f"--out={place}"]
        if run.waits_for is not None:
            lens = grid_table.place_of(out, run.waits_for)
            words = [f"--match_mse={lens}" if key_of(word) == "match_mse" else word for word in words]
    return Job(run.slug, [*TRAIN, *words], log_of(out, run.slug), run.waits_for)


def log_of(out: Path, slug: str) -> Path:
    """The log of a run."""
    return out / "logs" / f"{slug}.log"


def report(asked: AblateSettings, out: Path, grid: Grid, runs: Sequence[GridRun]) -> None:
    """Write table.csv, table.parquet, summary.md and the pictures, and print the overview.

    A measure that no finished run has is told and left out of them.
    """
    from lens.figures import grid as figures_grid
    from lens.grids import summary as grid_summary

    rows = grid_table.rows(out, grid, runs, failures(out))
    if missing := grid_table.unmeasured(grid, rows):
        there = ", ".join(name for name in rows[0] if name.startswith(("downstream", "probe_")))
        say(
            f"{asked.grid}: measures: no run has {', '.join(missing)}, and what is written leaves it out; there are {there}"
        )
        grid = grid_table.with_measures(grid, without=missing)
    contents = grid_table.files(rows, list(grid.axes))
    contents |= {"summary.md": grid_summary.markdown(grid, rows), **figures_grid.files(grid, rows)}
    write_together({out / name: content for name, content in contents.items()})
    grid_summary.print_overview(grid, rows, out / "summary.md")
    say(f"tables and pictures: {out}/table.csv, table.parquet, summary.md, summary.png")


def failures(out: Path) -> dict[str, Any]:
    """The last error line of each run that failed, by its slug."""
    from lens.record import schemas

    file = out / "failed.json"
    with reading(file, "delete it"):
        return dict(schemas.checked(dict[str, str], read_bytes(file, RECORD))) if file.exists() else {}


def refuse_another(out: Path, runs: Sequence[GridRun], trusted: Sequence[str] = ()) -> None:
    """Raise BadInput, naming the first difference, unless every run of the grid in `out` is one of these, unchanged."""
    with reading(out / "grid.yaml", "choose another --out"):
        stored = read(out / "grid.yaml").runs(trusted)
    ours = {run.slug: run.identity() for run in runs}
    for run in stored:
        if run.slug not in ours:
            raise BadInput(
                f"{out} belongs to another grid, with a run {run.slug} that this one lacks: choose another --out"
            )
        theirs, mine = run.identity(), ours[run.slug]
        for key in sorted(theirs.keys() | mine.keys()):
            if theirs.get(key) != mine.get(key):
                raise BadInput(
                    f"{out} belongs to another grid: in {run.slug} {key} was {theirs.get(key, 'left out')} and is now "
                    f"{mine.get(key, 'left out')}: choose another --out"
                )


def split_words(argv: list[str]) -> tuple[list[str], list[str]]:
    """The words of this program, and those that every run is told: other flags, and whatever stands after `--`."""
    before, after = argv, []
    if "--" in argv:
        before, after = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    own: list[str] = []
    rest: list[str] = []
    words = list(before)
    while words:
        word = words.pop(0)
        flag, equals, _ = word.partition("=")
        if flag in ("--out", "--jobs"):
            own += [word] if equals or not words else [word, words.pop(0)]
        elif flag == "--trust":  # it takes several
            own.append(word)
            while not equals and words and not words[0].startswith("-"):
                own.append(words.pop(0))
        elif flag in ("--table", "-h", "--help"):
            own.append(word)
        else:
            rest.append(word)
    if rest and not rest[0].startswith("-"):
        own.insert(0, rest.pop(0))
    elif "-h" not in own and "--help" not in own:
        raise BadInput("give the grid file first: python -m lens.ablate configs/ablations/cifar10_quick.yaml")
    return own, rest + after


if __name__ == "__main__":
    sys.exit(main())
