"""The two-player step against a slow reference written from the formula, which shares no code with it."""

import copy
import itertools

import pytest
import torch
from tiny import made_lens
from torch import nn

from benchmarks import reference
from lens.base.draws import Draws
from lens.players.extractor import Extractor
from lens.protocols.lookup import find
from lens.training.step import (
    Game,
    Player,
    Rules,
    adversarial_loss,
    adversarial_step,
    clamp_straight_through,
    extractor_losses,
    plain_step,
)

ROTATION = find("task", "rotation")()
ADVERSARIES = ("least_likely", "full", "uniform")
MODES = (("both", "separate"), ("both", "joint"), ("lensed", "separate"), ("lensed", "joint"))
LAMBDA = 7.0


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3))


class SmallLens(nn.Module):
    """A lens that has already moved, and that pushes some pixels out of [0, 1]."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 3, 1))

    def forward(self, x):
        return x + self.net(x)


def players(seed=0):
    torch.manual_seed(seed)
    lens = SmallLens().double()
    extractor = Extractor(Backbone(), nn.Linear(5, 4), False, True).double()
    images = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    images[0, :, :4] = 1.0
    images[1, :, :4] = 0.0
    index = torch.arange(3)
    draws = Draws(0, 0, index, torch.zeros_like(index)).repeat(4)
    views, question = ROTATION.pose(images.repeat_interleave(4, dim=0), draws)
    return lens, extractor, views, question


def backward(loss, inputs, keep):
    loss.backward(inputs=inputs, retain_graph=keep)


def gradients(module):
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in module.parameters()]
    )


def player(module):
    """A network, with the parameters that its optimiser moves."""
    return Player(module, [p for p in module.parameters() if p.requires_grad])


def lens_player(lens):
    return Player(lambda views: (lens(views), None), player(lens).parameters)


def run_step(lens, extractor, views, question, adversary, feed, batch_norm, share=1.0):
    game = Game(ROTATION, Rules(adversary, feed, batch_norm), backward, share)
    return adversarial_step(game, lens_player(lens), player(extractor), views, question, LAMBDA)


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(("feed", "batch_norm"), MODES)
def test_both_gradients_equal_the_slow_reference(adversary, feed, batch_norm):
    lens, extractor, views, question = players()
    slow_lens, slow_extractor = copy.deepcopy(lens), copy.deepcopy(extractor)
    run_step(lens, extractor, views, question, adversary, feed, batch_norm)

    target = question["target"]
    reference.extractor_loss(slow_lens, slow_extractor, views, target, feed, batch_norm).backward()
    expected_extractor = gradients(slow_extractor)
    reference.lens_loss(slow_lens, slow_extractor, views, target, adversary, feed, batch_norm, LAMBDA).backward()
    expected_lens = gradients(slow_lens)
    for got, expected in ((gradients(extractor), expected_extractor), (gradients(lens), expected_lens)):
        assert expected.norm() > 1e-3
        assert (got - expected).norm() / expected.norm() < 1e-6


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(("feed", "batch_norm"), MODES)
def test_neither_loss_reaches_the_other_players_gradients(adversary, feed, batch_norm):
    """λ enters the lens's loss only; scaling it must not move the extractor's gradient by a bit."""
    lens, extractor, views, question = players()
    other_lens, other_extractor = copy.deepcopy(lens), copy.deepcopy(extractor)
    run_step(lens, extractor, views, question, adversary, feed, batch_norm)
    game = Game(ROTATION, Rules(adversary, feed, batch_norm), backward)
    adversarial_step(game, lens_player(other_lens), player(other_extractor), views, question, 1e6)
    assert torch.equal(gradients(extractor), gradients(other_extractor))
    assert not torch.allclose(gradients(lens), gradients(other_lens))


def test_the_plain_step_is_the_extractors_own_loss():
    _, extractor, views, question = players()
    slow = copy.deepcopy(extractor)
    plain_step(Game(ROTATION, Rules(None, "both", "separate"), backward), player(extractor), views, question)
    reference.cross_entropy(reference.logits(slow, views), question["target"]).backward()
    assert torch.allclose(gradients(extractor), gradients(slow), rtol=1e-9, atol=1e-12)


def test_shares_of_a_batch_add_up():
    lens, extractor, views, question = players()
    run_step(lens, extractor, views, question, "full", "lensed", "separate", share=0.5)
    once = gradients(lens).clone()
    run_step(lens, extractor, views, question, "full", "lensed", "separate", share=0.5)
    assert torch.allclose(gradients(lens), 2 * once)


def test_separate_statistics_see_only_their_own_images():
    lens, extractor, views, question = players()
    untouched = [buffer.clone() for buffer in extractor.backbone.norm.buffers()]
    run_step(lens, extractor, views, question, "full", "lensed", "separate")
    for before, after in zip(untouched, extractor.backbone.norm.buffers(), strict=True):
        assert torch.equal(before, after)
    assert extractor.lensed_statistics[0].num_batches_tracked == 1
    run_step(lens, extractor, views, question, "full", "both", "separate")
    with torch.no_grad():
        activations = extractor.backbone.conv(views * 2 - 1)
    expected = 0.1 * activations.mean(dim=(0, 2, 3))
    assert torch.allclose(extractor.backbone.norm.running_mean, expected)


def test_the_clamp_passes_gradients_straight_through():
    x = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
    y = clamp_straight_through(x)
    assert y.tolist() == [0.0, 0.5, 1.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_least_likely_aims_at_the_current_predictions_least_likely_class():
    logits = torch.tensor([[3.0, 1.0, -2.0, 0.0]])
    loss = adversarial_loss("least_likely", ROTATION, logits, {"target": torch.tensor([0])})
    assert loss.item() == pytest.approx(-torch.log_softmax(logits, 1)[0, 2].item())


def test_uniform_is_smallest_where_nothing_is_told():
    question = {"target": torch.tensor([0])}
    even = adversarial_loss("uniform", ROTATION, torch.zeros(1, 4), question)
    assert even.item() == pytest.approx(torch.log(torch.tensor(4.0)).item())
    assert adversarial_loss("uniform", ROTATION, torch.tensor([[5.0, 0, 0, 0]]), question) > even


def test_delta_stays_bounded_on_saturated_images():
    """On black and white pixels the clamp hides δ from the extractor; the unclamped penalty must still hold it."""
    torch.manual_seed(0)
    lens = made_lens("unet", encoder="tu-tf_mobilenetv3_small_minimal_100", depth=3)
    extractor = Extractor(Backbone(), nn.Linear(5, 4), False, True)
    lens_optimizer = torch.optim.Adam(lens.parameters(), 1e-2)
    extractor_optimizer = torch.optim.Adam(extractor.parameters(), 1e-3)
    images = torch.zeros(4, 3, 16, 16)
    images[:, :, :8] = 1.0
    index = torch.arange(4)
    views, question = ROTATION.pose(images.repeat_interleave(4, dim=0), Draws(0, 0, index, index * 0).repeat(4))
    for _ in range(150):
        lens_optimizer.zero_grad()
        extractor_optimizer.zero_grad()
        run_step(lens, extractor, views, question, "full", "lensed", "separate")
        lens_optimizer.step()
        extractor_optimizer.step()
    with torch.no_grad():
        delta = (lens(views) - views).abs().max().item()
    assert 0 < delta < 2


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_the_pull_is_the_ratio_of_the_two_gradients_at_the_lensed_pixels(share):
    lens, extractor, views, question = players()
    losses = run_step(lens, extractor, views, question, "uniform", "lensed", "separate", share)

    lens, extractor, views, question = players()
    lensed = lens(views).detach().requires_grad_()
    outputs = extractor_losses(extractor, ROTATION, views, clamp_straight_through(lensed), question, Rules("uniform", "lensed", "separate"))[1]  # fmt: skip
    of_adversary = torch.autograd.grad(adversarial_loss("uniform", ROTATION, outputs, question).mean(), lensed)[0]
    of_restoring = torch.autograd.grad(LAMBDA * (lensed - views).square().mean(), lensed)[0]
    assert losses.pull.item() == pytest.approx((of_restoring.norm() / of_adversary.norm()).item())


def test_a_head_that_reads_the_question_reads_it_for_both_halves_of_a_joint_batch():
    """With fixed statistics a joint batch is the two halves one after the other."""
    task = find("task", "jigsaw")(embedding=4, hidden=6, shown=3)
    torch.manual_seed(0)
    extractor = Extractor(Backbone(), task.head(5), False, False, head_reads_question=True).eval()
    images, index = torch.rand(3, 3, 32, 32), torch.arange(3)
    views, question = task.pose(images, Draws(0, 0, index, torch.zeros_like(index)))
    lensed = torch.rand(3, 3, 32, 32)
    both = [extractor_losses(extractor, task, views, lensed, question, Rules("full", "both", norm)) for norm in ("separate", "joint")]  # fmt: skip
    assert torch.allclose(both[0][0], both[1][0], atol=1e-6)
    assert torch.allclose(both[0][1], both[1][1], atol=1e-6)


def test_every_mode_is_covered():
    assert set(MODES) == set(itertools.product(("both", "lensed"), ("separate", "joint")))
