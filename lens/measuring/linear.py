"""Linear probes on stored features: logistic regression, in memory or in parts, and the SGD protocol."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lens.base.draws import generator
from lens.measuring.feature_store import chunks, is_stored

Array = np.ndarray[Any, Any]
Device = torch.device | str
Tick = Callable[[], None]
"""Told that another part of a fit is done."""
PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""Inverse penalties C of the logistic regression, of which validation chooses one."""
METHODS = {"logistic": ("logistic",), "sgd": ("sgd",), "both": ("logistic", "sgd")}
MAXIMUM_ITERATIONS = 1000
BATCH, RATE, MOMENTUM = 512, 0.1, 0.9
"""Of the SGD protocol; the rate is for 256 images."""


@dataclasses.dataclass(frozen=True)
class How:
    """How a linear probe is fitted: the key of METHODS, the epochs of SGD, and where the sums over rows are made."""

    method: str = "logistic"
    epochs: int = 70
    device: Device = "cpu"

    @property
    def fits(self) -> int:
        """Penalties and epochs that one fit goes through."""
        return sum(self.epochs if method == "sgd" else len(PENALTIES) for method in METHODS[self.method])


def fit(
    features: dict[str, Array], labels: dict[str, Array], seed: int, how: How, tick: Tick = lambda: None
) -> dict[str, tuple[Array, dict[str, Any]]]:
    """For each method asked: which test images it gets right (n_test,) bool, and how the fit went.

    `tick` is called after each penalty of the logistic regression and each epoch of SGD: `how.fits` times.
    """
    fitted = {}
    for method in METHODS[how.method]:
        if method == "sgd":
            fitted[method] = sgd(features, labels, seed, how.epochs, how.device, tick=tick)
        elif is_stored(features["train"]):
            fitted[method] = streamed_logistic(features, labels, how.device, tick)
        else:
            fitted[method] = logistic(features, labels, seed, tick)
    return fitted


def keyed(name: str, method: str) -> str:
    """A figure's key in a summary: the logistic regression's is the plain name."""
    return name if method == "logistic" else f"{name}_{method}"


# --- logistic regression ---------------------------------------------------------------------------------------------


def logistic(
    features: dict[str, Array], labels: dict[str, Array], seed: int, tick: Tick = lambda: None
) -> tuple[Array, dict[str, Any]]:
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
    return correct, {"penalty": 1 / best[1], "validation": best[0], "converged": best[1] not in unconverged}


def streamed_logistic(
    features: dict[str, Array], labels: dict[str, Array], device: Device, tick: Tick = lambda: None
) -> tuple[Array, dict[str, Any]]:
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
    return correct, {"penalty": 1 / best[1], "validation": best[0], "converged": best[3]}


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


# --- the SGD protocol ------------------------------------------------------------------------------------------------


def sgd(
    features: dict[str, Array],
    labels: dict[str, Array],
    seed: int,
    epochs: int = 70,
    device: Device = "cpu",
    step: Callable[[int, int], bool] | None = None,
    tick: Tick = lambda: None,
) -> tuple[Array, dict[str, Any]]:
    """Softmax regression by SGD as Kolesnikov, Zhai & Beyer (2019) evaluate features; which test images it gets right.

    Momentum 0.9, batches of 512, rate 0.1 per 256 images, ×0.1 at 30 and 50 of 70 epochs (in proportion for other
    numbers), no weight decay. Of theirs it differs in two ways: the features are stored, of centre crops, so there are
    no random crops and flips; and they are standardised, as for the logistic regression. It starts at zero; each epoch
    is a new order by the seed, its incomplete last batch left out. Nothing is chosen: the accuracy on validation is
    recorded, the test split is opened once. `step(done, total)` is called after each step and ends the training by
    returning True.
    """
    train = Rows.of(features["train"], labels["train"], device)
    count = len(train.rows)
    batch = min(BATCH, count)
    per_epoch = count // batch
    weights = torch.zeros(len(train.classes), train.width + 1, device=device)
    velocity = torch.zeros_like(weights)
    total, done = epochs * per_epoch, 0
    for epoch in range(epochs):
        rate = sgd_rate(epoch, epochs, batch)
        order = torch.randperm(count, generator=generator(seed, epoch, "linear probe")).numpy()
        for start in range(0, per_epoch * batch, batch):
            chosen = order[start : start + batch]
            _, gradient = _loss(train.standard(train.rows[chosen]), train.target(chosen), weights)
            velocity.mul_(MOMENTUM).add_(gradient, alpha=1 / batch)
            weights.sub_(velocity, alpha=rate)
            done += 1
            if step is not None and step(done, total):
                break
        else:
            tick()
            continue
        break
    found = weights.double().cpu().numpy()
    validation = float(train.right(found, features["val"], labels["val"]).mean())
    correct = train.right(found, features["test"], labels["test"])
    return correct, {"epochs": epochs, "batch": batch, "validation": validation}


def sgd_rate(epoch: int, epochs: int, batch: int) -> float:
    """The rate in an epoch, 0 to epochs − 1: 0.1 per 256 images, a tenth of it from 3/7 of the epochs on, a hundredth from 5/7."""
    drops = (7 * epoch >= 3 * epochs) + (7 * epoch >= 5 * epochs)
    return RATE * batch / 256 * 0.1**drops


# --- rows ------------------------------------------------------------------------------------------------------------


def _loss(inputs: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy of rows (b, F + 1) whose last column is 1, and its gradient (K, F + 1)."""
    logits = inputs @ weights.T
    loss = functional.cross_entropy(logits, target, reduction="sum")
    error = logits.softmax(dim=1)
    error[torch.arange(len(target), device=target.device), target] -= 1
    return loss, error.T @ inputs


@dataclasses.dataclass(frozen=True)
class Rows:
    """Training rows (n, F) with what standardises them, read a part at a time; `classes` are the labels that occur."""

    rows: Array
    label: Array
    classes: Array
    mean: Tensor
    scale: Tensor
    device: Device

    @classmethod
    def of(cls, rows: Array, labels: Array, device: Device) -> Rows:
        """Mean and deviation of each column, in one pass in float64."""
        # About a mean that is nearly right, so that the squares do not cancel.
        shift = np.asarray(rows[:8192], np.float64).mean(axis=0)
        total, squares = np.zeros_like(shift), np.zeros_like(shift)
        for part in chunks(len(rows)):
            apart = np.asarray(rows[part], np.float64) - shift
            total += apart.sum(axis=0)
            squares += np.einsum("nf,nf->f", apart, apart)
        mean = total / len(rows)
        scale = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
        scale[scale < 1e-6] = 1
        classes, label = np.unique(labels, return_inverse=True)
        at = [torch.from_numpy(x.astype(np.float32)).to(device) for x in (shift + mean, scale)]
        return cls(rows, label, classes, at[0], at[1], device)

    @property
    def width(self) -> int:
        """F."""
        return int(self.rows.shape[1])

    def standard(self, rows: Array) -> Tensor:
        """Rows (b, F) of any split → standardised, on the device, with a last column of ones: (b, F + 1)."""
        inputs = torch.ones(len(rows), self.width + 1, device=self.device)
        raw = torch.from_numpy(np.ascontiguousarray(rows)).to(self.device).float()
        torch.sub(raw, self.mean, out=inputs[:, :-1])  # never into `raw`, which may be the stored rows themselves
        inputs[:, :-1] /= self.scale
        return inputs

    def target(self, chosen: slice | Array) -> Tensor:
        """The classes' numbers of training rows, (b,) int64 on the device."""
        return torch.from_numpy(self.label[chosen]).to(self.device)

    def loss(self, weights: Array) -> tuple[float, Array]:
        """The mean cross-entropy over all rows and its gradient (K, F + 1), summed in float64."""
        at = torch.from_numpy(weights).float().to(self.device)
        loss = 0.0
        gradient = np.zeros(weights.shape)
        for part in chunks(len(self.rows)):
            one, change = _loss(self.standard(self.rows[part]), self.target(part), at)
            loss += float(one)
            gradient += change.cpu().numpy()
        return loss / len(self.rows), gradient / len(self.rows)

    def right(self, weights: Array, rows: Array, labels: Array) -> Array:
        """Which rows of another split are given their label, (n,) bool; a label that training lacks never is."""
        at = torch.from_numpy(weights).float().to(self.device)
        answers = [(self.standard(rows[part]) @ at.T).argmax(dim=1).cpu().numpy() for part in chunks(len(rows))]
        return np.asarray(self.classes[np.concatenate(answers)] == labels)
