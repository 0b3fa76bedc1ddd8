"""Files on disk that are whole or absent, also where the disk is full or the process is killed."""

from __future__ import annotations

import errno
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lens.protocols import BadInput

if TYPE_CHECKING:
    from torch import Tensor

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(file: Path, content: str | bytes) -> None:
    """Write a file under another name, flush it to disk, then rename it into place; where that fails, leave nothing."""
    _write_together({file: content.encode("utf-8") if isinstance(content, str) else content})


def _write_together(contents: dict[Path, bytes]) -> None:
    """Write files, all of them or none: a full disk is met before the first one is renamed into place."""
    temporaries = {file: file.with_name(f".{file.name}.tmp") for file in contents}
    try:
        for file, temporary in temporaries.items():
            with open(temporary, "wb") as stream:
                stream.write(contents[file])
                stream.flush()
                os.fsync(stream.fileno())
        for file, temporary in temporaries.items():
            temporary.replace(file)
    except OSError:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise


def write_tensors(folder: Path, parts: dict[str, dict[str, Tensor]]) -> None:
    """Write each part's tensors into `folder` as NAME.safetensors, all parts or none."""
    from safetensors.torch import save

    _write_together(
        {
            folder / f"{part}.safetensors": save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})
            for part, tensors in parts.items()
        }
    )


def append_line(file: Path, line: str) -> None:
    """Append a line to a text file, whole or not at all."""
    data = (line + "\n").encode("utf-8")
    with open(file, "ab", buffering=0) as stream:
        before = stream.tell()
        if stream.write(data) < len(data):  # what a disk does that has room for a part of it
            stream.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def sync_directory(folder: Path) -> None:
    """Flush a folder's entries to disk: a renamed file is then there for good."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@contextmanager
def reading(file: Path, advice: str) -> Iterator[None]:
    """Give a damaged file its one line: what it is, what is wrong with it, what to try."""
    from safetensors import SafetensorError

    damage = (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error, zipfile.BadZipFile, yaml.YAMLError)
    try:
        yield
    except (*damage, SafetensorError) as error:
        raise BadInput(f"{file} cannot be read ({type(error).__name__}: {error}): {advice}") from error
