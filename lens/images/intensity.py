"""The range of deep images: which of their numbers is shown as black and which as white, one for a whole source.

A deep image has more than 8 bits a pixel: whole numbers (Pillow's modes I, I;16, I;16B) or floats (F). What black and white
are does not stand in it, and a range that is guessed image by image would be a cue of our own making: the same tissue would
be bright in one file and dark in the next. So all deep images of a source that hold one kind of number share one range,
which is given (--intensity_range) or follows from the lowest and the highest finite number in any of them:

    highest number            whole numbers         floats
    up to 16                  0 to it               0 to 1 (from 1/16 to 1.1), else 0 to it
    up to 255                 0 to 255              0 to 255    (up to 280: a tenth beyond a scale is cut off)
    up to 1,023               0 to 1,023            0 to 1,023  (up to 1,125)
    up to 4,095               0 to 4,095            0 to 4,095  (up to 4,504)
    up to 16,383              0 to 16,383           0 to 16,383 (up to 18,021)
    up to 65,535              0 to 65,535           0 to 65,535 (up to 72,088)
    beyond                    0 to it               0 to it
    any, with numbers below 0 (floats: by more than a tenth of the scale): from the lowest to the highest

The scales of cameras and scanners come first because they are the same in two sources of one kind, whatever their
brightest pixels are.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import PIL.Image

from lens.base.files import system_fault
from lens.base.threads import usable_cores
from lens.images.cache_folder import Progress
from lens.protocols.source import Source

Kind = Literal["whole", "float"]
Range = tuple[float, float]
Ranges = Mapping[Kind, Range]
"""The numbers that are shown as 0 and as 255, for each kind of number."""
SCALES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""The largest numbers of 8, 10, 12, 14 and 16 bits, and of floats that are shares."""
SLACK = 0.1
"""Share of a scale by which floats may lie beyond it: resampled ones overshoot, and a reflectance may be 1.02."""
LEAST = 1 / 16
"""Share of a scale that the highest number must reach: with less than 4 of 8 bits left a scale is none."""
FEW = 3
"""Levels, of 256, below which a picture that had more has been lost."""
PATIENCE = 1.0
"""Seconds after which a survey shows that it goes on."""
WHITE_IS_ZERO, PHOTOMETRIC = 0, 262


class Undecided(ValueError):
    """A deep image for whose kind of number there is no range."""


@dataclasses.dataclass(frozen=True)
class Extent:
    """The lowest and the highest finite number of an image, and their kind."""

    kind: Kind
    low: float
    high: float


def kind_of(image: PIL.Image.Image) -> Kind | None:
    """The kind of numbers in an image, from its header alone; None where it has 8 bits or fewer."""
    return "whole" if image.mode.startswith("I") else "float" if image.mode == "F" else None


def extent(image: PIL.Image.Image) -> Extent | None:
    """The extent of a deep image; None for any other, and where it has no finite number.

    Where the header tells the full scale (PGM, JPEG 2000), Pillow has stretched the numbers to 16 bits: that is the extent.
    """
    kind = kind_of(image)
    if kind is None:
        return None
    if kind == "whole" and image.format in ("PPM", "JPEG2000"):
        return Extent(kind, 0.0, SCALES[-1])
    numbers = np.asarray(image)
    finite = numbers[np.isfinite(numbers)] if kind == "float" else numbers
    return Extent(kind, float(finite.min()), float(finite.max())) if finite.size else None


def decided(extents: Iterable[Extent]) -> dict[Kind, Range]:
    """One range for each kind of number among the extents, by the rule above."""
    kinds: dict[Kind, list[Extent]] = {}
    for one in extents:
        kinds.setdefault(one.kind, []).append(one)
    return {
        kind: _range(kind, min(one.low for one in found), max(one.high for one in found))
        for kind, found in kinds.items()
    }


def _range(kind: Kind, low: float, high: float) -> Range:
    slack, scales = (SLACK, SCALES) if kind == "float" else (0.0, SCALES[1:])
    if low >= 0 >= high:  # all is black
        return 0.0, scales[0]
    scale = next((scale for scale in scales if high <= scale * (1 + slack)), high)
    top = scale if high >= scale * LEAST else high
    return (low, max(high, 0.0)) if low < min(0.0, -slack * top) else (0.0, top)


def white_is_zero(image: PIL.Image.Image) -> bool:
    """Whether a TIFF file that has just been opened is deep and says that zero is white; of other ones Pillow sees to it."""
    return kind_of(image) is not None and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO


def shown(image: PIL.Image.Image, ranges: Ranges, inverted: bool = False) -> tuple[PIL.Image.Image, Range]:
    """A deep image as grey levels (mode L), with the range that is shown as 0 to 255; what lies beyond it is cut off.

    With `inverted` black and white change places. A pixel of the number that the image calls transparent is white.

    Raises Undecided where there is no range for its kind, and ValueError where it holds what is no finite number, or where
    the range leaves it fewer than three levels and it had more.
    """
    kind = kind_of(image)
    assert kind is not None
    if kind not in ranges:
        raise Undecided(f"there is no range for its {kind} numbers: give --intensity_range LOW HIGH")
    numbers = np.asarray(image)
    if kind == "float" and not np.isfinite(numbers).all():
        raise ValueError("it holds NaN or infinite numbers")
    low, high = ranges[kind]
    scaled = np.rint((numbers.astype(np.float64) - low) * (255 / (high - low)))
    levels = scaled.clip(0, 255).astype(np.uint8)
    left = int(np.count_nonzero(np.bincount(levels.ravel(), minlength=256)))
    if left < FEW and len(np.unique(numbers)) > left:
        raise ValueError(
            f"its numbers, {numbers.min():.9g} to {numbers.max():.9g}, have {left} level{'s' * (left > 1)} left where {low:.9g} to "
            f"{high:.9g} is shown as 0 to 255: give another --intensity_range LOW HIGH"
        )
    if inverted:
        levels = 255 - levels
    if isinstance(clear := image.info.get("transparency"), int):
        levels[numbers == clear] = 255
    return PIL.Image.fromarray(levels), (low, high)


def survey(source: Source, count: int, progress: Progress) -> dict[int, Extent]:
    """The extents of a source's deep images, by their positions; of all other images the headers alone are read.

    What cannot be read is left out: whoever decodes it says why. Raises SystemFault where the system is at fault.
    """

    def look(position: int) -> Extent | None:
        try:
            with source.read(position) as image:
                return extent(image)
        except Exception as error:
            if fault := system_fault(error):  # without this image another range might be decided
                raise fault from error
            return None

    found: dict[int, Extent] = {}
    with concurrent.futures.ThreadPoolExecutor(usable_cores()) as pool:
        begin = time.monotonic()
        for start in range(0, count, 64):
            part = range(start, min(start + 64, count))
            for position, one in zip(part, pool.map(look, part), strict=True):
                if one is not None:
                    found[position] = one
            if time.monotonic() - begin > PATIENCE:
                progress(part.stop, count, "looking for the range of")
    return found


def fixed(value: Any) -> dict[Kind, Range]:
    """The ranges that a given one, (low, high), means: it holds for both kinds; none where nothing is given."""
    return {} if value is None else {"whole": value, "float": value}
