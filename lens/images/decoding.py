"""One image of any kind becomes a square of 8-bit sRGB, and it is told how its numbers were read."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import PIL.Image

from lens.images import colour_profiles, intensity
from lens.images.cache_folder import LONGEST_REASON
from lens.images.content import ORIENTATION
from lens.images.squares_file import Square
from lens.protocols.source import Source

Turn = PIL.Image.Transpose
TURNS = {
    2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM, 5: Turn.TRANSPOSE, 6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE, 8: Turn.ROTATE_90,
}  # fmt: skip
"""What makes an image upright, by its EXIF orientation."""
TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")
LEVELS = "levels "
UPPER, CONVERTED, UNFIT = "upper 8 of 16 bits", "profile converted", "profile unfit"
"""How numbers were read, where they were not taken as they are."""
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


def levels(shown: intensity.Range) -> str:
    """How the numbers of a deep image were read, of which `shown` is the range."""
    return f"{LEVELS}{shown[0]:.9g} to {shown[1]:.9g}"


def told(key: str, how: Sequence[str]) -> list[str]:
    """Lines that say how the numbers of a source's images were read, from what `squared` says of each; none if as they are."""
    parts = Counter(part for one in how if one for part in one.split(", "))
    lines = []
    for part, count in sorted(parts.items()):
        some = f"{count:,} of {len(how):,} images of {key}"
        if part.startswith(LEVELS):
            lines.append(
                f"{some} hold deep levels: {part.removeprefix(LEVELS)} is shown as 0 to 255 (--intensity_range sets it)"
            )
        elif part == CONVERTED:
            lines.append(f"{some} carry a colour profile: their colours are converted to sRGB")
        elif part == UNFIT:
            lines.append(
                f"{some} carry a colour profile that cannot be read or does not fit: their numbers are taken as sRGB"
            )
        elif part == UPPER:
            lines.append(f"{some} have 16 bits a colour: the upper 8 are read (numbers of 12 bits come out dark)")
    return lines


def levels_of(how: Sequence[str]) -> list[str]:
    """The ranges among what `squared` says of images, such as "0 to 4095"."""
    found = {part.removeprefix(LEVELS) for one in set(how) for part in one.split(", ") if part.startswith(LEVELS)}
    return sorted(found)


def unlike(levels: Mapping[str, Sequence[str]]) -> list[str]:
    """A line where sources show other ranges; `levels` are those of each source that has deep images."""
    own = {key: " and ".join(found) for key, found in levels.items() if found}
    if len(set(own.values())) < 2:
        return []
    shown = ", ".join(f"{range} in {key}" for key, range in own.items())
    return [
        f"what is shown as 0 to 255 differs: {shown}; brightness alone may tell these sources apart: --intensity_range LOW "
        "HIGH shows one range in all"
    ]


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
