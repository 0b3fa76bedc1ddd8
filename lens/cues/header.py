"""What an image's file says before a pixel is decoded: container, tables, profile, camera, software."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lens.protocols.cue import Cue, Kind, Picture

if TYPE_CHECKING:
    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

SIZE = ("width", "height", "file_bytes", "bytes_per_pixel")
"""Left to cues that ask about nothing else: sizes of files depend on what pictures show, too."""
UNSAID = "none"


@dataclasses.dataclass(frozen=True)
class Header(Cue):
    """Every field of the pictures' headers but sizes: numbers as they are, words as categories."""

    kind: ClassVar[Kind] = "file"
    order: ClassVar[float] = 2
    points_to: ClassVar[str] = "how the files were written: format, compression settings, camera or software"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """Each field (B,) by its name; a number that a picture lacks is NaN, a word is "none"."""
        names = sorted({name for picture in pictures for name in picture.header} - set(SIZE))
        found: dict[str, Array] = {}
        for name in names:
            said = [picture.header.get(name) for picture in pictures]
            if any(isinstance(value, str) for value in said):
                found[name] = np.array([UNSAID if value is None else str(value) for value in said], object)
            else:
                found[name] = np.array([np.nan if value is None else value for value in said], np.float32)
        return found
