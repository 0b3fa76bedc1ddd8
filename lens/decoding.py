"""One image of any kind becomes a square of 8-bit sRGB."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
import PIL.Image
import PIL.ImageOps

from lens.cache_folder import LONGEST_REASON
from lens.protocols import Source
from lens.squares_file import Square


def to_square(image: PIL.Image.Image, size: int) -> Square:
    """Any PIL image → (size, size, 3) uint8: upright by EXIF, RGB, centre square, antialiased resize.

    Square comes before everything else, so that no later turn can grow bars. 16-bit images keep their top 8 bits,
    transparent pixels are laid on white.
    """
    image = PIL.ImageOps.exif_transpose(image)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if image.mode.startswith("I"):
        image = PIL.Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        values = np.asarray(image)
        scale = 255.0 if values.max(initial=0) <= 1 else 1.0
        image = PIL.Image.fromarray((values * scale).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB").resize((size, size), PIL.Image.Resampling.BICUBIC)
    return np.asarray(image)


def read_square(source: Source, position: int, size: int) -> Square:
    """Image `position` of a source as a square; any exception means that it cannot be read."""
    with source.read(position) as image:
        return to_square(image, size)


def reason(error: Exception) -> str:
    """Why an image cannot be read, in one line that is not too long."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


@contextlib.contextmanager
def large_images_without_warning() -> Iterator[None]:
    """Read images of up to 179 million pixels without PIL's warning; PIL refuses larger ones before it decodes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        yield
