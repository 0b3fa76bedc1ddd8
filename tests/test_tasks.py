"""Contract of every task found: its parts fit together, and the three cheap truths hold."""

import math

import pytest
import torch
from torch import nn

from lens.draws import Draws, generator
from lens.protocols import find, names

SIDE = 32


def batch(task, count=6, seed=0, epoch=0, index=None):
    index = torch.arange(count) if index is None else index
    images = torch.rand(64, 3, SIDE, SIDE, generator=generator(seed, 0, "images"))[index]
    draws = Draws(seed, epoch, index, torch.zeros_like(index)).repeat(task.views)
    return task.pose(images.repeat_interleave(task.views, dim=0), draws)


def tiny_extractor(task):
    torch.manual_seed(0)
    from lens.networks import build_extractor

    return build_extractor(task, "test_resnet", SIDE, "small", {}, False, False)


@pytest.fixture(params=names("task"))
def task(request):
    return find("task", request.param)()


def test_views_stay_in_range_and_keep_their_count(task):
    views, question = batch(task)
    assert len(views) == 6 * task.views
    assert views.min() >= 0
    assert views.max() <= 1
    assert all(len(value) % 6 == 0 for value in question.values())


def test_every_image_is_posed_the_same_in_any_batch(task):
    views, question = batch(task)
    order = torch.tensor([3, 0, 5])
    some_views, some_question = batch(task, index=order)
    rows = (order[:, None] * task.views + torch.arange(task.views)).flatten()
    assert torch.equal(some_views, views[rows])
    for name, value in question.items():
        grouped = value.reshape(6, -1, *value.shape[1:])
        assert torch.equal(some_question[name].reshape(3, -1, *value.shape[1:]), grouped[order])


def test_raw_and_lensed_views_are_presented_alike(task):
    views, question = batch(task)
    assert torch.equal(task.present(views, question), task.present(views.clone(), question))
    assert torch.isfinite(task.prepare(views)).all()


def test_the_loss_is_one_number_per_example_and_near_log_k_at_the_start(task):
    views, question = batch(task)
    outputs = tiny_extractor(task)(task.present(views, question))
    loss = task.loss(outputs, question)
    assert loss.dim() == 1
    assert len(loss) % 6 == 0
    if task.classes:
        assert task.logits(outputs).shape == (len(loss), task.classes)
        assert loss.mean().item() == pytest.approx(math.log(task.classes), abs=0.35)


def fit(task, views, question, steps):
    extractor = tiny_extractor(task)
    optimizer = torch.optim.Adam(extractor.parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = task.loss(extractor(task.present(views, question)), question).mean()
        loss.backward()
        optimizer.step()
    return extractor, loss.item()


def test_one_batch_can_be_memorised(task):
    views, question = batch(task)
    _, loss = fit(task, views, question, 60)
    assert loss < 0.1 * math.log(task.classes or math.e)


def test_shuffled_targets_give_chance_on_other_images(task):
    if task.classes is None:
        pytest.skip("chance is a class's frequency")
    views, question = batch(task, count=32)
    shuffled = question["target"][torch.randperm(len(question["target"]), generator=generator(0, 0, "shuffle"))]
    extractor, _ = fit(task, views, question | {"target": shuffled}, 20)
    views, question = batch(task, count=64, seed=1)
    extractor.eval()
    with torch.no_grad():
        answer = task.logits(extractor(task.present(views, question))).argmax(dim=1)
    accuracy = (answer == question["target"]).float().mean().item()
    spread = math.sqrt(1 / task.classes * (1 - 1 / task.classes) / len(answer))
    assert abs(accuracy - 1 / task.classes) < 4 * spread + 0.02


def test_the_head_reads_what_the_task_says(task):
    head = task.head(8)
    assert isinstance(head, nn.Module)


class TestRotation:
    task = find("task", "rotation")()

    def test_the_four_turns_of_each_image_are_all_there(self):
        _, question = batch(self.task)
        assert question["target"].reshape(6, 4).tolist() == [[0, 1, 2, 3]] * 6

    def test_a_turn_undone_gives_the_image_back(self):
        views, question = batch(self.task)
        upright = views[question["target"] == 0]
        for turn in range(1, 4):
            undone = torch.rot90(views[question["target"] == turn], -turn, dims=(2, 3))
            assert torch.equal(undone, upright)
            assert not torch.equal(views[question["target"] == turn], upright)
