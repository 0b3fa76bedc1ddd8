"""Which images a run was trained on, as splits.jsonl.gz records them: written, read back, compared with those of today."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE, read_bytes, reading, write_atomically
from lens.base.terminal import say

NAME = "splits.jsonl.gz"
SLACK = 64 * MEBIBYTE
"""Bytes that a record may have beyond four times those of today's images: a larger one is of other images, or a bomb."""
KEYS: dict[str, type | tuple[type, ...]] = {"source": str, "name": str, "split": str, "label": (str, type(None))}
PIXELS = ("content", "stamp")
"""What may stand for an image's pixels: a hash of them, or size and time of the file. Versions up to 0.3 had neither."""

READ_AS = "read_as"
"""How an image's numbers were read, where they are not taken as they are: the range of deep ones, a colour profile."""

Image = tuple[str, str]
"""An image's source and its name."""
Entry = dict[str, Any]


def write(directory: Path, splits: bytes) -> None:
    """Record the images of a run, one JSON object a line; the same ones give the same bytes."""
    write_atomically(directory / NAME, gzip.compress(splits, mtime=0))


def refuse_others(directory: Path, splits: bytes) -> None:
    """Raise BadInput, with what differs, where a run's record is not of the images of today, whose record is `splits`.

    A line tells of what could not be compared: a record that is missing, or one of a version that recorded no pixels.
    """
    file = directory / NAME
    if not file.exists():
        say(
            f"{directory} has no {NAME}: whether these are the images that it was trained on cannot be told, and they are "
            "taken for them"
        )
        return
    recorded = _read(file, len(splits))
    if recorded == splits:
        return
    with reading(file, "bring it back from a copy, or delete it if the images are still the same"):
        then = _entries(recorded)
    now = _entries(splits)
    kinds = [_pixels(entries) for entries in (then, now)]
    if kinds[0] != kinds[1]:
        say(f"{file} does not tell whether the images' pixels have changed since: {_why(kinds[0])}")
    elif not any(READ_AS in entry for entry in then.values()) and (other := [i for i in now if READ_AS in now[i]]):
        say(
            f"{directory} was trained by a version that scaled each deep image by itself and took no notice of colour profiles: "
            f"{len(other):,} images, the first {other[0][1]!r}, are read in another way now ({now[other[0]][READ_AS]})"
        )
    found = differences(then, now)
    if found:
        advice = ""
        if kinds == ["stamp", "stamp"] and "size or time" in found:
            advice = (
                "; under --cache none nothing is hashed, so that a copy counts as the same where it keeps its times: copy "
                "with cp -a or rsync -a"
            )
        raise BadInput(
            f"{directory} was trained on other images than its sources hold now, or they were divided otherwise ({found}): "
            f"bring them back, or start a new run with another --out{advice}"
        )


def contents(directory: Path, size: int) -> dict[str, str] | None:
    """The split of each content (a hash) that a run has recorded; of one in two splits the one that was trained on.

    None where it recorded none. `size` is that of today's record, in bytes. Raises BadInput where the record is damaged.
    """
    file = directory / NAME
    if not file.exists():
        return None
    with reading(file, "bring it back from a copy"):
        entries = list(_entries(_read(file, size)).values())
    if _pixels({("", ""): entries[0]}) != "content":
        return None
    order = ("test", "fresh", "val", "train")
    entries.sort(key=lambda entry: order.index(entry["split"]) if entry["split"] in order else -1)
    return {entry["content"]: entry["split"] for entry in entries}


def differences(then: dict[Image, Entry], now: dict[Image, Entry]) -> str:
    """What differs between two records, each kind of difference with its number and its first image; empty if nothing does."""
    kept = [image for image in then if image in now]

    def other(key: str) -> list[Image]:
        return [i for i in kept if key in then[i] and key in now[i] and then[i][key] != now[i][key]]

    # A record of a version that told of no image how it was read is compared without that.
    tells = _pixels(then) == _pixels(now) and any(READ_AS in entry for entry in then.values())
    found = {
        "gone": [image for image in then if image not in now],
        "new": [image for image in now if image not in then],
        "with other content": other("content"),
        "with another size or time": other("stamp"),
        "with another range or colour profile": [
            i for i in kept if tells and then[i].get(READ_AS) != now[i].get(READ_AS)
        ],
        "with another label": other("label"),
        "in another split": other("split"),
    }
    parts = [f"{len(images):,} {what}, the first {images[0][1]!r}" for what, images in found.items() if images]
    if not parts and list(then) != list(now):
        first = next(a for a, b in zip(then, now, strict=True) if a != b)
        parts = [f"in another order, from {first[1]!r} on"]
    return "; ".join(parts)


def _read(file: Path, size: int) -> bytes:
    """The content of a record. Raises BadInput for what is damaged, no file, or of another size altogether."""
    limit = 4 * size + SLACK
    with reading(file, "bring it back from a copy, or delete it if the images are still the same"):
        packed = read_bytes(file, limit)
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise ValueError(
                f"it holds more than {limit / MEBIBYTE:,.0f} MiB, and today's images {size / MEBIBYTE:,.1f}"
            )
    return content


def _entries(content: bytes) -> dict[Image, Entry]:
    """Each image's line, in order. Raises ValueError, with the line's number, for what is no such record."""
    entries: dict[Image, Entry] = {}
    pixels = None
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is no JSON") from error
        known = KEYS | {key: str for key in (*PIXELS, READ_AS)}
        if (
            not isinstance(entry, dict)
            or not set(KEYS) <= set(entry) <= set(known)
            or not all(isinstance(value, known[key]) for key, value in entry.items())
        ):
            raise ValueError(f"line {number} tells of no image")
        kind = set(entry) - set(KEYS) - {READ_AS}
        if len(kind) > 1 or pixels not in (None, kind):
            raise ValueError(f"line {number} tells of its image otherwise than those before")
        pixels = kind
        if (image := (entry["source"], entry["name"])) in entries:
            raise ValueError(f"line {number} tells of {image[1]!r} again")
        entries[image] = entry
    if not entries:
        raise ValueError("it tells of no image")
    return entries


def _pixels(entries: dict[Image, Entry]) -> str | None:
    """Which of `PIXELS` a record has, the same in every line; None where it has none."""
    first = next(iter(entries.values()))
    return next((key for key in PIXELS if key in first), None)


def _why(kind: str | None) -> str:
    if kind is None:
        return "this run's version did not record them yet; names, splits and labels are compared"
    what = "a hash" if kind == "content" else "size and time"
    return f"the run recorded {what}, and --cache is another now; names, splits and labels are compared"
