"""How much of each frequency there is in an image, whatever its phase."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lens.cues._squares import arrays, squares
from lens.protocols.cue import Cue, Picture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class PowerSpectrum(Cue):
    """Power in rings and directions: how sharp images are, and periodic traces; nothing of shapes or places."""

    order: ClassVar[float] = 50
    points_to: ClassVar[str] = "sharpness, noise, resampling, or texture"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The log power of luminance, zero frequency in the middle, each image stretched to [0, 1]: (B, 1, S, S)."""
        import torch

        from lens.operations import shrinking, spectra

        powers = spectra.power(shrinking.luminance(squares)[:, 0])
        return spectra.stretched(torch.fft.fftshift((powers + 1e-8).log(), dim=(1, 2))[:, None])

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`rings` (B, 24) log power and `sectors` (B, 12) shares, of luminance; `colour_rings` (B, 2, 8), red and blue against it."""
        import torch

        from lens.operations import shrinking, spectra

        images = squares(pictures)
        grey = shrinking.luminance(images)[:, 0]
        powers = spectra.power(grey)
        colour = [spectra.rings(spectra.power(images[:, channel] - grey), 8) for channel in (0, 2)]
        return arrays(
            {
                "rings": spectra.rings(powers, 24),
                "sectors": spectra.sectors(powers, 12),
                "colour_rings": torch.stack(colour, dim=1),
            }
        )
