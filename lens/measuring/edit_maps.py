"""A run's edits, and figures of mean edit maps (H, W): how concentrated, how alike, how much lies in a region."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE, read_arrays, reading

Array = np.ndarray[Any, Any]
LARGEST = 1024 * MEBIBYTE
"""Bytes of a run's edits, at most."""
TOP = 0.05
"""The share of the pixels that are called the strongest."""


def load(run: Path) -> dict[str, Array]:
    """The arrays of a run's `figures/edits.npz` (see `evaluate.edits`).

    Raises BadInput where the file is damaged, too large, or holds something else.
    """
    file = run / "figures" / "edits.npz"
    with reading(file, "delete it, and the lens is asked again"):
        numbers = read_arrays(file, LARGEST)
        pictures, mean_edit = numbers["original"], numbers["map"]
        if mean_edit.ndim != 2 or not 0 < mean_edit.size < 2**24 or mean_edit.dtype.kind != "f":
            raise ValueError(f"its map is {mean_edit.dtype} {mean_edit.shape}")
        if not np.isfinite(mean_edit).all() or (mean_edit < 0).any() or (mean_edit > 1).any():
            raise ValueError("its map holds what is no squared edit")
        shape = (len(pictures), *mean_edit.shape, 3)
        for name in ("original", "lensed", "clean"):
            if numbers[name].shape != shape or numbers[name].dtype != np.uint8 or not len(pictures):
                raise ValueError(f"its {name} are {numbers[name].dtype} {numbers[name].shape}")
        mean_image = numbers["mean_image"]
        if mean_image.shape != shape[1:] or mean_image.dtype.kind != "f" or not np.isfinite(mean_image).all():
            raise ValueError(f"its mean_image is {mean_image.dtype} {mean_image.shape}")
        if numbers["map_images"].shape != () or numbers["map_images"].dtype.kind not in "iu":
            raise ValueError("its map_images is no number")
        if "by" in numbers and (numbers["by"].shape != () or numbers["by"].dtype.kind != "U"):
            raise ValueError("its by is no word")
        return numbers


def clip(mean_edit: Array) -> float:
    """The 95th percentile of a map, at which it is shown clipped (Minderer et al. 2020, figure 3)."""
    return float(np.quantile(mean_edit, 0.95))


def top_share(mean_edit: Array) -> float | None:
    """The share, 0.05 to 1, of a map's sum that lies in the strongest 5 % of its pixels; None where nothing is edited.

    0.05 is a map that is the same everywhere.
    """
    values = np.sort(mean_edit, axis=None)[::-1]
    total = float(values.sum())
    return float(values[: math.ceil(TOP * len(values))].sum()) / total if total > 0 else None


def rank_correlation(first: Array, second: Array) -> float | None:
    """Spearman's (1904) correlation over the pixels of two maps, −1 to 1; None where one is the same everywhere.

    Maps of different sizes are averaged over areas to the smaller size first.
    """
    from scipy.stats import rankdata

    size = (min(first.shape[0], second.shape[0]), min(first.shape[1], second.shape[1]))
    one, other = (rankdata(resized(values, size), axis=None) for values in (first, second))
    if one.min() == one.max() or other.min() == other.max():
        return None
    return float(np.corrcoef(one, other)[0, 1])


def resized(mean_edit: Array, size: tuple[int, int]) -> Array:
    """A map (H, W) averaged over areas to a smaller size (h, w)."""
    import torch
    from torch.nn import functional

    if mean_edit.shape == size:
        return mean_edit
    values = torch.from_numpy(mean_edit)[None, None]
    smaller: Array = functional.adaptive_avg_pool2d(values, size)[0, 0].numpy()
    return smaller


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
