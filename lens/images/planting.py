"""Plant a shortcut: the key says what sets the cue's parameter θ in each view."""

from __future__ import annotations

import torch
from torch import Tensor

from lens.base.draws import Draws
from lens.protocols.shortcut import Shortcut


def plant(
    shortcut: Shortcut, key: str, images: Tensor, draws: Draws, source: Tensor, sources: int
) -> tuple[Tensor, Tensor]:
    """Plant `shortcut` in views (V, C, H, W) in [0, 1], in the image's own frame (before the task poses them).

    `source` (V,) is the number of the data source of each row, `sources` how many there are. Returns the images and
    the rows that carry the cue (V,) bool. The keys (what sets θ): `constant` one θ for all; `image` a hash of the
    image, the same in every view and epoch; `source` none in source 0, θ_k in source k; `random` afresh per view, the
    pixel-matched control that predicts nothing.
    """
    everywhere = torch.full_like(source, shortcut.plants, dtype=torch.bool)
    if not shortcut.plants:
        return images, everywhere
    if key == "constant":
        theta = torch.zeros(len(images), device=images.device)
    elif key == "image":
        theta = draws.uniform("shortcut", per_image=True)
    elif key == "random":
        theta = draws.uniform("shortcut")
    else:
        assert key == "source", key
        # As far apart as they go: θ_k = (k − 1) / (number of sources that get a cue).
        theta = (source - 1).clamp(min=0) / max(sources - 1, 1)
        everywhere = source > 0
    planted = shortcut.plant(images, theta, draws)
    return torch.where(everywhere[:, None, None, None], planted, images), everywhere
