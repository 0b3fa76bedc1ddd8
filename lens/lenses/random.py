"""Rival: random photometric augmentation, of colour, contrast, blur and noise."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.protocols.lens import Allowed, Lens, Loss

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws
    from lens.protocols.task import Question


@dataclasses.dataclass(frozen=True)
class RandomAugmentation(Lens):
    """Colour shift, contrast, blur and noise, mixed anew in every view and epoch."""

    learns: ClassVar[bool] = False

    def direction(self, views: Tensor, question: Question, draws: Draws, loss: Loss, allowed: Allowed) -> Tensor:
        """Four changes of mean square 1, weighted by normal draws (a weight below 0 lowers contrast, sharpens, …)."""
        import torch
        from torch.nn import functional

        colour = draws.normal("augment colour", 3)[:, :, None, None].expand_as(views)
        contrast = views - views.mean(dim=(1, 2, 3), keepdim=True)
        padded = functional.pad(views, (2, 2, 2, 2), mode="replicate")
        blur = functional.avg_pool2d(functional.avg_pool2d(padded, 3, 1), 3, 1) - views
        noise = draws.normal("augment noise", *views.shape[1:])
        weight = draws.normal("augment weight", 4)[:, :, None, None, None].unbind(1)
        changes = (unit(allowed(change)) for change in (colour, contrast, blur, noise))
        return unit(torch.stack([w * change for w, change in zip(weight, changes, strict=True)]).sum(dim=0))


def unit(change: Tensor) -> Tensor:
    """Scaled to mean square 1 in each view; a view that the change leaves alone (the contrast of a flat one) stays 0."""
    import torch

    size = change.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return torch.where(size > 1e-6, change / size.clamp(min=1e-6), 0)
