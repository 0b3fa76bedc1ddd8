"""How far two images are from each other: PSNR and SSIM, at the 8 bits that a file would hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def psnr(mse: float) -> float | None:
    """Peak signal-to-noise ratio in dB of images in [0, 1]; None where nothing changed (it would be infinite)."""
    return -10 * math.log10(mse) if mse > 0 else None


def mse_of(psnr: float) -> float:
    """The mean squared error on [0, 1] behind a PSNR in dB."""
    return float(10 ** (-psnr / 10))


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, 11 px Gaussian window) of each pair in [0, 1]: (B, C, H, W) → (B,)."""
    from kornia.metrics import ssim as ssim_map

    return ssim_map(images, others, window_size=11).mean(dim=(1, 2, 3))


def to_8_bits(images: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to 8 bits: what a file would hold, so that no cue hides below the last bit."""
    return (images.clamp(0, 1) * 255).round() / 255


def pixels(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images (B, C, H, W) in [0, 1] → (B, H, W, C) uint8, rounded."""
    rows: np.ndarray[Any, np.dtype[np.uint8]] = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return rows
