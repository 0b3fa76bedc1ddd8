"""Held-out images that another run has learnt from are found, told and left out before anything is measured on them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.data import Images
from lens.protocols import BadInput
from lens.terminal import printable, say

LEFT_OUT = "learnt"
"""The split of held-out images that somebody has learnt from: nobody is asked about them."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def learnt(images: Images, trained: Images, splits: Sequence[str]) -> Mask:
    """Which images (n,) stand in some splits of a run's images: "train" for what it has trained on, "val" for what it chose by.

    They are known by their place, or by a hash of their content where both sides have one. An image in the run's own test
    split is none of them, whatever else holds the same pixels: it is what the run itself is measured on.
    """
    theirs, mine = _places(trained), _places(images)
    seen = np.isin(trained.split, splits).tolist()
    tested = (trained.split == "test").tolist()
    places = {place for place, is_seen in zip(theirs, seen, strict=True) if is_seen}
    own = {place for place, is_test in zip(theirs, tested, strict=True) if is_test}
    content: set[str] = set()
    if images.content and trained.content:
        content = {one for one, is_seen in zip(trained.content, seen, strict=True) if is_seen}
    pixels = images.content if content else [""] * len(images)
    found = [place in places or (one in content and place not in own) for place, one in zip(mine, pixels, strict=True)]
    return np.array(found, bool)


def without_learnt(images: Images, trained: Images, run: str) -> Images:
    """The images without those held-out ones that `run` has learnt from; how many is said.

    Of the test split that is what the run has trained on or chosen by, of the val split what it has trained on. `trained` are
    the images of that run, divided as it had them. Raises BadInput where a source has no test image left.
    """
    alike = images.stores == trained.stores and images.names == trained.names
    if alike and np.array_equal(images.store, trained.store) and np.array_equal(images.split, trained.split):
        return images
    gone = learnt(images, trained, ("train", "val")) & (images.split == "test")
    gone |= learnt(images, trained, ("train",)) & (images.split == "val")
    if not gone.any():
        return images
    for number, key in enumerate(images.keys):
        tests = images.indices("test", number)
        if len(tests) and gone[tests].all():
            raise BadInput(
                f"{run} has learnt from all {len(tests):,} test images of {key}: nothing is left to ask about; give images that "
                "it has not seen, or runs with the same --group_by and sources"
            )
    count, first = int(gone[images.split == "test"].sum()), images.names[int(np.flatnonzero(gone)[0])]
    say(
        printable(
            f"{run} has learnt from {count:,} of {int((images.split == 'test').sum()):,} test images of {'+'.join(images.keys)} "
            f"({first!r}): they are left out"
        )
    )
    return dataclasses.replace(images, split=np.where(gone, LEFT_OUT, images.split))


def _places(images: Images) -> list[tuple[str, str]]:
    """Each image's folder or source, links followed, and its name: the same file has one place, however it is reached."""
    real: dict[tuple[int, str], str] = {}
    places = []
    for store, name in zip(images.store.tolist(), images.names, strict=True):
        folder, _, last = name.rpartition("/")
        key = images.stores[store]
        if (store, folder) not in real:
            is_folder = "/" in key and os.path.isdir(os.path.join(key, folder))
            real[store, folder] = os.path.realpath(os.path.join(key, folder)) if is_folder else f"{key}/{folder}"
        places.append((real[store, folder], last))
    return places
