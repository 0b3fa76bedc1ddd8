"""An audit's images divided: near-duplicates and groups in one split, and cut at random into pseudo-sources."""

from __future__ import annotations

from typing import Any

import numpy as np

from lens.base.errors import BadInput
from lens.base.intervals import FEWEST
from lens.images.data import Images
from lens.images.splits import SPLITS, unit

Array = np.ndarray[Any, Any]
SHARES = (0.5, 0.7, 1.0)
"""Where training, validation and test end, as shares of a source's images."""


def split(images: Images, seed: int) -> Array:
    """The split (n,) of each image: about 50, 20 and 30 % of each source, whole groups, in a random order of the groups.

    A group of several sources is counted to that of its first image. Raises BadInput where that leaves a source without
    training or validation images, or its test split with too few groups for an interval.
    """
    found = np.empty(len(images), "<U5")
    _, first = np.unique(images.group, return_index=True)
    owner = images.source[first]
    for source in range(len(images.keys)):
        groups = images.group[first[owner == source]]
        order = groups[
            np.argsort([unit(f"{seed}/audit/{images.group_names[g]}") for g in groups.tolist()], kind="stable")
        ]
        sizes = np.bincount(images.group, minlength=len(images.group_names))[order]
        middle = (np.cumsum(sizes) - sizes / 2) / max(1, sizes.sum())
        for group, place in zip(order.tolist(), middle.tolist(), strict=True):
            found[images.group == group] = SPLITS[int(np.searchsorted(SHARES, place, side="right"))]
    _refuse_thin(images, found)
    return found


def _refuse_thin(images: Images, found: Array) -> None:
    for source, key in enumerate(images.keys):
        mine = images.source == source
        for name in SPLITS:
            groups = len(np.unique(images.group[mine & (found == name)]))
            least = FEWEST if name == "test" else 2
            if groups < least:
                every = len(np.unique(images.group[mine]))
                raise BadInput(
                    f"{key} has {every} group{'s' * (every != 1)} of images, which leaves {groups} to its {name} split: {least} are "
                    "needed there; give more groups, or another --group_by"
                )


def pseudo_sources(images: Images, found: Array, seed: int) -> Array:
    """A source (n,) for each image that says nothing: the groups of each split in a random order, cut into as many parts
    as there are sources, each of about the size that its source has there."""
    part = np.empty(len(images), np.int64)
    for name in SPLITS:
        mine = np.flatnonzero(found == name)
        groups, member, sizes = np.unique(images.group[mine], return_inverse=True, return_counts=True)
        order = np.argsort([unit(f"{seed}/pseudo/{images.group_names[g]}") for g in groups.tolist()], kind="stable")
        middle = np.cumsum(sizes[order]) - sizes[order] / 2
        ends = np.cumsum(np.bincount(images.source[mine], minlength=len(images.keys)))
        given = np.empty(len(groups), np.int64)
        given[order] = np.searchsorted(ends, middle, side="right")
        part[mine] = given[member]
    return part


def leaks(images: Images, given: Array) -> list[str]:
    """A line for each source whose own splits share groups or near-duplicates; `given` (n,) are those that it gives, or ""."""
    lines = []
    for source, key in enumerate(images.keys):
        mine = np.flatnonzero((images.source == source) & (given != ""))
        pairs = np.unique(np.stack([images.group[mine].astype(str), given[mine]], axis=1), axis=0)
        groups, splits = np.unique(pairs[:, 0], return_counts=True)
        if shared := int((splits > 1).sum()):
            lines.append(
                f"{key}: {shared:,} of {len(groups):,} groups (near-duplicates, or what --group_by finds) stand in more than one of "
                "its own splits: what is measured there by training on one of them is too good"
            )
    return lines
