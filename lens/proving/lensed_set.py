"""A split's images before and after a lens, as files would hold them: what judges look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.images.cache import cache_dir_of
from lens.measuring.feature_store import PIXELS, gathered_by_name
from lens.measuring.judges import Pictures
from lens.operations import quality
from lens.players.players import Players

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


@torch.no_grad()
def lens_images(players: Players, index: Array, labels: Array, advance: Callable[[int], None]) -> LensedSet:
    """Lens the images at `index` as they would be applied: held-out draws, the whole image, rounded to 8 bits.

    Each image is read once, and planted once.
    """
    assert players.lens is not None
    players.lens.eval()
    images = players.images
    parts: dict[str, list[Array]] = {"error": [], "ssim": [], "carries": []}

    def batches() -> Iterator[dict[str, Array]]:
        for batch in players.batches(index, 256):
            views, question, carries = players.views(batch, training=False)
            raw = quality.to_8_bits(views)
            lensed = quality.to_8_bits(players.lensed(raw, question, players.draws(batch)))
            parts["error"].append((lensed - raw).square().mean(dim=(1, 2, 3)).double().cpu().numpy())
            parts["ssim"].append(quality.ssim(raw.contiguous(), lensed.contiguous()).double().cpu().numpy())
            parts["carries"].append(carries.cpu().numpy())
            advance(len(views))
            yield {"raw": rows_of(raw), "lensed": rows_of(lensed)}

    pictures = stored(players, batches(), len(index))
    found = {name: np.concatenate(values) for name, values in parts.items()}
    return LensedSet(**pictures, source=images.source[index], label=labels[index], group=images.group[index], **found)


def rows_of(views: Tensor) -> Array:
    """Images (B, C, H, W) on 8-bit levels of [0, 1] → uint8 rows (B, H·W·C)."""
    return quality.pixels(views).reshape(len(views), -1)


def stored(players: Players, batches: Iterator[dict[str, Array]], count: int) -> dict[str, Array]:
    """Rows of pixels of several kinds as images (n, H, W, C) uint8: in memory, or where there are many in files without names."""
    side = players.settings.data.image_size
    rows = gathered_by_name(batches, count, cache_dir_of(players.settings.data), PIXELS)
    return {kind: pixels.reshape(count, side, side, 3) for kind, pixels in rows.items()}


def subset(players: Players, part: LensedSet, chosen: Array) -> LensedSet:
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

    pixels = stored(players, batches(), len(index))
    return LensedSet(**pixels, **{name: values[index] for name, values in own.items()})
