"""The parameter θ of a planted cue as classes that a judge can be asked about: its own ones, or eight bins."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.base.draws import EVALUATION, Draws
from lens.protocols.shortcut import Shortcut

Array = np.ndarray[Any, Any]
BINS = 8
"""Classes of a θ that has none of its own."""
MOST = 16
"""Values of θ that count as classes; a cue that has more of them is asked in bins."""
STEPS = 1680
"""Values of θ at which a cue is looked at: a multiple of every number up to 8, of 10, 12, 14, 15 and 16."""
SIDE = 32
"""Pixels at which it is looked at."""


@dataclasses.dataclass(frozen=True)
class Parameters:
    """How θ is drawn and what it is called: uniform in [0, 1), and class k from `edges[k − 1]` to `edges[k]`.

    `native`: the classes are all that θ can do. `exact`: of each class one value is drawn, its lower end.
    """

    edges: tuple[float, ...]
    native: bool
    exact: bool = False

    @property
    def classes(self) -> int:
        """K; 1 where θ changes nothing."""
        return len(self.edges) + 1

    def drawn(self, draws: Draws, name: str = "shortcut") -> tuple[Tensor, Tensor]:
        """θ (V,) float32 and its class (V,) int64, as the key `random` draws them; of another `name` independent ones."""
        theta = draws.uniform(name)
        edges = torch.tensor(self.edges, device=theta.device)
        kind = torch.bucketize(theta, edges, right=True)
        return (kind / self.classes if self.exact else theta), kind


def of_classes(count: int) -> Parameters:
    """θ under the key `label`: k / K of each of `count` classes, as `planting.thetas_of_classes` gives them."""
    return Parameters(tuple(k / count for k in range(1, count)), native=True, exact=True)


@torch.no_grad()
def of(shortcut: Shortcut) -> Parameters:
    """Where θ makes a difference: a picture is planted at many values of it, all else alike; each that is another begins a class.

    Of more than `MOST` the classes are `BINS` of equal width.
    """
    one = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    starts: list[int] = []
    before: Tensor | None = None
    for first in range(0, STEPS, 120):
        # In the middle of each step: an end that is a multiple of the step is then on no side of it.
        theta = (torch.arange(first, min(first + 120, STEPS)) + 0.5) / STEPS
        index = torch.zeros(len(theta), dtype=torch.int64)
        planted = shortcut.plant(one.expand(len(theta), -1, -1, -1), theta, Draws(0, EVALUATION, index, index))
        shown = planted if before is None else torch.cat([before, planted])
        changes = (shown[1:] != shown[:-1]).flatten(1).any(dim=1)
        offset = first + int(before is None)
        starts += (torch.nonzero(changes)[:, 0] + offset).tolist()
        before = planted[-1:]
        if len(starts) >= MOST:
            return Parameters(tuple(k / BINS for k in range(1, BINS)), native=False)
    return Parameters(tuple(start / STEPS for start in starts), native=True)
