"""How λ, the weight of the reconstruction, is steered so that the lens keeps to the PSNR that was asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from lens.operations.quality import mse_of

WINDUP = 1.25
"""The pull from which λ's integral rises no further: above 1, where a lens whose pixels are free comes to rest, so that λ still brings it to its target.

In short runs with nothing before the lens it was 0.2 at most, by the integral alone (results/removal.md).
"""
GAINS = {"pi": (0.1, 1.0), "integral": (0.05, 0.0)}
"""By the rule's name: what the sum of all errors and the last error count in log λ. A lens answers λ some twenty steps late, and by the sum alone,
as before 0.4.0, it swung by 5 dB about its target (results/chest_xray.md)."""


class Steering:
    """λ, all on the device: fixed where there is no target, else steered by proportional and integral control of log λ.

    The error is e = clip(log(mse / target mse), ±1): above zero where the lens changes too much. From a first λ on, log λ gains
    the sum of all errors and the last one, each times its gain. Integral control alone, as in a plain Lagrangian method,
    overshoots and swings; the proportional part damps it (Stooke, Achiam and Abbeel 2020, "Responsive Safety in Reinforcement
    Learning by PID Lagrangian Methods", arXiv 2007.03964).
    """

    def __init__(
        self, first: float, target_psnr: float | None, rule: str = "pi", device: torch.device | str = "cpu"
    ) -> None:
        """λ = `first`, on a device, and the PSNR in dB that it is steered to by a rule of `GAINS`; None: λ stays what it is."""
        self.target_psnr = target_psnr
        self.of_sum, self.of_last = GAINS[rule]
        self.integral = torch.tensor(first, device=device)
        self.error = torch.zeros_like(self.integral)

    @property
    def weight(self) -> Tensor:
        """λ for the next step: a scalar."""
        return self.integral * torch.exp(self.of_last * self.error)

    def update(self, clamped_mse: Tensor, pull: Tensor | float) -> None:
        """Steer after a step whose lensed views, clamped to [0, 1], have a mean squared error of `clamped_mse`.

        It is the clamped error, because that is what the PSNR is measured on, over every view of the step, whether it carries a
        cue or not.

        The integral does not rise further where the reconstruction's `pull` is WINDUP times the adversary's or more: such a lens restores
        already, and more weight would only silence the adversary. A lens after noise begins below its target: λ rose from 100 to
        100,000 before it came there, and took most of a run to fall again (integrator windup; this is conditional integration). The
        last error still raises λ over its integral, e-fold at most.
        """
        if self.target_psnr is None:
            return
        self.error = torch.log(clamped_mse / mse_of(self.target_psnr)).clamp(-1, 1)
        moved = (self.integral * torch.exp(self.of_sum * self.error)).clamp(1e-3, 1e7)
        held = (self.error > 0) & (torch.as_tensor(pull) >= WINDUP)
        self.integral = torch.where(held, self.integral, moved)
