"""Histograms of an image's DCT coefficients, and how well they fit the multiples of quantisation steps: JPEG's combs.

Letters: B images, H W pixels, F = 64 frequencies in rows of eight, N levels of a histogram, Q tables.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as nn_functional

from lens.operations import dct
from lens.operations.jpeg import TO_YCC, tables

LEVELS = 128
"""Sizes of coefficients that are counted, from 0, in steps of `width`; larger ones are left out."""
NOISE = 0.35
"""The deviation of a coefficient from its multiple: samples are rounded twice on the way to 8-bit colours, 2/12 of a level²."""
OUTLIERS = 0.05
"""The share of coefficients that fit no multiple: clipped blocks, edits."""
_DECAY = 2 * math.sqrt(2) - 3
_REACH = 6
SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
"""How chroma may have been stored: at every pixel, at every other one across, across and down."""


def luminance_and_chroma(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W), levels 0 to 255 → luminance (B, 1, H, W) less 128, and the two chromas (B, 2, H, W) around 0."""
    ycc = torch.einsum("ij,bjhw->bihw", images.new_tensor(TO_YCC), images)
    return ycc[:, :1] - 128, ycc[:, 1:]


def stored_chroma(chroma: Tensor, sampling: str) -> Tensor:
    """Chroma (B, 2, H, W) as decoded → as a file with that sampling stored it, (B, 2, H or H/2, W or W/2).

    libjpeg spreads each stored sample over two pixels as (3 x[i] + x[i ± 1]) / 4, along each axis. The mean of both is
    (x[i − 1] + 6 x[i] + x[i + 1]) / 8, which has the inverse √2 r^|n|, r = 2√2 − 3.
    """
    if sampling == "4:4:4":
        return chroma
    down = 2 if sampling == "4:2:0" else 1
    high, wide = chroma.shape[2] // down * down, chroma.shape[3] // 2 * 2
    half = nn_functional.avg_pool2d(chroma[:, :, :high, :wide], (down, 2))
    place = torch.arange(-_REACH, _REACH + 1, device=chroma.device)
    inverse = math.sqrt(2) * _DECAY ** place.abs().to(chroma.dtype)
    for axis in (2, 3) if down == 2 else (3,):
        turned = half.movedim(axis, 3)
        # At the image's own edge libjpeg repeats the sample: it is mirrored with its edge.
        reach = min(_REACH, turned.shape[3])
        mirrored = torch.cat([turned[..., :reach].flip(3), turned, turned[..., -reach:].flip(3)], dim=3)
        kernel = inverse[_REACH - reach : _REACH + reach + 1]
        flat = nn_functional.conv1d(mirrored.flatten(0, 2)[:, None], kernel[None, None])
        half = flat[:, 0].view(turned.shape).movedim(3, axis)
    return half


def untouched(images: Tensor, high: int, wide: int) -> Tensor:
    """Which blocks of high × wide pixels of images (B, 3, H, W) hold no clipped level: (B, h, w) bool.

    Clipping moves coefficients off their multiples.
    """
    if images.shape[2] < high or images.shape[3] < wide:
        return images.new_zeros(len(images), images.shape[2] // high, images.shape[3] // wide, dtype=torch.bool)
    clipped = ((images <= 0) | (images >= 255)).any(dim=1).to(images.dtype)
    return nn_functional.max_pool2d(clipped, (high, wide)) == 0


def histograms(planes: Tensor, counted: Tensor, levels: int = LEVELS, width: float = 1.0) -> Tensor:
    """Planes (B, C, H, W) → how often each frequency's coefficients have each size: (B, F, levels) float, of all planes together.

    Level n is |c| / width rounded; `counted` (B, h, w) says which 8×8 blocks count. Planes without a whole block count 0.
    """
    found = planes.new_zeros(len(planes), 64, levels)
    if min(planes.shape[2:]) < 8:
        return found
    size = (dct.blockwise(planes).abs() / width).round_().clamp_(max=levels)  # (B, C, h, w, 8, 8)
    size = size.masked_fill_(~counted[:, None, : size.shape[2], : size.shape[3], None, None], levels).long()
    first = torch.arange(len(planes) * 64, device=planes.device).view(len(planes), 1, 1, 1, 8, 8) * (levels + 1)
    counts = torch.bincount((size + first).flatten(), minlength=len(planes) * 64 * (levels + 1))
    return counts.view(len(planes), 64, levels + 1)[..., :levels].to(planes.dtype)


def of_luminance(images: Tensor, levels: int = LEVELS, width: float = 1.0) -> Tensor:
    """Histograms (B, F, levels) of the luminance of images (B, 3, H, W), levels 0 to 255, blocks from the upper left corner."""
    return histograms(luminance_and_chroma(images)[0], untouched(images, 8, 8), levels, width)


def of_chroma(images: Tensor, sampling: str, levels: int = LEVELS, width: float = 1.0) -> Tensor:
    """The same of both chromas together, as a file with that sampling stored them."""
    high, wide = (16 if sampling == "4:2:0" else 8), (8 if sampling == "4:4:4" else 16)
    counted = untouched(images, high, wide)
    return histograms(stored_chroma(luminance_and_chroma(images)[1], sampling), counted, levels, width)


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


def off_grid(images: Tensor, sampling: str = "4:4:4") -> Tensor:
    """Images (B, 3, H, W) less half a block above and on the left: their blocks are none that a compression has used."""
    shift = 8 if sampling == "4:2:0" else 4
    return images[:, :, shift:, shift:]


def by_quality(histogram: Tensor, shifted: Tensor, chroma: bool) -> Tensor:
    """How far coefficients speak more for each quality 1 to 100 than the same picture's `off_grid`: (B, 100), in deviations.

    Histograms (B, F, N) of `width` 1. Off JPEG's grid there are no combs, but all else that a picture shows is alike (Fridrich's
    calibration, 2004): of a picture without a history it is about 0 ± 1, whatever it shows.
    """
    evidence = quality_evidence(chroma).to(histogram.device).flatten(1)
    # A shifted grid has fewer whole blocks.
    share = histogram.sum(dim=(1, 2)) / shifted.sum(dim=(1, 2)).clamp(min=1)
    own, other = histogram.flatten(1), shifted.flatten(1) * share[:, None]
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
