"""JPEG as libjpeg does it without chroma subsampling (4:4:4): what an image is after it was compressed and read again."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from lens.operations.dct import basis

# ITU-T T.81, annex K, tables K.1 and K.2.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
    *[(99,) * 8] * 4,
)  # fmt: skip
# JFIF 1.02, RGB → YCbCr.
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


def compressed(images: Tensor, quality: Tensor) -> Tensor:
    """Images (V, 3, H, W) in [0, 1], compressed at libjpeg's quality (V,), 1 to 100, each, and read again: same shape.

    Blocks of 8×8 from the upper left corner, quantised and rounded hard; the result lies on 8-bit levels, within one level of
    libjpeg on 99 % of the pixels.
    """
    height, width = images.shape[-2:]
    steps = tables(quality)[:, :, None, None]

    to_ycc = torch.tensor(TO_YCC, device=images.device, dtype=torch.float64)
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, (images.double() * 255).round())
    ycc[:, 0] -= 128
    padded = functional.pad((ycc - 0.5001).ceil(), (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = rearrange(padded, "b c (h y) (w x) -> b c h w y x", y=8, x=8)
    dct = basis(8, images.device)
    # libjpeg's integer transforms: a quarter's precision (times √8) between the passes, eighths at the end.
    middle = math.sqrt(8) * 4
    rows = (torch.einsum("vx,bchwyx->bchwyv", dct, blocks) * middle + 0.5001).floor() / middle
    eighths = (torch.einsum("uy,bchwyv->bchwuv", dct, rows) * 8 + 0.5001).floor()
    # Halves are rounded away from zero.
    coefficients = eighths.sign() * ((eighths.abs() + 4 * steps) / (8 * steps)).floor() * steps
    columns = (torch.einsum("uy,bchwuv->bchwyv", dct, coefficients) * middle + 0.5001).floor() / middle
    blocks = (torch.einsum("vx,bchwyv->bchwyx", dct, columns) + 0.5001).floor().clamp(-128, 127)
    ycc = rearrange(blocks, "b c h w y x -> b c (h y) (w x)")[..., :height, :width].contiguous()
    ycc[:, 0] += 128
    rgb = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_ycc), ycc)
    return (rgb.round().clamp(0, 255) / 255).to(images.dtype)


def settled(images: Tensor, quality: int, passes: int) -> tuple[Tensor, Tensor]:
    """Images (V, 3, H, W) in [0, 1], compressed again and again at one quality until nothing changes any more.

    Returns them, and which have come to rest (V,) bool within so many passes. An image and what it is after one pass lie on
    one orbit, so both come to rest at the same picture.
    """
    found = images.clone()
    moving = torch.arange(len(images), device=images.device)
    for _ in range(passes):
        before = found[moving]
        after = compressed(before, torch.full((len(moving),), quality, device=images.device))
        found[moving] = after
        moving = moving[(after != before).flatten(1).any(dim=1)]
        if not len(moving):
            break
    rests = torch.ones(len(images), dtype=torch.bool, device=images.device)
    rests[moving] = False
    return found, rests


def tables(quality: Tensor) -> Tensor:
    """libjpeg's quantisation steps at a quality (V,), 1 to 100, of Y, Cb and Cr: (V, 3, 8, 8) float64, 1 to 255."""
    quality = quality.double()
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    whole = torch.tensor([_LUMINANCE, _CHROMINANCE, _CHROMINANCE], device=quality.device)
    return ((whole * scale[:, None, None, None] + 50) / 100).floor().clamp(1, 255).double()
