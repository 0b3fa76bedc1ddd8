"""Every image of an audit, read once: its file's header, its descriptors by every cue, its square."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import PIL.Image

from lens.auditing import columns, combs, levels
from lens.auditing.header import header_of
from lens.auditing.sampling import Sampled
from lens.base.bar import Bar
from lens.base.draws import EVALUATION, Draws
from lens.base.files import system_fault
from lens.base.terminal import say
from lens.base.threads import usable_cores
from lens.images import intensity
from lens.images.decoding import reason, squared, without_warnings
from lens.images.held import Skipped
from lens.images.read_as import told
from lens.protocols.cue import Cue, Picture
from lens.protocols.lookup import find, names

Array = np.ndarray[Any, Any]
CHUNK = 64
"""Images that are described at a time."""
AHEAD = 50_000_000
"""Pixels of images that are held at a time, as long as they are not one image: 150 MB."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What was read of one source: the `kept` of its sampled images, their squares (n, S, S, 3) uint8, columns by cue;
    `crops` of some pictures at their own size, for their combs; how often each level stands in each channel (3, 256)."""

    squares: Array
    kept: list[int]
    skipped: list[Skipped]
    columns: dict[str, columns.Columns]
    crops: list[Array]
    levels: Array
    notes: list[str]


def every_cue() -> dict[str, Cue]:
    """All cues by their names, in the ladder's order, with their default settings."""
    found: dict[str, Cue] = {name: find("cue", name)() for name in names("cue")}
    return dict(sorted(found.items(), key=lambda entry: (entry[1].order, entry[0])))


def read(source: Sampled, size: int, cues: Mapping[str, Cue], seed: int, first: int, bar: Bar) -> Source:
    """Read a source's sampled images, each once, in squares of `size` pixels; `first` is the number of its first one.

    An image that cannot be read is skipped. Of deep images (16 bits, floats) one range for the whole source is shown; they
    are looked at once more to decide it. Raises SystemFault where the system is at fault.
    """
    with without_warnings():
        extents = intensity.survey(source, len(source.chosen), lambda done, total, title="": None)
        ranges = intensity.decided(extents.values())
        squares, kept, skipped, how, crops = [], [], [], [], []
        every = max(1, len(source.chosen) // combs.PICTURES)
        counts = np.zeros((3, 256), np.int64)
        described: dict[str, list[Mapping[str, Array]]] = {name: [] for name in cues}
        for chunk in _chunks(source, size, ranges, bar):
            pictures = []
            for position, one in chunk:
                if isinstance(one, str):
                    skipped.append(Skipped(source.records[position].name, one))
                    continue
                picture, way = one
                pictures.append(picture)
                kept.append(position)
                how.append(way)
                counts += levels.counted(picture.native)
                if position % every == 0:
                    crops.append(combs.middle(picture.native))
            if not pictures:
                continue
            squares.append(np.stack([picture.square for picture in pictures]))
            draws = draws_of(np.array(kept[-len(pictures) :]) + first, seed)
            for name, cue in cues.items():
                described[name].append(cue.describe(pictures, draws))
    if not kept:
        return Source(np.empty((0, size, size, 3), np.uint8), [], skipped, {}, [], counts, [])
    found = {name: columns.joined(described.pop(name)) for name in cues}
    return Source(np.concatenate(squares), kept, skipped, found, crops, counts, told(source.key, how))


def draws_of(index: Array, seed: int) -> Draws:
    """The draws of images by their numbers (n,): the same in any chunk."""
    import torch

    numbers = torch.from_numpy(np.asarray(index, np.int64))
    return Draws(seed, EVALUATION, numbers, torch.zeros_like(numbers))


def _chunks(
    source: Sampled, size: int, ranges: intensity.Ranges, bar: Bar
) -> Iterator[list[tuple[int, tuple[Picture, str] | str]]]:
    """Chunks of positions, each with its picture and how its numbers were read, or why it cannot be read.

    The next chunk is decoded while one is described. Large pictures are fewer in a chunk.
    """
    positions = list(range(len(source.chosen)))
    workers = usable_cores()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        count, start = CHUNK // 8, 0

        def begun(start: int, count: int) -> list[concurrent.futures.Future[tuple[Picture, str] | str]]:
            return [pool.submit(_picture, source, n, size, ranges) for n in positions[start : start + count]]

        coming = begun(start, count)
        while coming:
            here = positions[start : start + len(coming)]
            chunk = [(n, future.result()) for n, future in zip(here, coming, strict=True)]
            pixels = [p[0].native.size // 3 for _, p in chunk if not isinstance(p, str)]
            start += len(coming)
            count = CHUNK if not pixels else int(np.clip(AHEAD // max(1, max(pixels)), 1, CHUNK))
            coming = begun(start, count)
            yield chunk
            bar.add(len(chunk))


def _picture(source: Sampled, position: int, size: int, ranges: intensity.Ranges) -> tuple[Picture, str] | str:
    """An image as a picture, and how its numbers were read; or why it cannot be read."""
    try:
        with source.read(position) as image:
            header = _header(image)
            inverted = intensity.white_is_zero(image)
            image.load()
            square, way = squared(image, size, ranges)
            deep = intensity.kind_of(image) is not None
            native = intensity.shown(image, ranges, inverted)[0] if deep else image
            return Picture(header, np.asarray(native.convert("RGB")), square), way
    except Exception as error:
        if fault := system_fault(error):
            raise fault from error
        return reason(error)


def _header(image: PIL.Image.Image) -> dict[str, float | str]:
    """What the image's file says; of an image that is no file's (a data set in memory) its size alone."""
    stream = getattr(image, "fp", None)
    if stream is None:
        return {"width": float(image.width), "height": float(image.height)}
    place = stream.tell()
    stream.seek(0)
    found = header_of(stream.read())
    stream.seek(place)
    return found


def tell_skipped(skipped: list[Skipped]) -> None:
    """Show which images could not be read."""
    if skipped:
        shown = "; ".join(f"{one.name!r} ({one.reason})" for one in skipped[:3])
        say(f"skipped {len(skipped):,} unreadable images: {shown}{'; …' * (len(skipped) > 3)}")
