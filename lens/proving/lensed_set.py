"""Images before and after a lens, as files would hold them: what judges look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lens.measuring.feature_store import PIXELS, gathered_by_name
from lens.measuring.judge import Pictures
from lens.operations import quality

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class LensedSet:
    """A split's images at 8 bits, raw (with the planted cue, where there is one) and lensed: (n, H, W, C) uint8 each.

    `source` and `label` (n,) int64 are what is asked about them (a label of −1: none); `error` and `ssim` (n,) compare
    the two, `carries` (n,) bool tells which carry a planted cue.
    """

    raw: Array
    lensed: Array
    source: Array
    label: Array
    group: Array
    error: Array
    ssim: Array
    carries: Array

    def pictures(self, kind: str, answer: str) -> Pictures:
        """The images of a kind (raw, lensed) with the answers to a question (source, label)."""
        return Pictures(getattr(self, kind), getattr(self, answer))


@dataclasses.dataclass(frozen=True)
class LensedSets:
    """The splits train, val and test, none of which the lens has learnt from, and the names of their sources and classes.

    `classes` is empty where there are no labels. In `folder` many pictures lie, in files without names.
    """

    splits: dict[str, LensedSet]
    sources: list[str]
    classes: list[str]
    folder: Path

    def pictures(self, kind: str, answer: str) -> dict[str, Pictures]:
        """Each split's images of a kind (raw, lensed) with the answers to a question (source, label)."""
        return {split: part.pictures(kind, answer) for split, part in self.splits.items()}

    def subset(self, chosen: dict[str, Array]) -> LensedSets:
        """Those images of each split that are `chosen` (n,) bool."""
        parts = {split: subset(part, chosen[split], self.folder) for split, part in self.splits.items()}
        return dataclasses.replace(self, splits=parts)


@dataclasses.dataclass(frozen=True)
class LensedProbe:
    """A probe's own images by split, to which nothing is planted, raw and lensed: (n, H, W, C) uint8, with `labels` (n,).

    `group` (n,) is that of test images; `mse` is what the lens changes in all of them, on [0, 1].
    """

    key: str
    raw: dict[str, Array]
    lensed: dict[str, Array]
    labels: dict[str, Array]
    group: Array
    mse: float


def rows_of(views: Tensor) -> Array:
    """Images (B, C, H, W) on 8-bit levels of [0, 1] → uint8 rows (B, H·W·C)."""
    return quality.pixels(views).reshape(len(views), -1)


def stored(batches: Iterator[dict[str, Array]], count: int, side: int, folder: Path) -> dict[str, Array]:
    """Rows of pixels of several kinds as images (n, H, W, C) uint8: in memory, or where there are many in files in `folder`."""
    rows = gathered_by_name(batches, count, folder, PIXELS)
    return {kind: pixels.reshape(count, side, side, 3) for kind, pixels in rows.items()}


def subset(part: LensedSet, chosen: Array, folder: Path) -> LensedSet:
    """Those of a split's images that are `chosen` (n,) bool; all of them are the split itself, and are not copied."""
    if chosen.all():
        return part
    index = np.flatnonzero(chosen)
    own = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    raw, lensed = own.pop("raw"), own.pop("lensed")

    def batches() -> Iterator[dict[str, Array]]:
        for start in range(0, len(index), 256):
            rows = index[start : start + 256]
            yield {kind: images[rows].reshape(len(rows), -1) for kind, images in (("raw", raw), ("lensed", lensed))}

    pixels = stored(batches(), len(index), raw.shape[1], folder)
    return LensedSet(**pixels, **{name: values[index] for name, values in own.items()})
