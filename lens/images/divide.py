"""The images of a run, divided for its purpose: near-duplicates kept together, a part kept fresh, pseudo-sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lens.base.errors import BadInput
from lens.base.patterns import search
from lens.images import splits
from lens.images.data import Images
from lens.images.overlap import copies_together, without_twins
from lens.protocols.source import Listing

UNLABELLED = "unlabelled"
"""The split of images without a label, where the task asks for it."""
LEAST = 20
"""Training images (with those kept fresh) that a source needs for a network to learn what sets it apart."""


def refuse_unmatched(group_by: str, keys: Sequence[str], listings: Sequence[Listing]) -> None:
    """Raise BadInput for a source in none of whose names --group_by finds anything: its patients would be split."""
    for key, listing in zip(keys, listings, strict=True):
        if not any(search(group_by, [record.name for record in listing.records])):
            raise BadInput(
                f"--group_by {group_by!r} finds nothing in any name of {key}, such as {listing.records[0].name!r}: fix it, "
                "drop it, or end it in |$ if each image there stands alone"
            )


def divided(images: Images, *, by_source: bool, pseudo_sources: int | None, judge_fraction: float, seed: int) -> Images:
    """The images with near-duplicates in one split, the fresh part apart, and pseudo-sources where one source is cut.

    `by_source`: somebody asks which source an image comes from. Raises BadInput where a source is too small to ask about,
    or half of it occurs in another one.
    """
    if len(images.keys) > 1:
        images = without_twins(images) if by_source else copies_together(images)
    if judge_fraction:
        fresh = splits.keep_fresh(images.split, images.group, images.group_names, judge_fraction)
        images = dataclasses.replace(images, split=fresh)
    if pseudo_sources is not None:
        part = splits.pseudo_sources(images.group, images.group_names, pseudo_sources, seed)
        keys = [f"{images.keys[0]}#{number + 1}" for number in range(pseudo_sources)]
        images = dataclasses.replace(images, keys=keys, source=part, classes=images.classes * pseudo_sources)
    if by_source:
        _refuse_small(images, judge_fraction > 0)
    return images


def labelled_only(images: Images) -> Images:
    """The images for a task that asks for the label: those without one are in no split, and a note counts them.

    Where none has a label, they are left as they are: the task refuses them.
    """
    without = images.label < 0
    if not without.any() or without.all():
        return images
    first = images.names[int(np.flatnonzero(without)[0])]
    note = (
        f"{int(without.sum()):,} of {len(images):,} images have no label ({first!r}): the task is not asked about them"
    )
    return dataclasses.replace(images, split=np.where(without, UNLABELLED, images.split), notes=(*images.notes, note))


def _refuse_small(images: Images, fresh: bool) -> None:
    for number, key in enumerate(images.keys):
        held = {split: len(images.indices(split, number)) for split in (*splits.SPLITS, splits.FRESH)}
        needed = held if fresh else splits.SPLITS
        learnt = held["train"] + held[splits.FRESH]
        empty = [split for split in needed if not held[split]]
        if learnt < LEAST or empty:
            what = f"no image in its {empty[0]} split" if learnt >= LEAST else f"{learnt} training images"
            raise BadInput(
                f"{key} has {what}: a source that is asked about needs {LEAST}, and one in every split; give more images"
            )
