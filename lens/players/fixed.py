"""A lens that is told what to do: nothing moves it, and gradients pass as if it were not there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lens.base.draws import Draws
from lens.protocols.lens import Lens


class FixedLens(nn.Module):
    """x → what the plug-in makes of x, in [0, 1]; straight through in a step."""

    def __init__(self, plugin: Lens) -> None:
        super().__init__()
        self.plugin = plugin

    def forward(self, views: Tensor, draws: Draws) -> Tensor:
        """Views (V, C, H, W) in [0, 1] → changed views, same range; the gradient is that of the identity."""
        with torch.no_grad():
            changed = self.plugin.apply(views.clamp(0, 1), draws).to(views.dtype).clamp(0, 1)
        return views + (changed - views).detach() if views.requires_grad else changed
