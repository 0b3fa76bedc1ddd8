"""Small networks that work on every pixel: the extractor `all_conv` and the lens `full`."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

ALL_CONV = "all_conv"
"""The extractor's name, beside timm's."""
FULL = "full"
"""The lens's name, beside segmentation-models-pytorch's encoders."""


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class AllConv(nn.Module):
    """An all-convolutional network (Springenberg et al. 2015), its first layers at full resolution.

    Without pooling or a coarse root it reads what hides in single pixels, as the networks of image forensics do. Pairs
    of 3×3 layers, each pair at half the side and twice the channels of the one before, from `width` to at most 256
    channels and down to 8 px or less.
    """

    def __init__(self, image_size: int, width: int = 16) -> None:
        super().__init__()
        layers = [_block(3, width), _block(width, width)]
        side = image_size
        while side > 8:
            wider = min(2 * width, 256)
            layers += [_block(width, wider, 2), _block(wider, wider)]
            width, side = wider, side // 2
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, C, H, W) → pooled features (V, F)."""
        pooled: Tensor = self.layers(inputs).mean(dim=(2, 3))
        return pooled

    def forward_intermediates(
        self, inputs: Tensor, indices: int = 1, norm: bool = True, intermediates_only: bool = True
    ) -> list[Tensor]:
        """The last map (V, F, h, w) alone, as timm's models give it."""
        return [self.layers(inputs)]


class FullUnet(nn.Module):
    """A U-Net whose finest level, skip and all, is the image's own (Ronneberger et al. 2015): (V, 3, H, W) → δ, same shape.

    segmentation-models-pytorch's U-Nets decode the finest level from half the resolution, so that their edits are never
    sharper than two pixels. Two 3×3 layers a level, `depth` max-pools, `width` channels at full resolution, twice as many
    at each level below (at most 256); bilinear upsampling. The last layer starts at zero.
    """

    def __init__(self, depth: int, width: int = 8) -> None:
        super().__init__()
        channels = [min(width * 2**level, 256) for level in range(depth + 1)]
        pairs = zip([3, *channels[:-1]], channels, strict=True)
        self.down = nn.ModuleList(nn.Sequential(_block(i, o), _block(o, o)) for i, o in pairs)
        self.up = nn.ModuleList(
            nn.Sequential(_block(below + here, here), _block(here, here))
            for here, below in reversed(list(itertools.pairwise(channels)))
        )
        self.last = nn.Conv2d(channels[0], 3, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W), H and W multiples of 2**depth → (V, 3, H, W)."""
        skips: list[Tensor] = []
        x = inputs
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skips.pop()], dim=1))
        delta: Tensor = self.last(x)
        return delta
