"""A run's own question, asked of judges: raw and lensed views, posed as the task poses them."""

from contextlib import nullcontext

import numpy as np
import PIL.Image
import pytest
import torch
from tiny import TINY
from torch import nn

from lens.base.ranks import Ranks
from lens.images.training_set import training_images
from lens.measuring import judges, posed
from lens.measuring.judge import JudgeResult, Pictures
from lens.operations import quality
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.proving import examples, proof, question, reading
from lens.settings.parsing import parse

SIDE = 24
WORDS = [
    *TINY, "--image_size", "24", "--cache_image_size", "24", "--augment", "none", "--extractor", "all_conv", "--extractor_args",
    "{width: 8}", "--judge_fraction", "0.6", "--prove", "--judges", "all_conv:{width: 8}", "--judge_seeds", "1",
]  # fmt: skip
SMALL = ["--task.embedding", "16", "--task.hidden", "32"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Dark above and bright below, in two shades that are two classes."""
    place = tmp_path_factory.mktemp("question") / "pictures"
    rng = np.random.default_rng(0)
    for label, tint in (("a", 0), ("b", 40)):
        (place / label).mkdir(parents=True)
        for i in range(110):
            ramp = np.linspace(40, 170, SIDE)[:, None, None] + rng.integers(0, 30, (SIDE, SIDE, 3))
            ramp[..., 0] += tint
            PIL.Image.fromarray(ramp.clip(0, 255).astype(np.uint8)).save(place / label / f"{i:03d}.png")
    return str(place)


def players_of(data, *words):
    parsed = parse([*WORDS, "--data", data, *words], "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return build(parsed, training_images(parsed.settings), fabric, Ranks(fabric))


def asked(players, monkeypatch, recipe):
    monkeypatch.setattr(judges, "Recipe", lambda steps: recipe)
    return question.of_run(players, proof.judging_of(players), lambda: proof.own_extractor(players)).to_json()


class Flat(nn.Module):
    """Leaves of each picture its mean colour: which way was up is gone, the shade is not."""

    def forward(self, images):
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


class Linear(nn.Module):
    """An extractor that learns in no time: logits from 4×4 pixels."""

    def __init__(self, classes):
        super().__init__()
        self.read = nn.Linear(48, classes)

    def forward(self, inputs, question):
        return self.read(nn.functional.adaptive_avg_pool2d(inputs, 4).flatten(1))


def test_what_hides_the_turn_makes_rotation_harder_and_not_the_labels(pictures, monkeypatch):
    recipe = judges.Recipe(steps=60, least=60, every=30, batch=32, lr=0.05)
    monkeypatch.setattr(judges, "Recipe", lambda steps: recipe)
    monkeypatch.setattr(posed, "build", lambda spec, task, size, stem: posed.Posed(task, Linear(task.classes)))
    found = {}
    for task, classes in (("rotation", 4), ("labels", 2)):
        made = players_of(pictures, "--task", task)
        made.lens = Flat()
        found[task] = question.of_run(made, proof.judging_of(made), lambda classes=classes: Linear(classes)).to_json()
        assert (found[task]["asked"], found[task]["chance"]) == (task, 1 / classes)
        assert found[task]["images"]["test"] == made.task.views * len(made.images.indices("test"))
        assert found[task]["raw"]["balanced_accuracy"] > 0.9
        assert found[task]["judges"]["forensic"] == "forensic trees"
        assert found[task]["raw"]["forensic"] > (0.9 if task == "labels" else 0.5)  # which way is up trees hardly see
    turned, labels = found["rotation"], found["labels"]
    for judge in ("balanced_accuracy", "trained_on"):
        assert turned["lensed"][judge] == pytest.approx(0.25, abs=0.1)
        assert labels["lensed"][judge] > 0.9
    assert turned["verdict"] in ("removed", "reduced")
    assert labels["verdict"] == "not removed"


class Constant:
    """Knows raw images, and gives one answer for all lensed ones."""

    def __init__(self, name):
        self.name = name

    def read(self, shown, seed, what):
        truth = shown["test"].answer
        answers = truth if what.startswith("raw") else np.zeros_like(truth)
        return JudgeResult(answers, 1.0, 0.1, 100, True)


def test_chance_is_of_the_classes_that_test_images_have():
    """Of three classes test images have two: whoever always gives one answer is right of half."""
    answer = np.random.default_rng(0).integers(0, 2, 2000)
    shown = {split: Pictures(np.zeros((2000, 1, 1, 3), np.uint8), answer) for split in ("train", "val", "test")}
    one = reading.Asked("labels", shown, shown, 3, np.arange(2000), 25.0)
    judging = judges.Judging({"x": "default"}, [0], 0, judges.Recipe(), 1, torch.device("cpu"), nullcontext)
    found, _ = reading.compared(one, judging, Constant)
    assert found.chance == found.lensed.balanced_accuracy.value == 0.5
    assert found.lensed.excess.value == 0
    assert found.verdict == "removed"


def test_nobody_is_asked_about_classes_that_judges_cannot_learn(pictures, monkeypatch, capsys):
    monkeypatch.setattr(judges.Network, "read", lambda judge, shown, seed, what: Constant("x").read(shown, seed, what))
    monkeypatch.setattr(question.classes, "pooled", lambda images: (images.label, ["a", "b", "c"]))
    made = players_of(pictures, "--task", "labels")
    made.lens = Flat()
    answers, images = made.answers.clone(), made.images
    test, fresh = images.indices("test"), images.indices("fresh")
    made.answers[test[::3]] = 2  # nobody else is of it
    found = question.of_run(made, proof.judging_of(made), lambda: Linear(3)).to_json()
    assert (found["chance"], found["images"]["test"]) == (0.5, len(test) - len(test[::3]))
    made.answers[:] = answers
    made.answers[fresh] = 0
    found = question.of_run(made, proof.judging_of(made), lambda: Linear(3)).to_json()
    assert "all of one class" in found["none"]
    assert "that training lacks: left out" in capsys.readouterr().err


def test_the_extractor_that_was_trained_with_the_lens_is_asked_as_it_meets_lensed_views(pictures, monkeypatch):
    """Nothing is trained on: what it knows, with the statistics of lensed views, is what is read."""
    made = players_of(pictures, "--task", "rotation", "--batch_norm", "separate")
    made.lens = nn.Identity()
    seen = []

    def read(judge, shown, seed, what):
        seen.append((judge.name, judge.make()))
        return JudgeResult(np.zeros(shown["test"].answer.size, np.int64), 0.5, 0.5, 1, True)

    monkeypatch.setattr(judges.Network, "read", read)
    question.of_run(made, proof.judging_of(made), lambda: proof.own_extractor(made))
    (own,) = [network for name, network in seen if name == "the extractor, trained on"]
    assert not len(own.extractor.lensed_statistics)
    theirs = dict(made.extractor.named_parameters())
    assert all(torch.equal(theirs[name], value) for name, value in own.extractor.named_parameters())
    assert all(theirs[name] is not value for name, value in own.extractor.named_parameters())


@pytest.mark.parametrize(
    ("words", "answers", "beside"),
    [
        (["--task", "rotation"], 4, set()),
        (["--task", "labels"], 1, set()),
        (["--task", "relative_patch", *SMALL], 8, {"corners"}),
        (["--task", "jigsaw", "--task.permutations", "12", "--task.shown", "3", *SMALL], 3, {"corners", "order"}),
    ],
)
def test_views_and_what_is_asked_of_them_are_those_of_the_task(pictures, monkeypatch, words, answers, beside):
    """What a judge is given, put through the task again, is what the extractor is given; and every judge can be asked."""
    made = players_of(pictures, *words)
    made.lens = Flat()
    index = made.images.indices("test")[:5]
    raw, lensed, change = question._posed(made, index, judges.Bar("", 5, "images"))
    (batch,) = made.batches(index, 5)
    views, asks, _ = made.views(batch, training=False)
    assert raw.answer.size == answers * 5
    assert set(raw.question) == set(lensed.question) == beside
    assert np.array_equal(raw.answer.reshape(-1), asks["target"].numpy())
    assert change > 0
    network = posed.build("all_conv:{width: 8}", made.task, SIDE, "default").eval()
    rows = slice(0, len(raw.images))
    with torch.no_grad():
        given = network(
            judges.inputs_of(raw.images, torch.device("cpu")), *judges.question_of(raw, rows, torch.device("cpu"))
        )
        wanted = made.task.logits(network.extractor(made.task.present(quality.to_8_bits(views), asks), asks))
    assert torch.allclose(given, wanted, atol=1e-5)
    found = asked(made, monkeypatch, judges.Recipe(steps=2, least=2, every=2, batch=8))
    assert found["images"]["test"] == made.task.views * len(made.images.indices("test"))
    assert 0 <= found["lensed"]["balanced_accuracy"] <= 1


def test_answers_about_one_image_come_together():
    """Eight of one image that are right together are worth one: the interval is wider than that of as many images."""
    right = np.repeat(np.arange(40) % 2 == 0, 8)
    truth = np.tile(np.arange(8), 40)
    images = np.zeros((40, 8, 8, 3), np.uint8)
    shown = {"test": Pictures(images, truth.reshape(40, 8))}
    together = question.Asked("", shown, shown, 8, np.repeat(np.arange(40), 8), paired=True)
    apart = question.Asked("", shown, shown, 8, np.arange(320), paired=True)
    (p, wide), (q, narrow) = together.accuracy(right), apart.accuracy(right)
    assert p == q == 0.5
    assert wide[1] - wide[0] > 2.5 * (narrow[1] - narrow[0])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--task", "exemplar"], "exemplar has no classes"),
        (["--task", "inpainting"], "inpainting has no classes"),
        (["--task", "colorization"], "colorization has no classes"),
        (["--task", "colorization", "--task.target", "bins"], "depend on each other"),
        (["--task", "dataset_classification", "--pseudo_sources", "2"], "it is the source"),
    ],
)
def test_of_a_loss_no_judge_can_be_asked_and_it_says_so(pictures, words, why):
    made = players_of(pictures, *words)
    assert why in question.why_none(made)
    assert why in question.of_run(made, None, None).none


def test_answers_are_of_the_groups_of_their_images_and_pictures_are_whole(pictures, monkeypatch):
    made = players_of(pictures, "--task", "rotation", "--judge_images", "6")
    made.lens = Flat()
    seen = []
    monkeypatch.setattr(question.reading, "compared", lambda asked, *others: (seen.append(asked), ({}, {}))[1])
    question.of_run(made, proof.judging_of(made), None)
    index = made.of_each_source("test", 6)
    assert seen[0].group.tolist() == [group for group in made.images.group[index].tolist() for _ in range(4)]
    shown = examples.examples_of(made, each=3)
    ramp = shown["raw"][0].astype(float).mean(axis=(2, 3))  # dark above: no picture is turned
    assert (ramp[:, -1] > ramp[:, 0] + 50).all()
    assert len({rows.tobytes() for rows in shown["raw"][0]}) == 3
