"""A lens that erases: one box of every image, filled from around it; where it falls, what it finds, and what its proof sees."""

import dataclasses
import json

import pytest
import torch
from pictures import smooth
from tiny import TINY, draws, made_lens
from torch import nn
from torch.nn import functional

from lens import train
from lens.base.errors import BadInput
from lens.base.files import write_tensors
from lens.lenses._place_map import Eraser, _cover
from lens.lenses.erase import Erase
from lens.operations.erasing import boxes, erased
from lens.players.begin_from import begin_from
from lens.players.lens import LearnedLens
from lens.players.weights import SIDE as SIDE_OF_WEIGHTS
from lens.protocols.lens import Choosing
from lens.settings.parsing import parse
from lens.training.trainer import Trainer

SIDE = 16


def noisy(count, seed=0, side=SIDE):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 0.3 + 0.3


def marked(images, top, left, colour=1.0):
    """Each image with a square of 4 × 4 at its own place."""
    rows = torch.arange(images.shape[-1])
    at = (rows >= top[:, None]) & (rows < top[:, None] + 4)
    across = (rows >= left[:, None]) & (rows < left[:, None] + 4)
    return torch.where((at[:, :, None] & across[:, None, :])[:, None], colour, images)


def eraser(margin=1 / 16, found=None):
    """One for squares of 4 × 4, that finds a mark at `found` in every image, or none."""
    net = Eraser(2, 0.25, 0.25, margin).eval()
    if found is not None:
        row, column = found

        class Spot(nn.Module):
            def forward(self, inputs):
                speaks = torch.zeros(len(inputs), 1, *inputs.shape[2:])
                speaks[:, :, row : row + 4, column : column + 4] = 50
                return speaks

        net.map = Spot()
    return net


@pytest.mark.parametrize("place", [(3, 5), (0, 0), (12, 12), (0, 12), (12, 6)])
def test_what_fills_the_hole_does_not_depend_on_what_was_inside(place):
    images = noisy(3)
    net = eraser(found=place)
    top, left = (torch.full((3,), one) for one in place)
    others = marked(images, top, left, 0.987654)
    assert torch.equal(net.chosen(others, draws(3))[0], torch.full((3,), place[0] * 13 + place[1]))
    assert torch.equal(net(images, draws(3)), net(others, draws(3)))
    hole = net.unread(images, net.chosen(images, draws(3))[0])
    wild = torch.where(hole, torch.full_like(images, float("nan")), images)
    filled = net(images, draws(3))
    hole_and_more = (hole, top - 1, left - 1, 6, 6, draws(3).normal("erase grain", 1, SIDE, SIDE))
    assert torch.equal(erased(wild, *hole_and_more), filled)
    assert filled.isfinite().all()
    assert not torch.equal(filled, images)


def test_a_smooth_image_is_filled_smoothly_and_grain_is_as_strong_as_the_images_own():
    ramp = torch.linspace(0.2, 0.8, 32).expand(1, 3, 32, 32)
    where = [torch.tensor([10]), torch.tensor([8]), 8, 16]
    hole = boxes(*where, (32, 32))
    assert hole.sum() == 8 * 16
    grain = draws(1).normal("grain", 1, 32, 32)
    assert torch.allclose(erased(ramp, hole, *where, torch.zeros_like(grain)), ramp, atol=0.03)
    strong = ramp + 0.1 * draws(1).normal("other", 3, 32, 32)
    inside = hole.expand_as(strong)
    weak, loud = (
        (erased(x, hole, *where, grain) - erased(x, hole, *where, 0 * grain))[inside].std() for x in (ramp, strong)
    )
    assert weak < 0.01
    assert 0.06 < loud < 0.14


def test_one_box_is_erased_in_every_image_and_nothing_else():
    images = noisy(64)
    for net in (eraser(), eraser(found=(2, 3))):
        lensed = net(images, draws(64))
        touched = (lensed != images).any(dim=1)
        hole = net.unread(images, net.chosen(images, draws(64))[0])[:, 0]
        assert not (touched & ~hole).any()
        assert (touched.sum(dim=(1, 2)) > 0.9 * hole.sum(dim=(1, 2))).all()
        assert hole.sum(dim=(1, 2)).min() >= 5 * 5  # a box of 6 × 6, cut off where it reaches beyond the image
    net = eraser().train()
    assert ((net(images, draws(64)) != images).any(dim=1).sum(dim=(1, 2)) >= 20).all()


def test_where_nothing_is_found_the_place_is_drawn_for_each_image_by_the_law_of_found_ones():
    images, net = noisy(400), eraser()
    place, found = net.chosen(images, draws(400))
    assert not found.any()
    assert len(place.unique()) > 100
    assert torch.allclose(net.law(images), torch.full((400, 169), 1 / 169).double())
    shuffled = torch.randperm(400)
    again = dataclasses.replace(draws(400), index=shuffled)
    assert torch.equal(net.chosen(images[shuffled], again)[0], place[shuffled])
    spot = eraser(found=(2, 3))
    scores, highest, all_found = spot.highest(images)
    for _ in range(60):
        spot._remember(scores, highest, all_found)
    spot.map = net.map
    place, found = spot.chosen(images, draws(400))
    assert not found.any()
    assert (place == 2 * 13 + 3).float().mean() > 0.98
    assert spot.law(images)[0, 2 * 13 + 3] > 0.98
    assert torch.allclose(spot.law(images).sum(dim=1), torch.ones(400).double())


@pytest.mark.parametrize("margin", [0, 1 / 16, 1 / 8])
def test_what_the_gradient_sees_erased_is_what_is_erased(margin):
    net, images = eraser(margin), noisy(169)
    everywhere = torch.eye(169).view(169, 13, 13)
    cover = _cover(everywhere, 4, 4, round(16 * margin))
    assert torch.equal(cover > 0.5, net.unread(images, torch.arange(169)))


def test_a_pair_comes_out_the_same_where_the_box_covers_the_mark():
    images = noisy(8)
    top, left = torch.randint(0, 13, (2, 8), generator=torch.Generator().manual_seed(1))
    for one in range(8):
        net = eraser(found=(int(top[one]), int(left[one])))
        pair = images[one : one + 1], marked(images, top, left)[one : one + 1]
        assert torch.equal(*(net(x, draws(1)) for x in pair))
    other = eraser(margin=0, found=(0, 0))
    pair = images, marked(images, torch.full((8,), 1), torch.zeros(8).long())  # a row of the mark is left
    assert not any(torch.equal(one, two) for one, two in zip(*(other(x, draws(8)) for x in pair), strict=True))


def test_the_gradient_of_what_is_left_of_a_mark_reaches_the_map():
    torch.manual_seed(0)
    net = eraser().train()
    images = marked(noisy(16), torch.full((16,), 6), torch.full((16,), 6))
    lensed = net(images, draws(16))
    lensed[:, :, 6:10, 6:10].sum().backward()  # less of the mark is wanted
    (last,) = [layer for layer in net.map.layers if isinstance(layer, nn.Conv2d) and layer.out_channels == 1]
    assert last.weight.grad.abs().max() > 0.01
    assert torch.equal(lensed.detach(), net(images, draws(16)).detach())
    with torch.no_grad():
        last.weight -= last.weight.grad
    scores = net.scores(images)
    assert scores[:, 6, 6].mean() > scores.mean() + 0.1  # one step, and the map rises where the mark is


def test_a_map_trained_against_a_classifier_finds_the_mark_that_nobody_showed_it():
    """Two players, who know no more than which half an image is of; the mark stands at another place in every image."""
    torch.manual_seed(0)
    net = Eraser(2, 0.25, 0.25, 1 / 16)
    judge = nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 2),
    )
    moves = [torch.optim.Adam(player.parameters(), 1e-2) for player in (judge, net)]
    source = torch.arange(32) % 2

    def batch(step):
        generator = torch.Generator().manual_seed(step)
        top, left = torch.randint(0, 13, (2, 32), generator=generator)
        images = noisy(32, step)
        return torch.where(source[:, None, None, None] > 0, marked(images, top, left, 0.9), images), top, left

    for step in range(120):
        images, _, _ = batch(step)
        lensed = net(images, dataclasses.replace(draws(32), epoch=step))
        logits = judge(lensed * 2 - 1)
        losses = functional.cross_entropy(logits, source), -functional.log_softmax(logits, dim=1).mean()
        for player, loss in zip((judge, net), losses, strict=True):
            gradients = torch.autograd.grad(loss, [*player.parameters()], retain_graph=True)
            for parameter, gradient in zip(player.parameters(), gradients, strict=True):
                parameter.grad = gradient
        for move in moves:
            move.step()
    images, top, left = batch(1000)
    place, found = net.eval().chosen(images, draws(32))
    near = ((place // 13 - top).abs() <= 1) & ((place % 13 - left).abs() <= 1)
    assert (found & near)[source == 1].float().mean() > 0.9
    assert found[source == 0].float().mean() < 0.2


def test_a_batch_that_is_taken_in_parts_is_pulled_no_harder():
    """The gradient of the entropy alone, that of the image being nothing; of equal images, whose batch statistics are equal."""
    views, gradients = smooth(1).expand(4, -1, -1, -1), []
    for parts in (1, 4):
        torch.manual_seed(0)
        lens = LearnedLens(Erase(depth=3)).train()
        nn.init.normal_(lens.unet.map.layers[-1].weight)
        lens.take_parts(1 / parts)
        for part, number in zip(views.chunk(parts), draws(4).chunk(parts), strict=True):
            (0 * lens(part, None, lambda number=number: number)).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in lens.parameters() if p.grad is not None]))
    whole, summed = gradients
    assert whole.norm() > 0
    assert torch.allclose(summed, whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max()))


def test_it_cannot_write_anything_whatever_its_weights():
    """Every pixel is as it was, or made of pixels that lie outside the box: nothing can be written into the last bit."""
    torch.manual_seed(1)
    lens = made_lens("erase", depth=3).eval()
    for parameter in lens.parameters():
        nn.init.normal_(parameter)
    images = (noisy(32, side=32) * 255).round() / 255
    lensed = lens(images, None, lambda: draws(32))
    place, _ = lens.unet.chosen(images, draws(32))
    hole = lens.unet.unread(images, place)
    assert torch.equal(lensed.masked_fill(hole, 0), images.masked_fill(hole, 0))
    again = lens.unet.erased_at(torch.where(hole, torch.rand_like(images), images), place, draws(32))
    assert torch.equal(again, lensed)
    assert isinstance(lens.unet, Choosing)
    assert not isinstance(made_lens("full_res").unet, Choosing)


def test_a_grey_image_stays_grey():
    grey = noisy(4, side=32)[:, :1].expand(-1, 3, -1, -1)
    lensed = made_lens("erase").eval()(grey, None, lambda: draws(4))
    assert torch.equal(lensed[:, :1].expand_as(lensed), lensed)
    assert not torch.equal(lensed, grey)


def test_it_trains_is_measured_and_goes_on_bit_for_bit(photos, tmp_path, monkeypatch):
    words = [*TINY, "--data", str(photos), "--lens", "erase", "--lens_lr", "0.05"]
    assert train.main([*words, "--steps", "4", "--out", str(tmp_path / "whole")]) == 0
    real = Trainer.train_step

    def stop_at_3(trainer, batch):
        if trainer.step == 3:
            raise KeyboardInterrupt
        return real(trainer, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop_at_3)
        assert train.main([*words, "--steps", "4", "--out", str(tmp_path / "parts")]) == 130
    assert train.main(["--resume", str(tmp_path / "parts")]) == 0
    whole, parts = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "parts"))
    assert whole["pretext"] == parts["pretext"]
    assert whole["reconstruction"] == parts["reconstruction"]
    files = [(tmp_path / name / "lens.safetensors").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]
    assert whole["recon_weight"] == 0  # its change is no budget


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--lens.height", "0"], "lens.height is 0"),
        (["--lens.width", "0.8"], "lens.width is 0.8"),
        (["--lens.margin", "-0.1"], "lens.margin is -0.1"),
        (["--lens.depth", "9"], "lens.depth is 9"),
        (["--target_psnr", "24"], "nobody steers how far"),
        (["--recon_weight", "10"], "nobody steers how far"),
        (["--lens_grey", "free"], "nobody steers how far"),
        (["--lens_noise", "0.1"], "no lens is given noise"),
    ],
)
def test_what_it_does_not_take_is_refused(words, told):
    with pytest.raises(ValueError, match=told):
        parse(["--lens", "erase", *words], "lens.train")


def test_weights_of_another_size_are_refused_for_a_mark_has_its_own(tmp_path):
    lens = made_lens("erase", depth=3)
    write_tensors(tmp_path, {"lens": lens.state_dict()}, {"lens": {SIDE_OF_WEIGHTS: "24"}})
    begin_from(lens, str(tmp_path / "lens.safetensors"), 24)
    with pytest.raises(BadInput, match=r"was trained at 24 px and the images have 32: .* give --image_size 24"):
        begin_from(lens, str(tmp_path / "lens.safetensors"), 32)


def test_a_stage_before_it_or_after_it_keeps_what_it_is():
    settings = parse(["--lens", "jpeg+erase"], "lens.train").settings
    assert settings.players.lens_class.replaces
    with pytest.raises(ValueError, match="nobody steers how far"):
        parse(["--lens", "erase+jpeg", "--target_psnr", "24"], "lens.train")
    assert Erase.replaces
