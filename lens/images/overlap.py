"""Images that occur in two sources: refused, or kept in one split."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.base.errors import BadInput
from lens.images import duplicates, splits
from lens.images.data import Images
from lens.images.uncached import Uncached
from lens.protocols.source import Listing


def refuse_overlap(
    keys: Sequence[str], listings: Sequence[Listing] | None = None, naming: str = "--data names"
) -> None:
    """Raise BadInput for a source that is named twice or lies in another, links followed; `naming` says where it was named.

    With the `listings`, folders that are reached by a link within a source are looked at too.
    """
    real = [os.path.realpath(key) if "/" in key else key for key in keys]
    for number, (key, place) in enumerate(zip(keys, real, strict=True)):
        for other, theirs in zip(keys[:number], real[:number], strict=True):
            if place == theirs:
                same = "" if key == other else f" (it is {other})"
                raise BadInput(f"{naming} {key} twice{same}: an image cannot come from two sources; name it once")
            for inner, outer, a, b in ((key, other, place, theirs), (other, key, theirs, place)):
                if a.startswith(b.rstrip(os.sep) + os.sep):
                    raise BadInput(f"{inner} lies in {outer}: an image cannot come from two sources; move one away")
    owner: dict[str, str] = {}
    for key, listing in zip(keys, listings or (), strict=bool(listings)):
        folders = {os.path.join(key, os.path.dirname(record.name)) for record in listing.records}
        for folder in {os.path.realpath(folder) for folder in folders if os.path.isdir(folder)}:
            if owner.setdefault(folder, key) != key and os.path.isdir(key):
                raise BadInput(f"{owner[folder]} and {key} both lead to the images in {folder}: an image cannot come from two sources")  # fmt: skip


def copies_together(images: Images) -> Images:
    """The images with those of one content that occur in several sources in one group, and so in one split; a note counts them.

    Only a file's content is compared: a task that does not ask about sources pays for no search of near-duplicates.
    """
    if not images.content:
        return images
    _, first, which = np.unique(np.asarray(images.content), return_index=True, return_inverse=True)
    pairs = np.stack([first[which], np.arange(len(images))], axis=1)
    across = images.store[pairs[:, 0]] != images.store[pairs[:, 1]]
    if not across.any():
        return images
    # Of a content that occurs in several sources every image is joined, those of one source too.
    group, names = _joined(images, pairs[np.isin(which, which[across])])
    pairs = pairs[across]
    split, moved = splits.keep_groups_whole(images.split, group, np.array(images.gives_splits)[images.store])
    one, other = (_entry(images, place) for place in pairs[0].tolist())
    note = (
        f"{len(pairs):,} image{'s' * (len(pairs) > 1)} of one source occur{'s' * (len(pairs) == 1)} in another too "
        f"({one['name']!r} of {one['source']} = {other['name']!r} of {other['source']}): each pair is in one split"
    )
    note += f"; {moved:,} images moved to another split for that" if moved else ""
    return dataclasses.replace(images, group=group, group_names=names, split=split, notes=(*images.notes, note))


def without_twins(images: Images, listed_in: str = "duplicates.json") -> Images:
    """The images with near-duplicates in one group, and so in one split; each pair across sources is listed.

    A note says that they are `listed_in` a file. Within a source too: one that is learnt with its source and asked about again, as a frame of one film or a picture of
    one patient, is recognised and not told by a cue.

    Raises BadInput where half or more of a source occurs in another one.
    """
    if any(isinstance(array, Uncached) for array in images.arrays):
        note = "near-duplicates are not sought: that needs --cache disk, or every image decoded"
        return dataclasses.replace(images, notes=(*images.notes, note))
    found = duplicates.find(lambda index: images.fetch(index).permute(0, 2, 3, 1).numpy(), images.source)
    across = images.source[found.index[:, 0]] != images.source[found.index[:, 1]]
    _refuse_copies(images, found.index[across])
    group, names = _joined(images, found.index)
    split, moved = splits.keep_groups_whole(images.split, group, np.array(images.gives_splits)[images.store])
    listed: list[dict[str, Any]] = [
        {"first": _entry(images, a), "second": _entry(images, b), "bits": int(bits), "difference": round(float(d), 3)}
        for (a, b), bits, d in zip(
            found.index[across].tolist(), found.bits[across], found.difference[across], strict=True
        )
    ]
    note = "no near-duplicates across sources"
    if listed:
        first = "; ".join(" = ".join(f"{e['name']!r} of {e['source']}" for e in (pair["first"], pair["second"])) for pair in listed[:3])  # fmt: skip
        count = f"{len(listed):,} pair{'s' * (len(listed) > 1)}"
        note = f"{count} of near-duplicates across sources ({first}), listed in {listed_in}; each pair is in one split"
    for number, key in enumerate(images.keys):
        mine = found.index[~across & (images.source[found.index[:, 0]] == number)]
        if len(mine):
            note += (
                f"; {len(np.unique(mine)):,} images of {key} have near-duplicates in {key} itself, kept in one split"
            )
    note += f"; {moved:,} images moved to another split for that" if moved else ""
    return dataclasses.replace(
        images, group=group, group_names=names, split=split, duplicates=listed, notes=(*images.notes, note)
    )


def _entry(images: Images, index: int) -> dict[str, str]:
    return {"source": images.keys[int(images.source[index])], "name": images.names[index]}


def _joined(images: Images, pairs: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], list[str]]:
    """The images' groups with those of each pair made one, named after its first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(images.group_names)
    ends = images.group[pairs]
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    _, joined = connected_components(graph, directed=False)
    _, first, joined = np.unique(joined, return_index=True, return_inverse=True)
    return joined[images.group].astype(np.int64), [images.group_names[number] for number in first]


def _refuse_copies(images: Images, pairs: np.ndarray[Any, Any]) -> None:
    sizes = np.bincount(images.source)
    owners = images.source[pairs]
    for one in range(len(sizes)):
        for other in range(len(sizes)):
            if one == other or sizes[one] > sizes[other]:
                continue
            ends = [pairs[(owners[:, i] == one) & (owners[:, 1 - i] == other), i] for i in (0, 1)]
            shared = len(np.unique(np.concatenate(ends)))
            if 2 * shared >= sizes[one]:
                raise BadInput(
                    f"{shared:,} of the {sizes[one]:,} images of {images.keys[one]} occur in {images.keys[other]} too, as they "
                    "are or re-saved: which source an image comes from has no answer; take one of the sources away"
                )
