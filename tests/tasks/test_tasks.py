"""Contract of every task found: its parts fit together, and the three cheap truths hold."""

import math

import pytest
import torch
from torch import nn

from lens.base.draws import Draws, generator
from lens.measuring import pretext
from lens.protocols.lookup import find, names

SIDE = 32


SMALL = {"relative_patch": {"embedding": 32, "hidden": 64}, "jigsaw": {"embedding": 32, "hidden": 64}}
KINDS = [(name, SMALL.get(name, {})) for name in names("task")] + [("colorization", {"target": "bins"})]


def pictures(seed, count=64):
    """Noise on colours that differ between pictures: a class-less question is one about them."""
    random = generator(seed, 0, "images")
    colour = torch.rand(count, 3, 1, 1, generator=random)
    ramp = torch.linspace(-0.3, 0.3, SIDE)[:, None] * torch.rand(count, 3, 1, 1, generator=random)
    return (colour + ramp + 0.1 * torch.randn(count, 3, SIDE, SIDE, generator=random)).clamp(0, 1)


def batch(task, count=6, seed=0, epoch=0, index=None):
    index = torch.arange(count) if index is None else index
    images = pictures(seed)[index]
    draws = Draws(seed, epoch, index, torch.zeros_like(index)).repeat(task.views)
    views, question = task.pose(images.repeat_interleave(task.views, dim=0), draws)
    if task.answer:  # of a picture: which of four kinds it is
        question["target"] = index.repeat_interleave(task.views) % 4
    return views, question


def tiny_extractor(task):
    torch.manual_seed(0)
    from lens.players.building import build_extractor

    return build_extractor(task, "test_resnet", SIDE, "small", {}, False, False)


def made(name, arguments):
    task = find("task", name)(**arguments)
    return task.for_classes(["a", "b", "c", "d"]) if task.answer else task


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join([kind[0], *map(str, kind[1].values())][:2]))
def task(request):
    return made(*request.param)


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
    outputs = tiny_extractor(task)(task.present(views, question), question)
    loss = task.loss(outputs, question)
    assert loss.dim() == 1
    assert len(loss) % 6 == 0
    if task.classes:
        assert task.logits(outputs).shape == (len(loss), task.classes)
        assert loss.mean().item() == pytest.approx(math.log(task.classes), abs=0.35)
    elif task.couples:
        # Of near embeddings a semi-hard triplet costs between nothing and the margin, mostly nearer to it.
        assert 0.2 * task.margin < loss.mean().item() < task.margin
    else:
        # Answering about zero costs the answers' mean square.
        assert loss.mean().item() == pytest.approx(question["target"].square().mean().item(), rel=0.35)


def test_outputs_of_half_precision_are_scored_as_the_same_numbers_are(task):
    """As under --precision bf16, where a head's outputs have eight bits: the loss of each, and which are right."""
    views, question = batch(task)
    extractor = tiny_extractor(task).eval()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = extractor(task.present(views, question), question)
        loss, right = task.loss(outputs, question), pretext._score(task, outputs, question)
    assert outputs.dtype == torch.bfloat16
    loss.mean().backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in extractor.parameters())
    plain = outputs.detach().float()
    assert torch.allclose(loss.float(), task.loss(plain, question), rtol=0.02, atol=0.02)
    assert (right.float() - pretext._score(task, plain, question).float()).abs().mean() < 0.1


def fit(task, views, question, steps, enough=-math.inf):
    """An extractor after so many steps, or as soon as its loss is below what is `enough`; and that loss."""
    extractor = tiny_extractor(task)
    optimizer = torch.optim.Adam(extractor.parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = task.loss(extractor(task.present(views, question), question), question).mean()
        loss.backward()
        optimizer.step()
        if loss.item() < enough:
            break
    return extractor, loss.item()


def test_one_batch_can_be_memorised(task):
    views, question = batch(task, count=2)
    _, first = fit(task, views, question, 1)
    memorised = 0.1 * math.log(task.classes) if task.classes else 0.1 * first
    _, loss = fit(task, views, question, 100, memorised)
    assert loss < memorised


def test_shuffled_targets_give_chance_on_other_images(task):
    """Of exemplar: no more than an untrained extractor, for which like crops are already near each other."""
    few = task.couples and task.classes is None
    count, others = (4, 16) if few else (8, 64)
    views, question = batch(task, count=count)
    shuffled = question["target"][torch.randperm(len(question["target"]), generator=generator(0, 0, "shuffle"))]
    extractor, _ = fit(task, views, question | {"target": shuffled}, 20)
    views, question = batch(task, count=others, seed=1)

    def right(asked):
        with torch.no_grad():
            return pretext._score(task, asked.eval()(task.present(views, question), question), question).mean().item()

    counts = [] if task.balanced or not task.classes else [torch.bincount(question["target"])]
    chance = pretext._chance(task, counts)
    bound = right(tiny_extractor(task)) if few else chance
    # Answers about one image come together.
    assert right(extractor) - bound < 4 * math.sqrt(chance * (1 - chance) / others)


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
