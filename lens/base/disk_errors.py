"""One line for what a disk refuses: it is full, a folder was moved meanwhile, a file cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

from lens.base.errors import BadInput
from lens.base.files import DISK_FULL, system_fault


def refusal(error: BaseException | None, directory: Path, again: str, kept: str = "") -> BadInput | None:
    """What to raise instead of an OSError that was met while `directory` was written; None for any other error.

    `again` is what to do once that is mended, `kept` what is whole and stays.
    """
    if not isinstance(error, OSError):
        return None
    file = _file_of(error)
    inside = file is None or _lies_in(file, directory)
    if error.errno in DISK_FULL:
        place = directory if inside or file is None else file
        whole = f"; {kept}" if kept else ""
        return BadInput(f"no space is left on the disk of {place}{whole}: free some space, then {again}")
    if fault := system_fault(error, file or directory):
        return BadInput(f"{fault}; then {again}")
    if file is not None and inside and not directory.is_dir():
        return moved(directory)
    if file is not None and inside:
        return BadInput(f"{file} cannot be used ({error.strerror}): mend that, then {again}")
    return None


def moved(directory: Path) -> BadInput:
    """What to raise where a folder is no longer at its place."""
    return BadInput(
        f"{directory} was moved or deleted while it was in use: nothing more is written there; bring it back, or go on "
        "from its new place"
    )


def identity(directory: Path) -> tuple[int, int] | None:
    """What tells a folder from another at the same place; None where there is none."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _file_of(error: OSError) -> Path | None:
    return Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes, os.PathLike)) else None


def _lies_in(file: Path, directory: Path) -> bool:
    whole = Path(os.path.abspath(file))
    return Path(os.path.abspath(directory)) in (whole, *whole.parents)
