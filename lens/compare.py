"""Several finished runs compared: where their lenses edit, and how hard each task is on each lens's images."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lens import agreement, edit_maps, figures, figures_compare
from lens.files import json_text, read_bytes, reading, write_together
from lens.finished import Finished, summary_of
from lens.protocols import BadInput
from lens.run import RECORD, Run
from lens.settings import as_list
from lens.terminal import say

if TYPE_CHECKING:
    import lightning_fabric

    from lens.data import Images
    from lens.experiment import Experiment

Array = np.ndarray[Any, Any]
ABOUT_MAPS = (
    "Each map is the mean over held-out images of the squared edit in each pixel, at 8 bits, without noise of the lens's "
    "own. The correlation describes "
    "the maps: two lenses may edit the same places for different reasons, and an edited place is no proof of a shortcut."
)
ABOUT_TRANSFER = (
    "Each extractor was trained against its own lens only and has never seen another's images: a low score says that "
    "this network is fooled, and a high one that it is not. That a cue is gone is shown by a fresh classifier alone."
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The run directories to compare, the folder of the results, the words of the command line, device and threads."""

    directories: list[Path]
    out: str | None = None
    argv: list[str] = dataclasses.field(default_factory=list)
    device: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        """Raise BadInput for fewer than two runs, or one that is named twice."""
        if len(self.directories) < 2:
            raise BadInput(f"a comparison needs two runs or more, and {len(self.directories)} is given: name another")
        real = [directory.resolve() for directory in self.directories]
        if twice := [str(d) for i, d in enumerate(self.directories) if real[i] in real[:i]]:
            raise BadInput(f"{twice[0]} is named twice: name each run once")


def compare(asked: Comparison, with_maps: bool, with_transfer: bool) -> int:
    """Compare runs, write the figures and pictures into one folder, print the tables.

    Raises BadInput for runs that are not finished or cannot be compared, and for a folder that holds a comparison of
    other runs.
    """
    runs = [Run.open(directory) for directory in asked.directories]
    about = [described(run) for run in runs]
    kinds = [kind for kind, wanted in (("maps", with_maps), ("transfer", with_transfer)) if wanted]
    folder = _planned(asked, kinds, about)
    if with_maps:
        numbers, arrays = maps(asked, runs, about)
        with _writing(folder):
            write_together({
                folder / "maps.npz": figures.npz(arrays),
                folder / "maps.json": json_text(numbers),
                folder / "maps.png": figures_compare.maps_picture(numbers, arrays),
            })  # fmt: skip
        figures_compare.print_maps(numbers, folder / "maps.json")
    if with_transfer:
        numbers = transfer(asked, runs, about)
        with _writing(folder):
            write_together({
                folder / "transfer.json": json_text(numbers),
                folder / "transfer.md": figures_compare.transfer_markdown(numbers),
                folder / "transfer.png": figures_compare.transfer_picture(numbers),
            })  # fmt: skip
        figures_compare.print_transfer(numbers, folder / "transfer.md")
    written = [folder / f"{kind}{ending}" for kind in kinds for ending in (".json", ".png")]
    say(f"written: {', '.join(map(str, written))}")
    return 0


def described(run: Run) -> dict[str, Any]:
    """What a comparison says of a run. Raises BadInput where it is not finished or nothing changes its images."""
    summary = summary_of(run)
    if summary["adversary"] == "none":
        raise BadInput(f"{run.directory} has no lens (--adversary none), so there is nothing to compare: leave it out")
    changed = summary.get("reconstruction") or {}
    if not {"psnr", "psnr_ci"} <= changed.keys() or "shortcut_key" not in summary:
        raise BadInput(
            f"{run.directory}/summary.json does not say what its lens changed: measure it again with --resume"
        )
    names = ("task", "data", "shortcut", "shortcut_key", "adversary", "steps", "seed")
    sources = as_list(run.settings()["data"])
    return {
        "run": str(run.directory),
        **{name: summary[name] for name in names},
        "title": [summary["task"], "+".join(Path(key).name if "/" in key else key for key in sources), _cue(summary)],
        "psnr": changed["psnr"],
        "psnr_ci": changed["psnr_ci"],
    }


def _cue(summary: dict[str, Any]) -> str:
    """The planted shortcut in words, and who changed the images where that is no lens."""
    random = ", random key" if summary["shortcut_key"] == "random" else ""
    planted = "nothing planted" if summary["shortcut"] == "none" else summary["shortcut"] + random
    return f"{planted} ({summary['adversary']})" if summary.get("match") else planted


def _planned(asked: Comparison, kinds: list[str], about: list[dict[str, Any]]) -> Path:
    """The folder of the results, not made yet.

    Raises BadInput where it cannot be made, or holds a comparison of other runs; one of the same runs is made again.
    """
    folder = Path(asked.out or f"runs/compare-{datetime.datetime.now():%Y%m%d-%H%M%S}")
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise BadInput(f"--out {folder}: {existing} is no folder that can be written to; choose another --out")
    for file in (folder / f"{kind}.json" for kind in kinds):
        if file.exists():
            with reading(file, "delete it, or choose another --out"):
                earlier = [str(entry["run"]) for entry in json.loads(read_bytes(file, RECORD))["runs"]]
            if earlier != [entry["run"] for entry in about]:
                raise BadInput(f"{file} compares {', '.join(earlier)}: choose another --out")
    return folder


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder; give a full disk, and a folder that is gone or locked by now, its one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BadInput(f"cannot write the comparison {folder} ({error.strerror}): choose another --out") from error


# --- where the lenses edit -------------------------------------------------------------------------------------------


def maps(asked: Comparison, runs: list[Run], about: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Array]]:
    """The mean edit maps of runs, of any sizes and data (Minderer et al. 2020, section 5 and figure 3).

    Returns the figures and the arrays: for run i `map_i` (H, W), `mean_image_i` (H, W, C) and an example, `original_i` and
    `lensed_i` (H, W, C) uint8. A run that keeps its edits is read and runs no code; another is brought back and asked.
    """
    arrays: dict[str, Array] = {}
    entries: list[dict[str, Any]] = []
    for number, (run, entry) in enumerate(zip(runs, about, strict=True)):
        found = edits_of(asked, run)
        mean_edit = found["map"]
        parts = {"map": mean_edit, "mean_image": found["mean_image"]}
        parts |= {name: found[name][0] for name in ("original", "lensed")}
        arrays |= {f"{name}_{number}": values for name, values in parts.items()}
        entries.append(
            entry
            | {"map_images": int(found["map_images"]), "size": list(mean_edit.shape)}
            | {"map_95th_percentile": edit_maps.clip(mean_edit), "strongest_5_percent": edit_maps.top_share(mean_edit)}
        )
    every = [arrays[f"map_{number}"] for number in range(len(runs))]
    # Always the earlier run first: the two orders of a pair round differently.
    pairs = [[sorted((n, m)) for m in range(len(every))] for n in range(len(every))]
    correlation = [[edit_maps.rank_correlation(every[n], every[m]) for n, m in row] for row in pairs]
    notes = [ABOUT_MAPS]
    if len({mean_edit.shape for mean_edit in every}) > 1:
        notes.append("Maps of different sizes are averaged over areas to the smaller one before they are correlated.")
    numbers = {"runs": entries, "rank_correlation": correlation, "notes": notes}
    return numbers, arrays


def edits_of(asked: Comparison, run: Run) -> dict[str, Array]:
    """A run's `figures/edits.npz`, or the same asked of its players where there is none.

    Raises BadInput where the file is damaged.
    """
    if (run.directory / "figures" / "edits.npz").exists():
        return edit_maps.load(run.directory)
    from lens import evaluate, experiment

    finished = _finished(asked, run)
    say(f"{run.directory} keeps no edits: its lens is asked again")
    fabric = experiment.make_fabric(finished.parsed.settings)
    return evaluate.edits(_players(finished, finished.images(), fabric))


# --- one's task on another's images ----------------------------------------------------------------------------------


def transfer(asked: Comparison, runs: list[Run], about: list[dict[str, Any]]) -> dict[str, Any]:
    """How hard is task B, of its own trained extractor, on images that lens A has edited? For every A and B.

    The lens gets B's *views*, images in [0, 1] before they are cut and standardised, as it got its own; both runs share
    the data and the size, so that it sees what it was trained on as far as the two tasks pose alike.

    Which batch-norm statistics: on the diagonal the lensed set, as in the run's own summary. Off it the raw set. A
    foreign lens's images were part of neither set, and the raw one is what the extractor uses for every image that its
    own lens has not made (clean, downstream). Where the two disagree the figure is about statistics and not about
    the cue, so both stand in every cell. An extractor without two sets gives the same twice.

    Test images of a run that another one has learnt from (`unseen`) are left out of its row.

    Raises BadInput where runs differ in data or size, or where something else than a lens changes the images.
    """
    for entry in about:
        if entry["adversary"] in ("fgsm", "random"):
            raise BadInput(f"{entry['run']} has no lens (--adversary {entry['adversary']}): --maps can show it")
    finished = [_finished(asked, run) for run in runs]
    _refuse_unlike(finished)
    from lens import experiment
    from lens.unseen import without_learnt

    fabric = experiment.make_fabric(finished[0].parsed.settings)
    # Each is asked about its own test images, but for those that another one has learnt from.
    players = [_players(one, one.images(), fabric) for one in finished]
    trained = [one.images for one in players]
    for number, asked_one in enumerate(players):
        for place in (n for n in range(len(players)) if n != number):
            asked_one.images = without_learnt(asked_one.images, trained[place], str(runs[place].directory))
    cells = []
    for task, one in enumerate(players):
        index = one.held_out("test")
        for lens, other in enumerate(players):
            say(f"task of {runs[task].directory} on images of the lens of {runs[lens].directory} …")
            cells.append({"task": task, "lens": lens} | asked_of(one, other, index))
    return {"runs": about, "cells": cells, "notes": [ABOUT_TRANSFER]}


def asked_of(one: Experiment, other: Experiment, index: Array) -> dict[str, Any]:
    """The task of `one` on held-out images at `index`, raw and through the lens of `other`; 95 % intervals.

    `lensed` is with the set of statistics that `statistics` names; `with_raw_statistics` and `with_lensed_statistics` give
    both. `gap` is raw − lensed, paired.
    """
    from lens import evaluate

    cell: dict[str, Any] = {}
    chosen = "lensed" if one is other else "raw"
    for statistics in ("raw", "lensed"):
        result = evaluate.pretext(one, index, with_ssim=False, by=other, lensed_statistics=statistics == "lensed")
        found = evaluate.pretext_summary(result, one.settings.seed)
        cell[f"with_{statistics}_statistics"] = {name: found[name] for name in ("lensed", "lensed_ci")}
        if statistics == chosen:
            names = ("metric", "chance", "images", "raw", "raw_ci", "lensed", "lensed_ci", "gap", "gap_ci")
            cell |= {name: found[name] for name in names} | {"statistics": statistics}
            changed = evaluate.reconstruction_summary(result, one.settings.seed)
            cell |= {name: changed[name] for name in ("mse", "psnr", "psnr_ci")}
    return cell


def _finished(asked: Comparison, run: Run) -> Finished:
    changed = {name: value for name in ("device", "threads") if (value := getattr(asked, name)) is not None}
    return Finished.of(run, asked.argv, changed)


def _players(finished: Finished, images: Images, fabric: lightning_fabric.Fabric) -> Experiment:
    with finished.run:  # held against a training while its weights are read
        return finished.players(images, fabric)


def _refuse_unlike(finished: list[Finished]) -> None:
    """Raise BadInput, naming the setting, where a run's views are not those of the first."""
    alike = agreement.names(agreement.AGREE["transfer"])
    for one in finished[1:]:
        if differs := agreement.first_difference(alike, finished[0].parsed.plain, one.parsed.plain):
            name, first, mine = differs
            raise BadInput(
                f"--transfer: the {name} of {one.run.directory} is {mine!r} and that of "
                f"{finished[0].run.directory} {first!r}: "
                "a lens is asked about views like its own, so compare runs that share it; --maps takes any"
            )
