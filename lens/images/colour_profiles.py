"""Embedded colour profiles (ICC): what an image's numbers mean, and the same colours in sRGB."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms

SAME = 2
"""Levels by which a profile's colours may differ from sRGB's and count as the same: two makers' sRGB differ by one or two."""
MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The image mode that belongs to a profile's colour space."""
Transform = Callable[[PIL.Image.Image], PIL.Image.Image]
_KEPT = 64
"""Profiles whose transforms are kept; of a photo collection a few dozen are in use."""


class Unfit(ValueError):
    """A profile that cannot be read, or is of another colour space than its image."""


def mode_of(profile: Any, mode: str) -> str | None:
    """The mode ("RGB", "L" or "CMYK") in which an image of `mode` must be handed to `converted`; None: it is sRGB as it is.

    Raises Unfit where the profile cannot be read, or says something of other colours than the image has.
    """
    if not isinstance(profile, bytes):  # Pillow gives None for one that it could not put together
        raise Unfit("it cannot be read")
    wanted, transform = _transform(profile)
    has = "L" if mode in ("1", "L", "LA", "La") else mode if mode in ("CMYK", "LAB") else "RGB"
    # Grey numbers are equal parts of red, green and blue too.
    if wanted is None or (has != wanted and (has, wanted) != ("L", "RGB")):
        raise Unfit("it does not fit")
    return wanted if transform is not None else None


def converted(image: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    """An image of the mode that `mode_of` has named → the same colours in sRGB, mode RGB."""
    transform = _transform(profile)[1]
    assert transform is not None
    return transform(image)


@functools.lru_cache(_KEPT)
def _transform(profile: bytes) -> tuple[str | None, Transform | None]:
    """The image mode of a profile's colour space and the way from there to sRGB: None where it changes nothing.

    Without a mode the profile is of no use. Several threads may use a transform: it keeps nothing (NOCACHE).
    """
    try:
        opened = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = MODES[opened.profile.xcolor_space]
        flags = PIL.ImageCms.Flags.NOCACHE | PIL.ImageCms.Flags.BLACKPOINTCOMPENSATION
        if mode == "L":
            flags |= PIL.ImageCms.Flags.NOOPTIMIZE  # which is up to 10 levels wrong in the dark
        intent = PIL.ImageCms.Intent.RELATIVE_COLORIMETRIC
        built = PIL.ImageCms.buildTransform(opened, _srgb(), mode, "RGB", intent, flags)
    except (PIL.ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError):
        return None, None

    def transform(image: PIL.Image.Image) -> PIL.Image.Image:
        result = PIL.ImageCms.applyTransform(image, built)
        assert result is not None
        return result

    if mode == "CMYK":
        return mode, transform
    # By what it does, not by what it is called: names are wrong, and every maker's sRGB has its own.
    steps = np.linspace(0, 255, 16).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(64, 64, 3)
    before = PIL.Image.fromarray(cube if mode == "RGB" else np.arange(256, dtype=np.uint8)[None])
    after = np.asarray(transform(before))
    if np.abs(after.astype(int) - np.asarray(before.convert("RGB"))).max() <= SAME:
        return mode, None
    return mode, transform if mode == "RGB" else lambda image: PIL.Image.fromarray(after[0][np.asarray(image)])


@functools.cache
def _srgb() -> PIL.ImageCms.ImageCmsProfile:
    return PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB"))
