"""Where does a patch lie, seen from the centre? Eight neighbours in a 3×3 grid (Doersch et al. 2015)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number
from lens.protocols.task import Question, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class RelativePatch(Task):
    """Relative patch location as Kolesnikov, Zhai, Beyer (2019): all eight (centre, neighbour) pairs of each image.

    At 255 px (cut from 292): cells of 85 px, patches of 64, jitter 21. The same proportions elsewhere: at 96 px cells of
    32, patches of 24, jitter 8; at 64 px 21, 16, 5; at 32 px 10, 8, 2. The lens edits the whole image before it is cut,
    so that it can hide cues that cross patches. Patches are greyed with p = 0.66 (by image) and standardised, unless
    `--grey` and `--standardise` say otherwise. `--extractor_stem stride1` is the published extractor's root.
    """

    classes: ClassVar[int | None] = 8
    grey: ClassVar[float] = 0.66
    standardise: ClassVar[bool] = True

    gap: float = 0.0
    """Least distance between neighbouring patches, in shares of the cell."""
    jitter: float = 21 / 85
    """Range of each patch's random place in its cell, in shares of the cell; patch = 1 - gap - jitter."""
    embedding: int = 1000
    """Width of each patch's embedding."""
    hidden: int = 4096
    """Width of the classifier's hidden layer."""

    def __post_init__(self) -> None:
        check_number("task.embedding", self.embedding, low=1)
        check_number("task.hidden", self.hidden, low=1)

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """The whole images; `corners` (V, 9, 2) of their patches, `target` (V·8,) the neighbour's number."""
        import torch

        from lens.tasks._patches import Geometry

        geometry = Geometry.of(images.shape[-1], self.gap, self.jitter)
        target = torch.arange(8, device=images.device).repeat(len(images))
        return images, {"target": target, "corners": geometry.corners(images, draws)}

    def present(self, views: Tensor, question: Question) -> Tensor:
        """Nine patches of each view (V·9, C, patch, patch), scaled to [−1, 1]."""
        from lens.tasks._patches import Geometry, cut

        patch = Geometry.of(views.shape[-1], self.gap, self.jitter).patch
        return cut(views, question["corners"], patch) * 2 - 1

    def prepare(self, images: Tensor) -> Tensor:
        """Nine patches of each upright image (B·9, C, patch, patch), whose features are averaged."""
        from lens.tasks._patches import Geometry, nine

        return nine(images, Geometry.of(images.shape[-1], self.gap, self.jitter).patch) * 2 - 1

    def head(self, features: int) -> nn.Module:
        """Embed each patch, concatenate each pair, classify: (V·9, F) → (V·8, 8)."""
        from lens.tasks._patches import Pairs

        return Pairs(features, self.embedding, self.hidden)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """Cross-entropy of each pair (V·8,)."""
        from torch.nn import functional

        return functional.cross_entropy(outputs, question["target"], reduction="none")
