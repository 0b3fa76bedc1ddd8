"""The discrete cosine transform of blocks, as JPEG takes it."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor


def basis(size: int, device: torch.device) -> Tensor:
    """The orthonormal DCT-II of `size` samples, (frequency, sample) float64 (ITU-T T.81, annex A.3.3, for 8)."""
    n = torch.arange(size, device=device, dtype=torch.float64)
    found = torch.cos((2 * n[None] + 1) * n[:, None] * math.pi / (2 * size)) * math.sqrt(2 / size)
    found[0] /= math.sqrt(2)
    return found


def blockwise(images: Tensor, size: int = 8, top: int = 0, left: int = 0) -> Tensor:
    """Images (…, H, W) → coefficients (…, h, w, size, size) of the whole blocks of a grid that begins at (top, left).

    The last two axes are the vertical and the horizontal frequency. What is outside of whole blocks is left out: raises
    ValueError where there is none.
    """
    part = images[..., top:, left:]
    high, wide = part.shape[-2] // size, part.shape[-1] // size
    if not high or not wide:
        raise ValueError(
            f"images of {images.shape[-2]}×{images.shape[-1]} hold no block of {size}×{size} from ({top}, {left})"
        )
    blocks = rearrange(part[..., : high * size, : wide * size], "... (h y) (w x) -> ... h w y x", y=size, x=size)
    turn = basis(size, images.device).to(images.dtype)
    return turn @ blocks @ turn.T
