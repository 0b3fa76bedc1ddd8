"""A description of small images by some hundred numbers: what boosted trees are given in the place of pixels.

Letters: B images, C channels (1 or 3), H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lens.operations import dct, hog, shrinking, spectra

BINS = 8
"""Levels of a channel's histogram."""
PLACES = 7
"""Rows and columns of the thumbnail."""
CELLS = 4
"""Rows and columns of the gradients' cells."""
RINGS = 10
BLOCK = 4
"""The side of the blocks whose texture is taken, in pixels."""


def description(images: Tensor) -> dict[str, Tensor]:
    """Images (B, C, H, W) in [0, 1] → numbers by name, (B, …) each: 379 together with three channels, 229 with one.

    How bright and how spread each channel is, its histogram; a thumbnail; the direction of edges in 4×4 cells; the power in
    rings; the mean size of each frequency of 4×4 blocks, which does not ask where they lie. A row depends on its own image.
    """
    grey = shrinking.luminance(images)
    flat = images.flatten(2)
    found = {
        "mean": flat.mean(dim=2),
        "deviation": flat.std(dim=2, unbiased=False),
        "histogram": histogram(images, BINS),
        "thumbnail": shrinking.thumbnails(images, PLACES),
        "edges": hog.oriented(grey, CELLS),
        "rings": spectra.rings(spectra.power(grey[:, 0]), RINGS),
        "texture": texture(grey),
    }
    if images.shape[1] == 3:
        found["colour_texture"] = texture(torch.stack([images[:, 0] - grey[:, 0], images[:, 2] - grey[:, 0]], dim=1))
    return found


def histogram(images: Tensor, bins: int) -> Tensor:
    """The share of each channel's pixels at each of `bins` equal ranges of level: (B, C, H, W) in [0, 1] → (B, C, bins)."""
    place = (images.flatten(2) * bins).long().clamp(0, bins - 1)
    counts = torch.zeros(*place.shape[:2], bins, device=images.device)
    return counts.scatter_add_(2, place, torch.ones_like(place, dtype=counts.dtype)) / place.shape[2]


def texture(channels: Tensor) -> Tensor:
    """The log of the mean size of each frequency of the 4×4 blocks of images (B, C, H, W): (B, C, 4, 4)."""
    blocks = dct.blockwise(channels, BLOCK)
    return (blocks.abs().mean(dim=(2, 3)) + 1e-4).log()
