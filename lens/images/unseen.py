"""Held-out images that another run has learnt from are found, told and left out before anything is measured on them."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from lens.base.characters import printable
from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.images.data import Images
from lens.images.splits import SPLITS

LEFT_OUT = "learnt"
"""The split of held-out images that somebody has learnt from: nobody is asked about them."""


def standing(images: Images, trained: Images) -> np.ndarray[Any, np.dtype[np.str_]]:
    """Of each image (n,) what a run has used it for: "train" (trained on), "val" (chosen by), or "" (neither).

    They are known by their place, or by a hash of their content where both sides have one. An image in the run's own test
    split is neither, whatever else holds the same pixels: it is what the run itself is measured on.
    """
    split = trained.split.tolist()
    places = {place: name for place, name in zip(_places(trained), split, strict=True) if name in SPLITS}
    content: dict[str, str] = {}
    if images.content and trained.content:
        content = {one: name for one, name in zip(trained.content, split, strict=True) if name == "val"}
        content |= {one: name for one, name in zip(trained.content, split, strict=True) if name == "train"}
    pixels = images.content if content else [""] * len(images)
    found = [places.get(place) or content.get(one, "") for place, one in zip(_places(images), pixels, strict=True)]
    return np.where(np.isin(found, ("train", "val")), found, "")


def without_learnt(images: Images, trained: Images, run: str) -> Images:
    """The images without those held-out ones that `run` has learnt from; how many is said.

    Of the test split that is what the run has trained on or chosen by, of the val split what it has trained on. `trained` are
    the images of that run, divided as it had them. Raises BadInput where a source has no test image left.
    """
    alike = images.stores == trained.stores and images.names == trained.names
    if alike and np.array_equal(images.store, trained.store) and np.array_equal(images.split, trained.split):
        return images
    used = standing(images, trained)
    gone = ((images.split == "test") & (used != "")) | ((images.split == "val") & (used == "train"))
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
