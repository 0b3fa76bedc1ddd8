"""How large an image's file is, and how many bytes it has for a pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lens.protocols.cue import Cue, Kind, Picture

if TYPE_CHECKING:
    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

FIELDS = ("file_bytes", "bytes_per_pixel")


@dataclasses.dataclass(frozen=True)
class FileSize(Cue):
    """The file's bytes: how strongly it is compressed, and how much there is to compress."""

    kind: ClassVar[Kind] = "file"
    order: ClassVar[float] = 2.5
    points_to: ClassVar[str] = "how strongly the files are compressed, the pictures' size, or how much detail they show"
    acquisition: ClassVar[bool | None] = None

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`file_bytes` and `bytes_per_pixel` (B,); NaN where a header does not say."""
        return {
            name: np.array([picture.header.get(name, np.nan) for picture in pictures], np.float32) for name in FIELDS
        }
