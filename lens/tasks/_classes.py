"""A whole image, one class of several that the data names: what `labels` and `dataset_classification` share."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Self

from lens.protocols.task import Question, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class OfData(Task):
    """Cross-entropy on one linear layer; the classes, and each image's own, come from the data."""

    classes: int = dataclasses.field(init=False, default=0)  # type: ignore[misc]  # those of the data

    def for_classes(self, names: list[str]) -> Self:
        """The task for data with these classes."""
        bound = copy.copy(self)
        object.__setattr__(bound, "classes", len(names))
        return bound

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """The images as they are; `target` comes from the data."""
        return images, {}

    def present(self, views: Tensor, question: Question) -> Tensor:
        """Scale [0, 1] to [−1, 1]."""
        return views * 2 - 1

    def prepare(self, images: Tensor) -> Tensor:
        """Upright images, scaled in the same way."""
        return images * 2 - 1

    def head(self, features: int) -> nn.Module:
        """One linear layer: pooled features (V, F) → logits (V, K)."""
        from torch import nn

        return nn.Linear(features, self.classes)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """Cross-entropy of each image (V,)."""
        from torch.nn import functional

        return functional.cross_entropy(outputs, question["target"], reduction="none")
