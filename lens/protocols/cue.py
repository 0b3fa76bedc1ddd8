"""The interface of a cue: one view of images, by which the audit asks whether sources can be told apart."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

Kind = Literal["file", "history", "control", "pixels"]
"""What a cue is read from: the file before any pixel is decoded, how the pixels were stored once, nothing at all, the pixels."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """One image of a source, read once for all cues.

    `header` is what its file says before a pixel is decoded, by field: numbers, or words. `native` is the picture
    (H, W, 3) uint8 at its own size, as stored (not turned upright: JPEG's blocks lie as they were stored); `square`
    (S, S, 3) uint8 is what a network would be given: upright, sRGB, the centre, resized.
    """

    header: Mapping[str, float | str]
    native: Array
    square: Array


class Cue(abc.ABC):
    """One view of images. A cue is a frozen dataclass that inherits this: its dataclass fields are its own settings.

    It gives numbers (`describe`), or images (`view`) that are described for it; the ladder gives score, null and interval.
    """

    kind: ClassVar[Kind] = "pixels"
    order: ClassVar[float] = 0
    """Its place on the ladder: from what says nothing about content to the whole image."""
    points_to: ClassVar[str]
    """What it means where only such cues tell, in words: "how the files were stored", "colour and exposure", …"""
    acquisition: ClassVar[bool | None] = True
    """Whether what it reads comes from how images were acquired or stored: True; from what they show: False; either: None."""

    def view(self, squares: Tensor, draws: Draws) -> Tensor | None:
        """Squares (B, 3, S, S) in [0, 1] → what is left of them for this cue (B, C, s, s) in [0, 1], for networks too.

        `draws` are of the images' indices. None: the cue gives numbers only, and has `describe`.
        """
        return None

    @abc.abstractmethod
    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """Descriptors of pictures by name: (B, …) float32, or (B,) of words (dtype object), which are categories.

        Missing values are NaN. `draws.index` (B,) names the pictures.
        """
