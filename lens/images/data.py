"""The images of a run: of one or more sources, opened, split and put together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.base.characters import printable
from lens.base.draws import generator
from lens.images.held import Skipped
from lens.images.read_as import levels_of, told, unlike
from lens.images.splits import FRESH, SPLITS
from lens.images.squares_file import Square, Squares
from lens.images.uncached import Uncached


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of one or more sources, at cache size; an image's index counts through all of them.

    `source` (n,) is which of `keys` an image belongs to, `store` (n,) which of `arrays` it lies in, whose key is in
    `stores`: the same, unless one source is cut into pseudo-sources. `group` (n,) counts through `group_names`; `grouped`
    names had theirs found by --group_by. `gives_splits` tells of each store whether it divides its images itself.
    `duplicates` are pairs across sources, None where none were sought. `content` is a hash of each image's content (n);
    where nothing was hashed it is empty, and `stamps` (n) are sizes and times. `read_as` (n) tells how each image's numbers were
    read, as far as that is known: empty where they were taken as they are.
    """

    keys: list[str]
    arrays: list[Square | Squares]
    offsets: list[int]
    names: list[str]
    label: np.ndarray[Any, np.dtype[np.int64]]
    group: np.ndarray[Any, np.dtype[np.int64]]
    source: np.ndarray[Any, np.dtype[np.int64]]
    split: np.ndarray[Any, np.dtype[np.str_]]
    classes: list[list[str]]
    skipped: list[Skipped]
    store: np.ndarray[Any, np.dtype[np.int64]]
    stores: list[str]
    group_names: list[str]
    gives_splits: list[bool]
    grouped: int | None = None
    duplicates: list[dict[str, Any]] | None = None
    notes: tuple[str, ...] = ()
    content: Sequence[str] = ()
    stamps: Sequence[str] = ()
    read_as: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.names)

    def indices(self, split: str, source: int | None = None) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The indices of a split ("train", "val", "test", "fresh"), of all sources or one."""
        chosen = self.split == split
        return np.flatnonzero(chosen if source is None else chosen & (self.source == source))

    def fetch(self, index: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        """Images (B, C, H, W) uint8 at cache size, in channels-last memory."""
        if len(self.arrays) == 1:
            rows = self.arrays[0][index]
        else:
            rows = np.empty((len(index), *self.arrays[0].shape[1:]), np.uint8)
            for number, array in enumerate(self.arrays):
                mine = self.store[index] == number
                rows[mine] = array[index[mine] - self.offsets[number]]
        return torch.from_numpy(rows).permute(0, 3, 1, 2)

    def describe(self) -> str:
        """One line for each source: how many images each split holds, and how many were skipped."""
        lines = []
        shown = (*SPLITS, FRESH) if len(self.indices(FRESH)) else SPLITS
        for number, key in enumerate(self.keys):
            sizes = ", ".join(f"{split} {len(self.indices(split, number)):,}" for split in shown)
            lines.append(f"{key}: {sizes} images, {len(self.classes[number]) or 'no'} classes")
        for key, array in zip(self.stores, self.arrays, strict=True):
            if isinstance(array, Uncached):
                lines.append(f"{key}: nothing is cached; images are decoded when read, {array.rate:,.0f}/s a core")
        if self.stamps:
            lines.append("no image's content is hashed under --cache none: size and time of its file stand for it")
        if self.grouped is not None:
            groups = len(np.unique(self.group))
            lines.append(f"--group_by finds a group in {self.grouped:,} of {len(self):,} names: {groups:,} groups")
        return "\n".join(map(printable, [*lines, *self.notes, *self.reading()]))

    def reading(self) -> list[str]:
        """Lines that say how numbers were read that are not 8 bits of sRGB: deep images, colour profiles."""
        if not any(self.read_as):
            return []
        own = {
            key: [self.read_as[i] for i in np.flatnonzero(self.store == n).tolist()]
            for n, key in enumerate(self.stores)
        }
        lines = [line for key, how in own.items() for line in told(key, how)]
        return lines + unlike({key: levels_of(how) for key, how in own.items()})

    def whole(self) -> Images:
        """The same images with pseudo-sources put together again: each source is one that was named."""
        if len(self.keys) == len(self.stores):
            return self
        classes = [self.classes[int(self.source[self.store == store][0])] for store in range(len(self.stores))]
        return dataclasses.replace(self, keys=self.stores, source=self.store, classes=classes)

    def splits(self, stamps: bool = True) -> bytes:
        """Every image's source, name, split, label and content, and how its numbers were read, one JSON object a line.

        Where nothing was hashed, its size and time stand for the content, unless they are left out: two machines' copies
        may differ in them.
        """
        lines = []
        content = (
            {"content": self.content} if self.content else {"stamp": self.stamps} if stamps and self.stamps else {}
        )
        for i, name in enumerate(self.names):
            source = int(self.source[i])
            label = self.classes[source][self.label[i]] if self.label[i] >= 0 else None
            entry: dict[str, str | None] = {
                "source": self.keys[source],
                "name": name,
                "split": str(self.split[i]),
                "label": label,
            }
            entry |= {key: values[i] for key, values in content.items()}
            if self.read_as and self.read_as[i]:
                entry["read_as"] = self.read_as[i]
            lines.append(json.dumps(entry) + "\n")
        return "".join(lines).encode()


def sample_of(index: np.ndarray[Any, Any], limit: int | None, seed: int, name: str) -> np.ndarray[Any, Any]:
    """At most `limit` of the indices, chosen at random once and for all, in order: files lie sorted by class."""
    if limit is None or len(index) <= limit:
        return index
    order = torch.randperm(len(index), generator=generator(seed, 0, name)).numpy()
    return np.sort(index[order[:limit]])
