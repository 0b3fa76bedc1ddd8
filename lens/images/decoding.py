"""One image of any kind becomes a square of 8-bit sRGB."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
import PIL.Image

from lens.images import colour_profiles, intensity
from lens.images.cache_folder import LONGEST_REASON
from lens.images.content import ORIENTATION
from lens.images.read_as import CONVERTED, UNFIT, UPPER, levels
from lens.images.squares_file import Square
from lens.protocols.source import Source

Turn = PIL.Image.Transpose
TURNS = {
    2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM, 5: Turn.TRANSPOSE, 6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE, 8: Turn.ROTATE_90,
}  # fmt: skip
"""What makes an image upright, by its EXIF orientation."""
TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")
NO_RANGES: intensity.Ranges = {}


def to_square(image: PIL.Image.Image, size: int, ranges: intensity.Ranges = NO_RANGES) -> Square:
    """Any PIL image → (size, size, 3) uint8: upright by EXIF, sRGB, centre square, antialiased resize.

    Square comes before everything else, so that no later turn can grow bars. Transparent pixels are laid on white. Of deep
    images `ranges` is what is shown as 0 to 255. Raises intensity.Undecided for a deep image without a range, ValueError
    for one of which nothing would be left, and whatever Pillow raises.
    """
    return squared(image, size, ranges)[0]


def squared(image: PIL.Image.Image, size: int, ranges: intensity.Ranges) -> tuple[Square, str]:
    """What `to_square` gives, and how the image's numbers were read: empty where they were taken as they are."""
    told = []
    is_profiled, profile = "icc_profile" in image.info, image.info.get("icc_profile")
    white_is_zero, has_16_bit_colours = intensity.white_is_zero(image), _has_16_bit_colours(image)
    image = upright(image)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if intensity.kind_of(image) is not None:
        image, shown = intensity.shown(image, ranges, white_is_zero)
        told.append(levels(shown))
    elif has_16_bit_colours:
        told.append(UPPER)
    mode = None
    if is_profiled:
        try:
            mode = colour_profiles.mode_of(profile, image.mode)
        except colour_profiles.Unfit:
            told.append(UNFIT)
    if image.mode in TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    if mode != "CMYK":
        image = image.convert("RGB")
    image = image.resize((size, size), PIL.Image.Resampling.BICUBIC)
    if mode is not None and profile is not None:
        # Last of all: there are fewest pixels now.
        image = colour_profiles.converted(image.getchannel("R") if mode == "L" else image, profile)
        told.append(CONVERTED)
    return np.asarray(image), ", ".join(told)


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """An image turned as its EXIF (or XMP) says; where that is damaged, as it is stored, which is what viewers show."""
    image.load()
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # whatever Pillow meets in a block that a camera, or an editor, has written
        orientation = None
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _has_16_bit_colours(image: PIL.Image.Image) -> bool:
    """Whether the file of an image that has just been opened has 16 bits a colour, of which Pillow keeps the upper 8."""
    return any(";16" in str(part.args) for part in getattr(image, "tile", [])[:1])


def read_square(source: Source, position: int, size: int, ranges: intensity.Ranges = NO_RANGES) -> Square:
    """Image `position` of a source as a square; any exception means that it cannot be read."""
    with source.read(position) as image:
        return to_square(image, size, ranges)


def reason(error: Exception) -> str:
    """Why an image cannot be read, in one line that is not too long."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Read images without Pillow's warnings: of more than 90 million pixels (from 179 on it refuses), and of odd metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield
