"""Grey stays grey: an image without colour is changed with one channel, so that the change goes into the picture."""

from __future__ import annotations

import torch
from torch import Tensor


def without_colour(images: Tensor) -> Tensor:
    """Whether no pixel's channels differ by half a level of 8 bits: (V, C, H, W) in [0, 1] → (V, 1, 1, 1) bool."""
    spread = images.amax(dim=1) - images.amin(dim=1)
    return (spread.amax(dim=(1, 2)) < 0.5 / 255)[:, None, None, None]


def keep_grey(images: Tensor, change: Tensor) -> Tensor:
    """A change (V, C, H, W) of images, same shape; where an image has no colour, each channel gets the channels' mean.

    It is decided image by image: what a source's other images look like, or which source it is, a lens must not know.
    """
    return torch.where(without_colour(images), change.mean(dim=1, keepdim=True), change)
