"""A half-transparent white word, at a random place in every view."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws

WORDS = ("LENS", "COPY", "FREE", "DEMO")
_LETTERS = {
    "C": "### #.. #.. #.. ###",
    "D": "##. #.# #.# #.# ##.",
    "E": "### #.. ##. #.. ###",
    "F": "### #.. ##. #.. #..",
    "L": "#.. #.. #.. #.. ###",
    "M": "#.# ### ### #.# #.#",
    "N": "##. #.# #.# #.# #.#",
    "O": "### #.# #.# #.# ###",
    "P": "### #.# ### #.. #..",
    "R": "### #.# ##. #.# #.#",
    "S": "### #.. ### ..# ###",
    "Y": "#.# #.# ### .#. .#.",
}


@dataclasses.dataclass(frozen=True)
class Watermark:
    """One of four words in a box of half the width and a quarter of the height; θ says which, never where."""

    plants: ClassVar[bool] = True

    strength: float = 0.4
    """Opacity α of the letters, above 0 and at most 1."""

    def __post_init__(self) -> None:
        check_number("shortcut.strength", self.strength, low=0, high=1, open_low=True)

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Blend word floor(4 θ) into each image, its box at a place drawn afresh for every view."""
        import torch

        side = images.shape[-1]
        marks = self._marks(images)  # (words, height, width), with a border of zeros that all outside pixels read
        height, width = marks.shape[1] - 2, marks.shape[2] - 2
        place = draws.uniform("watermark", 2)
        top = (place[:, 0] * (side - height + 1)).long().clamp(max=side - height)
        left = (place[:, 1] * (side - width + 1)).long().clamp(max=side - width)
        span = torch.arange(side, device=images.device)
        rows = (span[None] - top[:, None]).clamp(-1, height) + 1
        columns = (span[None] - left[:, None]).clamp(-1, width) + 1
        word = (theta * len(WORDS)).long().clamp(0, len(WORDS) - 1)
        alpha = marks[word[:, None, None], rows[:, :, None], columns[:, None, :]][:, None]
        return images + self.strength * alpha * (1 - images)

    def _marks(self, images: Tensor) -> Tensor:
        """The words' opacities (words, side/4 + 2, side/2 + 2), drawn on a 16×8 grid and resized."""
        import torch
        from torch.nn import functional

        rows = [["".join(f"{_LETTERS[letter].split()[y]}." for letter in word) for y in range(5)] for word in WORDS]
        cells = [[[float(cell == "#") for cell in row] for row in word] for word in rows]
        grid = functional.pad(torch.tensor(cells), (0, 0, 1, 2))[:, None]  # five rows of letters in a box of eight
        side = images.shape[-1]
        size = (max(1, side // 4), max(1, side // 2))
        marks = functional.interpolate(grid, size=size, mode="bilinear", antialias=True, align_corners=False)[:, 0]
        return functional.pad(marks, (1, 1, 1, 1)).to(images)
