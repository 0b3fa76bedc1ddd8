"""Everything that is measured of trained players on held-out images: the measured part of a summary."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.base.bar import Bar
from lens.base.phases import Phases
from lens.measuring import linear, pretext, reconstruction
from lens.measuring.downstream import DEFAULT, downstream
from lens.measuring.edits import Edits
from lens.measuring.probes import Probe
from lens.players.players import Players
from lens.protocols.lookup import short_names
from lens.results.downstream import Downstream
from lens.results.pretext import Pretext
from lens.results.reconstruction import Reconstruction

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is measured of trained players; on other ranks than 0 nothing downstream."""

    pretext: Pretext
    reconstruction: Reconstruction
    downstream: dict[str, Downstream]


def everything(
    players: Players,
    probes: list[Probe],
    recipe: linear.ProbeRecipe = DEFAULT,
    layer: Sequence[str] = (),
    edits: Edits | None = None,
    phases: Phases | None = None,
) -> Measured:
    """The measured part of a summary: pretext, reconstruction and downstream, all on test splits.

    What the lens does to the images is collected on the way by `edits`, the seconds by `phases`.
    """
    phases = phases or Phases()
    settings = players.settings
    index = players.held_out("test")
    with phases.timed("asking the task"), Bar("asking the task", len(index), "images") as bar:
        # Where training only ever updated the lensed set of statistics, what unlensed images give with it stands beside.
        other = players.lensed_statistics_only and bool(players.extractor.norms)
        result = pretext.measured(players, index, other_statistics=other, edits=edits, asked=bar.add)
        asked = pretext.summary(result, settings.optimisation.seed)
        asked = dataclasses.replace(asked, of_images=len(players.images.indices("test")))
        changed = reconstruction.summary(result, settings.optimisation.seed)
    probed = {
        name: downstream(players, probe.images, probe.source, probe.key, recipe, layer, phases)
        for name, probe in zip(short_names([probe.key for probe in probes]), probes, strict=True)
    }
    return Measured(asked, changed, {name: one for name, one in probed.items() if one is not None})
