"""Images without any content: noise of each picture's own size, made a square as pictures are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lens.protocols.cue import Cue, Kind, Picture

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

BANDS = 12


@dataclasses.dataclass(frozen=True)
class ContentNull(Cue):
    """Uniform noise, drawn for the image's index, in the place of the picture; its centre square is resized as pictures' are.

    No pixel of the picture is read, its size alone: what tells is the fingerprint that resizing leaves in the squares (Saleknia
    & Sabokrou, arXiv 2604.13610, read 84 to 87 % of sources without content). Two images of one size give alike noise.
    """

    kind: ClassVar[Kind] = "control"
    order: ClassVar[float] = 3
    points_to: ClassVar[str] = (
        "the pictures' native size, by the fingerprint that resizing leaves: nothing of what they show"
    )

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """Of the resized noise: `deviation`, `tail`, `extent`; by way (down, across) `likeness` (B, 2, 6) of neighbours, `bands`
        (B, 2, 12) log power, and `periodic` (B, 2, 12), how the noise's level repeats itself."""
        import torch

        from lens.cues._squares import arrays

        sizes = [(min(picture.native.shape[:2]), len(picture.square)) for picture in pictures]
        made = [null_square(*size, draws.seed, int(index)) for size, index in zip(sizes, draws.index, strict=True)]
        return arrays(_statistics(torch.from_numpy(np.stack(made)).float()))


def null_square(native: int, size: int, seed: int, index: int) -> Array:
    """Noise of native × native pixels → the square (size, size) uint8 that `images.decoding.to_square` would make of it."""
    import PIL.Image

    from lens.base.draws import step_seed

    # A generator of its own for each image: torch's draws by index take 30 times as long for a million pixels.
    chance = np.random.Generator(np.random.Philox(step_seed(seed, index, "content null")))
    noise = np.frombuffer(chance.bytes(native * native), np.uint8).reshape(native, native)
    return np.asarray(PIL.Image.fromarray(noise).resize((size, size), PIL.Image.Resampling.BICUBIC))


def _statistics(noise: Tensor) -> dict[str, Tensor]:
    """Squares (B, S, S), levels 0 to 255 → the numbers of `describe`."""
    import torch
    from torch.nn import functional

    rest = noise - noise.mean(dim=(1, 2), keepdim=True)
    square = rest.square().mean(dim=(1, 2))
    both = torch.stack([rest, rest.mT], dim=1)  # (B, way, along, S)
    reach = min(6, noise.shape[1] - 1)
    likeness = [
        (both[:, :, :-n] * both[:, :, n:]).mean(dim=(2, 3)) / (square[:, None] + 0.01) for n in range(1, reach + 1)
    ]
    power = torch.fft.rfft(both, dim=2, norm="ortho").abs().square().mean(dim=3)
    level = both.square().mean(dim=3)
    repeats = torch.fft.rfft(level / (level.mean(dim=2, keepdim=True) + 0.01) - 1, dim=2, norm="ortho").abs()
    return {
        "deviation": (square + 0.01).log() / 2,
        "tail": rest.square().square().mean(dim=(1, 2)) / (square.square() + 0.01),
        "extent": noise.amax(dim=(1, 2)) - noise.amin(dim=(1, 2)),
        "likeness": torch.stack(likeness, dim=2),
        "bands": (functional.adaptive_avg_pool1d(power, BANDS) + 0.01).log(),
        "periodic": functional.adaptive_max_pool1d(repeats, BANDS),
    }
