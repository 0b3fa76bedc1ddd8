"""Plug-ins of one's own: a task, a lens and a source, each a file that knows nothing of the package's lists."""

TASK = '''"""Is the picture upside down?"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.protocols.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws
    from lens.protocols.task import Question


@dataclasses.dataclass(frozen=True)
class UpsideDown(Task):
    """Half of the pictures are flipped."""

    views: ClassVar[int] = 2
    classes: ClassVar[int | None] = 2

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        turned = draws.view[:, None, None, None] == 1
        return images.flip(2).where(turned, images), {"target": draws.view}

    def present(self, views: Tensor, question: Question) -> Tensor:
        return views * 2 - 1

    def prepare(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def head(self, features: int) -> nn.Module:
        from torch import nn

        return nn.Linear(features, 2)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(outputs, question["target"], reduction="none")
'''

LENS = '''"""A shift of brightness, one number for each channel."""

from __future__ import annotations

import dataclasses
from typing import Any

from lens.protocols.lens import Lens


@dataclasses.dataclass(frozen=True)
class Shift(Lens):
    """The same number everywhere."""

    most: float = 0.5
    """The largest shift."""

    def network(self) -> Any:
        import torch
        from torch import nn

        class Network(nn.Module):
            def __init__(self, most: float) -> None:
                super().__init__()
                self.most, self.shift = most, nn.Parameter(torch.zeros(3))

            def forward(self, inputs: torch.Tensor) -> torch.Tensor:
                return self.most * self.shift.tanh()[:, None, None].expand_as(inputs)

        return Network(self.most)
'''

SOURCE = '''"""Twenty grey squares."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lens.protocols.source import Listing, Record

if TYPE_CHECKING:
    import PIL.Image


@dataclasses.dataclass(frozen=True)
class Squares:
    """Squares of twenty greys, two classes."""

    def listing(self) -> Listing:
        return Listing([Record(f"{i:02d}", label=i % 2, stamp=f"grey {i}") for i in range(40)], ["even", "odd"])

    def read(self, position: int) -> PIL.Image.Image:
        import PIL.Image

        return PIL.Image.linear_gradient("L").resize((40, 40)).point(lambda x: (x + 6 * position) % 256).convert("RGB")
'''

NEW = {"tasks/upside_down.py": TASK, "lenses/shift.py": LENS, "sources/squares.py": SOURCE}
