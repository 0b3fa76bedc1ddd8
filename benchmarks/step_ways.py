"""The step in two other ways, each beside the step as it is: with compiled networks, and replayed as a CUDA graph.

`compile` gives the extractor's backbone and the lens to `torch.compile`. A compiled network's backward pass computes every
gradient that it has, so a mode that asks for the input's alone pays for the weights' too. `graph` records everything of
`Trainer.train_step` after the posing and replays it: what it saves is the launching of kernels. What changes from step to step
(rates, λ, the draws of a dropout) is held still in it, so it says what a graph is worth, and trains nothing.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks import step
from lens.images.batching import Batch, gather
from lens.players.fabric import make_fabric
from lens.players.players import Players
from lens.settings.parsing import Parsed
from lens.training.trainer import Trainer

WAYS = ("compile", "graph")


def repeatable(trainer: Trainer, batch: Batch) -> Callable[[], None]:
    """The trainer's step on the views of a batch, posed once, with nothing in it that waits for the device."""
    views, question, carriers = trainer.players.views(batch, training=True)
    draws = trainer.players.draws(batch)

    def call() -> None:
        with (
            mock.patch.object(Players, "views", return_value=(views, question, carriers)),
            mock.patch.object(Players, "draws", return_value=draws),
            mock.patch.object(torch, "manual_seed"),  # which a generator refuses while a graph is recorded
        ):
            trainer.train_step(batch)

    return call


def graphed(trainer: Trainer, batch: Batch) -> Callable[[], None]:
    """`repeatable` as a CUDA graph; the call replays it."""
    call = repeatable(trainer, batch)
    for group in (group for one in trainer.learners for group in one.optimizer.param_groups):
        if "capturable" in group:
            group["capturable"] = True
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):  # libraries make their work spaces, optimisers their moments
            call()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def compiled(trainer: Trainer, batch: Batch, backend: str) -> Callable[[], None]:
    """The trainer's step with its two networks compiled."""
    import torch._functorch.config

    # The extractor's graph is differentiated twice, once for each player: its buffers must outlive the first time.
    torch._functorch.config.donated_buffer = False
    trainer.players.extractor.backbone.compile(backend=backend, dynamic=False)
    if trainer.lens is not None:
        trainer.moving.compile(backend=backend, dynamic=False)
    return lambda: trainer.train_step(batch) and None


def measure(
    parsed: Parsed, modes: Sequence[str], ways: Sequence[str], rounds: int, backend: str = "inductor"
) -> dict[str, dict[str, Any]]:
    """Each mode's step in each way beside the step as it is; what fails says why. Without CUDA nothing is recorded."""
    fabric = make_fabric(parsed.settings.machine)
    images = step.synthetic(parsed)
    batch = gather(images, np.arange(parsed.settings.optimisation.batch_size), 0).to(fabric.device)
    makers: dict[str, Callable[[Trainer], Callable[[], object]]] = {
        "compile": lambda trainer: compiled(trainer, batch, backend),
        "graph": lambda trainer: (graphed if fabric.device.type == "cuda" else repeatable)(trainer, batch),
    }
    found: dict[str, dict[str, Any]] = {mode: {} for mode in modes}
    for mode, way in itertools.product(modes, ways):
        pair = [step.make_trainer(parsed, images, fabric, mode) for _ in range(2)]
        try:
            found[mode][way] = _beside(pair[0], pair[1], batch, makers[way], rounds)
        except Exception as error:  # of a compiler, or of what refuses to be recorded: the other modes go on
            found[mode][way] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        del pair
        gc.collect()  # a graph keeps its memory as long as it is there
        if fabric.device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def _beside(
    plain: Trainer, other: Trainer, batch: Batch, make: Callable[[Trainer], Callable[[], object]], rounds: int
) -> dict[str, float | None]:
    """Median seconds of the step as it is, then of the other way; `first` is what its first call took: compiling, recording.

    One after the other, since a graph keeps all the memory of its step. `gradients_apart` is the relative distance of both
    steps' gradients where the first call is the first step (a graph's is not).
    """
    plain.train_step(batch)
    expected = gradients(plain)
    as_it_is = median_seconds(lambda: plain.train_step(batch), plain.fabric.device, rounds)
    for parameter in (p for one in plain.learners for p in one.parameters):
        parameter.grad = None
    start = now(other.fabric.device)
    call = make(other)
    call()
    first = now(other.fabric.device) - start
    apart = float((gradients(other) - expected).norm() / expected.norm()) if other.step == 1 else None
    seconds = median_seconds(call, other.fabric.device, rounds)
    return {
        "seconds": seconds,
        "seconds_as_it_is": as_it_is,
        "images_per_second": len(batch.index) / seconds,
        "speed_up": as_it_is / seconds,
        "first": first,
        "gradients_apart": apart,
    }


def median_seconds(call: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The median of a call's seconds over rounds, some before them not counted."""
    jobs: dict[str, step.Prepare] = {"it": lambda: call}
    step.interleaved(jobs, step.WARM_UP, device)
    return statistics.median(step.interleaved(jobs, rounds, device)["it"])


def gradients(trainer: Trainer) -> Tensor:
    """What a step has left in the `.grad` of both players, one after the other."""
    parameters = [p for one in trainer.learners for p in one.parameters]
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def now(device: torch.device) -> float:
    """The clock when the device is done with what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
