"""A network that gives one affine colour map for each image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lens.operations.convolutions import zeroed


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
        self.last = zeroed(nn.Linear(8 * width + 9, 12))

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W) → (V, 3, H, W)."""
        found = self.layers(inputs)
        own = [inputs.mean(dim=(2, 3)), inputs.amax(dim=(2, 3)), inputs.amin(dim=(2, 3))]
        read = torch.cat([found.mean(dim=(2, 3)), found.amax(dim=(2, 3)), *(x.to(found.dtype) for x in own)], dim=1)
        matrix, offset = self.last(read).to(inputs.dtype).split((9, 3), dim=1)
        delta: Tensor = torch.einsum("vij,vjhw->vihw", matrix.reshape(-1, 3, 3), inputs) + offset[:, :, None, None]
        return delta
