"""A checkpoint: both players, both optimisers, λ. Nothing else is needed to continue bit by bit."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE
from lens.players.lens import LearnedLens
from lens.record.run import Run
from lens.training.trainer import Trainer


def save(trainer: Trainer, run: Run) -> None:
    """Write a checkpoint of the step that the loop is at."""
    players = trainer.players
    players.share_statistics()
    tensors = _under("extractor", players.extractor.state_dict())
    tensors |= _under("extractor_optimizer", trainer.extractor.moments())
    if players.lens is not None:
        tensors |= _under("lens", players.lens.state_dict())
    if trainer.lens is not None:
        tensors |= _under("lens_optimizer", trainer.lens.moments())
        if trainer.moving is not players.lens:
            tensors |= _under("moving_lens", trainer.moving.state_dict())
    tensors |= {"recon_weight": trainer.steering.integral, "recon_error": trainer.steering.error}
    state: dict[str, Any] = {"seconds": trainer.seconds, "best": trainer.best}
    if trainer.rival is not None:
        state["target_mse"] = trainer.rival.target_mse
    if (side := trainer.lens_side) is not None:
        state["lens_side"] = side
    run.save_checkpoint(trainer.step, tensors, state)


def restore(trainer: Trainer, run: Run) -> None:
    """Continue from the last checkpoint, or from the start where there is none; cut later lines of the record."""
    players = trainer.players
    saved = run.last_checkpoint(_largest(trainer), functools.partial(_refuse_unfit, trainer))
    if saved is not None:
        tensors, state = saved
        if state["step"] > trainer.total:
            raise BadInput(
                f"{run.directory} has already trained {state['step']} steps, more than the {trainer.total} asked for"
            )
        trainer.step, trainer.seconds, trainer.best = state["step"], state["seconds"], state["best"]
        players.extractor.load_state_dict(_below("extractor.", tensors))
        trainer.extractor.load_moments(_below("extractor_optimizer.", tensors))
        if players.lens is not None:
            players.lens.load_state_dict(_below("lens.", tensors))
        if trainer.lens is not None:
            for lens in (players.lens, trainer.moving):
                assert isinstance(lens, LearnedLens)
                # The file of the weights that it began with may be another by now, and tell of another size.
                lens.side = state.get("lens_side", lens.side)
            trainer.lens.load_moments(_below("lens_optimizer.", tensors))
            if trainer.moving is not players.lens:
                trainer.moving.load_state_dict(_below("moving_lens.", tensors))
        steering, device = trainer.steering, trainer.fabric.device
        steering.integral = tensors["recon_weight"].to(device)
        steering.error = tensors.get("recon_error", steering.error).to(device)
    run.cut_metrics(trainer.step)


def _largest(trainer: Trainer) -> int:
    """Bytes that a checkpoint of these players has at most: weights, two moments, an average, all in double precision."""
    players = trainer.players
    values = [*players.extractor.state_dict().values()]
    values += players.lens.state_dict().values() if players.lens is not None else []
    numbers: int = sum(x.numel() for x in values)
    return 4 * 8 * numbers + 64 * MEBIBYTE


def _refuse_unfit(trainer: Trainer, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Raise ValueError, with its name, for a tensor that is missing, unknown, of another shape or not finite.

    An optimiser that has moved has every moment of every parameter: one that is missing would start again in silence.
    """
    step, players = state["step"], trainer.players
    needed = _under("extractor", _shapes(players.extractor.state_dict()))
    needed |= _under("extractor_optimizer", trainer.extractor.shapes()) if step else {}
    if players.lens is not None:
        needed |= _under("lens", _shapes(players.lens.state_dict()))
    if trainer.lens is not None:
        if step >= trainer.settings.optimisation.lens_update_every:
            needed |= _under("lens_optimizer", trainer.lens.shapes())
        if trainer.moving is not players.lens:
            needed |= _under("moving_lens", _shapes(trainer.moving.state_dict()))
    needed["recon_weight"] = trainer.steering.integral.shape
    if "recon_error" in tensors:  # older versions kept none
        needed["recon_error"] = trainer.steering.error.shape
    for name in sorted(needed.keys() | tensors.keys()):
        if name not in tensors or name not in needed:
            raise ValueError(f"its tensor {name} is {'missing' if name in needed else 'of another network'}")
        if tensors[name].shape != needed[name]:
            raise ValueError(f"its tensor {name} is {[*tensors[name].shape]} and must be {[*needed[name]]}")
        if tensors[name].is_floating_point() and not torch.isfinite(tensors[name]).all():
            raise ValueError(f"its tensor {name} holds what is no finite number")


T = TypeVar("T")


def _under(prefix: str, values: Mapping[str, T]) -> dict[str, T]:
    return {f"{prefix}.{name}": value for name, value in values.items()}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}
