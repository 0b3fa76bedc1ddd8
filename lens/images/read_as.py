"""How images' numbers were read, where they are not 8 bits of sRGB: in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lens.images import intensity

LEVELS = "levels "
UPPER, CONVERTED, UNFIT = "upper 8 of 16 bits", "profile converted", "profile unfit"
"""How numbers were read, where they were not taken as they are."""


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
