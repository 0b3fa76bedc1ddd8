"""What the lens is after, how much it may change, and what the extractor learns from."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lens.base.errors import BadInput, check_number
from lens.settings.field import setting

OBJECTIVES = ("least_likely", "full", "uniform")
"""What a lens may want the task's answer to be."""


@dataclasses.dataclass(frozen=True)
class GameSettings:
    """What the lens is after, how much it may change, and what the extractor learns from."""

    objective: Literal["least_likely", "full", "uniform"] | None = setting(
        None, role="game", since="0.4.0", needs="lens"
    )
    """What the lens wants the task's answer to be: the class that the extractor finds least likely (the default), uniform (no
    class at all; default where it asks about two sources), or a high loss (full: the paper's full adversarial loss; default
    where the task has no classes)."""
    recon_weight: float | None = setting(None, role="game", needs="steered change")
    """Weight λ of the mean squared error on [0, 1]; fixed, or with --target_psnr where steering starts (default 100)."""
    target_psnr: float | None = setting(None, role="game", needs="steered change")
    """PSNR in dB that λ is steered to, 5 to 60; default 25.5, unless --recon_weight is given."""
    steering: Literal["pi", "integral"] = setting(
        "pi", role="game", since="0.4.0", needs="steered weight", before="integral"
    )
    """How λ is steered: by the last error in PSNR and the sum of all of them, or by the sum alone, as before 0.4.0, which swings."""
    match_mse: float | str | None = setting(None, role="game", since="0.2.0", path=True)
    """Mean squared change on [0, 1] of fgsm and random: a value, or the directory of a paired lens run (its validation
    error); default that of --target_psnr."""
    feed: Literal["both", "lensed"] = setting("both", role="game", needs="changed images")
    """What the extractor learns from: raw and lensed images in equal parts (the paper), or lensed ones only."""
    batch_norm: Literal["separate", "joint"] = setting("separate", role="game", needs="both kinds")
    """Batch statistics of raw and lensed images: two sets, or one concatenated batch."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        if self.recon_weight is not None:
            check_number("recon_weight", self.recon_weight, low=0, open_low=self.target_psnr is not None)
        if self.target_psnr is not None:
            check_number("target_psnr", self.target_psnr, low=5, high=60)
        if self.match_mse is not None and self.target_psnr is not None:
            raise BadInput("--match_mse and --target_psnr contradict each other: give one of them")
        if isinstance(self.match_mse, float):
            check_number("match_mse", self.match_mse, low=0, high=0.25, open_low=True)

    @property
    def first_recon_weight(self) -> float:
        """λ at the first step."""
        return 100.0 if self.recon_weight is None else self.recon_weight

    @property
    def steered_psnr(self) -> float | None:
        """The PSNR that λ is steered to, or None where λ is fixed."""
        return 25.5 if self.recon_weight is None and self.target_psnr is None else self.target_psnr
