"""Near-duplicates: the same picture, re-saved or resized, found by a perceptual hash and confirmed.

The hash is the usual DCT one: of a 32×32 luminance thumbnail the 8×8 lowest frequencies, each above their median or not.
It is blind to what is small, so that X-rays or fields of grass share it: a pair counts where the thumbnails agree too.
Crops, mirrored copies and other photos of one scene are not found, nor smooth scenes under new noise, whose bits it turns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Fetch = Callable[[Array], Array]
"""Indices (B,) → their squares (B, S, S, 3) uint8."""
SIDE = 32
BITS = 3
"""Hashes that differ in at most so many of 64 bits are looked at: one of four bands of 16 bits is then the same."""
DIFFERENCE = 5.0
"""Two thumbnails are one picture below this mean absolute difference, in grey levels of 256.

Measured: copies saved again as JPEG (quality 20 and up) or WebP differ by at most 3.0, in 1,200 pictures of four sets;
copies at half the size by at most 1.2, but for line drawings (5.5). Different pictures that share a hash differ by 7.2 or
more in CIFAR-10's 60,000, and by 12.8 or more in 4,165 chest X-rays, which all look alike.
"""
CHUNK = 1024
PAIRS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of indices (P, 2), the smaller one first, with their hashes' bits (P,) and thumbnails' levels (P,) apart."""

    index: Array
    bits: Array
    difference: Array


def thumbnails(squares: Array) -> Array:
    """Squares (B, S, S, 3) uint8 → luminance (B, 32, 32) float32, 0 to 255, shrunk without aliasing."""
    import torch
    from torch.nn import functional

    luminance = torch.from_numpy(squares.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))
    small = functional.interpolate(luminance[:, None], size=(SIDE, SIDE), mode="bilinear", antialias=True)
    return np.asarray(small[:, 0].numpy())


def hashes(thumbs: Array) -> Array:
    """Thumbnails (B, 32, 32) → perceptual hashes (B,) uint64."""
    from scipy.fft import dctn

    low = dctn(thumbs, axes=(1, 2), norm="ortho")[:, :8, :8].reshape(len(thumbs), 64)
    # The mean of a picture, its first frequency, is far above all others: it must not move their median.
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def find(fetch: Fetch, source: Array) -> Pairs:
    """The near-duplicates among images 0 … n − 1 of the sources (n,), within a source and across them.

    Of over a hundred images with one hash each is compared with the first alone: where that one is another picture, those
    that are alike stay apart.
    """
    every = np.concatenate([hashes(thumbnails(fetch(part))) for part in _parts(np.arange(len(source)), CHUNK)])
    candidates = _candidates(every, source)
    asked, place = np.unique(candidates, return_inverse=True)
    place = place.reshape(-1, 2)
    small = np.empty((len(asked), SIDE, SIDE), np.uint8)
    for part in _parts(np.arange(len(asked)), CHUNK):
        small[part] = thumbnails(fetch(asked[part])).round()
    difference = np.empty(len(candidates), np.float32)
    for part in _parts(np.arange(len(candidates)), CHUNK):
        first, second = small[place[part, 0]].astype(np.int16), small[place[part, 1]].astype(np.int16)
        difference[part] = np.abs(first - second).mean(axis=(1, 2))
    same = difference < DIFFERENCE
    bits = np.bitwise_count(every[candidates[:, 0]] ^ every[candidates[:, 1]])
    return Pairs(candidates[same], bits[same], difference[same])


def _parts(index: Array, size: int) -> Iterator[Array]:
    for start in range(0, len(index), size):
        yield index[start : start + size]


def _candidates(every: Array, source: Array) -> Array:
    """Pairs (P, 2) of images whose hashes differ in at most `BITS` bits, each pair once."""
    # Images of one source with one hash are looked at as one, and told apart again at the end: thousands may be blank.
    order = np.lexsort((np.arange(len(every)), source, every))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(every[order]) != 0) | (np.diff(source[order]) != 0)
    start = np.flatnonzero(new)
    end = np.append(start[1:], len(order))
    unique = every[order[start]]
    found = [_near(unique, band) for band in range(4)]
    near = np.unique(np.concatenate(found), axis=0)
    pairs = [np.empty((0, 2), np.int64)]
    single = (end - start)[near] == 1
    alone = single.all(axis=1)
    pairs.append(order[start[near[alone]]])
    for first, second in near[~alone].tolist():
        pairs.append(_across(order[start[first] : end[first]], order[start[second] : end[second]]))
    for entry in np.flatnonzero(end - start > 1).tolist():
        pairs.append(_within(order[start[entry] : end[entry]]))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _across(first: Array, second: Array) -> Array:
    """All pairs of two runs of equal hashes; of very long runs each image with the other run's first."""
    if len(first) * len(second) <= 10_000:
        return np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    to_second = np.stack([first, np.full_like(first, second[0])], axis=1)
    to_first = np.stack([np.full_like(second[1:], first[0]), second[1:]], axis=1)
    return np.concatenate([to_second, to_first])


def _within(run: Array) -> Array:
    """All pairs of a run of equal hashes; of a very long run each image with the first."""
    if len(run) <= 100:
        return run[np.stack(np.triu_indices(len(run), 1), axis=-1)]
    return np.stack([np.full_like(run[1:], run[0]), run[1:]], axis=1)


def _near(unique: Array, band: int) -> Array:
    """Pairs (P, 2) of entries that share a band of bits and differ in at most `BITS` of all."""
    # Every fourth bit: neighbouring frequencies are alike, and a band of them would be the same in too many pictures.
    shifts = np.arange(band, 64, 4, dtype=np.uint64)
    value = ((unique[:, None] >> shifts) & np.uint64(1)).astype(np.int64) @ (1 << np.arange(16))
    order = np.argsort(value, kind="stable")
    ordered = value[order]
    last = np.searchsorted(ordered, ordered, side="right")
    partners = last - np.arange(len(order)) - 1  # that come after it in its bucket
    found = [np.empty((0, 2), np.int64)]
    total = np.cumsum(partners)
    begin = 0
    while begin < len(order):
        stop = int(np.searchsorted(total, (total[begin - 1] if begin else 0) + PAIRS, side="right"))
        stop = max(stop, begin + 1)
        count = partners[begin:stop]
        left = np.repeat(np.arange(begin, stop), count)
        right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
        a, b = order[left], order[right]
        near = np.bitwise_count(unique[a] ^ unique[b]) <= BITS
        found.append(np.stack([a[near], b[near]], axis=1))
        begin = stop
    return np.sort(np.concatenate(found), axis=1)
