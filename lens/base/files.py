"""Files on disk that are whole or absent, written and read without following anybody's links, pipes or bombs."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lens.base.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
MEBIBYTE = 2**20
_TEMPORARY = ".lens-{}.tmp"
SYSTEM_FAULTS = {
    errno.EMFILE: "this process has as many files open as it may: allow it more with ulimit -n 4096",
    errno.ENFILE: "this machine has as many files open as it may: close some programs",
    errno.ENOMEM: "the memory is full: close some programs",
    errno.EIO: "the disk or the way to it fails: look into the system's log, and copy what is on it elsewhere",
    errno.ESTALE: "the network disk has lost it: mount that again",
}
"""What a system's errors say, whatever file they are met at."""


class SystemFault(BadInput):
    """An error of the system, which says nothing about the file that it was met at."""


def system_fault(error: BaseException | None, place: object = None) -> SystemFault | None:
    """What to raise where an error, or one that it was raised from, is the system's; None for any other.

    `place` is the file that was asked for, where the error does not name it.
    """
    while error is not None and not isinstance(error, SystemFault):
        if isinstance(error, OSError) and error.errno in SYSTEM_FAULTS:
            file = place or error.filename
            at = f" {os.fsdecode(file) if isinstance(file, bytes) else file}" if file else ""
            return SystemFault(f"cannot open or read{at} ({os.strerror(error.errno)}): {SYSTEM_FAULTS[error.errno]}")
        error = error.__cause__
    return error if isinstance(error, SystemFault) else None


# --- writing ---------------------------------------------------------------------------------------------------------


def write_atomically(file: Path, content: str | bytes) -> None:
    """Write a file under another name, flush it to disk, then rename it into place; where that fails, leave nothing.

    The other name is random and must be new, so that no link can stand there; a link in the file's place is replaced.
    """
    write_together({file: content})


def write_together(contents: dict[Path, str | bytes]) -> None:
    """Write files, all of them or none: a full disk is met before the first one is renamed into place.

    Raises BadInput where a folder stands in the place of one.
    """
    for file in contents:
        _refuse_folder(file)
    temporaries = {file: temporary_beside(file) for file in contents}
    try:
        for file, temporary in temporaries.items():
            content = contents[file]
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o666), "wb") as stream:
                stream.write(content.encode("utf-8") if isinstance(content, str) else content)
                stream.flush()
                os.fsync(stream.fileno())
        for file, temporary in temporaries.items():
            temporary.replace(file)
    except OSError:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise


def remove(file: Path) -> None:
    """Remove a file, or a link itself. Raises BadInput where it is a folder."""
    _refuse_folder(file)
    file.unlink(missing_ok=True)


def _refuse_folder(file: Path) -> None:
    if is_own_folder(file):
        raise BadInput(f"{file} is a folder where a file belongs: move it away")


def temporary_beside(file: Path) -> Path:
    """A name beside `file` that nobody can guess, for what is renamed into its place; `sweep` knows it again."""
    return file.with_name(_TEMPORARY.format(secrets.token_hex(8)))


def is_temporary(name: str) -> bool:
    """Whether `temporary_beside` gives such names."""
    return name.startswith(".lens-") and name.endswith(".tmp")


def refuse_strangers_files(folder: Path, ours: str) -> None:
    """Raise BadInput where a folder that holds none of `ours` ("audit") holds anything else, but for temporary files."""
    with reading(folder, "choose another --out"):
        found = sorted(name for name in os.listdir(folder) if not is_temporary(name))
    if found:
        raise BadInput(f"{folder} holds {found[0]!r} and no {ours}: choose another --out")


def sweep(folder: Path) -> None:
    """Remove what a killed process has left of files it was writing into `folder`, which this process must hold alone."""
    if not is_own_folder(folder):
        return
    for entry in os.scandir(folder):
        if is_temporary(entry.name):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def write_tensors(
    folder: Path, parts: dict[str, dict[str, Tensor]], told: dict[str, dict[str, str]] | None = None
) -> dict[str, str]:
    """Write each part's tensors into `folder` as NAME.safetensors, all parts or none; a checksum of each file's bytes.

    What is `told` of a part goes into its file's header (`tensors_told` reads it).
    """
    from safetensors.torch import save

    contents = {
        part: save({name: x.detach().cpu().contiguous() for name, x in tensors.items()}, (told or {}).get(part))
        for part, tensors in parts.items()
    }
    write_together({folder / f"{part}.safetensors": content for part, content in contents.items()})
    return {part: checksum(content) for part, content in contents.items()}


def tensors_told(content: bytes) -> dict[str, str]:
    """What the header of a safetensors file that has been loaded tells beside its tensors."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    told: dict[str, str] = header.get("__metadata__", {})
    return told


def json_text(content: object) -> str:
    """Values as the text of a JSON file. Raises ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def checksum(content: bytes) -> str:
    """What tells whether bytes are still the same: BLAKE2b, 128 bits, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def append_line(file: Path, line: str) -> None:
    """Append a line to a text file, whole or not at all. Raises BadInput where it is a link or anything but a file."""
    data = (line + "\n").encode("utf-8")
    with os.fdopen(open_own(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab", buffering=0) as stream:
        before = os.fstat(stream.fileno()).st_size
        if stream.write(data) < len(data):  # what a disk does that has room for a part of it
            stream.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def open_own(file: Path, flags: int) -> int:
    """A descriptor of a file that is written in place: a log, a lock. New ones are made.

    Raises BadInput where a link, a pipe, a device or a second name of another file (a hard link) stands there: what is
    written would go somewhere else.
    """
    try:
        descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        # A link, a folder, a pipe that nobody reads, a socket.
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
            raise BadInput(f"{file} is a link, or no file: nothing is written through it; delete it") from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        what = "has a second name elsewhere" if stat.S_ISREG(status.st_mode) else "is no file"
        raise BadInput(f"{file} {what}: nothing is written into it; copy it to a new name, and move that over it")
    return descriptor


def is_own_folder(folder: Path) -> bool:
    """Whether a real folder stands there, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(folder).st_mode)
    except OSError:
        return False


def own_folder(folder: Path) -> Path:
    """A folder that is written into, made if it is not there, its parent must be.

    Raises BadInput where a link or a file stands in its place: what is written would go somewhere else.
    """
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not is_own_folder(folder):
            raise BadInput(f"{folder} is a link or no folder: nothing is written through it; delete it") from None
    return folder


def sync_directory(folder: Path) -> None:
    """Flush a folder's entries to disk: a renamed file is then there for good."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


# --- reading ---------------------------------------------------------------------------------------------------------


def open_regular(file: str | Path) -> int:
    """A descriptor to read a regular file by, links followed. Raises OSError for pipes, devices and folders: never waits."""
    if stat.S_ISREG(os.stat(file).st_mode):  # merely to open a device can do something
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", str(file))


def read_bytes(file: str | Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises OSError for anything else, and for a larger one."""
    with os.fdopen(open_regular(file), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        content = stream.read(limit + 1) if size <= limit else b""
    if max(size, len(content)) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit / MEBIBYTE:,.0f} MiB, which none is", str(file))
    return content


def read_text(file: str | Path, limit: int) -> str:
    """The text of a regular file of at most `limit` bytes. Raises OSError as `read_bytes`, ValueError where it is no UTF-8."""
    return read_bytes(file, limit).decode("utf-8")


def read_arrays(file: Path, limit: int) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file that hold at most `limit` bytes together, nothing of it unpickled.

    Raises OSError as `read_bytes`, and ValueError where it says that it unpacks to more.
    """
    import numpy as np

    content = io.BytesIO(read_bytes(file, limit))
    with zipfile.ZipFile(content) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > limit:
            raise ValueError(f"it unpacks to more than {limit / MEBIBYTE:,.0f} MiB")
    with np.load(content, allow_pickle=False) as numbers:
        return {name: numbers[name] for name in numbers.files}


@contextmanager
def reading(file: Path, advice: str) -> Iterator[None]:
    """Give a damaged file its one line: what it is, what is wrong with it, what to try."""
    from safetensors import SafetensorError

    damage = (
        OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError, RecursionError,
        zlib.error, zipfile.BadZipFile, yaml.YAMLError,
    )  # fmt: skip
    try:
        yield
    except BadInput:
        raise
    except (*damage, SafetensorError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise system_fault(error, file) or BadInput(
            f"{file} cannot be read ({type(error).__name__}: {what}): {advice}"
        ) from error
