"""What the features of two runs are worth together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lens.results.figure import Estimate, beside
from lens.results.fit import Fit
from lens.results.result import Result, optional


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fusion(Result):
    """Linear accuracies of a run, of another, of both together, and of the other with a control of as many features.

    `gain` is together minus control, paired; of validation images, which chose the penalties, the same. `control_run` is the control's directory, `features` their numbers (of run,
    other, fused); each accuracy is also that of SGD (`_sgd`), where it was asked, and has its fit beside it.
    """

    control_run: str
    features: Mapping[str, int]
    n_train: int
    n_test: int
    run: Estimate | None = beside(validated=True)
    run_sgd: Estimate | None = beside(validated=True)
    other: Estimate | None = beside(validated=True)
    other_sgd: Estimate | None = beside(validated=True)
    fused: Estimate | None = beside(validated=True)
    fused_sgd: Estimate | None = beside(validated=True)
    control: Estimate | None = beside(validated=True)
    control_sgd: Estimate | None = beside(validated=True)
    gain: Estimate | None = beside(validated=True)
    gain_sgd: Estimate | None = beside(validated=True)
    run_fit: Fit | None = optional()
    run_fit_sgd: Fit | None = optional()
    other_fit: Fit | None = optional()
    other_fit_sgd: Fit | None = optional()
    fused_fit: Fit | None = optional()
    fused_fit_sgd: Fit | None = optional()
    control_fit: Fit | None = optional()
    control_fit_sgd: Fit | None = optional()
