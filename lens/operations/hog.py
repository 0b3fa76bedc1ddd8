"""Histograms of oriented gradients (Dalal & Triggs 2005): which way edges run, place by place."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def gradients(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences down and across of images (B, 1, H, W), the edge repeated: same shape each."""
    padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    return padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1], padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]


def oriented(grey: Tensor, cells: int, orientations: int = 9) -> Tensor:
    """Images (B, 1, H, W) in [0, 1] → shares of gradient by direction (B, orientations, cells, cells) in [0, 1].

    Directions are unsigned, each gradient votes for its two nearest; a cell is divided by the norm of the 3×3 cells around
    it, which takes exposure and contrast away. Flat cells are 0.
    """
    down, across = gradients(grey)
    size = torch.hypot(down, across)
    angle = torch.atan2(down, across) * (orientations / math.pi)  # [−orientations, orientations], period `orientations`
    sums = []
    for number in range(orientations):
        apart = (angle - number).remainder(orientations)
        apart = torch.minimum(apart, orientations - apart)
        sums.append(functional.adaptive_avg_pool2d((1 - apart).clamp(min=0) * size, cells))
    found = torch.cat(sums, dim=1)
    energy = functional.avg_pool2d(
        found.square().sum(dim=1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False
    )
    return found / (energy + 1e-5).sqrt() / 3
