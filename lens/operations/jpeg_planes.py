"""The planes of luminance and chroma that a JPEG file would have stored of an image, from its pixels.

Letters: B images, H W pixels, h w samples of a plane.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lens.operations.jpeg import TO_YCC

LUMINANCE = "luminance"
SAMPLINGS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}
"""How chroma may have been stored: one sample for so many pixels down and across."""
_DECAY = 2 * math.sqrt(2) - 3
_REACH = 6


@dataclasses.dataclass(frozen=True)
class Plane:
    """Samples (B, C, h, w) around 0, and which of them were clipped (B, h, w), 1 or 0."""

    samples: Tensor
    clipped: Tensor

    def off_grid(self) -> Plane:
        """The plane less half a block above and on the left: its blocks are none that a compression has used."""
        return Plane(self.samples[:, :, 4:, 4:], self.clipped[:, 4:, 4:])


def planes(images: Tensor, names: Sequence[str]) -> dict[str, Plane]:
    """Images (B, 3, H, W), levels 0 to 255, that begin on the grid → the planes that are named, "luminance" or a sampling of both chromas."""
    ycc = torch.einsum("ij,bjhw->bihw", images.new_tensor(TO_YCC), images)
    clipped = ((images <= 0) | (images >= 255)).any(dim=1).to(images.dtype)
    found = {}
    for name in names:
        if name == LUMINANCE:
            found[name] = Plane(ycc[:, :1] - 128, clipped)
        else:
            found[name] = Plane(stored_chroma(ycc[:, 1:], name), functional.max_pool2d(clipped, SAMPLINGS[name]))
    return found


def stored_chroma(chroma: Tensor, sampling: str) -> Tensor:
    """Chroma (B, 2, H, W) as decoded → as a file with that sampling stored it, (B, 2, H or H/2, W or W/2).

    libjpeg spreads each stored sample over two pixels as (3 x[i] + x[i ± 1]) / 4, along each axis. The mean of both is
    (x[i − 1] + 6 x[i] + x[i + 1]) / 8, which has the inverse √2 r^|n|, r = 2√2 − 3.
    """
    down, across = SAMPLINGS[sampling]
    found = functional.avg_pool2d(chroma, (down, across))
    place = torch.arange(-_REACH, _REACH + 1, device=chroma.device)
    inverse = math.sqrt(2) * _DECAY ** place.abs().to(chroma.dtype)
    for axis, spread in ((2, down), (3, across)):
        if spread == 1:
            continue
        turned = found.movedim(axis, 3)
        # At the image's own edge libjpeg repeats the sample: it is mirrored with its edge.
        reach = min(_REACH, turned.shape[3])
        mirrored = torch.cat([turned[..., :reach].flip(3), turned, turned[..., -reach:].flip(3)], dim=3)
        kernel = inverse[_REACH - reach : _REACH + reach + 1]
        flat = functional.conv1d(mirrored.flatten(0, 2)[:, None], kernel[None, None])
        found = flat[:, 0].view(turned.shape).movedim(3, axis)
    return found
