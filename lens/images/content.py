"""A hash of an image's content: the bytes of its file, or its pixels where it has none."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

DIGEST = 16
"""Bytes of a hash: 128 bits, as many as keep a billion images apart."""
ORIENTATION = 0x0112
_CHUNK = 2**20


def content_of(image: PIL.Image.Image) -> str:
    """BLAKE2b, 128 bits, of what an image that has just been opened was opened from, in hexadecimal.

    That is the whole of its file, which is left at the place where it was; a copy of the file has the same hash, whatever
    its name and its time. An image of several frames counts its frame too. An image that is no file's, as those of
    data sets held in memory, is hashed by its pixels and by what else decides what is seen: mode, size, transparency
    and orientation. Raises OSError where the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=DIGEST)
    stream = getattr(image, "fp", None)
    if stream is None:
        shown = (image.mode, image.size, image.info.get("transparency"), image.getexif().get(ORIENTATION))
        digest.update(repr(shown).encode())
        # A palette's numbers are no colours.
        digest.update((image.convert("RGBA") if image.mode in ("P", "PA") else image).tobytes())
        return digest.hexdigest()
    if frame := image.tell():
        digest.update(f"frame {frame}\n".encode())
    place = stream.tell()
    stream.seek(0)
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    stream.seek(place)
    return digest.hexdigest()
