"""The squares of a cache: one .npy file, read row by row.

It is never mapped into memory: a file that is cut, or a disk that fails, would end the process by SIGBUS.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import stat
import struct
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lens.base.errors import BadInput
from lens.base.files import open_regular, system_fault

Square = np.ndarray[Any, np.dtype[np.uint8]]
State = tuple[int, int, int, int]
"""What changes if a file does: size, time of its content, time of its entry, inode."""
HEADER = 128
_CHUNK = 2**23


class Squares(Protocol):
    """Squares (N, size, size, 3) uint8 that are indexed as an array is, wherever they lie."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, size, size, 3)."""

    def __getitem__(self, index: np.ndarray[Any, np.dtype[np.int64]], /) -> Square:
        """The squares at `index`, (B, size, size, 3)."""


class Damaged(ValueError):
    """What is wrong with a cache, in a few words."""


def header(count: int, size: int) -> bytes:
    """The first 128 bytes of a .npy file of `count` squares, uint8 (count, size, size, 3) in C order."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {size}, {size}, 3), }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER - 10) + text.ljust(HEADER - 11).encode() + b"\n"


def state_of(status: os.stat_result) -> State:
    """The state of a file at the moment of `status`."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclasses.dataclass(frozen=True)
class SquaresFile:
    """Squares that are indexed as an array is, and read when they are asked for.

    A forked reader may use it, and a spawned one is sent it: it opens the file anew, which must be the same one.
    """

    file: Path
    shape: tuple[int, int, int, int]
    state: State

    @classmethod
    def of(cls, file: Path, count: int, size: int) -> SquaresFile:
        """Open the file of `count` squares of `size` px.

        Raises Damaged where it is missing, a link or no file, or has another length or header than such a file.
        """
        try:
            status = os.lstat(file)
        except FileNotFoundError as error:
            raise Damaged(f"{file.name} is missing") from error
        if not stat.S_ISREG(status.st_mode):
            raise Damaged(f"{file.name} is a link or no file")
        length = HEADER + count * size * size * 3
        if status.st_size != length:
            raise Damaged(f"{file.name} has {status.st_size:,} bytes instead of {length:,}")
        found = cls(Path(os.path.abspath(file)), (count, size, size, 3), state_of(status))
        if os.pread(found._descriptor, HEADER, 0) != header(count, size):
            raise Damaged(f"{file.name} does not begin as {count:,} squares of {size} px do")
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Without the descriptor, which belongs to this process."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @functools.cached_property
    def _descriptor(self) -> int:
        try:
            descriptor = open_regular(self.file)
        except OSError as error:
            raise system_fault(error, self.file) or self._changed(error.strerror or "it cannot be opened") from error
        weakref.finalize(self, os.close, descriptor)
        if state_of(os.fstat(descriptor)) != self.state:
            raise self._changed("it is another file by now")
        return descriptor

    def __getitem__(self, index: np.ndarray[Any, np.dtype[np.int64]]) -> Square:
        """The squares at `index` (B,), each from 0 to N − 1, as (B, size, size, 3) uint8.

        Raises BadInput where the file was cut or changed since it was opened, or where the disk fails.
        """
        rows = np.empty((len(index), *self.shape[1:]), np.uint8)
        if not len(index):
            return rows
        assert index.min() >= 0
        assert index.max() < self.shape[0]
        descriptor, length = self._descriptor, rows[0].size
        if state_of(os.fstat(descriptor))[:2] != self.state[:2]:
            raise self._changed("it has another size or time")
        into = memoryview(rows.data).cast("B")
        # Rows that follow one another are read at once.
        first = np.flatnonzero(np.diff(index, prepend=index[0] - 2) != 1).tolist()
        for start, row, stop in zip(first, index[first].tolist(), [*first[1:], len(index)], strict=True):
            self._read(descriptor, into[start * length : stop * length], HEADER + row * length)
        return rows

    def checksum(self, progress: Callable[[int], object] = lambda done: None) -> str:
        """BLAKE2b, 128 bits, of the whole file, in hexadecimal; `progress` is told how many squares are done.

        Raises BadInput as reading squares does.
        """
        digest, length = hashlib.blake2b(digest_size=16), self.state[0]
        chunk = memoryview(bytearray(min(_CHUNK, length)))
        for start in range(0, length, _CHUNK):
            part = chunk[: length - start]
            self._read(self._descriptor, part, start)
            digest.update(part)
            progress(start // max(1, self.shape[1] * self.shape[2] * 3))
        return digest.hexdigest()

    def _read(self, descriptor: int, into: memoryview, place: int) -> None:
        """Fill `into` from `place` on; one call of the system reads 2 GiB at most."""
        try:
            while (count := os.preadv(descriptor, [into], place)) != len(into):
                if not count:
                    raise self._changed("it ends too early")
                into, place = into[count:], place + count
        except OSError as error:
            raise system_fault(error, self.file) or self._changed(error.strerror or "it cannot be read") from error

    def _changed(self, what: str) -> BadInput:
        return BadInput(
            f"the image cache {self.file} was damaged while it was in use ({what}): start again, and a damaged cache is built "
            "anew; a run goes on with --resume"
        )
