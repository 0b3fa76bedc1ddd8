"""In which order are nine patches shown? One of 100 permutations that differ widely (Noroozi, Favaro 2016)."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ClassVar

from lens.base.errors import check_number
from lens.protocols.task import Question, Task

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from lens.base.draws import Draws

MOST = 504


@dataclasses.dataclass(frozen=True)
class Jigsaw(Task):
    """Jigsaw as Kolesnikov, Zhai, Beyer (2019): the patches of relative_patch, 8 of 100 permutations shown of each image.

    The geometry, greying and standardisation are those of `relative_patch`: at 255 px cells of 85 px, patches of 64,
    jitter 21; at 96 px 32, 24, 8; at 64 px 21, 16, 5; at 32 px 10, 8, 2. The published code draws the 8 permutations once
    a step for the whole batch; here each image draws its own, so that it is posed the same in any batch. A patch is
    embedded once, however many permutations show it.
    """

    head_reads_question: ClassVar[bool] = True
    grey: ClassVar[float] = 0.66
    standardise: ClassVar[bool] = True

    permutations: int = 100
    """Permutations to tell apart, 2 to 504."""
    shown: int = 8
    """Different permutations of each image and step."""
    gap: float = 0.0
    """Least distance between neighbouring patches, in shares of the cell."""
    jitter: float = 21 / 85
    """Range of each patch's random place in its cell, in shares of the cell; patch = 1 - gap - jitter."""
    embedding: int = 1000
    """Width of each patch's embedding."""
    hidden: int = 4096
    """Width of the classifier's hidden layer."""

    def __post_init__(self) -> None:
        check_number("task.permutations", self.permutations, low=2, high=MOST)
        check_number("task.shown", self.shown, low=1, high=self.permutations)
        check_number("task.embedding", self.embedding, low=1)
        check_number("task.hidden", self.hidden, low=1)

    @property
    def classes(self) -> int:  # type: ignore[override]
        """K, the number of permutations."""
        return self.permutations

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """The whole images; `corners` (V, 9, 2) of their patches, `target` (V·S,) and `order` (V·S, 9) of what is shown."""
        import torch

        from lens.tasks._patches import Geometry

        geometry = Geometry.of(images.shape[-1], self.gap, self.jitter)
        every = torch.from_numpy(permutations(self.permutations)).to(images.device)
        target = draws.uniform("permutation", self.permutations).argsort(dim=1)[:, : self.shown].reshape(-1)
        return images, {"target": target, "order": every[target], "corners": geometry.corners(images, draws)}

    def present(self, views: Tensor, question: Question) -> Tensor:
        """Nine patches of each view (V·9, C, patch, patch) in the grid's order, scaled to [−1, 1]."""
        from lens.tasks._patches import Geometry, cut

        patch = Geometry.of(views.shape[-1], self.gap, self.jitter).patch
        return cut(views, question["corners"], patch) * 2 - 1

    def prepare(self, images: Tensor) -> Tensor:
        """Nine patches of each upright image (B·9, C, patch, patch), whose features are averaged."""
        from lens.tasks._patches import Geometry, nine

        return nine(images, Geometry.of(images.shape[-1], self.gap, self.jitter).patch) * 2 - 1

    def head(self, features: int) -> nn.Module:
        """Embed each patch, concatenate them in each shown order, classify: (V·9, F) → (V·S, K)."""
        from lens.tasks._patches import Puzzle

        return Puzzle(features, self.embedding, self.hidden, self.permutations)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """Cross-entropy of each shown order (V·S,)."""
        from torch.nn import functional

        return functional.cross_entropy(outputs, question["target"], reduction="none")


@functools.cache
def permutations(count: int) -> np.ndarray[Any, Any]:
    """`count` permutations of nine patches (count, 9) int64, any two of which differ in at least 7 places.

    The group PGL(2, 8), x ↦ (ax + b)/(cx + d) on the nine points of the projective line over the field of 8 elements,
    has 504 members, and as only the identity fixes three points, two of them agree in at most two places. Permutations
    that are 8 apart agree in at most one place, so that the content of two slots tells them apart: there are at most
    9·8 = 72 of them. From 73 to 504 no set is better than this one. Each next member maximises first the least, then the
    mean distance to those before it.
    """
    import numpy as np

    group = np.array(sorted(_projective_line()))
    distance = (group[:, None] != group[None]).sum(axis=2)
    chosen = [0]
    while len(chosen) < count:
        to_chosen = distance[:, chosen]
        score = to_chosen.min(axis=1) * 9 * count + to_chosen.sum(axis=1)
        score[chosen] = -1
        chosen.append(int(score.argmax()))
    return group[chosen].astype(np.int64)


def _projective_line() -> set[tuple[int, ...]]:
    """The permutations x ↦ (ax + b)/(cx + d) of GF(8) ∪ {∞}; ∞ is written 8."""
    elements = range(8)
    inverse = {x: y for x in elements for y in elements if _times(x, y) == 1}

    def ratio(above: int, below: int) -> int:
        return 8 if below == 0 else _times(above, inverse[below])

    found = set()
    for a in elements:
        for b in elements:
            for c in elements:
                for d in elements:
                    if _times(a, d) ^ _times(b, c):
                        image = [ratio(_times(a, x) ^ b, _times(c, x) ^ d) for x in elements]
                        found.add((*image, ratio(a, c)))
    return found


def _times(x: int, y: int) -> int:
    """The product in GF(8): polynomials over GF(2) modulo t³ + t + 1, the bits being coefficients."""
    product = 0
    for bit in range(3):
        if y >> bit & 1:
            product ^= x << bit
    for bit in (4, 3):
        if product >> bit & 1:
            product ^= 0b1011 << (bit - 3)
    return product
