"""From images to features: what an extractor, or none, makes of every image of an index, each read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from einops import reduce
from torch import Tensor
from torch.nn import functional

from lens.images import data
from lens.images.augment import centre
from lens.images.cache import cache_dir_of
from lens.measuring import feature_store
from lens.players.extractor import Extractor
from lens.players.players import Players

Array = np.ndarray[Any, Any]
Reader = Callable[[Tensor, Tensor], Tensor]
"""Centred images (B, C, H, W) in [0, 1] and what the task makes of them for an extractor → rows of numbers (B, F)."""


def of_extractor(
    players: Players,
    extractor: Extractor,
    lensed_statistics: bool = False,
    read: Callable[[Tensor], Tensor] | None = None,
) -> Reader:
    """Reads an extractor's pooled output, or what `read` makes of its input, with the raw set of statistics or the lensed one."""
    read = read or extractor.features

    def rows(images: Tensor, inputs: Tensor) -> Tensor:
        extractor.eval()
        with players.fabric.autocast(), extractor.statistics(lensed_statistics):
            return pooled(read(inputs).float(), len(images))

    return rows


def pooled(features: Tensor, images: int) -> Tensor:
    """Average the features (rows, F) of each image where a task cuts an image into several rows: (B, F)."""
    averaged: Tensor = reduce(features, "(image row) f -> image f", "mean", image=images)
    return averaged


def pixels(images: Tensor, inputs: Tensor) -> Tensor:
    """Reads 12×12 pixels of an image (B, 432): what a probe sees without any extractor."""
    return functional.adaptive_avg_pool2d(images, 12).flatten(1)


@torch.no_grad()
def read(
    players: Players,
    readers: Mapping[str, Reader],
    images: data.Images,
    index: Array,
    advance: Callable[[int], None] = lambda more: None,
) -> dict[str, Array]:
    """What each reader gives of unlensed, unplanted images, (n, F) by its name; every image is fetched and prepared once.

    One process keeps many of them in a file (`feature_store`). Of several, each rank has its share of them; rank 0 gets
    them all, in the index's order, and the others nothing (0, 0). `advance` is told how many more images are read.
    """

    def centred() -> Iterator[Tensor]:
        for batch in players.batches(players.ranks.share(index), 128, images):
            yield centre(batch.images, players.settings.data.image_size)
            advance(len(batch.index) * players.ranks.world)

    batches = _rows(players, readers, centred())
    if players.ranks.world == 1:
        return feature_store.gathered_by_name(batches, len(index), cache_dir_of(players.settings.data))
    gathered = players.ranks.collect(list(batches))
    nothing = np.zeros((0, 0))
    if not gathered:
        return dict.fromkeys(readers, nothing)
    return {name: np.concatenate([part[name] for parts in gathered for part in parts]) for name in readers}


@torch.no_grad()
def of_pixels(players: Players, reader: Reader, images: Array) -> Array:
    """What a reader gives of images (n, H, W, C) uint8 of the run's size, (n, F)."""

    def parts() -> Iterator[Tensor]:
        for rows in feature_store.chunks(len(images), 256):
            pixels = torch.from_numpy(np.ascontiguousarray(images[rows])).to(players.fabric.device)
            yield pixels.permute(0, 3, 1, 2).float() / 255

    rows = (found[""] for found in _rows(players, {"": reader}, parts()))
    return feature_store.gathered(rows, len(images), cache_dir_of(players.settings.data))


def _rows(players: Players, readers: Mapping[str, Reader], batches: Iterable[Tensor]) -> Iterator[dict[str, Array]]:
    """What each reader gives of batches of centred images (B, C, H, W) in [0, 1], each prepared once: (B, F) by its name."""
    kind = next(players.extractor.parameters()).dtype
    for images in batches:
        inputs = players.task.prepare(images).to(kind).contiguous(memory_format=torch.channels_last)
        yield {name: reader(images, inputs).cpu().numpy() for name, reader in readers.items()}
