"""Small networks of our own: the extractor `all_conv`, and lenses that edit every pixel, blur and shift, or map colours alone."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

ALL_CONV = "all_conv"
"""The extractor's name, beside timm's."""
FULL = "full"
SMOOTH = "smooth"
COLOUR = "colour"
"""The lenses' names, beside segmentation-models-pytorch's encoders."""


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class AllConv(nn.Module):
    """An all-convolutional network (Springenberg et al. 2015), its first layers at full resolution.

    Without pooling or a coarse root it reads what hides in single pixels, as the networks of image forensics do. Pairs
    of 3×3 layers, each pair at half the side and twice the channels of the one before, from `width` to at most 256
    channels and down to 8 px or less. With `pool` "max" a feature is what its strongest place in the image gives, so that
    a mark somewhere is not outvoted by what a lens paints elsewhere; with "mean" it is the mean over all places.
    """

    def __init__(self, image_size: int, width: int = 16, pool: str = "max") -> None:
        super().__init__()
        if pool not in ("mean", "max"):
            raise TypeError(f"pool is mean or max, not {pool!r}")
        self.pool = pool
        layers = [_block(3, width), _block(width, width)]
        side = image_size
        while side > 8:
            wider = min(2 * width, 256)
            layers += [_block(width, wider, 2), _block(wider, wider)]
            width, side = wider, side // 2
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, C, H, W) → pooled features (V, F)."""
        found: Tensor = self.layers(inputs)
        return found.mean(dim=(2, 3)) if self.pool == "mean" else found.amax(dim=(2, 3))

    def forward_intermediates(
        self, inputs: Tensor, indices: int = 1, norm: bool = True, intermediates_only: bool = True
    ) -> list[Tensor]:
        """The last map (V, F, h, w) alone, as timm's models give it."""
        return [self.layers(inputs)]


class FullUnet(nn.Module):
    """A U-Net whose finest level, skip and all, is the image's own (Ronneberger et al. 2015): (V, 3, H, W) → (V, `outputs`, H, W).

    segmentation-models-pytorch's U-Nets decode the finest level from half the resolution, so that their edits are never
    sharper than two pixels. Two 3×3 layers a level, `depth` max-pools, `width` channels at full resolution, twice as many
    at each level below (at most 256); bilinear upsampling. The last layer starts at zero.
    """

    def __init__(self, depth: int, width: int = 8, outputs: int = 3) -> None:
        super().__init__()
        channels = [min(width * 2**level, 256) for level in range(depth + 1)]
        pairs = zip([3, *channels[:-1]], channels, strict=True)
        self.down = nn.ModuleList(nn.Sequential(_block(i, o), _block(o, o)) for i, o in pairs)
        self.up = nn.ModuleList(
            nn.Sequential(_block(below + here, here), _block(here, here))
            for here, below in reversed(list(itertools.pairwise(channels)))
        )
        self.last = nn.Conv2d(channels[0], outputs, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W), H and W multiples of 2**depth → (V, outputs, H, W)."""
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


class Smoothing(FullUnet):
    """Blurs and smooth shifts: δ = g₁·(B₁x − x) + g₂·(B₂x − x) + s, (V, 3, H, W) in [−1, 1] → δ on [0, 1], same shape.

    B₁ is the mean over 3×3 pixels, B₂ that over 5×5 of those. The gates g, the same for all colours, and the shift s of
    each colour come from the U-Net and are averaged over 3×3 pixels themselves, s twice: the lens can take detail away,
    or bring out what is there, but has hardly a pixel of its own to paint with. With both at zero it is the identity.
    """

    def __init__(self, depth: int, width: int = 8) -> None:
        super().__init__(depth, width, outputs=5)

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W), H and W multiples of 2**depth → (V, 3, H, W)."""
        found = _blurred(super().forward(inputs).to(inputs.dtype))
        gates, shift = found[:, :2], found[:, 2:]
        x = inputs / 2  # on the scale of [0, 1], up to a constant that falls out
        fine = _blurred(x)
        coarse = _blurred(fine, 2)
        delta: Tensor = gates[:, :1] * (fine - x) + gates[:, 1:] * (coarse - x) + _blurred(shift)
        return delta


def _blurred(images: Tensor, reach: int = 1) -> Tensor:
    """The mean over the (2·reach + 1)² pixels around each, the edge repeated: same shape."""
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * reach + 1, stride=1)


class ColourMap(nn.Module):
    """One affine colour map for each image: δ = A(x)·x + b(x), (V, 3, H, W) in [−1, 1] → δ, same shape.

    It can undo a cast, a tint or an exposure, and nothing else: it has no pixels of its own to paint with, and so cannot
    fool its adversary by patterns. A, b come from a small convolutional network's means and maxima and from the image's
    own; the last layer starts at zero.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            return nn.Sequential(conv, nn.GroupNorm(outputs // 8, outputs), nn.ReLU())

        self.layers = nn.Sequential(
            block(3, width, 2), block(width, 2 * width), block(2 * width, 4 * width, 2), block(4 * width, 4 * width)
        )
        self.last = nn.Linear(8 * width + 9, 12)

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W) → (V, 3, H, W)."""
        found = self.layers(inputs)
        own = [inputs.mean(dim=(2, 3)), inputs.amax(dim=(2, 3)), inputs.amin(dim=(2, 3))]
        read = torch.cat([found.mean(dim=(2, 3)), found.amax(dim=(2, 3)), *(x.to(found.dtype) for x in own)], dim=1)
        matrix, offset = self.last(read).to(inputs.dtype).split((9, 3), dim=1)
        delta: Tensor = torch.einsum("vij,vjhw->vihw", matrix.reshape(-1, 3, 3), inputs) + offset[:, :, None, None]
        return delta
