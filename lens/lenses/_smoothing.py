"""A U-Net whose outputs are gates of blurs and smooth shifts of colour."""

from __future__ import annotations

from torch import Tensor

from lens.lenses._full_resolution_unet import FullResolutionUnet
from lens.operations.convolutions import blurred


class Smoothing(FullResolutionUnet):
    """Blurs and smooth shifts: δ = g₁·(B₁x − x) + g₂·(B₂x − x) + s, (V, 3, H, W) in [−1, 1] → δ on [0, 1], same shape.

    B₁ is the mean over 3×3 pixels, B₂ that over 5×5 of those. The gates g, the same for all colours, and the shift s of
    each colour come from the U-Net and are averaged over 3×3 pixels themselves, s twice: the lens can take detail away,
    or bring out what is there, but has hardly a pixel of its own to paint with. With both at zero it is the identity.
    """

    def __init__(self, depth: int, width: int = 8) -> None:
        super().__init__(depth, width, outputs=5)

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W), H and W multiples of 2**depth → (V, 3, H, W)."""
        found = blurred(super().forward(inputs).to(inputs.dtype))
        gates, shift = found[:, :2], found[:, 2:]
        x = inputs / 2  # on the scale of [0, 1], up to a constant that falls out
        fine = blurred(x)
        coarse = blurred(fine, 2)
        delta: Tensor = gates[:, :1] * (fine - x) + gates[:, 1:] * (coarse - x) + blurred(shift)
        return delta
