"""The squares of a source's images, decoded once: into a cache on disk that is whole or built anew."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lens.base.errors import BadInput
from lens.base.files import is_own_folder, system_fault
from lens.base.terminal import say
from lens.base.threads import usable_cores
from lens.images import cache_folder, intensity
from lens.images.cache_folder import IMAGES, META, TICK, Meta, Progress
from lens.images.content import DIGEST, content_of
from lens.images.decoding import NO_RANGES, reason, squared, without_warnings
from lens.images.held import Held, Skipped
from lens.images.squares_file import Damaged, Square, SquaresFile, header
from lens.protocols.source import Listing, Source
from lens.settings.groups.data import DataSettings

CACHE_VERSION = 3
ABANDONED = 3600
"""Seconds after which a build that has not shown that it is alive was killed."""


def default_cache_dir() -> Path:
    """`$LENS_CACHE`, else `lens` in the user's cache directory."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LENS_CACHE") or Path(home) / "lens")


def cache_dir_of(settings: DataSettings) -> Path:
    """Where decoded images are kept, and features while they are probed: --cache_dir, else the default."""
    return Path(settings.cache_dir) if settings.cache_dir else default_cache_dir()


def cached(
    key: str,
    source: Source,
    listing: Listing,
    size: int,
    folder: Path,
    progress: Progress,
    ranges: intensity.Ranges = NO_RANGES,
) -> Held:
    """The squares of a source, (N, size, size, 3) uint8 on disk, decoded once.

    The cache is a new directory renamed into place when complete, so an interrupted build leaves nothing that counts. A
    damaged one is built anew, with a line that says so. Deep images show `ranges`, or what the whole source decides.
    Raises BadInput where the disk is too small or cannot be written.
    """
    name = _short_name(key).encode("utf-8", "ignore")[:128].decode("utf-8", "ignore")  # a name has 255 bytes at most
    place = folder / f"{name}-{size}-{_digest(key, listing, size, ranges)}"
    count = len(listing.records)
    try:
        found = cache_folder.opened(place, count, size, progress)
    except Damaged as damage:
        say(f"the image cache {place} is damaged ({damage}): {_clear(place, damage)}it is built anew")
        found = None
    if found is None:
        _build_cache(place, source, listing, size, progress, ranges)
        try:
            found = cache_folder.opened(place, count, size, progress)
        except Damaged as damage:
            raise BadInput(
                f"the image cache {place} was damaged as soon as it was built ({damage}): look at the disk, or choose another "
                "--cache_dir"
            ) from damage
    if found is None:
        raise BadInput(f"the image cache {place} was removed while it was opened: start again")
    squares, meta = found
    skipped = [Skipped(listing.records[position].name, reason) for position, reason in meta.skipped]
    return Held(squares, meta.kept, skipped, meta.content, meta.read_as)


def _digest(key: str, listing: Listing, size: int, ranges: intensity.Ranges) -> str:
    """What changes if anything does that the squares depend on."""
    stamp = hashlib.blake2b(digest_size=16)
    identity = str(Path(key).resolve()) if "/" in key and Path(key).exists() else key
    stamp.update(json.dumps([CACHE_VERSION, identity, size, dict(ranges)]).encode())
    for record in listing.records:
        stamp.update(f"{record.name}\0{record.stamp}\n".encode("utf-8", "surrogateescape"))
    return stamp.hexdigest()


def _clear(place: Path, damage: Damaged) -> str:
    """Take away what stands in a cache's place: a folder goes, a link or a file is moved aside, which is told.

    Raises BadInput where it cannot be moved.
    """
    ours = is_own_folder(place)
    aside = place.with_name(f"{'.building-' if ours else 'not-a-cache-'}{place.name}-{secrets.token_hex(8)}")
    try:
        place.rename(aside)
    except FileNotFoundError:
        return ""  # another process has met the same damage
    except OSError as error:
        raise BadInput(
            f"the image cache {place} is damaged ({damage}) and cannot be removed ({error.strerror}): delete it, or choose "
            "another --cache_dir"
        ) from error
    if not ours:
        return f"what was there is {aside.name} now, and "
    shutil.rmtree(aside, ignore_errors=True)
    return ""


def _short_name(key: str) -> str:
    """A short name for a source: a built-in's name, a path's last part."""
    return Path(key).resolve().stem if "/" in key else key


def _build_cache(
    place: Path, source: Source, listing: Listing, size: int, progress: Progress, ranges: intensity.Ranges
) -> None:
    count = len(listing.records)
    need = count * size * size * 3
    temporary: Path | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place.parent).free
        if need > free:
            raise BadInput(
                f"the cache of {count:,} images at {size} px needs {need / 1e9:.2f} GB and {place.parent} has "
                f"{free / 1e9:.2f} GB free: choose another --cache_dir or a smaller --cache_image_size"
            )
        _sweep(place.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".building-{place.name}-", dir=place.parent))
        _fill(temporary, source, listing, size, progress, ranges)
        try:
            temporary.rename(place)
        except OSError:
            # Another process finished the same cache first: theirs is as good.
            if not (place / META).exists():
                raise
    except OSError as error:
        raise system_fault(error, place.parent) or BadInput(
            f"cannot write the image cache in {place.parent} ({error.strerror}): choose another --cache_dir"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed builds have left; links are passed over."""
    for entry in os.scandir(folder):
        ours = re.fullmatch(r"\.building-.*-\d+-[0-9a-f]{32}-\w+", entry.name, re.DOTALL)  # as _build names them
        if ours and entry.is_dir(follow_symlinks=False):
            try:
                touched = entry.stat(follow_symlinks=False).st_mtime
            except FileNotFoundError:
                continue  # it has just been completed
            # One that still runs touches its folder every 1,024 images.
            if time.time() - touched > ABANDONED:
                shutil.rmtree(entry.path, ignore_errors=True)


def _fill(
    folder: Path, source: Source, listing: Listing, size: int, progress: Progress, ranges: intensity.Ranges
) -> None:
    """Write images.npy and meta.json into an empty folder. Raises OSError where the disk is full."""
    count = len(listing.records)
    file = folder / IMAGES
    skipped: list[tuple[int, str]] = []
    kept: list[int] = []
    content: list[str] = []
    read_as: dict[str, list[int]] = {}
    is_decided = bool(ranges)

    def decode(position: int) -> tuple[str, Square, str] | str | None:
        try:
            with source.read(position) as image:
                return content_of(image), *squared(image, size, ranges)
        except intensity.Undecided as error:
            return reason(error) if is_decided else None
        except Exception as error:
            if fault := system_fault(error, listing.records[position].name):
                raise fault from error
            return reason(error)

    def decoded(positions: range) -> Iterator[tuple[int, tuple[str, Square, str] | str]]:
        """What `decode` gives; at the first deep image all of the source are looked at: without one none is read twice."""
        nonlocal ranges, is_decided
        for position, result in zip(positions, pool.map(decode, positions), strict=True):
            if result is None:
                ranges, is_decided = intensity.decided(intensity.survey(source, count, progress).values()), True
                yield from decoded(range(position, positions.stop))
                return
            yield position, result

    # Threads: decoding, resizing and hashing release the interpreter's lock.
    with (
        open(file, "xb") as stream,
        concurrent.futures.ThreadPoolExecutor(usable_cores()) as pool,
        without_warnings(),
    ):
        digest = hashlib.blake2b(digest_size=DIGEST)

        def write(part: bytes) -> None:
            stream.write(part)
            digest.update(part)

        start_of_file, square = header(count, size), size * size * 3
        length = len(start_of_file) + count * square
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, length)  # room for all of it, before anything is decoded
        write(start_of_file)
        for start in range(0, count, 1024):
            chunk = range(start, min(start + 1024, count))
            for position, result in decoded(chunk):
                if isinstance(result, str):
                    skipped.append((position, result))
                else:
                    content.append(result[0])
                    write(result[1].tobytes())
                    kept.append(position)
                    if result[2]:
                        read_as.setdefault(result[2], []).append(position)
            progress(chunk.stop, count)
            os.utime(folder)
        for _ in skipped:
            write(bytes(square))  # the file has room for all
        stream.flush()
        os.fsync(stream.fileno())  # what is noted as compared must be what the disk holds after a power cut
    time.sleep(TICK)
    meta = Meta(kept, skipped, content, digest.hexdigest(), read_as)
    with open(folder / META, "x", encoding="utf-8") as text:
        text.write(meta.text())
        text.flush()
        os.fsync(text.fileno())
    cache_folder.remember(folder, SquaresFile.of(file, count, size), meta)
