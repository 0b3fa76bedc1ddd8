"""How a linear probe's fit went."""

from __future__ import annotations

import dataclasses

from lens.results.figure import Number
from lens.results.result import Result, optional


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit(Result):
    """A logistic regression's penalty, chosen on validation, and whether it converged; or the epochs and batch of SGD.

    `validation` is the accuracy on validation images; where they chose the penalty a little too high.
    """

    penalty: Number = optional()
    epochs: int | None = optional()
    batch: int | None = optional()
    validation: Number = optional()
    converged: bool | None = optional()
