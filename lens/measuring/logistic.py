"""Multinomial logistic regression on stored features, in memory or in parts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from lens.measuring.training_rows import Device, Rows, Tick
from lens.results.fit import Fit

Array = np.ndarray[Any, Any]
PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""Inverse penalties C of the logistic regression, of which validation chooses one."""
MAXIMUM_ITERATIONS = 1000


def logistic(
    features: dict[str, Array], labels: dict[str, Array], seed: int, tick: Tick = lambda: None
) -> tuple[Array, Fit]:
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
    model = LogisticRegression(max_iter=MAXIMUM_ITERATIONS, warm_start=True, random_state=seed)
    unconverged = []
    for c in PENALTIES:
        model.set_params(C=c)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(standard["train"], labels["train"])
        if int(model.n_iter_.max()) >= MAXIMUM_ITERATIONS:
            unconverged.append(c)
        accuracy = float((model.predict(standard["val"]) == labels["val"]).mean())
        if best is None or accuracy > best[0]:
            best = (accuracy, c, (model.coef_.copy(), model.intercept_.copy()))
        tick()
    assert best is not None
    model.coef_, model.intercept_ = best[2]
    correct = model.predict(standard["test"]) == labels["test"]
    return correct, Fit(penalty=1 / best[1], validation=best[0], converged=best[1] not in unconverged)


def streamed_logistic(
    features: dict[str, Array], labels: dict[str, Array], device: Device, tick: Tick = lambda: None
) -> tuple[Array, Fit]:
    """What `logistic` gives, by L-BFGS on sums over parts of the rows: of the features nothing is copied whole."""
    train = Rows.of(features["train"], labels["train"], device)
    weights = np.zeros((len(train.classes), train.width + 1))
    best: tuple[float, float, Array, bool] | None = None
    for c in PENALTIES:
        weights, converged = minimise(train, c, weights)
        accuracy = float(train.right(weights, features["val"], labels["val"]).mean())
        if best is None or accuracy > best[0]:
            best = (accuracy, c, weights, converged)
        tick()
    assert best is not None
    correct = train.right(best[2], features["test"], labels["test"])
    return correct, Fit(penalty=1 / best[1], validation=best[0], converged=best[3])


def minimise(
    train: Rows, c: float, start: Array, iterations: int = MAXIMUM_ITERATIONS, tolerance: float = 1e-4
) -> tuple[Array, bool]:
    """The weights and intercepts (K, F + 1) at inverse penalty `c`, from `start`, and whether they converged.

    The objective and the stopping rules are scikit-learn's: mean loss + |weights|² / (2 c n), intercepts free.
    """
    from scipy.optimize import minimize

    # With two classes scikit-learn fits their difference w, here ±w/2: half the squared norm.
    strength = (2 if len(start) == 2 else 1) / (c * len(train.rows))

    def objective(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(start.shape)
        loss, gradient = train.loss(weights)
        gradient[:, :-1] += strength * weights[:, :-1]
        return loss + strength / 2 * float((weights[:, :-1] ** 2).sum()), gradient.ravel()

    options = {"maxiter": iterations, "maxls": 50, "gtol": tolerance, "ftol": 64 * np.finfo(float).eps}
    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(start.shape), bool(found.success)
