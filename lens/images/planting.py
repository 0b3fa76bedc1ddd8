"""Plant a shortcut: the key says what sets the cue's parameter θ in each view."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lens.base.draws import Draws
from lens.base.errors import BadInput
from lens.images.classes import pooled
from lens.images.data import Images
from lens.images.splits import FRESH, SPLITS
from lens.protocols.shortcut import Shortcut


def plant(
    shortcut: Shortcut,
    key: str,
    images: Tensor,
    draws: Draws,
    source: Tensor,
    sources: int,
    carried: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Plant `shortcut` in views (V, C, H, W) in [0, 1], in the image's own frame (before the task poses them).

    `source` (V,) is the number of the data source of each row, `sources` how many there are; `carried` (V,) is θ where
    the key is `label` (`thetas_of_classes`), which nothing else asks for. Returns the images and
    the rows that carry the cue (V,) bool. The keys (what sets θ): `constant` one θ for all; `image` a hash of the
    image, the same in every view and epoch; `source` none in source 0, θ_k in source k; `label` the image's class; `random` afresh per view, the
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
    elif key == "label":
        assert carried is not None
        theta = carried
    else:
        assert key == "source", key
        # As far apart as they go: θ_k = (k − 1) / (number of sources that get a cue).
        theta = (source - 1).clamp(min=0) / max(sources - 1, 1)
        everywhere = source > 0
    planted = shortcut.plant(images, theta, draws)
    return torch.where(everywhere[:, None, None, None], planted, images), everywhere


def thetas_of_classes(images: Images, seed: int, share: float) -> Tensor:
    """θ of each image (n,) under the key `label`: k / K of its class, or of a random one for all but a `share` of the images.

    It is a function of (seed, image), so that an image carries one cue in every view, epoch and split. Raises BadInput
    where an image that a split uses has no class.
    """
    label, names = pooled(images)
    lacking = np.flatnonzero((label < 0) & np.isin(images.split, (*SPLITS, FRESH)))
    if not names or len(lacking):
        raise BadInput(
            f"--shortcut_key label plants each image's class, and {len(lacking):,} of {len(images):,} images have none "
            f"({images.names[int(lacking[0])]!r}): give labelled images, or --shortcut_key image"
        )
    index = torch.arange(len(images))
    chance = Draws(seed, 0, index, torch.zeros_like(index)).uniform("shortcut share", 2, per_image=True)
    other = (chance[:, 1] * len(names)).long().clamp(max=len(names) - 1)
    own = chance[:, 0] < share
    return torch.where(own, torch.from_numpy(label).clamp(min=0), other) / len(names)
