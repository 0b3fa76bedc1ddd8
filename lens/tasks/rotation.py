"""Which way was the image turned? All four quarter turns of every image (Gidaris et al. 2018)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.protocols.task import Question, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Rotation(Task):
    """Rotation as Kolesnikov, Zhai, Beyer (2019, section 4): all four turns of each image, cross-entropy over 4.

    The image is square before it is turned: a turned rectangle grows black bars, and the bars alone give the answer.
    """

    views: ClassVar[int] = 4
    classes: ClassVar[int | None] = 4

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """Turn view r of each image by r × 90° counter-clockwise; `target` is r."""
        import torch

        turns = [torch.rot90(images, r, dims=(2, 3)) for r in range(4)]
        turn_V = draws.view
        views = torch.where(_is(turn_V, 1), turns[1], turns[0])
        views = torch.where(_is(turn_V, 2), turns[2], views)
        views = torch.where(_is(turn_V, 3), turns[3], views)
        return views, {"target": turn_V}

    def present(self, views: Tensor, question: Question) -> Tensor:
        """Scale [0, 1] to [−1, 1], as the published code does."""
        return views * 2 - 1

    def prepare(self, images: Tensor) -> Tensor:
        """Upright images, scaled in the same way."""
        return images * 2 - 1

    def head(self, features: int) -> nn.Module:
        """One linear layer: pooled features (V, F) → logits (V, 4)."""
        from torch import nn

        return nn.Linear(features, 4)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """Cross-entropy of each view (V,)."""
        from torch.nn import functional

        return functional.cross_entropy(outputs, question["target"], reduction="none")


def _is(turn_V: Tensor, value: int) -> Tensor:
    return (turn_V == value)[:, None, None, None]
