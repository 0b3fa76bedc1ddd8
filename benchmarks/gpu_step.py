"""What a step costs on a GPU: `benchmarks.step` for ResNet-50 v2 at 224 px in bf16, and its other ways."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks import step, step_ways
from benchmarks.gpu import Asked
from lens.settings.parsing import Parsed, parse

MODES = ("both, separate", "plain", "lensed", "both, joint")
TINY = {
    "extractor": "all_conv", "extractor_args": {"width": 4}, "image_size": 16, "batch_size": 2, "lens": "colour",
    "threads": 1, "precision": "bf16",
}  # fmt: skip


def modes(asked: Asked, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Every mode beside its floor, with its peak memory and what bounds it."""
    return step.measure(settings(asked), 1 if asked.dry else 15)


def graphs(asked: Asked, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Every mode beside itself as a CUDA graph; without CUDA, what a graph would record."""
    return in_a_way("graph", asked, keep)


def compiled(asked: Asked, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The modes beside themselves with compiled networks, as many as there is time for."""
    return in_a_way("compile", asked, keep)


def in_a_way(way: str, asked: Asked, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """One of `step_ways` for mode after mode, the most interesting first, while there is time for another."""
    start = time.monotonic()
    # On a CPU nothing is compiled to machine code: that takes minutes, and says nothing about a GPU.
    backend = "aot_eager" if asked.dry else "inductor"
    result: dict[str, Any] = {"ways": {}, "left_out": [*MODES[: 1 if asked.dry else None]], "failed": []}
    while result["left_out"] and time.monotonic() - start < 0.6 * asked.seconds:
        mode = result["left_out"].pop(0)
        found = step_ways.measure(settings(asked), [mode], [way], 1 if asked.dry else 15, backend)
        result["ways"] |= found
        if "error" in found[mode][way]:
            result["failed"].append(f"{mode}: {found[mode][way]['error']}")
        keep(result)
    return result


def settings(asked: Asked) -> Parsed:
    """What is timed."""
    return parse([f"--device={asked.device}"], "lens.train", TINY if asked.dry else step.GPU_DEFAULTS)
