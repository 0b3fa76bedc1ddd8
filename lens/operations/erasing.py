"""Erase one box of an image: it is filled from what surrounds it, never from what was inside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RELAXATIONS = 8
"""Steps of Jacobi's method towards the harmonic function that has the border's values (Laplace's equation)."""
RING = 3
"""Pixels around the box from which the strength of its grain is taken."""


def boxes(top: Tensor, left: Tensor, height: int, width: int, side: tuple[int, int]) -> Tensor:
    """Boxes of that size whose corners are (V,) and may lie outside, cut off at the image: (V, 1, H, W) bool."""
    y, x = (torch.arange(size, device=top.device) for size in side)
    rows = (y >= top[:, None]) & (y < top[:, None] + height)
    columns = (x >= left[:, None]) & (x < left[:, None] + width)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def erased(images: Tensor, hole: Tensor, top: Tensor, left: Tensor, height: int, width: int, grain: Tensor) -> Tensor:
    """Images (V, C, H, W) in [0, 1] with the boxes `hole` (V, 1, H, W) filled from around them, same shape and range.

    `top`, `left`, `height`, `width` are those of `boxes`. Filled is with what lies straight above, below, to the left and to
    the right of the box, each weighted by its nearness, and then smoothed inside; `grain` (V, 1, H, W), standard normal, is
    added as strong as the image's own is in a ring around the box. No pixel of the box is read.
    """
    known = images.masked_fill(hole, 0)
    filled = torch.where(hole, _spanned(known, hole, top, left, height, width), known)
    for _ in range(RELAXATIONS):
        around = functional.pad(filled, (1, 1, 1, 1), mode="replicate")
        mean = (around[..., :-2, 1:-1] + around[..., 2:, 1:-1] + around[..., 1:-1, :-2] + around[..., 1:-1, 2:]) / 4
        filled = torch.where(hole, mean, known)
    return torch.where(hole, (filled + _strength(known, hole) * grain).clamp(0, 1), known)


def _spanned(known: Tensor, hole: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """The mean of the four border pixels in line with each pixel, weighted by one over their distance: (V, C, H, W)."""
    total, weights = torch.zeros_like(known), torch.zeros_like(hole, dtype=known.dtype)
    for dim, first, length in ((2, top, height), (3, left, width)):
        size = known.shape[dim]
        shape = [1, 1, size, 1] if dim == 2 else [1, 1, 1, size]
        here = torch.arange(size, device=known.device).view(shape)
        for border in (first - 1, first + length):
            inside = (border >= 0) & (border < size)
            at = border.clamp(0, size - 1)[:, None, None, None].expand(
                *known.shape[:2], *(1 if d == dim else known.shape[d] for d in (2, 3))
            )
            line = known.gather(dim, at)
            near = inside[:, None, None, None] / (here - border[:, None, None, None]).abs().clamp(min=1).to(known.dtype)
            total, weights = total + near * line, weights + near
    return total / weights.clamp(min=1e-9)


def _strength(known: Tensor, hole: Tensor) -> Tensor:
    """The standard deviation of fine detail in a ring around the hole, by channel: (V, C, 1, 1).

    Detail is a pixel less the mean of its four neighbours, over √1.25: that of white noise is the noise's own.
    """
    near = functional.max_pool2d(hole.to(known.dtype), 2 * RING + 3, 1, RING + 1)
    touching = functional.max_pool2d(hole.to(known.dtype), 3, 1, 1)
    ring = near - touching
    around = functional.pad(known, (1, 1, 1, 1), mode="replicate")
    mean = (around[..., :-2, 1:-1] + around[..., 2:, 1:-1] + around[..., 1:-1, :-2] + around[..., 1:-1, 2:]) / 4
    square = ((known - mean).square() * ring).sum(dim=(2, 3), keepdim=True) / 1.25
    return (square / ring.sum(dim=(2, 3), keepdim=True).clamp(min=1)).sqrt()
