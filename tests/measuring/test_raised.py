"""A raised judge: it knows what raw images show, and follows it to where a fresh one would have to find it."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from lens.measuring import judges, raised
from lens.measuring.judge import Pictures
from lens.measuring.judges import Network, Recipe

CPU = torch.device("cpu")


def pictures(count, strength, seed):
    """Noise of 8 px whose second class is lighter in one corner by `strength` levels."""
    rng = np.random.default_rng(seed)
    answer = np.arange(count) % 2
    images = rng.integers(100, 156, (count, 8, 8, 3))
    images[answer == 1, :2, :2] += strength
    return Pictures(images.astype(np.uint8), answer)


def splits(strength):
    return {name: pictures(count, strength, seed) for seed, (name, count) in enumerate((("train", 200), ("val", 100), ("test", 200)))}  # fmt: skip


class Spy(nn.Module):
    """Two logits of the pixels' mean; it remembers what it was shown while it learnt."""

    def __init__(self):
        super().__init__()
        self.read = nn.Linear(1, 2)
        self.shown = []

    def forward(self, inputs):
        if self.training:
            self.shown.append(inputs.detach().clone())
        return self.read(inputs.mean(dim=(1, 2, 3), keepdim=True).flatten(1))


def test_the_way_leads_from_raw_to_lensed_images_a_step_nearer_with_each_batch():
    raw, lensed = (Pictures(np.full((40, 8, 8, 3), level, np.uint8), np.arange(40) % 2) for level in (0, 255))
    model = Spy()
    raised.led(model, (raw, lensed), 0, Recipe(steps=4, batch=6), CPU, contextlib.nullcontext)
    # Levels 0 and 255 are −1 and 1: at t of the way, 2 t − 1.
    assert [one.unique().tolist() for one in model.shown] == [[-0.5], [0.0], [0.5], [1.0]]


def test_rows_of_raw_and_lensed_images_go_together():
    raw, lensed = pictures(40, 0, 0), pictures(40, 0, 1)
    model = Spy()
    raised.led(model, (raw, lensed), 0, Recipe(steps=1, batch=8), CPU, contextlib.nullcontext)
    whole = judges.inputs_of(lensed.images, CPU)
    assert all((row == whole).flatten(1).all(dim=1).any() for row in model.shown[0])  # t = 1: lensed ones
    model.shown.clear()
    raised.led(model, (raw, lensed), 0, Recipe(steps=2, batch=8), CPU, contextlib.nullcontext)
    halves = (judges.inputs_of(raw.images, CPU) + whole) / 2
    assert all(torch.isclose(row, halves, atol=1e-6).flatten(1).all(dim=1).any() for row in model.shown[0])


@pytest.fixture(scope="module")
def network():
    """A judge that looks at every pixel, with few steps."""
    recipe = Recipe(steps=60, least=60, every=20, batch=32, lr=0.001)
    return Network(
        "pixels", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), recipe, CPU, contextlib.nullcontext
    )


def test_a_faint_cue_is_read_by_who_has_been_led_to_it(network):
    """Twelve levels in a corner of noise of 56: in so few steps a fresh judge finds less of them."""
    raw, lensed = splits(60), splits(12)
    truth = lensed["test"].answer
    fresh = [(network.read(lensed, seed, "").answers == truth).mean() for seed in range(3)]
    led = [(raised.Raised(network, raw).read(lensed, seed, "").answers == truth).mean() for seed in range(3)]
    assert all(np.array(led) > np.array(fresh) + 0.02)


def test_a_raised_judge_is_the_same_each_time_that_it_is_asked_and_reads_nothing_where_nothing_is(network):
    judge = raised.Raised(network, splits(60))
    gone = splits(0)
    first, again = (judge.read(gone, 0, "") for _ in range(2))
    assert np.array_equal(first.answers, again.answers)
    assert (first.answers == gone["test"].answer).mean() == pytest.approx(0.5, abs=0.12)
    assert judge.name == "pixels, raised"


def test_it_learns_raw_images_by_the_whole_recipe_and_lensed_ones_for_as_many_steps(network, monkeypatch):
    seen = []

    def trained(make, shown, seed, recipe, *others):
        seen.append((shown["train"].images.mean() > 130, recipe.steps))
        return make(), None

    monkeypatch.setattr(judges, "trained", trained)
    monkeypatch.setattr(raised, "led", lambda model, between, seed, recipe, *others: seen.append(("led", recipe.steps)))
    bright = {name: dataclasses.replace(part, images=part.images + 50) for name, part in splits(0).items()}
    raised.Raised(network, bright).read(splits(0), 0, "")
    assert seen == [(True, 60), ("led", 30), (False, 30)]
