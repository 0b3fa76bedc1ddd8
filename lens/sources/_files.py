"""What the sources that read files share: endings, the names of splits, stamps, opening an image."""

from __future__ import annotations

import functools
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE, read_bytes, system_fault

if TYPE_CHECKING:
    import PIL.Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats of pictures that are read, as Pillow calls them; a JPEG may be an MPO, as phones write them.

Pillow looks at a file's content and not at its name, and reads 40 formats more: it hands PostScript to Ghostscript.
"""
LARGEST_IMAGE = 1024 * MEBIBYTE
"""Bytes of an image file, at most: Pillow refuses more than 179 million pixels, six bytes each."""
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test",
}  # fmt: skip
PLACES205 = "trainvalsplit_places205"
"""The folder of Places205's file lists."""


@functools.cache
def image_endings() -> frozenset[str]:
    """The endings of files in `FORMATS` that this Pillow can decode, lower case, with the dot."""
    import PIL.Image

    known = PIL.Image.registered_extensions()
    return frozenset(ending for ending, form in known.items() if form in (*_formats(), "MPO"))


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with: of others it may know the name, and warns when it meets one."""
    import PIL.Image

    known = set(PIL.Image.registered_extensions().values())
    return tuple(form for form in FORMATS if form in known and form in PIL.Image.OPEN)


def file_stamps(path: str | os.PathLike[str]) -> tuple[str, str]:
    """A record's two stamps: what changes if a file does, and what of it an honest copy shares, its size and time.

    The first has the time of the entry (ctime) too, which nobody sets: two files that were swapped may have one size and
    one time, as all files out of an archive do. Both are "missing" where there is no file, so that reading it counts it.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        if fault := system_fault(error, path):
            raise fault from error
        return "missing", "missing"
    portable = f"{status.st_size}/{status.st_mtime_ns}"
    return f"{portable}/{status.st_ctime_ns}", portable


def check_regular(path: str | Path) -> None:
    """Raise BadInput where a table, a shard or a list is a pipe, a device or a folder: opening it could wait for ever."""
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        line = f"cannot read {path} ({error.strerror}): mend it or move it away"
        raise system_fault(error, path) or BadInput(line) from error
    if not regular:
        raise BadInput(f"{path} is no regular file: move it away")


def open_image(content: bytes | str | Path) -> PIL.Image.Image:
    """Open an image, decoded lazily, from a file's path or from its bytes; its `fp` is a BytesIO of the whole file.

    Raises OSError where the path leads to a pipe, a device or a file beyond `LARGEST_IMAGE` and, as
    PIL.UnidentifiedImageError, for any other format than `FORMATS`.
    """
    import PIL.Image

    if not isinstance(content, bytes):
        content = read_bytes(content, LARGEST_IMAGE)
    try:
        return PIL.Image.open(io.BytesIO(content), formats=_formats())
    except PIL.UnidentifiedImageError as error:
        raise PIL.UnidentifiedImageError(f"it is none of {', '.join(_formats())}, or damaged") from error
