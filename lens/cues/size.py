"""How large the pictures are: width, height, their ratio and their product."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lens.protocols.cue import Cue, Kind, Picture

if TYPE_CHECKING:
    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Size(Cue):
    """Width and height as the file tells them, before it is turned upright, and what follows from them."""

    kind: ClassVar[Kind] = "file"
    order: ClassVar[float] = 0
    points_to: ClassVar[str] = "the size and shape that pictures were stored in"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`width`, `height`, `aspect` (width / height) and `area` (B,) in pixels."""
        height, width = np.array([picture.native.shape[:2] for picture in pictures], np.float32).T
        return {"width": width, "height": height, "aspect": width / height, "area": width * height}
