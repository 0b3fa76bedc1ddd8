"""Are the step's gradients on a GPU those of the slow reference in double precision on the CPU?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import reference, step
from benchmarks.gpu import Asked
from lens.images.batching import gather
from lens.players.fabric import make_fabric
from lens.settings.parsing import parse

LIMIT = 1e-9
"""Relative error of a gradient in double precision from which on it counts as another one."""
MODES = ("both, separate", "both, joint", "lensed")
ADVERSARIES = ("least_likely", "full", "uniform")
LARGE = [
    "--task=rotation", "--extractor=resnetv2_50", "--lens=unet", "--lens.encoder=resnet18", "--lens.depth=5", "--image_size=64",
    "--batch_size=2",
]  # fmt: skip
TINY = [
    "--task=rotation", "--extractor=test_resnet", "--lens=full_res", "--lens.depth=3", "--image_size=32",
    "--batch_size=2",
]  # fmt: skip


def check(asked: Asked, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Every mode and objective with a small network, each once with ResNet-50 v2, in double precision.

    Then the precisions that are trained in, for which there is no limit: beside each stands how far the CPU is apart.
    """
    each_once = list(zip(MODES, ADVERSARIES, strict=True))
    every = [(mode, adversary) for mode in MODES for adversary in ADVERSARIES]
    cases: list[tuple[list[str], str, str, int | str]] = [
        (TINY, *case, 64) for case in (each_once if asked.dry else every)
    ]
    large = TINY if asked.dry else LARGE
    cases += [] if asked.dry else [(LARGE, *case, 64) for case in each_once]
    cases += [(large, MODES[0], "uniform", 32), (large, MODES[0], "uniform", "bf16")]
    result: dict[str, Any] = {"limit": LIMIT, "cases": [], "failed": []}
    for players, mode, adversary, precision in cases:
        words = [*players, f"--objective={adversary}", f"--precision={precision}"]
        case: dict[str, Any] = {"extractor": players[1], "mode": mode, "adversary": adversary, "precision": precision}
        case |= compare([*words, f"--device={asked.device}"], mode)
        if precision != 64:
            case["on_cpu"] = compare([*words, "--device=cpu"], mode)
        result["cases"].append(case)
        if precision == 64 and not max(case["extractor_error"], case["lens_error"]) < LIMIT:
            result["failed"].append(f"{mode}, {adversary}: gradients are not the reference's")
        if not case["same_views"]:
            result["failed"].append(f"{mode}, {adversary}, {precision}: views are not those of the CPU")
        keep(result)
    return result


def compare(words: list[str], mode: str) -> dict[str, Any]:
    """One training step of a mode against the reference from the same weights and views: relative errors of both gradients."""
    parsed = parse(words, "lens.train")
    fabric, images = make_fabric(parsed.settings.machine), step.synthetic(parsed)
    trainer = step.make_trainer(parsed, images, fabric, mode)
    players, settings = trainer.players, trainer.settings
    assert players.lens is not None
    weight = float(trainer.steering.weight)
    lens, extractor = (copy.deepcopy(player).cpu().double() for player in (players.lens, players.extractor))
    batch = gather(images, np.arange(settings.optimisation.batch_size), 0)
    views, question, _ = players.views(batch, training=True)
    there, _, _ = players.views(batch.to(fabric.device), training=True)
    views, target = views.double(), question["target"]
    with fabric_gives(torch.float64 if settings.machine.precision == 64 else torch.float32):
        trainer.train_step(batch.to(fabric.device))

    reference.extractor_loss(lens, extractor, views, target, settings.game.feed, settings.game.batch_norm).backward()
    expected = gradient(extractor)
    rules = (str(settings.game.objective), settings.game.feed, settings.game.batch_norm)
    reference.lens_loss(lens, extractor, views, target, *rules, weight).backward()
    return {
        "extractor_error": apart(gradient(players.extractor), expected),
        "lens_error": apart(gradient(players.lens), gradient(lens)),
        "same_views": torch.equal(there.cpu().double(), views),
    }


@contextmanager
def fabric_gives(dtype: torch.dtype) -> Iterator[None]:
    """What a network puts out is of this type: under --precision 64 Lightning Fabric rounds it to torch's default otherwise."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def gradient(module: nn.Module) -> Tensor:
    """All gradients of a network one after the other, in double precision on the CPU."""
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    return torch.cat([g.detach().cpu().double().flatten() for g in found])


def apart(found: Tensor, expected: Tensor) -> float:
    """The relative error ‖found − expected‖ / ‖expected‖."""
    return float((found - expected).norm() / expected.norm())
