"""Softmax regression by SGD on stored features, as Kolesnikov, Zhai & Beyer (2019) evaluate them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lens.base.draws import generator
from lens.measuring.training_rows import Device, Rows, Tick, summed_loss
from lens.results.fit import Fit

Array = np.ndarray[Any, Any]
BATCH, RATE, MOMENTUM = 512, 0.1, 0.9
"""Of the SGD protocol; the rate is for 256 images."""


def sgd(
    features: dict[str, Array],
    labels: dict[str, Array],
    seed: int,
    epochs: int = 70,
    device: Device = "cpu",
    step: Callable[[int, int], bool] | None = None,
    tick: Tick = lambda: None,
) -> tuple[Array, Fit]:
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
            _, gradient = summed_loss(train.standard(train.rows[chosen]), train.target(chosen), weights)
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
    return correct, Fit(epochs=epochs, batch=batch, validation=validation)


def sgd_rate(epoch: int, epochs: int, batch: int) -> float:
    """The rate in an epoch, 0 to epochs − 1: 0.1 per 256 images, a tenth of it from 3/7 of the epochs on, a hundredth from 5/7."""
    drops = (7 * epoch >= 3 * epochs) + (7 * epoch >= 5 * epochs)
    return RATE * batch / 256 * 0.1**drops
