"""summary.json: everything that is known of a finished run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lens.results.downstream import Downstream
from lens.results.match import Match
from lens.results.pretext import Pretext
from lens.results.reconstruction import Reconstruction
from lens.results.removal import Removal
from lens.results.result import Result, inlined, optional
from lens.results.trained import Trained
from lens.results.validation import Validation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary(Result):
    """Every result of a finished run, in the order of a grid's columns; nothing else lists them (`lens.results.columns`).

    `downstream` has a part for each probed source, by its name, `phases` the seconds of each. `match` is None but for a
    rival, `removal` before a proof.
    """

    downstream: Mapping[str, Downstream]
    pretext: Pretext
    reconstruction: Reconstruction | None = None
    trained: Trained = inlined()
    match: Match | None = None
    validation: Validation | None = None
    removal: Removal | None = optional(asked="source")
    phases: Mapping[str, float] | None = optional()
