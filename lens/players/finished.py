"""A finished run, brought back from its directory: its summary and settings, and its trained players."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.base.errors import BadInput
from lens.protocols.lookup import is_file_key
from lens.record.run import Run
from lens.results.summary import Summary
from lens.settings.arguments import value_of
from lens.settings.parsing import Parsed, parse
from lens.settings.run_settings import PLUGINS
from lens.settings.stored import of_this_version, refuse_foreign_code

if TYPE_CHECKING:
    import lightning_fabric

    from lens.images.data import Images
    from lens.players.players import Players


def summary_of(run: Run) -> Summary:
    """The summary of a run. Raises BadInput where the run is not finished."""
    summary = run.summary()
    if summary is None:
        raise BadInput(
            f"{run.directory} is not finished: continue it with python -m lens.train --resume {run.directory}"
        )
    return summary


def _refuse_other_plugins(stored: dict[str, Any], argv: list[str], directory: Path) -> None:
    """Raise BadInput where the command line names another task, shortcut or lens than the run has: it would be ignored."""
    for kind in PLUGINS:
        asked = value_of(f"--{kind}", argv)
        # Of several runs that are compared one may have the file.
        if asked is not None and asked != stored.get(kind) and not is_file_key(asked):
            raise BadInput(
                f"--{kind} {asked} would be ignored: {directory} has the {kind} {stored.get(kind)!r}, and a finished run "
                "keeps it; leave it out"
            )


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run with its settings as they are asked for now."""

    run: Run
    summary: Summary
    parsed: Parsed

    @classmethod
    def of(cls, run: Run, argv: list[str], changed: dict[str, Any]) -> FinishedRun:
        """Read a run's summary and the settings that it was trained with, those in `changed` replaced.

        Raises BadInput where it is not finished, where a plug-in is a file that `argv` does not name (a run directory from
        a stranger runs no code) or that has changed since, and where another version of lens may have meant other settings.
        """
        summary, stored = summary_of(run), run.settings()
        refuse_foreign_code(stored, argv, run.directory)
        _refuse_other_plugins(stored, argv, run.directory)
        run.refuse_changed_plugins(stored)
        stored = of_this_version(stored, run.origin()["lens"], run.directory)
        where = f"{run.directory}/settings.yaml"
        return cls(run, summary, parse([], "lens.train", stored | changed, where=where, asked=changed))

    def images(self) -> Images:
        """The images that the run was trained on and is measured on.

        Raises BadInput where its sources hold others now: what counts as unseen may be what it has learnt from.
        """
        from lens.images.training_set import training_images

        images = training_images(self.parsed.settings)
        self.run.refuse_other_images(images.splits())
        return images

    def restored(self, fabric: lightning_fabric.Fabric) -> Players:
        """Both players and the run's images, its directory held against a training while they are read.

        Raises BadInput as `images` and `players` do.
        """
        with self.run:
            return self.players(self.images(), fabric)

    def players(self, images: Images, fabric: lightning_fabric.Fabric, weights: str = "last") -> Players:
        """Both players with the weights that the run has kept: its `last` ones, or those that were `best` in validation.

        Raises BadInput where a weight file is missing or does not fit the settings.
        """
        from lens.players.build import build
        from lens.players.extractor import without_backbone
        from lens.players.weights import load_weights

        match = self.summary.match  # the run that it was matched to may be gone
        target = None if match is None else match.target_mse
        players = build(self.parsed, images, fabric, rival_mse=target, weights_follow=True)
        folder = self.run.directory / "best" if weights == "best" else self.run.directory
        advice = "bring it back from a copy"
        if weights == "last" and self.run.last_checkpoint_path() is not None:
            advice += (
                f", or write it anew from the last checkpoint, and measure again, with --resume {self.run.directory}"
            )
        load_weights(players.extractor.backbone, folder / "extractor.safetensors", "extractor", advice)
        load_weights(without_backbone(players.extractor), folder / "head.safetensors", "head", advice)
        if players.lens is not None:
            load_weights(players.lens, folder / "lens.safetensors", "lens", advice)
        return players
