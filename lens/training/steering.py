"""How λ, the weight of the reconstruction, is steered so that the lens keeps to the PSNR that was asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from lens.operations.quality import mse_of

WINDUP = 1.25
"""The pull from which λ's integral rises no further: above 1, where a lens whose pixels are free comes to rest, so that λ still brings it to its target.

In short runs with nothing before the lens it was 0.2 at most (results/removal.md).
"""
INTEGRAL, PROPORTIONAL = 0.1, 1.0
"""The gains of the error and of its sum in log λ: a lens answers λ some twenty steps late, and without the proportional part it swung by
5 dB about its target (results/chest_xray.md)."""


class Steering:
    """λ, all on the device: fixed where there is no target, else steered by proportional and integral control of log λ.

    The error is e = clip(log(mse / target mse), ±1): above zero where the lens changes too much. log λ is `INTEGRAL` times the sum of
    all errors plus `PROPORTIONAL` times the last one, from a first λ on. Integral control alone, as in a plain Lagrangian method,
    overshoots and swings; the proportional part damps it (Stooke, Achiam and Abbeel 2020, "Responsive Safety in Reinforcement
    Learning by PID Lagrangian Methods", arXiv 2007.03964).
    """

    def __init__(self, first: float, target_psnr: float | None, device: torch.device | str = "cpu") -> None:
        """λ = `first`, on a device, and the PSNR in dB that it is steered to; None: λ stays what it is."""
        self.target_psnr = target_psnr
        self.integral = torch.tensor(first, device=device)
        self.error = torch.zeros_like(self.integral)

    @property
    def weight(self) -> Tensor:
        """λ for the next step: a scalar."""
        return self.integral * torch.exp(PROPORTIONAL * self.error)

    def update(self, clamped_mse: Tensor, pull: Tensor | float) -> None:
        """Steer after a step whose lensed views, clamped to [0, 1], have a mean squared error of `clamped_mse`.

        It is the clamped error, because that is what the PSNR is measured on, over every view of the step, whether it carries a
        cue or not.

        The integral does not rise where the reconstruction's `pull` is WINDUP times the adversary's or more: such a lens restores
        already, and more weight would only silence the adversary. A lens after noise begins below its target: λ rose from 100 to
        100,000 before it came there, and took most of a run to fall again (integrator windup; this is conditional integration).
        """
        if self.target_psnr is None:
            return
        self.error = torch.log(clamped_mse.clamp(min=1e-12) / mse_of(self.target_psnr)).clamp(-1, 1)
        moved = (self.integral * torch.exp(INTEGRAL * self.error)).clamp(1e-3, 1e7)
        held = (self.error > 0) & (torch.as_tensor(pull) >= WINDUP)
        self.integral = torch.where(held, self.integral, moved)
