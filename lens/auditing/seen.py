"""All that an audit has read: images by source, group and split, their squares, and what every cue says of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lens.auditing import columns, combs, division, levels, reading
from lens.auditing.asked import AuditSettings
from lens.auditing.sampling import Sampled, refuse_few, sampled
from lens.base.bar import Bar
from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.images.data import Images
from lens.images.overlap import without_twins
from lens.images.splits import SPLITS, gives_splits, groups_of
from lens.protocols.cue import Cue
from lens.results.audit import Comb, Levels

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Seen:
    """The images of an audit (n), divided: `images.split` is the audit's own; `pseudo` (n,) is a source that says nothing.

    `columns` are each cue's descriptors (n), `combs` each source's steps of quantisation, `levels` its channels' ends; `listed` counts what the sources list, of which a sample was read; `leaks` are
    lines about sources whose own splits share images.
    """

    images: Images
    pseudo: Array
    cues: Mapping[str, Cue]
    columns: Mapping[str, columns.Columns]
    combs: list[Comb]
    levels: list[Levels]
    listed: list[int]
    leaks: list[str]

    def fetch(self, index: Array) -> Array:
        """The squares (B, S, S, 3) uint8 of some images."""
        return self.images.fetch(index).permute(0, 2, 3, 1).numpy()

    def rows(self, split: str) -> Array:
        """The indices of a split's images."""
        return self.images.indices(split)


def seen(asked: AuditSettings, more: Mapping[str, Cue]) -> Seen:
    """Open, list, sample and read the sources, with a live bar, by all cues and `more`; find near-duplicates; divide.

    Raises BadInput for sources that cannot be told apart by anybody: see `sampled`, `without_twins`, `division.split`.
    """
    sources = sampled(asked)
    for one in sources:
        for note in one.whole.notes:
            say(f"{one.key}: {note}")
        if len(one.chosen) < len(one.whole.records):
            say(
                f"{one.key}: a random sample of {len(one.chosen):,} of {len(one.whole.records):,} images is looked at (--images)"
            )
    cues = reading.every_cue() | dict(more)
    found: list[reading.Source] = []
    first = 0
    with Bar("reading", sum(len(one.chosen) for one in sources), "images") as bar:
        for one in sources:
            found.append(reading.read(one, asked.image_size, cues, asked.seed, first, bar))
            first += len(one.chosen)
    for one, got in zip(sources, found, strict=True):
        reading.tell_skipped(got.skipped)
        _refuse_unread(one, got)
    images = _images(asked, sources, found)
    given = images.split
    images = without_twins(images, "audit.json")
    images = dataclasses.replace(images, split=division.split(images, asked.seed))
    pseudo = division.pseudo_sources(images, images.split, asked.seed)
    # Cue by cue: what is put together of one is let go before the next.
    together = {name: columns.together([got.columns.pop(name) for got in found]) for name in cues}
    told = {name: one for name, one in together.items() if one.numbers.shape[1] + one.words.shape[1]}
    listed = [len(one.whole.records) for one in sources]
    steps = [combs.comb_of(got.crops) for got in found]
    ends = [levels.ends(got.levels) for got in found]
    return Seen(images, pseudo, cues, told, steps, ends, listed, division.leaks(images, given))


def _refuse_unread(one: Sampled, got: reading.Source) -> None:
    """Raise BadInput where nothing, or too little, of a source can be read."""
    if not got.kept:
        first = got.skipped[0]
        raise BadInput(
            f"none of the {len(one.chosen):,} images of {one.key} can be read: {first.name!r} ({first.reason}), …; give images"
        )
    refuse_few(one.key, len(got.kept))


def _images(asked: AuditSettings, sources: list[Sampled], found: list[reading.Source]) -> Images:
    """The images of all sources; each one's split is what its source says of it, or ""."""
    names: list[str] = []
    labels: list[int] = []
    groups: list[int] = []
    splits: list[str] = []
    number: dict[str, int] = {}
    grouped = 0
    for place, (one, got) in enumerate(zip(sources, found, strict=True)):
        records = one.records
        group_names, matched = groups_of(records, asked.group_by)
        # What --group_by finds is one patient in every source; other groups are a source's own.
        keys = [name if hit else f"{place}/{name}" for name, hit in zip(group_names, matched, strict=True)]
        gives = gives_splits(one.whole)
        for position in got.kept:
            record = records[position]
            names.append(record.name)
            labels.append(-1 if record.label is None else record.label)
            groups.append(number.setdefault(keys[position], len(number)))
            splits.append(record.split if gives and record.split in SPLITS else "")
            grouped += matched[position]
    store = np.repeat(np.arange(len(sources)), [len(got.kept) for got in found])
    return Images(
        keys=[one.key for one in sources],
        arrays=[got.squares for got in found],
        offsets=np.cumsum([0, *(len(got.kept) for got in found[:-1])]).tolist(),
        names=names,
        label=np.array(labels),
        group=np.array(groups),
        source=store,
        split=np.array(splits),
        classes=[list(one.whole.classes) for one in sources],
        skipped=[entry for got in found for entry in got.skipped],
        store=store,
        stores=[one.key for one in sources],
        group_names=list(number),
        gives_splits=[False] * len(sources),
        grouped=None if asked.group_by is None else grouped,
        notes=tuple(note for got in found for note in got.notes),
    )
