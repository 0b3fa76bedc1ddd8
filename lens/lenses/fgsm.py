"""Rival: adversarial training with the fast gradient sign method (Goodfellow et al. 2015)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.protocols.lens import Allowed, Lens, Loss

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws
    from lens.protocols.task import Question


@dataclasses.dataclass(frozen=True)
class Fgsm(Lens):
    """The fast gradient sign method (Goodfellow, Shlens, Szegedy 2015, section 4): δ = sign ∇_x l(F(x), y).

    Training on such images beside raw ones is the adversarial training that Minderer et al. (2020) compare with.
    """

    learns: ClassVar[bool] = False

    def direction(self, views: Tensor, question: Question, draws: Draws, loss: Loss, allowed: Allowed) -> Tensor:
        """The sign of the loss's gradient in each pixel."""
        import torch

        with torch.enable_grad():
            views = views.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(views, question), views)
        return allowed(gradient).sign()
