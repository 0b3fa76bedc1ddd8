"""Which split, group and pseudo-source each image falls into: functions of its group's name, or the source's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.base.errors import BadInput
from lens.base.patterns import compiled, search
from lens.protocols.source import Listing, Record

SPLITS = ("train", "val", "test")
FRESH = "fresh"
"""The part of the training split that is kept from the lens, for classifiers that judge it later."""
Numbers = np.ndarray[Any, np.dtype[np.int64]]
Words = np.ndarray[Any, np.dtype[np.str_]]


def unit(text: str) -> float:
    """A hash of the text in [0, 1)."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def groups_of(records: Sequence[Record], group_by: str | None = None) -> tuple[list[str], list[bool]]:
    """The name of each record's group, and whether `group_by` has found it.

    It is what the expression finds in the record's name: its first parenthesis, where it has one, else the whole match.
    Where it finds nothing, the source's own group, or the record alone. Raises BadInput where that takes too long.
    """
    own = [record.group or record.name for record in records]
    if group_by is None:
        return own, [False] * len(own)
    found = search(group_by, [record.name for record in records])
    first = 1 if compiled(group_by).groups else 0
    # A parenthesis that took no part in a match, or matched nothing, names no group.
    texts = [match[first] or "" if match else "" for match in found]
    return [text or group for text, group in zip(texts, own, strict=True)], [bool(text) for text in texts]


def split_of(listing: Listing, groups: Sequence[str] | None = None) -> list[str]:
    """The split of each record, in its group's hash where the source does not give one.

    No splits: 70 % train, 10 % val, 20 % test. Train and test: a tenth of train becomes val. Train and val: val is
    the test split (ImageNet's habit), and a tenth of train becomes val.
    """
    given, kept = {record.split for record in listing.records}, gives_splits(listing)
    result = []
    for record, group in zip(listing.records, groups or groups_of(listing.records)[0], strict=True):
        place = unit(group)
        if record.split is None or not kept:
            result.append("train" if place < 0.7 else "val" if place < 0.8 else "test")
        elif record.split == "train" and not {"val", "test"} <= given:
            result.append("val" if place < 0.1 else "train")
        elif record.split == "val" and "test" not in given:
            result.append("test")
        else:
            result.append(record.split)
    return result


def gives_splits(listing: Listing) -> bool:
    """Whether a source says itself which of its images are for training, and which are not."""
    given = {record.split for record in listing.records}
    return "train" in given and given != {"train"}


def keep_groups_whole(split: Words, group: Numbers, given: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[Words, int]:
    """The splits with every group whole, and how many images that moved.

    A group whose images stand in several splits goes to the most held-out of them: test, else val. So no test image is
    lost; training gives up those that a test image is like. A group with no image whose split is `given` (n,) by its
    source goes where its first falls: that is as random as before, and large groups would all be held out.
    """
    place = sum((split == name) * number for number, name in enumerate(SPLITS))
    highest = np.zeros(int(group.max()) + 1, np.int64)
    np.maximum.at(highest, group, place)
    _, first, number = np.unique(group, return_index=True, return_inverse=True)
    free = np.bincount(group, given) == 0
    settled = np.where(free[group], split[first[number]], np.array(SPLITS)[highest[group]])
    return settled, int((settled != split).sum())


def keep_fresh(split: Words, group: Numbers, names: Sequence[str], fraction: float) -> Words:
    """The splits with a share of the training split's groups, by the hash of their names, put into the fresh split."""
    if not fraction:
        return split
    chosen = np.array([unit(f"{FRESH}/{name}") < fraction for name in names])
    return np.where((split == "train") & chosen[group], FRESH, split)


def pseudo_sources(group: Numbers, names: Sequence[str], count: int, seed: int) -> Numbers:
    """The pseudo-source (n,) of each image: the groups in a random order, cut into `count` parts of about equal size.

    Of groups of one image the parts differ by one at most. Raises BadInput where there are fewer groups than parts.
    """
    if len(names) < count:
        raise BadInput(f"--pseudo_sources {count}: there are only {len(names)} groups of images to divide")
    order = np.argsort([unit(f"{seed}/{name}") for name in names], kind="stable")
    sizes = np.bincount(group, minlength=len(names))[order]
    # A group goes where its middle falls.
    middle = np.cumsum(sizes) - sizes / 2
    part = np.empty(len(names), np.int64)
    part[order] = (middle * count / sizes.sum()).astype(np.int64)
    return part[group]
