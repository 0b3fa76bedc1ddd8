"""Where the features of many images are kept: in memory while they are few, else 16 bits each in a file without a name."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lens.base.errors import BadInput

Array = np.ndarray[Any, Any]
IN_MEMORY = 2**30
"""Bytes up to which features stay in memory at 32 bits: the in-memory probes make several copies of them."""
FEATURES = (np.float32, np.float16)
"""The types of features, in memory and in a file."""
PIXELS = (np.uint8, np.uint8)
HALF_MAXIMUM = float(np.finfo(np.float16).max)


def is_stored(features: Array) -> bool:
    """Whether these rows lie in a file: they are then read in parts, and never copied whole."""
    return isinstance(features, np.memmap)


def allocate(count: int, width: int, folder: Path, types: tuple[type[Any], type[Any]] = FEATURES) -> Array:
    """An array (count, width) to be filled: in memory, or beyond `IN_MEMORY` bytes in a file in `folder`, as `types` say.

    The file has no name: its space is given back when the array goes, or the process, however it dies. Raises BadInput
    where the disk is too small or cannot be written.
    """
    if count * width * np.dtype(types[0]).itemsize <= IN_MEMORY:
        return np.empty((count, width), types[0])
    need = count * width * np.dtype(types[1]).itemsize
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if need > free:
            raise BadInput(
                f"{count:,} images × {width} numbers need {need / 1e9:.2f} GB on disk and {folder} has "
                f"{free / 1e9:.2f} GB free: free some space, choose another $LENS_CACHE, or give fewer --probe_images"
            )
        with tempfile.TemporaryFile(dir=folder) as stream:
            if hasattr(os, "posix_fallocate"):
                # Room for all of it, now: a memory map that meets a full disk later dies of SIGBUS.
                os.posix_fallocate(stream.fileno(), 0, need)
            rows: np.memmap[Any, Any] = np.memmap(stream, types[1], "w+", shape=(count, width))
    except OSError as error:
        raise BadInput(
            f"cannot keep {need / 1e9:.2f} GB in {folder} ({error.strerror}): choose another $LENS_CACHE, or "
            "give fewer --probe_images"
        ) from error
    if hasattr(mmap, "MADV_RANDOM"):  # rows are read in a shuffled order: reading ahead would read most of them twice
        rows._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    return rows


def write(rows: Array, start: int, part: Array, column: int = 0) -> None:
    """Write `part` (b, F) into `rows` from row `start` and `column` on. Raises BadInput for what 16 bits cannot hold."""
    if rows.dtype == np.float16 and part.size and float(np.abs(part).max()) > HALF_MAXIMUM:
        raise BadInput(
            f"features reach {float(np.abs(part).max()):.3g} and 16 bits hold {HALF_MAXIMUM:,.0f}: give fewer "
            "--probe_images, so that they stay in memory at 32 bits"
        )
    rows[start : start + len(part), column : column + part.shape[1]] = part


def gathered(parts: Iterable[Array], count: int, folder: Path, types: tuple[type[Any], type[Any]] = FEATURES) -> Array:
    """Batches of rows (b, F), `count` rows in all and one or more, as one array (count, F)."""
    return gathered_by_name(({"": part} for part in parts), count, folder, types)[""]


def gathered_by_name(
    parts: Iterable[dict[str, Array]], count: int, folder: Path, types: tuple[type[Any], type[Any]] = FEATURES
) -> dict[str, Array]:
    """The same for batches that hold rows of several kinds, each under its name."""
    rows: dict[str, Array] = {}
    start = 0
    for part in parts:
        for name, x in part.items():
            if name not in rows:
                rows[name] = allocate(count, x.shape[1], folder, types)
            write(rows[name], start, x)
        start += len(next(iter(part.values())))
    assert rows
    assert start == count
    return rows


def joined(left: Array, right: Array, folder: Path) -> Array:
    """The features of the same images side by side: (n, F) and (n, G) → (n, F + G)."""
    rows = allocate(len(left), left.shape[1] + right.shape[1], folder)
    for part in chunks(len(left)):
        write(rows, part.start, np.asarray(left[part]))
        write(rows, part.start, np.asarray(right[part]), left.shape[1])
    return rows


def chunks(count: int, size: int = 8192) -> Iterator[slice]:
    """The rows 0 … count − 1 in consecutive parts of `size`, the last one shorter."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
