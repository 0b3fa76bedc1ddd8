"""How near a rival came to the change that it was held to."""

from __future__ import annotations

import dataclasses

from lens.results.figure import Number, figure
from lens.results.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match(Result):
    """The mean squared change asked (`target_mse`, that of the run `to` or a number) and made on validation images, and `ratio`."""

    to: float | str | None = None
    target_mse: float
    validation_mse: Number = None
    ratio: Number = figure("match_ratio", unit="", interval=False, validated=False)
    strength: Number = None
