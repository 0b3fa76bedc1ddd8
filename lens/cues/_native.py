"""What cues share that look at pictures at their own size: a bounded crop of each, on JPEG's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lens.protocols.cue import Picture

if TYPE_CHECKING:
    from torch import Tensor

    Array = np.ndarray[Any, Any]

SIDE = 256
"""At most so many rows and columns are looked at, those in the middle: what bounds the time of large pictures."""
GRID = 16
"""The crop begins at a multiple of this: of JPEG's blocks, and of those of chroma that is stored at every other pixel."""
LEAST = 16
"""Rows and columns below which a picture is not described: its numbers are NaN."""
PIXELS = 8 * SIDE * SIDE
"""Pixels of pictures of one size that are described at a time: they stay in the processor's cache."""


def crop(native: Array) -> Array:
    """The middle of a picture (H, W, 3), at most 256×256, from a multiple of 16 pixels."""
    first = [max(0, (length - SIDE) // 2) // GRID * GRID for length in native.shape[:2]]
    return native[first[0] : first[0] + SIDE, first[1] : first[1] + SIDE]


def by_crop(pictures: Sequence[Picture], statistics: Callable[[Tensor], Mapping[str, Tensor]]) -> dict[str, Array]:
    """The statistics of each picture's crop, by name (B, …) float32; NaN where a picture is below 16 px.

    `statistics` takes crops of one size (b, 3, h, w), float32 levels 0 to 255; a row must be a function of its own image.
    """
    import torch

    groups: dict[tuple[int, int, int], list[int]] = {}
    crops = [crop(picture.native) for picture in pictures]
    for place, one in enumerate(crops):
        if min(one.shape[:2]) >= LEAST:
            groups.setdefault(one.shape, []).append(place)
    found: dict[str, Array] = {}
    if not groups:
        shapes = statistics(torch.zeros(1, 3, LEAST, LEAST))
        found = {name: np.full((len(pictures), *row.shape[1:]), np.nan, np.float32) for name, row in shapes.items()}
    for (high, wide, _), places in groups.items():
        together = PIXELS // (high * wide)
        for start in range(0, len(places), together):
            part = places[start : start + together]
            stacked = torch.from_numpy(np.stack([crops[place] for place in part]))
            rows = statistics(stacked.permute(0, 3, 1, 2).float().contiguous())
            for name, values in rows.items():
                if name not in found:
                    found[name] = np.full((len(pictures), *values.shape[1:]), np.nan, np.float32)
                found[name][part] = values.numpy()
    return found
