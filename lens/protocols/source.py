"""The interface of a source of images: what it lists, how one of its images is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import PIL.Image


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One image of a source: a name unique in the source, its label, split and group, and what changes if it does.

    `split` is "train", "val" or "test", or None where the source leaves splitting to `data`. Images of one `group`
    (a patient) never fall into two splits, and intervals treat them as one draw. `stamp` goes into the cache's key: while
    it is the same, nothing is decoded or hashed again. `portable_stamp` is what an honest copy shares with it (a file's size
    and time); a run records it where nothing is hashed. Where it is empty, it is the `stamp`.
    """

    name: str
    label: int | None = None
    split: str | None = None
    group: str | None = None
    stamp: str = ""
    portable_stamp: str = ""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a source holds: its records in a fixed order, the class names (empty where there are no labels).

    `notes` are lines for the person: what was passed over, or has no label.
    """

    records: Sequence[Record]
    classes: Sequence[str]
    notes: Sequence[str] = ()


class Source(Protocol):
    """A place where images come from.

    A source that is read from a path has the settings `path`, `image_column` and `label_column` and a static
    `accepts(path, endings)`, which is handed the endings of all files there (lower case, with the dot); a built-in source is called by its name, and `root`, where it has one, is the folder of its files.
    One with a `path` and no `accepts` is called `NAME:PATH`. `cache_dir`, where there is one, is for files of its own.
    """

    def listing(self) -> Listing:
        """Names, labels and splits, without decoding an image. Raises BadInput where there is nothing to read."""

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing, decoded lazily; any exception counts as a bad image."""
