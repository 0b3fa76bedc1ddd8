"""What frozen features are worth on a labelled source."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lens.results.figure import Estimate, beside, figure
from lens.results.fit import Fit
from lens.results.fusion import Fusion
from lens.results.result import Result, optional


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer(Result):
    """Linear accuracies on an inner layer's features, of which there are `features`, trained and untrained; `_sgd` by SGD."""

    features: int
    n_train: int | None = optional()
    n_val: int | None = optional()
    n_test: int | None = optional()
    n_train_of: int | None = optional()
    n_val_of: int | None = optional()
    n_test_of: int | None = optional()
    n_test_left_out: int | None = optional()
    linear: Estimate | None = beside(validated=True)
    linear_sgd: Estimate | None = beside(validated=True)
    fit: Fit | None = optional()
    fit_sgd: Fit | None = optional()
    untrained: Estimate | None = beside(validated=True)
    untrained_sgd: Estimate | None = beside(validated=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downstream(Result):
    """Accuracies in [0, 1] of probes on frozen features, beside their floors: untrained ones, and 12×12 pixels.

    `_sgd`: by SGD, where it was asked; `_lensed_statistics`: batch norm not estimated again. `n_SPLIT` images of `n_SPLIT_of`
    were looked at; `n_test_left_out` are of classes that those of training lack. `source` is the key that was probed.
    """

    linear: Estimate | None = figure("downstream", higher_is_better=True, of_images="val_downstream_images", each=True)
    knn: Estimate | None = figure(higher_is_better=True, of_images="val_downstream_images")
    untrained: Estimate | None = figure(of_images="val_downstream_images")
    pixels: Estimate | None = figure(of_images="val_downstream_images")
    linear_lensed_statistics: Estimate | None = beside(validated=True)
    linear_sgd: Estimate | None = beside(validated=True)
    untrained_sgd: Estimate | None = beside(validated=True)
    pixels_sgd: Estimate | None = beside(validated=True)
    linear_lensed_statistics_sgd: Estimate | None = beside(validated=True)
    chance: float = figure("downstream_chance", interval=False, validated=False, required=True)
    n_train: int
    n_val: int | None = figure("val_downstream_images", unit="count", interval=False, validated=False, optional=True)
    n_test: int
    n_train_of: int | None = optional()
    n_val_of: int | None = optional()
    n_test_of: int | None = optional()
    n_test_left_out: int | None = optional()
    fit: Fit | None = optional()
    fit_sgd: Fit | None = optional()
    source: str | None = optional()
    layers: Mapping[str, Layer] = optional(dict)
    fusion: Mapping[str, Fusion] = optional(dict)
