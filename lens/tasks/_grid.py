"""A head whose map of outputs is brought to the grid that the question is asked on."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional


class Grid(nn.Module):
    """Layers on the feature map (V, F, h', w'), bilinear to the size of the question's `ab`: (V, K, h, w) or (V·h·w, K)."""

    def __init__(self, layers: nn.Module, flat: bool) -> None:
        super().__init__()
        self.layers, self.flat = layers, flat

    def forward(self, features: Tensor, question: dict[str, Tensor]) -> Tensor:
        """The outputs at the question's grid, one row a cell where `flat`."""
        size = question["ab"].shape[-2:]
        outputs = functional.interpolate(self.layers(features), size=size, mode="bilinear", align_corners=False)
        return rearrange(outputs, "v k h w -> (v h w) k") if self.flat else outputs
