"""A U-Net whose finest level is the image's own."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from lens.operations.convolutions import block, zeroed


class FullResolutionUnet(nn.Module):
    """A U-Net whose finest level, skip and all, is the image's own (Ronneberger et al. 2015): (V, 3, H, W) → (V, `outputs`, H, W).

    segmentation-models-pytorch's U-Nets decode the finest level from half the resolution, so that their edits are never
    sharper than two pixels. Two 3×3 layers a level, `depth` max-pools, `width` channels at full resolution, twice as many
    at each level below (at most 256); bilinear upsampling. The last layer starts at zero.
    """

    def __init__(self, depth: int, width: int = 8, outputs: int = 3) -> None:
        super().__init__()
        channels = [min(width * 2**level, 256) for level in range(depth + 1)]
        pairs = zip([3, *channels[:-1]], channels, strict=True)
        self.down = nn.ModuleList(nn.Sequential(block(i, o), block(o, o)) for i, o in pairs)
        self.up = nn.ModuleList(
            nn.Sequential(block(below + here, here), block(here, here))
            for here, below in reversed(list(itertools.pairwise(channels)))
        )
        self.last = zeroed(nn.Conv2d(channels[0], outputs, 3, padding=1))

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W), H and W multiples of 2**depth → (V, outputs, H, W)."""
        skips: list[Tensor] = []
        x = inputs
        for level, pair in enumerate(self.down):
            x = pair(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        for pair in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = pair(torch.cat([x, skips.pop()], dim=1))
        delta: Tensor = self.last(x)
        return delta
