"""Sources opened, listed, split and cached: from the settings of the data to images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lens.base.bar import Bar
from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.images.cache import cache_dir_of, cached
from lens.images.cache_folder import Progress
from lens.images.data import Images
from lens.images.held import Held, Skipped
from lens.images.intensity import fixed
from lens.images.opening import open_source
from lens.images.splits import gives_splits, groups_of, keep_groups_whole, split_of
from lens.images.squares_file import Square, Squares
from lens.images.uncached import uncached
from lens.protocols.source import Listing, Source
from lens.settings.groups.data import DataSettings

Check = Callable[[list[str], list[Listing]], None]
"""What may refuse sources, by their keys, for what is listed of them: before anything is decoded."""


def load(
    settings: DataSettings,
    progress: Progress = lambda done, total, title="decoding": None,
    check: Check = lambda keys, listings: None,
) -> Images:
    """Open, list, split and cache the sources of --data, in squares at the size of the cache; --cache none decodes when reading.

    Nothing is divided here: pseudo-sources and the part that is kept for judges come after (`training_set`). Raises BadInput
    for sources that cannot be read, or of which more than --max_bad_fraction of the images cannot.
    """
    arrays: list[Square | Squares] = []
    offsets: list[int] = []
    all_names: list[str] = []
    labels: list[int] = []
    groups: list[int] = []
    stores: list[int] = []
    splits: list[str] = []
    skipped: list[Skipped] = []
    content: list[str] = []
    stamps: list[str] = []
    read_as: list[str] = []
    group_number: dict[str, int] = {}
    grouped = 0
    found_groups: set[tuple[int, str]] = set()
    keys, cache_dir = settings.sources, cache_dir_of(settings)
    opened = [
        open_source(key, settings.image_column, settings.label_column, settings.data_root, cache_dir) for key in keys
    ]
    listings = [source.listing() for source in opened]
    for key, listing in zip(keys, listings, strict=True):
        for note in listing.notes:
            say(f"{key}: {note}")
    check(keys, listings)
    for number, (key, source, listing) in enumerate(zip(keys, opened, listings, strict=True)):
        held = _held(settings, key, source, listing, progress)
        if settings.cache == "none":
            stamps += [record.portable_stamp or record.stamp for record in listing.records]
        else:
            content += held.content
        names, found = groups_of(listing.records, settings.group_by)
        split = split_of(listing, names)
        how = {position: way for way, positions in held.read_as.items() for position in positions}
        offsets.append(len(all_names))
        arrays.append(held.squares)
        skipped += held.skipped
        for position in held.kept:
            record = listing.records[position]
            all_names.append(record.name)
            labels.append(-1 if record.label is None else record.label)
            groups.append(group_number.setdefault(f"{number}/{names[position]}", len(group_number)))
            if found[position]:
                grouped += 1
                found_groups.add((number, names[position]))
            read_as.append(how.get(position, ""))
            stores.append(number)
            splits.append(split[position])
    group, store = np.array(groups), np.array(stores)
    given = [gives_splits(listing) for listing in listings]
    whole, moved = keep_groups_whole(np.array(splits), group, np.array(given)[store])
    notes = [f"skipped {len(skipped)} unreadable images, listed in skipped.json"] if skipped else []
    notes += _apart_by_folder(found_groups)
    if moved:
        notes.append(f"moved {moved:,} images to the split of held-out images of their group")
    return Images(
        keys=keys,
        arrays=arrays,
        offsets=offsets,
        names=all_names,
        label=np.array(labels),
        group=group,
        source=store,
        split=whole,
        classes=[list(listing.classes) for listing in listings],
        skipped=skipped,
        store=store,
        stores=keys,
        group_names=[name.partition("/")[2] for name in group_number],
        gives_splits=given,
        grouped=None if settings.group_by is None else grouped,
        notes=tuple(notes),
        content=content,
        stamps=stamps,
        read_as=read_as,
    )


def load_with_a_bar(settings: DataSettings, check: Check = lambda keys, listings: None) -> Images:
    """`load`, with a live bar for each part of it that takes long."""
    bar: Bar | None = None

    def progress(done: int, total: int, title: str = "decoding") -> None:
        nonlocal bar
        if bar is not None and bar.title != title:
            bar.__exit__()
            bar = None
        if bar is None:
            bar = Bar(title, total, "images").__enter__()
        bar.advance(done)

    try:
        return load(settings, progress, check)
    finally:
        if bar is not None:
            bar.__exit__()


def _held(settings: DataSettings, key: str, source: Source, listing: Listing, progress: Progress) -> Held:
    """The squares of one source. Raises BadInput where too many of its images cannot be read, or none can."""
    size, ranges = settings.resolved_cache_size, fixed(settings.shown_range)
    if settings.cache == "none":
        held = uncached(key, source, listing, size, progress, ranges)
    else:
        held = cached(key, source, listing, size, cache_dir_of(settings), progress, ranges)
    bad, count, most = held.skipped, len(listing.records), settings.max_bad_fraction
    if len(bad) > most * count or not held.kept:
        first = "; ".join(f"{entry.name!r} ({entry.reason})" for entry in bad[:3])
        raise BadInput(
            f"{len(bad)} of {count} images of {key} cannot be read ({len(bad) / count:.1%}, allowed {most:.1%}): {first}; "
            "fix them or raise --max_bad_fraction"
        )
    return held


def _apart_by_folder(found: set[tuple[int, str]]) -> list[str]:
    """A note where groups (number of the source, name) of one source differ in folders alone: it may be one patient."""
    named: dict[tuple[int, str], list[str]] = {}
    for number, name in sorted(found):
        named.setdefault((number, name.rpartition("/")[2]), []).append(name)
    twice = [names for names in named.values() if len(names) > 1]
    if not twice:
        return []
    return [
        f"{sum(map(len, twice)):,} groups of --group_by differ from another one in their folders alone ({twice[0][0]!r}, "
        f"{twice[0][1]!r}) and may fall into other splits: a name has its folders in it, and ([^/_.]+)[^/]*$ finds what "
        "comes after them, before the first _"
    ]
