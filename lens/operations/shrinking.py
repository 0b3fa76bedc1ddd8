"""Images made smaller, and their luminance, without aliasing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in luminance (ITU-R BT.601)."""


def luminance(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) → their luminance (B, 1, H, W), same range; images of one channel (B, 1, H, W) as they are."""
    if images.shape[1] == 1:
        return images
    return torch.einsum("c,bchw->bhw", images.new_tensor(LUMA), images)[:, None]


def thumbnails(images: Tensor, side: int) -> Tensor:
    """Images (B, C, H, W) → (B, C, side, side), same range: antialiased where they are larger."""
    return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
