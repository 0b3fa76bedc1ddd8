"""Noise of a fixed strength: what it buries no lens that stands after it can bring back, nor hide. It does not learn."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from lens.base.errors import check_number
from lens.protocols.lens import Lens

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Noise(Lens):
    """x → x + σ·n, n Gaussian, clamped: a stage to stand before a lens that learns (`noise+full_res`).

    Whatever comes after it is a function of the noisy image. So of a cue that moves an image by d (the norm of the change of all its
    values) nobody can read more afterwards than Φ(d / 2σ), the balanced accuracy of the best test between two Gaussians (data-processing
    inequality); that says little unless the whole cue is fainter than the noise of a few pixels. The lens after it learns to
    restore the image, as a denoiser does, and gets it back at less change than the noise costs; diffusion models purify images so
    (Nie et al., ICML 2022, arXiv 2205.07460). This holds of two images that both have colour, or have none, and of all with `grey` free:
    else the noise of one of them is grey and tells them apart.
    """

    learns: ClassVar[bool] = False
    fixed: ClassVar[bool] = True

    sigma: float = 0.08
    """Standard deviation of the noise, of the whole range, above 0 and at most 0.5."""
    grey: Literal["keep", "free"] = "keep"
    """Noise of an image without colour: the same in all channels, so that it stays grey, or as in any other."""

    def __post_init__(self) -> None:
        """Raise BadInput for a setting outside its range."""
        check_number("lens.sigma", self.sigma, low=0, high=0.5, open_low=True)

    def apply(self, views: Tensor, draws: Draws) -> Tensor:
        """Each view with noise of its own, a function of its draws."""
        from lens.operations.grey import noise_of

        return (views + self.sigma * noise_of(views, draws, "noise stage", keep=self.grey == "keep")).clamp(0, 1)
