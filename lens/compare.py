"""Compare several finished runs: where their lenses edit, how hard each task is on each lens's images."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lens.base.entry_point import guard
from lens.base.errors import BadInput, check_number
from lens.base.files import json_text, read_bytes, reading, refuse_strangers_files, write_together
from lens.base.ranks import launched
from lens.base.terminal import say
from lens.players.finished import FinishedRun, summary_of
from lens.record.run import RECORD, Run
from lens.results.compared import Compared
from lens.results.summary import Summary
from lens.settings.field import as_list, setting
from lens.settings.groups.machine import MOST_THREADS, MachineSettings
from lens.settings.small_verbs import parse_simple


@dataclasses.dataclass(frozen=True)
class CompareSettings:
    """What to compare, the runs first."""

    run: list[str] = setting(dataclasses.MISSING, path=True)
    """Run directories, two or more."""
    maps: bool | None = setting(None)
    """Where the lenses edit, on average, side by side: any finished runs with a lens or a rival of it. What is done where
    nothing else is asked."""
    transfer: bool = setting(False)
    """How hard each run's task is on images that each one's lens has edited: runs that share their data and size."""
    out: str | None = setting(None, path=True)
    """Folder of the results; default runs/compare-<time>."""
    device: str | None = setting(None)
    """Where to compute; default as the runs were trained."""
    threads: int | None = setting(None)
    """CPU threads; default as the runs were trained."""
    task: str | None = setting(None, path=True)
    """The task file of a run, named again where a run's task is a file."""
    shortcut: str | None = setting(None, path=True)
    """The shortcut file of a run, named again where a run's shortcut is a file."""
    lens: str | None = setting(None, path=True)
    """The lens file of a run, named again where a run's lens is a file."""

    def __post_init__(self) -> None:
        """Raise BadInput for fewer than two runs, one that is named twice, a device of no kind, and where nothing is asked."""
        if len(self.run) < 2:
            raise BadInput(f"a comparison needs two runs or more, and {len(self.run)} is given: name another")
        if self.threads is not None:
            check_number("threads", self.threads, low=1, high=MOST_THREADS)
        if self.device is not None:
            MachineSettings(device=self.device)
        if not self.kinds:
            raise BadInput("--maps false leaves nothing to compare: leave it out, or ask for --transfer")
        real = [Path(directory).resolve() for directory in self.run]
        if twice := [directory for i, directory in enumerate(self.run) if real[i] in real[:i]]:
            raise BadInput(f"{twice[0]} is named twice: name each run once")

    @property
    def kinds(self) -> list[str]:
        """What is made: "maps", "transfer"."""
        with_maps = not self.transfer if self.maps is None else self.maps
        return ["maps"] * with_maps + ["transfer"] * self.transfer


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.compare` and `lens compare`."""
    arguments = sys.argv[1:] if argv is None else argv
    return guard(lambda: compare(arguments))


def compare(argv: list[str]) -> int:
    """Compare runs, write the figures and pictures into one folder, print the tables.

    Raises BadInput for runs that are not finished or cannot be compared, and for a folder that holds a comparison of
    other runs.
    """
    asked = parse_simple(argv, "lens.compare", CompareSettings, "run", "run directories, two or more")
    if launched() > 1:
        raise BadInput("lens.compare measures in one process: start it without torchrun")
    runs = [Run.open(Path(directory)) for directory in asked.run]
    about = [described(run) for run in runs]
    folder = _planned(asked.out, asked.kinds, about)
    changed = {name: value for name in ("device", "threads") if (value := getattr(asked, name)) is not None}
    from lens.figures import drawing, maps
    from lens.figures import transfer as transfer_figures
    from lens.measuring import map_comparison
    from lens.measuring.transfer import transfer

    if asked.device is not None and not asked.transfer and all(map(map_comparison.keeps_edits, runs)):
        raise BadInput(
            f"--device {asked.device} would be ignored: every run keeps its edits, which are read; leave it out"
        )
    if "maps" in asked.kinds:
        numbers, arrays = map_comparison.compared(runs, about, argv, changed)
        with _writing(folder):
            write_together({
                folder / "maps.npz": drawing.npz(arrays),
                folder / "maps.json": json_text(numbers.to_json()),
                folder / "maps.png": maps.maps_picture(numbers, arrays),
            })  # fmt: skip
        maps.print_maps(numbers, folder / "maps.json")
    if asked.transfer:
        cells = transfer([FinishedRun.of(run, argv, changed) for run in runs], about)
        with _writing(folder):
            write_together({
                folder / "transfer.json": json_text(cells.to_json()),
                folder / "transfer.md": transfer_figures.transfer_markdown(cells),
                folder / "transfer.png": transfer_figures.transfer_picture(cells),
            })  # fmt: skip
        transfer_figures.print_transfer(cells, folder / "transfer.md")
    written = [folder / f"{kind}{ending}" for kind in asked.kinds for ending in (".json", ".png")]
    say(f"written: {', '.join(map(str, written))}")
    return 0


def described(run: Run) -> Compared:
    """What a comparison says of a run. Raises BadInput where it is not finished or nothing changes its images."""
    summary = summary_of(run)
    trained = summary.trained
    if trained.lens == "none":
        raise BadInput(f"{run.directory} has no lens (--lens none), so there is nothing to compare: leave it out")
    if summary.reconstruction is None or summary.reconstruction.psnr is None:
        raise BadInput(
            f"{run.directory}/summary.json does not say what its lens changed: measure it again with --resume"
        )
    sources = "+".join(Path(key).name if "/" in key else key for key in as_list(run.settings()["data"]))
    names = ("task", "data", "shortcut", "shortcut_key", "lens", "steps", "seed")
    return Compared(
        run=str(run.directory),
        **{name: getattr(trained, name) for name in names},
        title=[trained.task, sources, _cue(summary)],
        match=summary.match is not None,
        psnr=summary.reconstruction.psnr,
    )


def _cue(summary: Summary) -> str:
    """The planted shortcut in words, and what changed the images."""
    trained = summary.trained
    random = ", random key" if trained.shortcut_key == "random" else ""
    planted = "nothing planted" if trained.shortcut == "none" else trained.shortcut + random
    return f"{planted} ({trained.lens})"


def _planned(out: str | None, kinds: list[str], about: list[Compared]) -> Path:
    """The folder of the results, not made yet.

    Raises BadInput where it cannot be made, holds a comparison of other runs, or anything that is no comparison's; one of the
    same runs is made again.
    """
    folder = Path(out or f"runs/compare-{datetime.datetime.now():%Y%m%d-%H%M%S}")
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise BadInput(f"--out {folder}: {existing} is no folder that can be written to; choose another --out")
    for file in (folder / f"{kind}.json" for kind in kinds):
        if file.exists():
            with reading(file, "delete it, or choose another --out"):
                earlier = [str(entry["run"]) for entry in json.loads(read_bytes(file, RECORD))["runs"]]
            if earlier != [entry.run for entry in about]:
                raise BadInput(f"{file} compares {', '.join(earlier)}: choose another --out")
    if existing == folder and not any((folder / f"{kind}.json").exists() for kind in ("maps", "transfer")):
        refuse_strangers_files(folder, "comparison")
    return folder


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder; give a full disk, and a folder that is gone or locked by now, its one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BadInput(f"cannot write the comparison {folder} ({error.strerror}): choose another --out") from error


if __name__ == "__main__":
    sys.exit(main())
