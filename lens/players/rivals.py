"""Rivals of the lens: changes of the same mean squared size that no lens has learned."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lens.base.draws import Draws
from lens.operations.grey import keep_grey
from lens.protocols.task import Question

Loss = Callable[[Tensor, Question], Tensor]
"""Views (V, C, H, W) in [0, 1] and their question → the extractor's loss, a scalar."""


class Rival(nn.Module):
    """x → clamp(x + s·δ), δ of mean square 1 in every view; s is steered to a mean squared change after clamping.

    With `grey` "keep" a view without colour stays without, as a lens leaves it.
    """

    strength: Tensor

    def __init__(self, target_mse: float, grey: str = "keep") -> None:
        super().__init__()
        self.target_mse = target_mse
        self.grey = grey
        self.register_buffer("strength", torch.tensor(math.sqrt(target_mse)))

    def direction(self, views: Tensor, question: Question, draws: Draws) -> Tensor:
        """δ, (V, C, H, W)."""
        raise NotImplementedError

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


class Fgsm(Rival):
    """The fast gradient sign method (Goodfellow, Shlens, Szegedy 2015, section 4): δ = sign ∇_x l(F(x), y).

    Training on such images beside raw ones is the adversarial training that Minderer et al. (2020) compare with.
    """

    def __init__(self, target_mse: float, loss: Loss, grey: str = "keep") -> None:
        super().__init__(target_mse, grey)
        self.loss = loss

    def direction(self, views: Tensor, question: Question, draws: Draws) -> Tensor:
        """The sign of the loss's gradient in each pixel."""
        with torch.enable_grad():
            views = views.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.loss(views, question), views)
        return self.allowed(views.detach(), gradient).sign()


class RandomAugmentation(Rival):
    """Random photometric augmentation: colour shift, contrast, blur and noise, mixed anew in every view and epoch."""

    def direction(self, views: Tensor, question: Question, draws: Draws) -> Tensor:
        """Four changes of mean square 1, weighted by normal draws (a weight below 0 lowers contrast, sharpens, …)."""
        colour = draws.normal("augment colour", 3)[:, :, None, None].expand_as(views)
        contrast = views - views.mean(dim=(1, 2, 3), keepdim=True)
        padded = functional.pad(views, (2, 2, 2, 2), mode="replicate")
        blur = functional.avg_pool2d(functional.avg_pool2d(padded, 3, 1), 3, 1) - views
        noise = draws.normal("augment noise", *views.shape[1:])
        weight = draws.normal("augment weight", 4)[:, :, None, None, None].unbind(1)
        changes = (_unit(self.allowed(views, change)) for change in (colour, contrast, blur, noise))
        return _unit(torch.stack([w * change for w, change in zip(weight, changes, strict=True)]).sum(dim=0))


def _unit(change: Tensor) -> Tensor:
    """Scaled to mean square 1 in each view; a view that the change leaves alone (the contrast of a flat one) stays 0."""
    size = change.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return torch.where(size > 1e-6, change / size.clamp(min=1e-6), 0)
