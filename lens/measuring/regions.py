"""How much of a mean edit map (H, W) lies in a rectangle, beside others of the same size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lens.base.errors import BadInput

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Region:
    """A rectangle in shares of the image's height and width, 0 to 1."""

    top: float
    left: float
    height: float
    width: float

    def __post_init__(self) -> None:
        """Raise BadInput for a rectangle that is empty or leaves the image."""
        for start, length, name in ((self.top, self.height, "height"), (self.left, self.width, "width")):
            if start < 0 or length <= 0 or start + length > 1:
                raise BadInput(f"the region {self} leaves the image in its {name}: shares of the side go from 0 to 1")

    def pixels(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width in whole pixels of an image (H, W), at least one pixel each way."""
        top, left = min(round(self.top * height), height - 1), min(round(self.left * width), width - 1)
        high, wide = max(1, round(self.height * height)), max(1, round(self.width * width))
        return top, left, min(high, height - top), min(wide, width - left)

    def cut(self, pictures: Array) -> Array:
        """The region of pictures (n, H, W, C)."""
        top, left, high, wide = self.pixels(*pictures.shape[1:3])
        return pictures[:, top : top + high, left : left + wide]


def in_region(mean_edit: Array, region: Region) -> dict[str, Any]:
    """How much of a map's sum lies in a region, and in every rectangle of the same size that does not overlap it.

    `share` is the region's, `area` its share of the pixels (what a map that is the same everywhere would give),
    `mirror` that of the region mirrored left to right (None where the two overlap), `elsewhere` the median and the
    largest of the other rectangles, and `below` the share of them that hold less than the region. All None where nothing
    is edited. A large share says that the lens edits there, not that the task is solved by what lies there.
    """
    height, width = mean_edit.shape
    top, left, high, wide = region.pixels(height, width)
    area = high * wide / (height * width)
    total = float(mean_edit.sum())
    if total == 0:
        return {"share": None, "area": area, "mirror": None, "elsewhere": None, "below": None, "rectangles": 0}
    # The sum over each rectangle, from the sums over all that start in the corner.
    corner = np.zeros((height + 1, width + 1))
    corner[1:, 1:] = mean_edit.cumsum(0).cumsum(1)
    sums = corner[high:, wide:] - corner[:-high, wide:] - corner[high:, :-wide] + corner[:-high, :-wide]
    y, x = np.indices(sums.shape)
    others = sums[(abs(y - top) >= high) | (abs(x - left) >= wide)] / total
    share = float(sums[top, left]) / total
    across = width - left - wide
    return {
        "share": share,
        "area": area,
        "mirror": float(sums[top, across]) / total if abs(across - left) >= wide else None,
        "elsewhere": {"median": float(np.median(others)), "largest": float(others.max())} if len(others) else None,
        "below": float((others < share).mean()) if len(others) else None,
        "rectangles": len(others),
    }
