"""The step's other ways are the same step: what a CUDA graph would record, what a compiler is given. Never their times."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import step, step_ways
from lens.images.batching import gather
from lens.players.fabric import make_fabric
from lens.settings.parsing import parse

SETTINGS = [
    "--extractor", "test_resnet", "--lens", "full_res", "--lens.depth", "3", "--image_size", "16", "--cache_image_size", "18",
    "--batch_size", "4", "--threads", "1", "--device", "cpu",
]  # fmt: skip
WAITS = {"_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "_unique2", "equal"}
"""Operations whose outcome the CPU must know before it goes on: while a graph is recorded none is allowed."""


class Waiting(TorchDispatchMode):
    """Remember the operations that would wait for a device."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in WAITS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def trainers(mode, number, *more):
    parsed = parse([*SETTINGS, *more], "lens.train")
    fabric, images = make_fabric(parsed.settings.machine), step.synthetic(parsed)
    batch = gather(images, np.arange(4), 0)
    return [step.make_trainer(parsed, images, fabric, mode) for _ in range(number)], batch


@pytest.mark.parametrize("mode", ["plain", "both, separate"])
def test_what_a_graph_records_is_the_step_and_waits_for_nothing(mode):
    (ours, theirs), batch = trainers(mode, 2)
    call = step_ways.repeatable(ours, batch)
    with Waiting() as waiting:
        call()
    assert waiting.seen == []
    theirs.train_step(batch)
    assert torch.equal(step_ways.gradients(ours), step_ways.gradients(theirs))
    assert step_ways.gradients(theirs).norm() > 1e-3
    # Nothing stays held still afterwards.
    assert ours.players.views(batch, training=True)[0] is not ours.players.views(batch, training=True)[0]


def test_the_watch_sees_an_operation_that_waits():
    with Waiting() as waiting:
        bool(torch.ones(1) > 0)
    assert waiting.seen


def test_a_way_that_fails_says_why_and_the_others_go_on(monkeypatch):
    def refuse(trainer, batch, backend):
        raise RuntimeError("no compiler\nis here")

    monkeypatch.setattr(step_ways, "compiled", refuse)
    parsed = parse(SETTINGS, "lens.train")
    found = step_ways.measure(parsed, ["plain"], ["compile", "graph"], 1)
    assert found["plain"]["compile"] == {"error": "RuntimeError: no compiler"}
    row = found["plain"]["graph"]
    assert row["gradients_apart"] == 0
    assert row["speed_up"] == pytest.approx(row["seconds_as_it_is"] / row["seconds"])
    assert row["images_per_second"] == pytest.approx(4 / row["seconds"])


@pytest.mark.parametrize(
    "more", [("--precision", "bf16"), ("--lens", "smooth"), ("--lens", "unet", "--lens.encoder", "resnet18")]
)
def test_every_part_of_a_floor_runs_in_every_precision_and_with_every_lens(more):
    (trainer,), batch = trainers("both, separate", 1, *more)
    parts = step.make_parts(trainer, batch)
    assert set(parts) == {part for counts in step.FLOORS.values() for part in counts}
    for prepare in parts.values():
        prepare()()


@pytest.mark.parametrize(
    ("contractions", "busy", "expected"),
    [(0.8, None, "contractions"), (0.3, None, "elementwise"), (0.8, 0.95, "contractions"), (0.8, 0.5, "launches")],
)
def test_what_bounds_a_step_is_what_it_waits_for(contractions, busy, expected):
    assert step.bound_by(contractions, busy).startswith(expected)
