"""Fresh classifiers: they find what is there, and nothing where nothing is."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from lens.base.errors import BadInput
from lens.measuring import judges
from lens.measuring.judges import Pictures, Recipe
from lens.measuring.proportions import means_by_class

RECIPE = Recipe(steps=120, least=40, every=20, patience=2, batch=32)


def balanced(answers, truth):
    return means_by_class(answers == truth, truth).mean()


def pictures(count, strength, seed=0, share=0.5):
    """Noise of 16 px; the second class is lighter in one corner by `strength` levels."""
    rng = np.random.default_rng(seed)
    answer = (rng.random(count) < share).astype(np.int64)
    images = rng.integers(60, 196, (count, 16, 16, 3))
    images[answer == 1, :4, :4] += strength
    return Pictures(images.astype(np.uint8), answer)


def splits(strength, share=0.5):
    return {name: pictures(n, strength, seed, share) for seed, (name, n) in enumerate((("train", 600), ("val", 200), ("test", 400)))}  # fmt: skip


def judge(shown, seed=0, recipe=RECIPE, flip=False, spec="all_conv:{width: 8}"):
    return judges.trained(
        lambda: judges.build(spec, 2, 16, "default"), shown, seed, recipe, torch.device("cpu"), contextlib.nullcontext, flip
    )[1]  # fmt: skip


def test_a_cue_is_found_and_ends_the_training_early():
    shown = splits(40)
    found = judge(shown, recipe=Recipe(steps=1000, least=40, every=20, patience=2, batch=32))
    assert balanced(found.answers, shown["test"].answer) > 0.95
    assert found.plateau
    assert found.steps < 1000


class Fragile(torch.nn.Module):
    """Its logits are no numbers once its weight has moved by more than `reach`."""

    def __init__(self, reach):
        super().__init__()
        self.reach = reach
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, inputs):
        logits = inputs[:, :, :4, :4].mean(dim=(1, 2, 3))[:, None] * (1 + self.weight)
        return logits * (1 if self.weight.detach().abs().max() < self.reach else float("nan"))


def test_a_judge_that_diverges_begins_again_more_slowly_and_is_never_taken_for_one_at_chance():
    recipe, told = Recipe(steps=120, every=40, least=40, batch=32, lr=0.02), []
    shown = splits(40)

    def read(reach):
        return judges.trained(
            lambda: Fragile(reach), shown, 0, recipe, torch.device("cpu"), contextlib.nullcontext,
            tell=lambda done, note: told.append(note),
        )[1]  # fmt: skip

    found = read(0.2)
    assert told.count("diverged: again at a tenth of the rate") == 1
    assert np.isfinite(found.loss)
    with pytest.raises(BadInput, match=r"no finite number, even at a rate of 0.0002: ask another one, with --judges"):
        read(0)
    late = read(0.6)  # after a validation: what it had learnt by then is kept, and told as no plateau
    assert np.isfinite(late.loss)
    assert not late.plateau


def test_nothing_is_found_where_nothing_is():
    shown = splits(0)
    found = judge(shown)
    assert abs(balanced(found.answers, shown["test"].answer) - 0.5) < 0.1


def test_the_training_stops_on_its_third_plateau_or_says_that_it_reached_none():
    shown = splits(0)
    long = judge(shown, recipe=Recipe(steps=2000, least=40, every=20, patience=1, batch=32))
    assert long.plateau
    assert 40 < long.steps < 2000
    patient = judge(shown, recipe=Recipe(steps=2000, least=600, every=20, patience=1, batch=32))
    assert patient.steps >= 640 > long.steps  # three plateaus, none before `least`
    short = judge(shown, recipe=Recipe(steps=30, least=40, every=20, patience=1, batch=32))
    assert (short.plateau, short.steps) == (False, 30)


def test_what_a_few_validation_images_say_ends_nothing():
    """Of two images often both are right by luck, whatever the classifier has learnt."""
    shown = splits(120)
    few = [int(np.flatnonzero(shown["val"].answer == kind)[0]) for kind in (0, 1)]
    shown["val"] = Pictures(shown["val"].images[few], shown["val"].answer[few])
    found = judge(shown, recipe=Recipe(steps=200, least=200, every=5, patience=1, batch=32))
    assert (found.validation, found.steps, found.plateau) == (1.0, 200, False)
    sure = judge(shown, recipe=Recipe(steps=200, least=200, every=5, patience=1, batch=32, sure=1))
    assert sure.steps < 200
    assert sure.plateau


def test_of_weights_equal_in_validation_those_of_the_lowest_loss_are_kept():
    shown = splits(120)
    early, found = (judge(shown, recipe=Recipe(steps, 0.0, 200, 1000, 5, 99, 32)) for steps in (120, 200))
    assert found.validation == early.validation == 1.0  # of equal steps so far
    assert found.loss < early.loss


def test_the_rate_rises_stays_falls_on_plateaus_and_ends_at_zero():
    recipe = Recipe(steps=1000, cooldown=0.25, lr=0.5)

    def rate(step, plateaus=0):
        return judges._rate(recipe, step, plateaus)

    assert [rate(0), rate(24), rate(49)] == pytest.approx([0.01, 0.25, 0.5])
    assert {rate(step) for step in range(50, 751)} == {0.5}
    assert rate(400, plateaus=2) == pytest.approx(0.005)
    assert [rate(875), rate(875, 1), rate(999)] == pytest.approx([0.25, 0.025, 0.002])  # half-way down; one step left
    assert judges._rate(Recipe(steps=1000, cooldown=0.0, lr=0.5), 999, 0) == 0.5


def test_the_rate_is_the_optimizers(monkeypatch):
    """With a rate of nothing, nothing is learnt."""
    shown = splits(40)
    monkeypatch.setattr(judges, "_rate", lambda recipe, step, plateaus: 0.0)
    assert abs(balanced(judge(shown).answers, shown["test"].answer) - 0.5) < 0.1


def test_the_seed_is_all_that_is_random():
    shown = splits(10)
    recipe = Recipe(steps=40, least=40, every=20, patience=2, batch=32)
    first, again, other = (judge(shown, seed, recipe) for seed in (0, 0, 1))
    assert np.array_equal(first.answers, again.answers)
    assert not np.array_equal(first.answers, other.answers)


def test_a_rare_class_is_shown_as_often_as_the_other():
    shown = splits(50, share=0.1)
    found = judge(shown)
    assert balanced(found.answers, shown["test"].answer) > 0.85
    rows = judges.balanced_batch(np.array([7, 993]), 4000, torch.Generator().manual_seed(0))
    assert (rows < 7).mean() == pytest.approx(0.5, abs=0.03)
    assert set(rows[rows < 7]) == set(range(7))
    assert rows.max() > 980


def test_the_balanced_batches_are_of_the_pictures_themselves(monkeypatch):
    """Pictures that show their class, in any order: half of each batch of training is of the rare one."""
    shown = splits(50, share=0.1)
    train = shown["train"]
    bright = np.broadcast_to((200 * train.answer)[:, None, None, None], train.images.shape).astype(np.uint8)
    batches = []

    def spy(images, device, inputs=judges.inputs_of):
        batches.append(images)
        return inputs(images, device)

    monkeypatch.setattr(judges, "inputs_of", spy)
    judge(
        shown | {"train": judges.Pictures(bright, train.answer)}, recipe=Recipe(steps=20, least=20, every=20, batch=64)
    )
    trained = np.concatenate(batches[:20])
    assert (trained.max(axis=(1, 2, 3)) > 100).mean() == pytest.approx(0.5, abs=0.05)


def test_mirroring_hides_which_side_a_cue_is_on():
    """A cue of the side alone: readable as it stands, gone where training images are mirrored."""
    rng = np.random.default_rng(3)

    def sided(count):
        answer = rng.integers(0, 2, count)
        images = rng.integers(60, 196, (count, 16, 16, 3))
        images[answer == 0, :4, :4] += 50
        images[answer == 1, :4, -4:] += 50
        return Pictures(images.astype(np.uint8), answer)

    shown = {"train": sided(600), "val": sided(200), "test": sided(400)}
    plain, mirrored = (balanced(judge(shown, flip=f).answers, shown["test"].answer) for f in (False, True))
    assert plain > 0.9
    assert abs(mirrored - 0.5) < 0.15


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet17", "unknown --judges 'resnet17': did you mean"),
        ("all_conv:3", "after the colon come arguments"),
        ("all_conv:{width: [", "after the colon come arguments"),
        ("all_conv:{depth: 3}", "does not take"),
    ],
)
def test_a_classifier_that_is_none_is_refused(spec, message):
    with pytest.raises(BadInput, match=message):
        judges.build(spec, 2, 16, "default")


def test_a_judge_that_is_told_what_is_asked_learns_it():
    """Two questions about each picture, which only what stands beside it tells apart: left or right corner, is it light?"""
    rng = np.random.default_rng(0)

    def shown(count):
        corner = rng.integers(0, 2, (count, 2))
        images = rng.integers(60, 120, (count, 8, 8, 3))
        for place, at in enumerate((slice(0, 4), slice(4, 8))):
            images[:, :, at] += (100 * corner[:, place])[:, None, None, None]
        side = rng.permuted(np.tile([0, 1], (count, 1)), axis=1)
        return Pictures(images.astype(np.uint8), np.take_along_axis(corner, side, axis=1), {"side": side})

    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 2, 2))

        def forward(self, inputs, question):
            halves = (
                torch.stack([inputs[..., :4].mean(dim=(1, 2, 3)), inputs[..., 4:].mean(dim=(1, 2, 3))], dim=1) - 0.1
            )
            return torch.einsum("eh,ehk->ek", halves.repeat_interleave(2, dim=0), self.weight[question["side"]]) * 10

    parts = {"train": shown(200), "val": shown(60), "test": shown(60)}
    recipe = Recipe(steps=150, least=150, every=50, batch=32, lr=0.05)
    _, found = judges.trained(Looks, parts, 0, recipe, torch.device("cpu"), contextlib.nullcontext)
    assert found.answers.shape == (120,)
    assert (found.answers == parts["test"].answer.reshape(-1)).mean() > 0.95
