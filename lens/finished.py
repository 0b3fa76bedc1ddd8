"""A finished run, opened again to be measured: its summary, its settings, its players with their trained weights."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from lens.parsing import Parsed, of_this_version, parse, refuse_foreign_code
from lens.protocols import BadInput
from lens.run import Run

if TYPE_CHECKING:
    import lightning_fabric

    from lens import data
    from lens.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that has been measured once, with its settings as they are asked for now."""

    run: Run
    summary: dict[str, Any]
    parsed: Parsed

    @classmethod
    def of(cls, run: Run, argv: list[str], changed: dict[str, Any]) -> Finished:
        """Read a run's summary and settings; `changed` settings replace its own.

        Raises BadInput where the run is not finished, was written by a version with other settings, or names a plug-in
        file that the command line `argv` does not name again.
        """
        summary = run.summary()
        if summary is None:
            raise BadInput(
                f"{run.directory} is not finished: continue it with python -m lens.train --resume {run.directory}"
            )
        stored = run.settings()
        refuse_foreign_code(stored, argv, run.directory)
        run.refuse_changed_plugins()
        stored = of_this_version(stored, run.origin()["lens"], run.directory)
        return cls(run, summary, parse([], "lens.train", stored | changed))

    def players(self, images: data.Images, fabric: lightning_fabric.Fabric, weights: str = "last") -> Experiment:
        """The players with the run's last weights, or its best ones. Raises BadInput where they are not there."""
        from lens import experiment, networks

        target = (self.summary.get("match") or {}).get("target_mse")  # the run that it was matched to may be gone
        players = experiment.build(self.parsed, images, fabric, rival_mse=target)
        folder = self.run.directory / "best" if weights == "best" else self.run.directory
        networks.load_weights(players.extractor.backbone, folder / "extractor.safetensors", "extractor")
        networks.load_weights(networks.without_backbone(players.extractor), folder / "head.safetensors", "head")
        if players.lens is not None:
            networks.load_weights(players.lens, folder / "lens.safetensors", "lens")
        return players
