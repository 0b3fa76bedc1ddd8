"""Histograms of an image's DCT coefficients, and how well they fit the multiples of quantisation steps: JPEG's combs.

Letters: B images, H W pixels, F = 64 frequencies in rows of eight, N levels of a histogram, Q tables.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from lens.operations import dct
from lens.operations.jpeg import tables
from lens.operations.jpeg_planes import Plane

LEVELS = 128
"""Sizes of coefficients that are counted, from 0, in steps of `width`; larger ones are left out."""
NOISE = 0.35
"""The deviation of a coefficient from its multiple: samples are rounded twice on the way to 8-bit colours, 2/12 of a level²."""
OUTLIERS = 0.05
"""The share of coefficients that fit no multiple: clipped blocks, edits."""


def histogram(plane: Plane, levels: int = LEVELS, width: float = 1.0) -> Tensor:
    """A plane (B, C, H, W) → how often each frequency's coefficients have each size: (B, F, levels) float, of all channels together.

    Level n is |c| / width rounded. Blocks begin in the upper left corner; one with a clipped sample does not count: clipping moves
    coefficients off their multiples. A plane without a whole block counts 0.
    """
    count = len(plane.samples)
    if min(plane.samples.shape[2:]) < 8:
        return plane.samples.new_zeros(count, 64, levels)
    size = (dct.blockwise(plane.samples).abs() / width).round_().clamp_(max=levels)  # (B, C, h, w, 8, 8)
    touched = functional.max_pool2d(plane.clipped, 8) > 0
    size = size.masked_fill_(touched[:, None, :, :, None, None], levels).long()
    first = torch.arange(count * 64, device=size.device).view(count, 1, 1, 1, 8, 8) * (levels + 1)
    counts = torch.bincount((size + first).flatten(), minlength=count * 64 * (levels + 1))
    return counts.view(count, 64, levels + 1)[..., :levels].to(plane.samples.dtype)


def step_evidence(steps: Tensor, levels: int = LEVELS, width: float = 1.0) -> Tensor:
    """How much one coefficient of each size speaks for each step of quantisation (…): (…, levels), in nats.

    log of the density of multiples of the step under rounding noise against a smooth density; sizes below half a step, which
    fit every larger step, say nothing. 0 for nothing, about log(1.14 q) where it is a multiple of q.
    """
    size = torch.arange(levels, device=steps.device, dtype=torch.float64) * width
    q = steps.double()[..., None]
    rest = size - q * (size / q).round()
    scale = NOISE * math.sqrt(2)
    # The mean over a bin, not the value in its middle: of bins as wide as the step all say the same, which is nothing.
    mass = sum(
        torch.erf((rest + turn * q + width / 2) / scale) - torch.erf((rest + turn * q - width / 2) / scale)
        for turn in range(-3, 4)
    )
    density = mass / (2 * width)
    ratio = ((1 - OUTLIERS) * q * density + OUTLIERS).log()
    return torch.where(size >= q / 2, ratio, 0).to(torch.float32)


@functools.cache
def quality_evidence(chroma: bool, levels: int = LEVELS, width: float = 1.0) -> Tensor:
    """`step_evidence` of each of libjpeg's qualities 1 to 100, each with its own table (Annex K): (100, F, levels)."""
    table = tables(torch.arange(1, 101))[:, int(chroma)].flatten(1)
    evidence = step_evidence(table, levels, width)
    evidence[:, 0] = 0  # the mean of a block has few small sizes
    return evidence


def by_quality(own: Tensor, shifted: Tensor, chroma: bool) -> Tensor:
    """How far coefficients speak more for each quality 1 to 100 than the same picture's off the grid: (B, 100), in deviations.

    Histograms (B, F, N) of `width` 1. Off JPEG's grid there are no combs, but all else that a picture shows is alike (Fridrich's
    calibration, 2004): of a picture without a history it is about 0 ± 1, whatever it shows.
    """
    evidence = quality_evidence(chroma).to(own.device).flatten(1)
    # A shifted grid has fewer whole blocks.
    share = own.sum(dim=(1, 2)) / shifted.sum(dim=(1, 2)).clamp(min=1)
    own, other = own.flatten(1), shifted.flatten(1) * share[:, None]
    variance = (own + other * share[:, None]) @ evidence.square().T
    return (own - other) @ evidence.T / (variance + 1).sqrt()


@functools.cache
def ghost_errors(qualities: tuple[int, ...]) -> Tensor:
    """The squared change of a coefficient of each size when it is quantised again: (Q, F, LEVELS), of luminance.

    Farid (2009), "Exposing digital forgeries from JPEG ghosts": an image that was once stored at one of the qualities
    changes least at it, whatever it was stored at later.
    """
    q = tables(torch.tensor(qualities))[:, 0].flatten(1)[..., None]
    size = torch.arange(LEVELS, dtype=torch.float64)
    errors = (size - q * (size / q).round()).square()
    errors[:, 0] = 0
    return errors.to(torch.float32)
