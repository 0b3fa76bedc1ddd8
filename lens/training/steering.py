"""How λ, the weight of the reconstruction, is steered so that the lens keeps to the PSNR that was asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from lens.operations.quality import mse_of

WINDUP = 1.25
"""The pull from which λ rises no further: above 1, where a lens whose pixels are free comes to rest, so that λ still brings it to its target.

In short runs with nothing before the lens it was 0.2 at most (results/removal.md).
"""


def steer(
    recon_weight: Tensor, clamped_mse: Tensor, target_psnr: float, pull: Tensor | float, rate: float = 0.05
) -> Tensor:
    """λ for the next step: raised where the PSNR is below its target, lowered where it is above.

    Integral control of log λ: log λ += rate · clip(log(mse / target mse), ±1). The error is the clamped one, because
    that is what the PSNR is measured on, over every view of the step, whether it carries a cue or not; all on the device,
    without waiting for it.

    λ is not raised where the reconstruction's `pull` is WINDUP times the adversary's or more: such a lens restores already,
    and more weight would only silence the adversary. A lens after noise begins below its target: λ rose from 100 to 100,000
    before it came there, and took most of a run to fall again (integrator windup; this is conditional integration).
    """
    error = torch.log(clamped_mse.clamp(min=1e-12) / mse_of(target_psnr)).clamp(-1, 1)
    moved = (recon_weight * torch.exp(rate * error)).clamp(1e-3, 1e7)
    return torch.where((error > 0) & (torch.as_tensor(pull) >= WINDUP), recon_weight, moved)
