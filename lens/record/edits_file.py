"""A run's edits as `figures/edits.npz` keeps them, checked where they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lens.base.files import MEBIBYTE, read_arrays, reading

Array = np.ndarray[Any, Any]
LARGEST = 1024 * MEBIBYTE
"""Bytes of a run's edits, at most."""


def load(run: Path) -> dict[str, Array]:
    """The arrays of a run's `figures/edits.npz` (see `lens.measuring.edits`).

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
