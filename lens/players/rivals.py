"""A rival of the lens that plays: its change, steered to the size that it is held to."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lens.base.draws import Draws
from lens.operations.grey import keep_grey
from lens.protocols.lens import Lens, Loss
from lens.protocols.task import Question


class Rival(nn.Module):
    """x → clamp(x + s·δ), δ of mean square 1 in every view; s is steered to a mean squared change after clamping.

    With `grey` "keep" a view without colour stays without, as a lens leaves it.
    """

    strength: Tensor

    def __init__(self, plugin: Lens, target_mse: float, loss: Loss, grey: str = "keep") -> None:
        super().__init__()
        self.plugin, self.loss = plugin, loss
        self.target_mse = target_mse
        self.grey = grey
        self.register_buffer("strength", torch.tensor(math.sqrt(target_mse)))

    def direction(self, views: Tensor, question: Question, draws: Draws) -> Tensor:
        """δ, (V, C, H, W), of the plug-in."""
        return self.plugin.direction(
            views, question, draws, self.loss, lambda change: self.allowed(views.detach(), change)
        )

    def allowed(self, views: Tensor, change: Tensor) -> Tensor:
        """A change (V, C, H, W) of views, of one channel where they are to stay grey."""
        return keep_grey(views, change) if self.grey == "keep" else change

    def forward(self, views: Tensor, question: Question, draws: Draws) -> Tensor:
        """Views (V, C, H, W) in [0, 1] → changed views, same range; no gradient goes through the change."""
        return (views + self.strength * self.direction(views, question, draws)).clamp(0, 1).detach()

    @torch.no_grad()
    def steer(self, mse: Tensor, rate: float = 0.5) -> None:
        """s for the next step: log s += rate · clip(log(target / mse) / 2, ±1), because the change grows as s²."""
        error = torch.log(self.target_mse / mse.clamp(min=1e-12)) / 2
        self.strength.mul_(torch.exp(rate * error.clamp(-1, 1)))
