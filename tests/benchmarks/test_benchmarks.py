"""The step's benchmark at a tiny size: what it writes, and that what it compares is the same step. Never its times."""

import json

import numpy as np
import pytest
import torch
from tiny import TINY

from benchmarks import step
from lens.images.batching import gather
from lens.players.fabric import make_fabric
from lens.settings.parsing import parse

SETTINGS = [*TINY[: TINY.index("--steps")], "--threads", "1"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    file = tmp_path_factory.mktemp("benchmark") / "step.json"
    assert step.main([*SETTINGS, "--device", "cpu", "--rounds", "2", "--json", str(file)]) == 0
    return json.loads(file.read_text())


def test_every_mode_stands_beside_its_own_floor(measured):
    assert set(measured["modes"]) == {"plain", "both, separate", "both, joint", "lensed", "two-pass"}
    for mode, row in measured["modes"].items():
        floor = sum(count * measured["parts"][part]["seconds"] for part, count in step.FLOORS[mode].items())
        assert row["ratio_to_floor"] == pytest.approx(row["seconds"] / floor)
        assert row["floor_seconds"] == pytest.approx(floor)
        assert row["images_per_second"] == pytest.approx(4 / row["seconds"])
        low, high = row["spread"]
        assert 0 < low <= row["seconds"] <= high
        assert 0 < row["contraction_share"] < 1
        assert row["share_of_bf16_peak"] is None
    assert measured["settings"]["extractor"] == "all_conv"
    assert (measured["device"], measured["threads"], measured["rounds"]) == ("cpu", 1, 2)
    assert measured["versions"]["torch"] == torch.__version__.split("+")[0]
    assert "git_commit" in measured


def test_a_step_computes_what_its_floor_is_made_of(measured):
    """In FLOPs, which do not vary: a mode that crossed a network once more than its floor says would show here."""
    for mode, counts in step.FLOORS.items():
        floor = sum(count * measured["parts"][part]["flops"] for part, count in counts.items())
        # The two-pass step differentiates the root with respect to its input, which no plain step does.
        assert measured["modes"][mode]["flops"] == pytest.approx(floor, rel=0.02 if mode == "two-pass" else 1e-9), mode


def test_peak_memory_is_that_of_the_mode(measured):
    """Weights and activations of one graph, of two, and of both networks."""
    peak = {mode: row["peak_memory"] for mode, row in measured["modes"].items()}
    assert peak["plain"] < peak["lensed"] < peak["both, joint"]


@pytest.mark.parametrize("adversary", ["least_likely", "full"])
def test_the_two_pass_step_takes_the_same_gradients(adversary):
    """Where the lens does not move between its two passes, they differentiate the same two losses."""
    parsed = parse([*SETTINGS, "--device", "cpu", "--objective", adversary], "lens.train")
    fabric, images = make_fabric(parsed.settings.machine), step.synthetic(parsed)
    batch = gather(images, np.arange(4), 0)
    ours, theirs = (step.make_trainer(parsed, images, fabric, mode) for mode in ("both, separate", "two-pass"))
    theirs.lens.set_rate(0.0)
    ours.train_step(batch)
    step.two_pass_step(theirs, batch)
    for name in ("lens", "extractor"):
        # An encoder's last stages are not in the graph where the lens is shallow.
        got, expected = (
            torch.cat([p.grad.flatten() for p in getattr(trainer, name).parameters if p.grad is not None])
            for trainer in (ours, theirs)
        )
        assert expected.norm() > 1e-3
        assert (got - expected).norm() / expected.norm() < 1e-5, name


@pytest.mark.parametrize("lens", ["full_res", "smooth", "colour", "unet"])
def test_every_lens_can_be_timed(lens):
    """Its last layer is found, whatever it is called and whatever it is, and moved off zero: the lens then edits."""
    own = ["--lens.depth", "3"] if lens == "colour" else []
    words = [word for word in SETTINGS if word not in own]
    parsed = parse([*words, "--device", "cpu", "--lens", lens], "lens.train")
    fabric, images = make_fabric(parsed.settings.machine), step.synthetic(parsed)
    trainer = step.make_trainer(parsed, images, fabric, "both, separate")
    views = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert (trainer.players.lens.eval()(views) - views).abs().max() > 1e-4
    assert step.make_trainer(parsed, images, fabric, "plain").players.lens is None


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_fused_optimisers_take_the_step_that_plain_loops_take(optimizer):
    """On CPU a fused step trusts that a gradient lies in memory as its parameter does, which is channels-last here."""
    parsed = parse(
        [*SETTINGS, "--device", "cpu", "--optimizer", optimizer, "--lr", "0.1", "--warmup_fraction", "0"], "lens.train"
    )
    fabric, images = make_fabric(parsed.settings.machine), step.synthetic(parsed)
    batch = gather(images, np.arange(4), 0)
    fused, loops = (step.make_trainer(parsed, images, fabric, "both, separate") for _ in range(2))
    for learner in loops.learners:
        assert learner.optimizer.param_groups[0]["fused"]
        learner.optimizer.param_groups[0].update(fused=False, foreach=False)
    before = [p.detach().clone() for learner in loops.learners for p in learner.parameters]
    for trainer in (fused, loops):
        trainer.train_step(batch)
    moved = 0.0
    pairs = [
        pair
        for ours, theirs in zip(fused.learners, loops.learners, strict=True)
        for pair in zip(ours.parameters, theirs.parameters, strict=True)
    ]
    for first, (got, expected) in zip(before, pairs, strict=True):
        moved += (expected - first).norm().item()
        assert (got - expected).norm() <= 1e-3 * (expected - first).norm()
    assert moved > 1
