"""How both players learn, and for how long."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lens.base.errors import MOST_COUNT, BadInput, check_number
from lens.settings.field import setting


@dataclasses.dataclass(frozen=True)
class OptimisationSettings:
    """How both players learn, and for how long."""

    steps: int | None = setting(None, role="length", resume=True)
    """Training steps; default 150 (dataset_classification: 1000), or as many as --epochs need."""
    epochs: float | None = setting(None, role="length", resume=True)
    """Passes over the training split, instead of --steps."""
    batch_size: int = setting(8, role="optimisation")
    """Images a step, of all ranks together (rotation shows each of them in four views)."""
    grad_accum_steps: int = setting(1, role="optimisation", was="accumulate")
    """Parts that a batch is cut into to save memory; batch statistics are each part's own."""
    optimizer: Literal["adamw", "sgd"] = setting("adamw", role="optimisation")
    """Optimiser of the extractor (the lens always uses Adam); sgd has momentum 0.9."""
    lr: float = setting(1e-3, role="optimisation")
    """Peak learning rate of the extractor."""
    lens_lr: float = setting(2e-3, role="optimisation", needs="lens")
    """Peak learning rate of the lens."""
    weight_decay: float = setting(1e-4, role="optimisation")
    """Weight decay of the extractor."""
    warmup_fraction: float = setting(0.05, role="optimisation", was="warmup")
    """Share of the steps, 0 to 1, in which both rates rise linearly before they fall along a cosine."""
    lr_schedule: Literal["cosine", "constant"] = setting("cosine", role="optimisation", since="0.4.0")
    """What the extractor's rate does after the warm-up; the lens's always falls along a cosine."""
    adam_beta1: float = setting(0.9, role="optimisation", since="0.4.0", needs="Adam", was="beta1")
    """Momentum of both players' Adam, 0 to below 1."""
    lens_update_every: int = setting(1, role="optimisation", since="0.4.0", needs="lens", was="lens_every")
    """The lens moves at every so many steps, the extractor at each: so that it stays ahead of the lens."""
    lens_ema: float = setting(0.0, role="optimisation", since="0.4.0", needs="lens", was="lens_average")
    """Decay, 0 (off) to below 1, of a running average of the lens's weights, which is the lens that is kept."""
    sync_batchnorm: Literal["global", "local"] = setting("global", role="optimisation", since="0.2.0", was="norm_sync")
    """Batch statistics under torchrun: over all ranks, as one process would see them, or each rank's own."""
    seed: int = setting(0, role="seed", grid="seeds: lists them")
    """Seed of everything random, 0 or more."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        if self.steps is not None and self.epochs is not None:
            raise BadInput(f"--steps {self.steps} and --epochs {self.epochs:g} contradict each other: give one of them")
        if self.steps is not None:
            check_number("steps", self.steps, low=1, high=MOST_COUNT)
        if self.epochs is not None:
            check_number("epochs", self.epochs, low=0, high=MOST_COUNT, open_low=True)
        for flag in ("batch_size", "grad_accum_steps", "lens_update_every"):
            check_number(flag, getattr(self, flag), low=1, high=MOST_COUNT)
        if self.batch_size % self.grad_accum_steps:
            raise BadInput(
                f"--batch_size {self.batch_size} does not divide into --grad_accum_steps {self.grad_accum_steps} equal parts"
            )
        for flag in ("lr", "lens_lr"):
            check_number(flag, getattr(self, flag), low=0, open_low=True)
        check_number("weight_decay", self.weight_decay, low=0)
        check_number("warmup_fraction", self.warmup_fraction, low=0, high=1)
        for flag in ("adam_beta1", "lens_ema"):
            check_number(flag, getattr(self, flag), low=0, high=1, open_high=True)
        check_number("seed", self.seed, low=0, high=2**32 - 1)
