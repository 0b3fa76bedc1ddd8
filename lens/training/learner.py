"""A network that learns: the parameters that move, their optimiser, its rate."""

from __future__ import annotations

import math

import lightning_fabric
import torch
from torch import Tensor, nn

from lens.settings.groups.optimisation import OptimisationSettings
from lens.training.step import Player


class Learner:
    """A network with its optimiser: `player` is what a step is given, on the device and shared between ranks.

    `network` is the network itself, whose weights are kept; `peak` the highest rate.
    """

    def __init__(
        self, fabric: lightning_fabric.Fabric, network: nn.Module, optimizer: torch.optim.Optimizer, peak: float
    ) -> None:
        self.network, self.peak = network, peak
        parameters = [p for p in network.parameters() if p.requires_grad]
        self.module, self.optimizer = fabric.setup(network, optimizer)
        self.player = Player(self.module, parameters)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that its loss moves."""
        return self.player.parameters

    @property
    def rate(self) -> float:
        """The rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_rate(self, share: float) -> None:
        """Set the rate to a share of its peak."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * share

    def gradient_norm(self) -> Tensor:
        """The norm of all gradients together, a scalar on the device."""
        return torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    # --- what a checkpoint holds of the optimiser --------------------------------------------------------------------

    def moments(self) -> dict[str, Tensor]:
        """What the optimiser keeps of each parameter, by the names that a checkpoint gives it."""
        state = self.optimizer.state_dict()["state"]
        return {
            f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items() if value is not None
        }

    def load_moments(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `moments` gave."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        for parameter, entry in self.optimizer.state.items():
            for name, value in entry.items():
                if value.shape == parameter.shape:  # a moment: in its parameter's memory format, as before the save
                    entry[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

    def shapes(self) -> dict[str, torch.Size]:
        """The shapes of `moments` once the optimiser has moved."""
        optimizer = self.optimizer
        kept = ("momentum_buffer",) if "momentum" in optimizer.defaults else ("step", "exp_avg", "exp_avg_sq")
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        return {
            f"{i}.{name}": torch.Size() if name == "step" else parameter.shape
            for i, parameter in enumerate(parameters)
            for name in kept
            if parameter.requires_grad
        }


def extractor_optimizer(network: nn.Module, settings: OptimisationSettings) -> torch.optim.Optimizer:
    """The extractor's optimiser, as --optimizer says.

    Fused: one pass over memory. On CPU it walks a gradient in its parameter's strides without asking: autograd gives it
    those, and whatever else writes a `.grad` must copy into it, not replace it.
    """
    decay = settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), settings.lr, momentum=0.9, weight_decay=decay, fused=True)
    betas = (settings.adam_beta1, 0.999)
    return torch.optim.AdamW(network.parameters(), settings.lr, betas, weight_decay=decay, fused=True)


def lens_optimizer(network: nn.Module, settings: OptimisationSettings) -> torch.optim.Optimizer:
    """The lens's optimiser: Adam."""
    return torch.optim.Adam(network.parameters(), settings.lens_lr, (settings.adam_beta1, 0.999), fused=True)


def rate_share(step: int, total: int, warmup: float, falls: bool = True) -> float:
    """The share of the peak rate at a step: a linear rise over the first `warmup` of the run, then a cosine to zero.

    A rate that does not fall stays at its peak.
    """
    rising = round(total * warmup)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(total - rising, 1))) if falls else 1.0


@torch.no_grad()
def move_towards(kept: nn.Module, moving: nn.Module, decay: float) -> None:
    """Bring a network's running average nearer to the one that moves: kept ← decay · kept + (1 − decay) · moving."""
    for mine, theirs in zip(kept.state_dict().values(), moving.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(theirs, 1 - decay)
        else:
            mine.copy_(theirs)
