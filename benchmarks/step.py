"""What a step costs, in each mode, beside the sum of its parts and beside a straightforward two-pass step.

    python -m benchmarks.step --threads 1 --json step.json
    python -m benchmarks.step --device cuda --json step.json

Any setting of `lens.train` is a flag here too; the defaults are lens's own on a CPU, ResNet-50 v2 at 224 px in bf16 on
a GPU. What is timed is `Trainer.train_step` on a synthetic batch: posing, both players, both optimisers, the record.

A mode's *floor* is the sum of the parts that it cannot do without, each timed alone in the same rounds. In extractor
forwards a plain step is 3 (forward, input gradient, weight gradient). `both, separate` has 7: a plain step on raw and
one on lensed images, and an input gradient for the lens. `both, joint` has 8: batch statistics tie the halves, so the
lens's gradient crosses both. `lensed` has 4. The two-pass step has 9: the lens's pass computes weight gradients that it
throws away. Each has its lens, its optimisers and its posing on top.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The profiler speaks of its own affairs otherwise, in the middle of the table.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import lightning_fabric
import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.nn import functional

from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.versions import git_commit, versions
from lens.images.batching import Batch, gather
from lens.images.data import Images
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.players.objectives import adversarial_loss
from lens.protocols.lookup import find
from lens.settings.parsing import Parsed, parse
from lens.training.step import plain_step
from lens.training.trainer import Trainer

GPU_DEFAULTS = {"extractor": "resnetv2_50", "image_size": 224, "batch_size": 32, "precision": "bf16"}
WARM_UP = 2

MODES: dict[str, dict[str, str]] = {
    "plain": {"lens": "none"},
    "both, separate": {"feed": "both", "batch_norm": "separate"},
    "both, joint": {"feed": "both", "batch_norm": "joint"},
    "lensed": {"feed": "lensed"},
    "two-pass": {"feed": "both", "batch_norm": "separate"},
}
"""The settings of each mode."""

_PLAYERS = {"pose": 1, "lens": 1, "extractor_optimizer": 1, "lens_optimizer": 1}
FLOORS: dict[str, dict[str, int]] = {
    "plain": {"pose": 1, "plain": 1, "extractor_optimizer": 1},
    "both, separate": {**_PLAYERS, "plain": 2, "input_gradient": 1},
    "both, joint": {**_PLAYERS, "plain": 2, "input_gradient": 2},
    "lensed": {**_PLAYERS, "plain": 1, "input_gradient": 1},
    "two-pass": {**_PLAYERS, "plain": 3, "lens_forward": 1},
}
"""How often each mode needs each part."""

PEAKS = {"NVIDIA H200": 989e12, "NVIDIA H100 80GB HBM3": 989e12, "A100": 312e12}
"""Dense bf16 FLOP/s, from the makers' data sheets, by the beginning of the device's name."""

CONTRACTION = re.compile(r"aten::\w*(convolution|conv2d|addmm|mm$|attention)")


def two_pass_step(trainer: Trainer, batch: Batch) -> None:
    """The step as a reader of the paper would write it: one pass for each player, raw and lensed images by turns.

    It shares only the task's losses with `lens.training.step`. The lens moves first, as it does in such a loop.
    """
    players, settings, task = trainer.players, trainer.settings, trainer.players.task
    extractor, optimizer = trainer.extractor.module, trainer.extractor.optimizer
    assert trainer.lens is not None
    lens, lens_optimizer = trainer.lens.module, trainer.lens.optimizer
    views, question, _ = players.views(batch, training=True)

    lens_optimizer.zero_grad()
    moved = lens(views)
    lensed = moved + (moved.clamp(0, 1) - moved).detach()
    outputs = extractor(task.present(lensed, question), question, lensed=True)
    fooling = adversarial_loss(settings.game.objective, task, outputs, question).mean()
    trainer.fabric.backward(fooling + trainer.steering.weight * functional.mse_loss(moved, views))
    lens_optimizer.step()

    optimizer.zero_grad()  # what the lens's pass left there
    with torch.no_grad():
        lensed = lens(views).clamp(0, 1)
    raw_loss = task.loss(extractor(task.present(views, question), question), question).mean()
    lensed_loss = task.loss(extractor(task.present(lensed, question), question, lensed=True), question).mean()
    trainer.fabric.backward((raw_loss + lensed_loss) / 2)
    optimizer.step()


# --- what is timed ---------------------------------------------------------------------------------------------------


def synthetic(parsed: Parsed) -> Images:
    """One batch of noise at cache size, as if it had been read."""
    settings = parsed.settings
    count, side = settings.optimisation.batch_size, settings.data.resolved_cache_size
    pixels = np.random.default_rng(settings.optimisation.seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    zeros = np.zeros(count, dtype=np.int64)
    names = [str(i) for i in range(count)]
    split = np.full(count, "train")
    return Images(
        ["noise"], [pixels], [0], names, zeros, zeros, zeros, split, [[]], [], zeros, ["noise"], ["all"], [False]
    )


def make_trainer(parsed: Parsed, images: Images, fabric: lightning_fabric.Fabric, mode: str) -> Trainer:
    """The players and optimisers of a mode; the lens's last layer is moved off zero, where its gradients are special."""
    settings = parsed.settings.replaced(**MODES[mode])
    plugins = parsed.plugins | ({"lens": find("lens", "none")()} if mode == "plain" else {})
    players = build(dataclasses.replace(parsed, settings=settings, plugins=plugins), images, fabric)
    if players.lens is not None:
        unet = players.lens.unet
        last = unet.last if hasattr(unet, "last") else unet.segmentation_head[0]
        nn.init.normal_(last.weight, std=0.01)
    return Trainer(players, total=10**6)


Prepare = Callable[[], Callable[[], object]]
"""What makes ready, untimed, and returns what is to be timed."""


def make_parts(trainer: Trainer, batch: Batch) -> dict[str, Prepare]:
    """The parts that every floor is added up from, each alone."""
    players, task = trainer.players, trainer.players.task
    assert trainer.lens is not None
    extractor, learner, lens = trainer.extractor, trainer.lens, trainer.lens.module
    views, question, _ = players.views(batch, training=True)
    upstream = torch.randn_like(views)

    def plain() -> Callable[[], object]:
        extractor.optimizer.zero_grad()
        return lambda: plain_step(trainer.game, extractor.player, views, question)

    def input_gradient() -> Callable[[], object]:
        inputs = task.present(views, question).detach().requires_grad_()
        loss = task.loss(extractor.module(inputs, question, lensed=True), question).mean()
        return lambda: trainer.fabric.backward(loss, inputs=[inputs])

    def lens_step() -> Callable[[], object]:
        learner.optimizer.zero_grad()
        return lambda: trainer.fabric.backward(lens(views), upstream, inputs=learner.parameters)

    def lens_forward() -> Callable[[], object]:
        return lambda: torch.no_grad()(lens)(views)

    def optimizer(which: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> Callable[[], object]:
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 1e-3)
        return which.step

    return {
        "pose": lambda: lambda: players.views(batch, training=True),
        "plain": plain,
        "input_gradient": input_gradient,
        "lens": lens_step,
        "lens_forward": lens_forward,
        "extractor_optimizer": lambda: optimizer(extractor.optimizer, extractor.parameters),
        "lens_optimizer": lambda: optimizer(learner.optimizer, learner.parameters),
    }


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """How long a call takes, until the device is done with it."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def interleaved(jobs: dict[str, Prepare], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every job in every round; each round begins one job later, so that drift hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(seconds(jobs[name](), device))
    return taken


# --- what a step needs beside time -----------------------------------------------------------------------------------


def resident(trainer: Trainer) -> int:
    """Bytes of weights, buffers and moments: what a mode holds between steps, gradients aside."""
    modules = [m for m in (trainer.players.extractor, trainer.players.lens) if m is not None]
    moments = [value for one in trainer.learners for entry in one.optimizer.state.values() for value in entry.values()]
    tensors: list[Tensor] = [x for m in modules for x in itertools.chain(m.parameters(), m.buffers())]
    return sum(x.nbytes for x in tensors + [value for value in moments if isinstance(value, Tensor)])


def count_flops(call: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products in a call."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def examine(trainer: Trainer, step: Callable[[], object], before: int) -> dict[str, Any]:
    """Peak bytes of the mode's tensors, FLOPs, the share of operations' time in convolutions and matrix products, and (on
    CUDA) the seconds that the device works in a step.

    On CUDA the peak is the allocator's, less what other modes held `before`. On a CPU it is what the mode holds between
    steps and the highest sum of what the profiler saw allocated and freed: tensors, not oneDNN's scratch space.
    """
    from torch.profiler import ProfilerActivity, profile

    device = trainer.fabric.device
    cuda = device.type == "cuda"
    flops = count_flops(step)
    for parameter in (p for one in trainer.learners for p in one.parameters):
        parameter.grad = None
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        step()
        peak = torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda, profile_memory=not cuda) as seen:
        step()
        if cuda:
            torch.cuda.synchronize(device)
    if not cuda:
        changes = [e.nbytes() for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
        peak = resident(trainer) + max(itertools.accumulate(changes))
    total = contractions = 0.0
    for row in seen.key_averages():
        if row.key.startswith("aten::"):  # an operation: the kernels that it launched have rows of their own
            taken = row.self_device_time_total if cuda else row.self_cpu_time_total
            total += taken
            contractions += taken * bool(CONTRACTION.match(row.key))
    found = {"peak_memory": peak, "flops": flops, "contraction_share": contractions / total}
    return found | {"device_seconds": device_seconds(seen) if cuda else None}


def device_seconds(seen: torch.profiler.profile) -> float:
    """How long the device has worked on kernels and copies of what a profiler has seen."""
    rows = [row for row in seen.key_averages() if row.device_type != DeviceType.CPU and not row.is_user_annotation]
    return sum(row.self_device_time_total for row in rows) / 1e6


IDLE = 0.2
"""Share of a step in which a device has nothing to do, from which on the launches count as what bounds it."""


def bound_by(contraction_share: float, busy_share: float | None) -> str:
    """What a step waits for most, in words: the launching of kernels, arithmetic, or (elementwise, norms) memory."""
    if busy_share is not None and busy_share < 1 - IDLE:
        return f"launches, device busy {busy_share:.0%}"
    if contraction_share > 0.5:
        return f"contractions, {contraction_share:.0%}"
    return f"elementwise and norms, {1 - contraction_share:.0%}"


# --- the whole -------------------------------------------------------------------------------------------------------


def measure(parsed: Parsed, rounds: int) -> dict[str, Any]:
    """Time every mode and every part in the same rounds, and put each mode beside its own floor."""
    settings = parsed.settings
    if not settings.players.lens_class.learns:
        raise BadInput(
            f"--lens {settings.players.lens} has no lens to time; none is the mode 'plain' in any case: leave it out"
        )
    fabric = make_fabric(settings.machine)
    device = fabric.device
    images = synthetic(parsed)
    batch = gather(images, np.arange(settings.optimisation.batch_size), 0).to(device)
    jobs: dict[str, Prepare] = {}
    examined: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        trainer = make_trainer(parsed, images, fabric, mode)

        def step(trainer: Trainer = trainer, mode: str = mode) -> None:
            if mode == "two-pass":
                two_pass_step(trainer, batch)
            else:
                trainer.train_step(batch)

        for _ in range(WARM_UP):
            step()
        examined[mode] = examine(trainer, step, before)
        jobs[mode] = lambda step=step: step  # type: ignore[misc]
    parts = make_parts(make_trainer(parsed, images, fabric, "both, separate"), batch)
    jobs = parts | jobs
    interleaved(jobs, WARM_UP, device)
    taken = interleaved(jobs, rounds, device)

    median = {name: statistics.median(values) for name, values in taken.items()}
    spread = {name: np.quantile(values, [0.25, 0.75]).tolist() for name, values in taken.items()}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    peak = next((value for start, value in PEAKS.items() if start in name and not name.endswith("NVL")), None)
    modes: dict[str, dict[str, Any]] = {}
    for mode, counts in FLOORS.items():
        floor = sum(count * median[part] for part, count in counts.items())
        rate = examined[mode]["flops"] / median[mode]
        working = examined[mode]["device_seconds"]
        busy = None if working is None else min(1.0, working / median[mode])
        modes[mode] = {
            "seconds": median[mode],
            "spread": spread[mode],
            "images_per_second": settings.optimisation.batch_size / median[mode],
            "floor_seconds": floor,
            "ratio_to_floor": median[mode] / floor,
            "ratio_to_two_pass": median[mode] / median["two-pass"],
            **examined[mode],
            "flops_per_second": rate,
            "share_of_bf16_peak": rate / peak if peak and settings.machine.precision == "bf16" else None,
            "busy_share": busy,
            "bound_by": bound_by(examined[mode]["contraction_share"], busy),
        }
    return {
        "modes": modes,
        "parts": {
            part: {"seconds": median[part], "spread": spread[part], "flops": count_flops(prepare())}
            for part, prepare in parts.items()
        },
        "rounds": rounds,
        "device": name,
        "threads": torch.get_num_threads(),
        "settings": parsed.plain,
        "versions": versions(),
        "git_commit": git_commit(),
    }


def show(result: dict[str, Any]) -> None:
    """Print the parts and the modes as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    settings = result["settings"]
    console = Console(width=None if sys.stdout.isatty() else 140)
    what = f"{settings['extractor']}, {settings['image_size']} px, {settings['batch_size']} images, {settings['precision']}"
    where = f"{result['device']}, {result['threads']} threads, torch {result['versions']['torch']}"
    title = f"{what}; {where}; medians of {result['rounds']} rounds (quartiles)"
    table = Table(title=Text(title))  # no markup: a name may hold brackets
    for column in ("mode", "ms", "quartiles", "images/s", "floor, ms", "× floor", "× two-pass", "peak, MB", "TFLOP/s", "of peak", "bound by"):  # fmt: skip
        table.add_column(column, justify="left" if column in ("mode", "bound by") else "right")
    for mode, row in result["modes"].items():
        low, high = row["spread"]
        of_peak = row["share_of_bf16_peak"]
        table.add_row(
            mode, f"{1e3 * row['seconds']:.1f}", f"{1e3 * low:.1f}–{1e3 * high:.1f}", f"{row['images_per_second']:.1f}",
            f"{1e3 * row['floor_seconds']:.1f}", f"{row['ratio_to_floor']:.3f}", f"{row['ratio_to_two_pass']:.3f}",
            f"{row['peak_memory'] / 1e6:.0f}", f"{row['flops_per_second'] / 1e12:.3f}",
            "–" if of_peak is None else f"{of_peak:.1%}", row["bound_by"],
        )  # fmt: skip
    console.print(table)
    parts = ", ".join(f"{name} {1e3 * part['seconds']:.1f}" for name, part in result["parts"].items())
    console.print(f"parts, ms: {parts}", markup=False)
    for mode, ways in result["ways"].items():
        for way, row in ways.items():
            told = row.get("error") or f"{row['images_per_second']:.1f} images/s, × {row['speed_up']:.3f}"
            console.print(f"{mode}, {way}: {told}", markup=False)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""

    def run() -> int:
        from benchmarks import step_ways

        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--json", type=Path, help="file for every figure")
        parser.add_argument("--rounds", type=int, default=20)
        parser.add_argument("--ways", nargs="*", default=[], choices=step_ways.WAYS, help="see benchmarks.step_ways")
        arguments, more = parser.parse_known_args(argv)
        base = GPU_DEFAULTS if arguments.device == "cuda" else None
        parsed = parse([f"--device={arguments.device}", *more], "lens.train", base)
        result = measure(parsed, arguments.rounds)
        result["ways"] = step_ways.measure(parsed, [*MODES][:-1], arguments.ways, arguments.rounds)
        show(result)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
        return 0

    return guard(run)


if __name__ == "__main__":
    sys.exit(main())
