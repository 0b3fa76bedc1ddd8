"""Features of the extractor's inner layers, averaged over their maps: what a probe can read beside the pooled output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lens.base.errors import BadInput, nearest


def known(backbone: nn.Module) -> list[str]:
    """The layers that timm gives maps of, by the names of their modules, from the input on; none for some models."""
    # A module that --extractor_stem small has taken away would be given as the image itself.
    there = {name for name, _ in backbone.named_modules()}
    return [name for name in _every(backbone) if name in there]


def _every(backbone: nn.Module) -> list[str]:
    info: Any = getattr(backbone, "feature_info", None)
    if not info or not hasattr(backbone, "forward_intermediates"):
        return []
    return [str(entry["module"]) for entry in info]


def choose(backbone: nn.Module, asked: list[str], name: str) -> list[str]:
    """The layers that --layer names, or all of them, in the order in which the images pass them.

    Raises BadInput for a layer that the model `name` does not have, and where it gives none.
    """
    there = known(backbone)
    if not there:
        raise BadInput(f"--layer {' '.join(asked)}: timm gives no inner layers of {name}; leave --layer out")
    if asked == ["all"]:
        return there
    for layer in asked:
        if layer not in there:
            every = f"; {', '.join(there)}" if len(there) > 12 else ""
            raise BadInput(f"--layer {layer!r} is no layer of {name}: give all, or {nearest(layer, there)}{every}")
    return [layer for layer in there if layer in asked]


class Reader:
    """The extractor's input → the averaged maps of some layers side by side: (V, C, H, W) → (V, F₁ + F₂ + …).

    Side by side, so that one pass over the images serves all of them. `columns` are known after the first batch.
    """

    def __init__(self, backbone: nn.Module, layers: list[str]) -> None:
        every = _every(backbone)
        self.backbone, self.layers = backbone, layers
        self.indices = [every.index(layer) for layer in layers]
        self.columns: dict[str, slice] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        forward: Any = self.backbone.forward_intermediates
        maps: list[Tensor] = forward(inputs, indices=self.indices, intermediates_only=True, output_fmt="NCHW")
        ends = torch.tensor([x.shape[1] for x in maps]).cumsum(dim=0).tolist()
        self.columns = {
            layer: slice(start, end) for layer, start, end in zip(self.layers, [0, *ends], ends, strict=False)
        }
        return torch.cat([x.float().mean(dim=(2, 3)) for x in maps], dim=1)
