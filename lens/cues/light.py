"""How bright and how dark an image gets from edge to edge: uneven light, vignetting, a shadow on one side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lens.protocols.cue import Cue, Picture

if TYPE_CHECKING:
    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

STRIPS = 8
"""Strips from top to bottom, and as many from left to right."""


@dataclasses.dataclass(frozen=True)
class Light(Cue):
    """The darkest and the brightest level, and the mean, of strips across the whole picture at its own size. Most pictures have black
    and white nearly everywhere, whatever they show: light that is added on one side leaves no black there, and taken away no white."""

    order: ClassVar[float] = 39
    points_to: ClassVar[str] = "uneven light: a gradient, a shadow or vignetting; or what the pictures show on one side"
    acquisition: ClassVar[bool | None] = None

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By way (down, across): `darkest` and `brightest` (B, 8), the least and greatest level of any channel in each strip, and
        `mean` (B, 8), levels 0 to 255. A picture of fewer pixels than strips repeats some."""
        found: dict[str, list[Array]] = {}
        for picture in pictures:
            red, green, blue = picture.native[..., 0], picture.native[..., 1], picture.native[..., 2]
            darkest, brightest = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
            mean = (red.astype(np.float32) + green + blue) / 3
            for way, axis in (("down", 1), ("across", 0)):
                lines = (darkest.min(axis=axis), brightest.max(axis=axis), mean.mean(axis=axis))
                spans = _strips(len(lines[0]))
                told = {
                    "darkest": [lines[0][span].min() for span in spans],
                    "brightest": [lines[1][span].max() for span in spans],
                    "mean": [lines[2][span].mean() for span in spans],
                }
                for name, levels in told.items():
                    found.setdefault(f"{name}_{way}", []).append(np.array(levels, np.float32))
        return {name: np.stack(rows) for name, rows in found.items()}


def _strips(length: int) -> list[slice]:
    """A side of so many pixels in strips, each of one at least."""
    ends = np.linspace(0, length, STRIPS + 1).astype(int)
    return [
        slice(first, max(first + 1, last)) for first, last in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]
