"""One run's task on images that another run's lens has edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.players.finished import FinishedRun
from lens.results.compared import Compared
from lens.results.figure import Estimate
from lens.results.transfer import Cell, Statistics, Transfer
from lens.settings import agreement

if TYPE_CHECKING:
    from lens.players.players import Players

Array = np.ndarray[Any, Any]
ABOUT_TRANSFER = (
    "Each extractor was trained against its own lens only and has never seen another's images: a low score says that "
    "this network is fooled, and a high one that it is not. That a cue is gone is shown by a fresh classifier alone."
)


def transfer(finished: list[FinishedRun], about: list[Compared]) -> Transfer:
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
        if entry.match:
            raise BadInput(f"{entry.run} has no lens (--lens {entry.lens}): --maps can show it")
    _refuse_unlike(finished)
    from lens.images.unseen import without_learnt
    from lens.players.fabric import make_fabric

    fabric = make_fabric(finished[0].parsed.settings.machine)
    # Each is asked about its own test images, but for those that another one has learnt from.
    players = [one.restored(fabric) for one in finished]
    trained = [one.images for one in players]
    for number, asked_one in enumerate(players):
        for place in (n for n in range(len(players)) if n != number):
            asked_one.images = without_learnt(asked_one.images, trained[place], str(finished[place].run.directory))
    cells = []
    for task, one in enumerate(players):
        index = one.held_out("test")
        for lens, other in enumerate(players):
            say(f"task of {finished[task].run.directory} on images of the lens of {finished[lens].run.directory} …")
            cells.append(Cell(task=task, lens=lens, **asked_of(one, other, index)))
    return Transfer(runs=about, cells=cells, notes=[ABOUT_TRANSFER])


def asked_of(one: Players, other: Players, index: Array) -> dict[str, Any]:
    """The task of `one` on held-out images at `index`, raw and through the lens of `other`: all of a `Cell` but its place."""
    from lens.measuring import pretext, reconstruction

    cell: dict[str, Any] = {}
    chosen = "lensed" if one is other else "raw"
    for statistics in ("raw", "lensed"):
        result = pretext.measured(one, index, with_ssim=False, by=other, lensed_statistics=statistics == "lensed")
        found = pretext.summary(result, one.settings.optimisation.seed)
        cell[f"with_{statistics}_statistics"] = Statistics(lensed=found.lensed or Estimate(None))
        if statistics == chosen:
            names = ("metric", "chance", "images", "raw", "lensed", "gap")
            cell |= {name: getattr(found, name) for name in names} | {"statistics": statistics}
            changed = reconstruction.summary(result, one.settings.optimisation.seed)
            cell |= {"mse": changed.mse, "psnr": changed.psnr}
    return cell


def _refuse_unlike(finished: list[FinishedRun]) -> None:
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
