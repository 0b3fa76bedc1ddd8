"""What the folder of an image cache must hold, and whether it does: nothing in it is used unchecked."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import re
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lens.base.errors import BadInput
from lens.base.files import checksum, is_own_folder, read_bytes, system_fault, write_atomically
from lens.images.squares_file import Damaged, SquaresFile, state_of

IMAGES, META, VERIFIED = "images.npy", "meta.json", "verified.json"
LONGEST_REASON = 500
"""Characters that are kept of why an image cannot be read."""
LONG = 2**30
"""Bytes of squares from which on checking them is shown."""
TICK = 0.02
"""Seconds: the clock that stamps files moves every 4 to 10 ms, so that what is changed after this pause has another time."""
_HASH = re.compile(r"[0-9a-f]{32}")


class Progress(Protocol):
    """Is told how many images are done, of how many, and at what."""

    def __call__(self, done: int, total: int, title: str = "decoding", /) -> None:
        """Show it."""


@dataclasses.dataclass(frozen=True)
class Meta:
    """What stands in meta.json.

    `kept` are the positions in the source's listing that the squares belong to, in order; `skipped` those that could not
    be read, and why; `content` a hash of each kept image's content; `squares` the checksum of images.npy; `read_as` how
    numbers were read that are not taken as they are (`decoding`), with the positions of each way.
    """

    kept: list[int]
    skipped: list[tuple[int, str]]
    content: list[str]
    squares: str
    read_as: dict[str, list[int]]

    def text(self) -> str:
        """As JSON, with a checksum of everything else in it."""
        plain = dataclasses.asdict(self)
        return json.dumps(plain | {"checksum": _checksum(plain)})

    @classmethod
    def read(cls, file: Path, count: int) -> Meta:
        """The meta.json of `count` images.

        Raises Damaged where it is not whole, or not of so many images; OSError where it may be, but cannot be read.
        """
        try:
            if not stat.S_ISREG(os.lstat(file).st_mode):
                raise Damaged(f"{file.name} is a link or no file")
            # Of each image a hash or a reason, whose characters take up to 12 bytes each.
            found = json.loads(read_bytes(file, 2**20 + count * (64 + 12 * LONGEST_REASON)))
        except FileNotFoundError as error:
            raise Damaged(f"{file.name} is missing") from error
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise Damaged(f"{file.name} is larger than that of {count:,} images can be") from error
            raise
        except (ValueError, RecursionError) as error:
            raise error if isinstance(error, Damaged) else Damaged(f"{file.name} is no JSON") from error
        if not _is_meta(found, count):
            raise Damaged(f"{file.name} does not tell of {count:,} images")
        if found.pop("checksum") != _checksum(found):
            raise Damaged(f"{file.name} has another content than was written")
        return cls(**found | {"skipped": [(position, reason) for position, reason in found["skipped"]]})


def _checksum(plain: dict[str, Any]) -> str:
    return checksum(json.dumps(plain, sort_keys=True).encode())


def _is_meta(found: Any, count: int) -> bool:
    """Whether every image is kept or skipped, once and in order, and each kept one has a hash."""
    names = {field.name for field in dataclasses.fields(Meta)} | {"checksum"}
    if not isinstance(found, dict) or set(found) != names:
        return False
    kept, skipped, content = (found[name] for name in ("kept", "skipped", "content"))
    if not all(isinstance(part, list) for part in (kept, skipped, content)):
        return False
    if not all(isinstance(e, list) and len(e) == 2 and type(e[0]) is int and isinstance(e[1], str) for e in skipped):
        return False
    positions = [position for position, _ in skipped]
    return (
        all(type(position) is int for position in kept)
        and all(part == sorted(part) for part in (kept, positions))
        and sorted(kept + positions) == list(range(count))
        and len(content) == len(kept)
        and all(isinstance(value, str) and _HASH.fullmatch(value) for value in [*content, found["squares"]])
        and isinstance(found["read_as"], dict)
        and all(isinstance(places, list) for places in found["read_as"].values())
        and all(type(position) is int for places in found["read_as"].values() for position in places)
        and set(itertools.chain.from_iterable(found["read_as"].values())) <= set(kept)
    )


def opened(place: Path, count: int, size: int, progress: Progress) -> tuple[SquaresFile, Meta] | None:
    """The squares in a cache's folder and what is known of them; None where there is no such folder.

    All squares are read and compared with their checksum, unless images.npy is the very file, unchanged since, that was
    compared before. Raises Damaged where anything is not as it was written, BadInput where it may be, but cannot be read.
    """
    if not os.path.lexists(place):
        return None
    if not is_own_folder(place):
        raise Damaged("a link or a file is in its place")
    try:
        meta = Meta.read(place / META, count)
        squares = SquaresFile.of(place / IMAGES, count, size)
    except OSError as error:
        # Somebody else's perhaps: what cannot be read is not thrown away.
        raise system_fault(error, place) or BadInput(
            f"the image cache {place} cannot be read ({error.strerror}): fix its permissions, or choose another --cache_dir"
        ) from error
    if _remembered(place) != _memory(squares, meta):
        _verify(squares, meta, progress)
        remember(place, squares, meta)
    return squares, meta


def _verify(squares: SquaresFile, meta: Meta, progress: Progress) -> None:
    count, shown = squares.shape[0], squares.state[0] > LONG
    time.sleep(TICK)

    def tell(done: int) -> None:
        if shown:
            progress(done, count, "checking the cache of")

    if squares.checksum(tell) != meta.squares:
        raise Damaged(f"{IMAGES} holds other squares than were written")
    if state_of(os.lstat(squares.file)) != squares.state:
        raise Damaged(f"{IMAGES} was changed while it was checked")


def remember(place: Path, squares: SquaresFile, meta: Meta) -> None:
    """Note which file was compared with its checksum, so that it need not be read again."""
    try:
        write_atomically(place / VERIFIED, json.dumps(_memory(squares, meta)))
    except OSError:
        # A cache that cannot be written is compared each time that it is opened: nothing else depends on the note.
        return


def _memory(squares: SquaresFile, meta: Meta) -> dict[str, Sequence[int] | str]:
    return {"file": list(squares.state), "squares": meta.squares}


def _remembered(place: Path) -> Any:
    """What `remember` wrote, or None where nothing can be made of it."""
    try:
        return json.loads(read_bytes(place / VERIFIED, 4096))
    except (OSError, ValueError, RecursionError):
        return None
