"""Grey stays grey: an image without colour is changed with one channel, so that the change goes into the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from lens.base.draws import Draws


def without_colour(images: Tensor) -> Tensor:
    """Whether no pixel's channels differ by half a level of 8 bits: (V, C, H, W) in [0, 1] → (V, 1, 1, 1) bool."""
    spread = images.amax(dim=1) - images.amin(dim=1)
    return (spread.amax(dim=(1, 2)) < 0.5 / 255)[:, None, None, None]


def keep_grey(images: Tensor, change: Tensor) -> Tensor:
    """A change (V, C, H, W) of images, same shape; where an image has no colour, each channel gets the channels' mean.

    It is decided image by image: what a source's other images look like, or which source it is, a lens must not know.
    """
    return torch.where(without_colour(images), change.mean(dim=1, keepdim=True), change)


def noise_of(images: Tensor, draws: Draws, name: str, keep: bool = True) -> Tensor:
    """Standard Gaussian noise for images (V, C, H, W), same shape: a function of each image's draws of that `name`, in any batch.

    With `keep` an image without colour gets one channel's on all: the mean of three would be weaker.
    """
    noise = draws.normal(name, *images.shape[1:]).to(images)
    return torch.where(without_colour(images), noise[:, :1], noise) if keep else noise
