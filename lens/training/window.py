"""The losses and gradient norms of the steps since the last line of the record, kept on the device until they are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lens.base.errors import BadInput
from lens.base.ranks import Ranks


class NotFiniteError(BadInput):
    """A loss that is not a finite number."""


class Window:
    """What steps have lost, by name; of a step at which the lens does not move there is nothing of it."""

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self.device, self.ranks = device, ranks
        self.entries: list[dict[str, Tensor]] = []

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, values: dict[str, Tensor]) -> None:
        """Keep one step's numbers, without waiting for the device."""
        self.entries.append(values)

    def means(self, step: int, saved: Callable[[], Path | None]) -> dict[str, float]:
        """The means of all that is kept, over all ranks, which is then forgotten; `step` is the last one's number.
        `saved` says where the last good checkpoint is.

        It waits for the device. Raises NotFiniteError where a number is not finite.
        """
        names = list(dict.fromkeys(name for entry in self.entries for name in entry))
        nothing = torch.full((), math.nan, device=self.device)
        values = (
            torch.stack([torch.stack([entry.get(name, nothing).float() for name in names]) for entry in self.entries])
            .double().cpu()
        )  # fmt: skip
        had = torch.tensor([[name in entry for name in names] for entry in self.entries])
        values = torch.stack(self.ranks.everyone(values)).mean(dim=0)
        bad = (had & ~torch.isfinite(values)).any(dim=1).nonzero()
        if len(bad):
            row = int(bad[0])
            shown = ", ".join(
                f"{name} {value:.4g}"
                for name, value, there in zip(names, values[row].tolist(), had[row], strict=True)
                if there
            )
            raise NotFiniteError(
                f"step {step - len(self) + row + 1} is not finite ({shown}); last good checkpoint: "
                f"{saved() or 'none yet'}; try a lower --lr or --lens_lr, a larger --recon_weight, or --precision 32"
            )
        self.entries.clear()
        return dict(zip(names, values.nanmean(dim=0).tolist(), strict=True))
