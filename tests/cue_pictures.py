"""Pictures for the audit's cues: of any size, as they are stored and as a square, and one cue's numbers of them."""

import io

import numpy as np
import PIL.Image
from tiny import draws

from lens.images.decoding import to_square
from lens.protocols.cue import Picture
from lens.protocols.lookup import find


def photo(seed, size=(120, 160), low=40, high=215, grain=4.0):
    """A smooth coloured picture with grain, (H, W, 3) uint8; far from black and white."""
    chance = np.random.default_rng(seed)
    small = PIL.Image.fromarray(chance.integers(low, high, (7, 9, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize(size[::-1], PIL.Image.Resampling.BICUBIC), np.float64)
    edges = 25 * (np.add.outer(np.arange(size[0]), np.arange(size[1])) // 13 % 2)[..., None]
    return np.clip(smooth + edges + chance.normal(0, grain, smooth.shape), low, high).round().astype(np.uint8)


def picture(native, side=32, header=None):
    """What a cue is given of a picture (H, W, 3) uint8."""
    return Picture(header or {}, native, to_square(PIL.Image.fromarray(native), side))


def photos_of(count, size=(120, 160), side=32, treat=lambda native: native, first=0):
    return [picture(treat(photo(seed, size)), side) for seed in range(first, first + count)]


def saved(native, form="JPEG", **options):
    """The bytes of a picture's file."""
    stream = io.BytesIO()
    PIL.Image.fromarray(native).save(stream, form, **options)
    return stream.getvalue()


def jpeg(native, quality, subsampling=0):
    """A picture after it was stored as JPEG and read again; as a PNG copy of it would be."""
    return np.array(PIL.Image.open(io.BytesIO(saved(native, quality=quality, subsampling=subsampling))).convert("RGB"))


def described(name, pictures, **settings):
    """The numbers of a cue, by name."""
    return find("cue", name)(**settings).describe(pictures, draws(len(pictures)))
