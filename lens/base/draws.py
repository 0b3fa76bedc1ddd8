"""Random draws as a function of (seed, epoch, image index, view, name): the same in any batch, worker or rank."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

EVALUATION = -1
"""The epoch under which held-out images are drawn: the same draws at every evaluation."""


def _signed(value: int) -> int:
    """A 64-bit pattern as the signed integer that torch stores."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


def _mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014, section 4), on int64 tensors that wrap around."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        logical = (x >> shift) & ((1 << (64 - shift)) - 1)
        x = (x ^ logical) * _signed(factor)
    return x


def _word(name: str) -> int:
    return _signed(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


def _absorb(state: Tensor, word: Tensor | int) -> Tensor:
    return _mix((state ^ word) + _signed(0x9E3779B97F4A7C15))


@dataclasses.dataclass(frozen=True)
class Draws:
    """Draws for a batch of rows: `index` (V,) int64 names each row's image, `view` (V,) int64 which view of it.

    `epoch` is that of all rows, or of each (V,) int64.
    """

    seed: int
    epoch: int | Tensor
    index: Tensor
    view: Tensor

    def repeat(self, views: int) -> Draws:
        """The rows of a task that takes `views` views of each image: image by image, views counted from 0."""
        import torch

        index = self.index.repeat_interleave(views)
        view = torch.arange(views, device=index.device).repeat(len(self.index))
        epoch = self.epoch if isinstance(self.epoch, int) else self.epoch.repeat_interleave(views)
        return Draws(self.seed, epoch, index, view)

    def chunk(self, parts: int) -> list[Draws]:
        """The rows in `parts` equal parts, as torch's `chunk` cuts the tensors beside them."""
        rows = zip(self.index.chunk(parts), self.view.chunk(parts), strict=True)
        epochs: Iterable[int | Tensor] = (
            [self.epoch] * parts if isinstance(self.epoch, int) else self.epoch.chunk(parts)
        )
        return [Draws(self.seed, epoch, *row) for epoch, row in zip(epochs, rows, strict=True)]

    def uniform(self, name: str, *shape: int, per_image: bool = False) -> Tensor:
        """Float32 in [0, 1), (V, *shape); with `per_image` the same in every view and every epoch of an image."""
        import torch

        state = torch.full_like(self.index, _word(f"{self.seed}/{name}"))
        state = _absorb(state, self.index)
        if not per_image:
            state = _absorb(_absorb(state, self.epoch), self.view)
        count = int(torch.Size(shape).numel())
        counter = torch.arange(count, device=state.device, dtype=torch.int64)
        bits = _absorb(state[:, None], counter[None, :])
        # The top 24 bits: every multiple of 2**-24 below 1, which float32 holds exactly.
        return (((bits >> 40) & 0xFFFFFF).to(torch.float32) / (1 << 24)).reshape(len(state), *shape)

    def normal(self, name: str, *shape: int, per_image: bool = False) -> Tensor:
        """Standard normal draws (V, *shape), float32: the inverse distribution function of uniform ones."""
        # Half a step up: the draws are multiples of 2**-24 from 0, and both ends of the interval would be infinite.
        return math.sqrt(2) * (2 * self.uniform(name, *shape, per_image=per_image) - 1 + 2**-24).erfinv()

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        """Int64 in {0, …, high − 1}, (V, *shape)."""
        import torch

        # The product can round up to `high` in float32: clamp.
        return (self.uniform(name, *shape) * high).to(torch.int64).clamp_(max=high - 1)


def of_theta(draws: Draws, theta: Tensor) -> Draws:
    """Draws whose `per_image` ones are a function of a cue's parameter (V,) in [0, 1) in place of the image."""
    import torch

    # Double: θ of many classes, k / K in single precision, is the same number on every device.
    code = (theta.double() * (1 << 24)).round().to(torch.int64)
    return dataclasses.replace(draws, index=code)


def generator(seed: int, step: int, name: str) -> torch.Generator:
    """A CPU generator for what is drawn once a step: a function of (seed, step, name)."""
    import torch

    return torch.Generator().manual_seed(step_seed(seed, step, name))


def step_seed(seed: int, step: int, name: str) -> int:
    """A non-negative 63-bit seed as a function of (seed, step, name)."""
    return _word(f"{seed}/{step}/{name}") & ((1 << 63) - 1)
