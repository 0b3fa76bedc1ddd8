"""Linear probes on stored features, by one method or by both."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lens.measuring import logistic, sgd
from lens.measuring.feature_store import is_stored
from lens.measuring.training_rows import Device, Tick
from lens.results.fit import Fit

Array = np.ndarray[Any, Any]
METHODS = {"logistic": ("logistic",), "sgd": ("sgd",), "both": ("logistic", "sgd")}


@dataclasses.dataclass(frozen=True)
class ProbeRecipe:
    """How a linear probe is fitted: the key of METHODS, the epochs of SGD, and where the sums over rows are made."""

    method: str = "logistic"
    epochs: int = 70
    device: Device = "cpu"

    @property
    def fits(self) -> int:
        """Penalties and epochs that one fit goes through."""
        return sum(self.epochs if method == "sgd" else len(logistic.PENALTIES) for method in METHODS[self.method])


def fit(
    features: dict[str, Array], labels: dict[str, Array], seed: int, recipe: ProbeRecipe, tick: Tick = lambda: None
) -> dict[str, tuple[Array, Fit]]:
    """For each method asked: which test images it gets right (n_test,) bool, and how the fit went.

    `tick` is called after each penalty of the logistic regression and each epoch of SGD: `recipe.fits` times.
    """
    fitted = {}
    for method in METHODS[recipe.method]:
        if method == "sgd":
            fitted[method] = sgd.sgd(features, labels, seed, recipe.epochs, recipe.device, tick=tick)
        elif is_stored(features["train"]):
            fitted[method] = logistic.streamed_logistic(features, labels, recipe.device, tick)
        else:
            fitted[method] = logistic.logistic(features, labels, seed, tick)
    return fitted


def keyed(name: str, method: str) -> str:
    """A figure's key in a summary: the logistic regression's is the plain name."""
    return name if method == "logistic" else f"{name}_{method}"
