"""Linear probes on stored features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""Inverse penalties C of the logistic regression, of which validation chooses one."""


def logistic(features: dict[str, Array], labels: dict[str, Array], seed: int) -> tuple[Array, dict[str, Any]]:
    """Multinomial logistic regression on standardised features (n, F); which test images it gets right (n_test,).

    The penalty is chosen by validation accuracy (the strongest of equals), the test split is opened once.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean = features["train"].mean(axis=0)
    scale = features["train"].std(axis=0)
    scale[scale < 1e-6] = 1
    standard = {split: ((x - mean) / scale).astype(np.float32) for split, x in features.items()}
    best: tuple[float, float, Any] | None = None
    # One solver goes through all penalties, each from the solution of the stronger one before it.
    model = LogisticRegression(max_iter=1000, warm_start=True, random_state=seed)
    unconverged = []
    for c in PENALTIES:
        model.set_params(C=c)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(standard["train"], labels["train"])
        if int(model.n_iter_.max()) >= 1000:
            unconverged.append(c)
        accuracy = float((model.predict(standard["val"]) == labels["val"]).mean())
        if best is None or accuracy > best[0]:
            best = (accuracy, c, (model.coef_.copy(), model.intercept_.copy()))
    assert best is not None
    model.coef_, model.intercept_ = best[2]
    correct = model.predict(standard["test"]) == labels["test"]
    return correct, {"penalty": 1 / best[1], "validation": best[0], "converged": best[1] not in unconverged}
