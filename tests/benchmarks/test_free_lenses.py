"""Ways to train a free lens: that each does what it says, and one try from its words to its line."""

import json

import pytest
import torch
from tiny import draws
from torch import nn

from benchmarks import free_lenses
from lens.protocols.lookup import find


def test_what_is_the_same_in_all_edits_costs_its_mean_square():
    torch.manual_seed(0)
    net, inputs, weight = nn.Conv2d(3, 3, 1), torch.rand(4, 3, 8, 8), 7.0
    free_lenses.SameInAll(net, weight)(inputs).square().mean().backward()
    found = net.weight.grad.clone()
    net.weight.grad = None
    delta = net(inputs)
    (delta.square().mean() + weight * delta.mean(dim=0).square().mean()).backward()
    assert torch.allclose(found, net.weight.grad, rtol=1e-4)


def test_past_selves_answer_image_by_image_and_only_the_present_one_learns():
    net = free_lenses.PastSelves(nn.Conv2d(3, 3, 1), selves=3, moves=10)  # snapshots at moves 3, 5, 7 and 9
    images = torch.rand(16, 3, 8, 8)
    for move in range(10):
        net.train()(images).sum().backward()
        with torch.no_grad():
            net.now.weight.fill_(float(move))
    assert net.held == 4  # the oldest of four has made room
    assert {float(past.weight.mean()) for past in net.past} == {4.0, 6.0, 8.0}
    assert all(parameter.grad is None for parameter in net.past.parameters())
    net.eval()
    with torch.no_grad():
        whole = net(images)
        assert torch.allclose(whole[5:9], net(images[5:9]), atol=1e-5)
        ones = [[torch.allclose(past(images)[i], whole[i], atol=1e-5) for past in net.past] for i in range(16)]
        now = net.now(images)
    assert all(sum(row) == 1 for row in ones)
    assert len({row.index(True) for row in ones}) > 1
    assert not any(torch.allclose(now[i], whole[i]) for i in range(16))


def test_views_are_moved_by_two_pixels_at_most_after_the_lens():
    task = free_lenses.Moved(find("task", "dataset_classification")().for_classes(["a", "b"]))
    ramp = torch.arange(32.0).expand(2, 3, 32, 32) / 32
    torch.manual_seed(0)
    middle = torch.stack([task.present(ramp, {})[..., 16, 16] for _ in range(40)])[:, 0, 0]
    steps = (middle - task.task.present(ramp, {})[0, 0, 16, 16]) * 16  # presented in [-1, 1]: a pixel is a sixteenth
    assert set(steps.round().int().tolist()) == {-2, -1, 0, 1, 2}


def test_cues_differ_from_the_pictures_and_stay_in_range():
    images = torch.rand(2, 3, 8, 8)
    for cue in free_lenses.CUES.values():
        planted = cue.plant(images, torch.zeros(2), draws(2))
        assert planted.shape == images.shape
        assert not torch.equal(planted, images)
        assert 0 <= planted.min() <= planted.max() <= 1


@pytest.mark.parametrize("way", ["two extractors, one anew", "group norm"])
def test_a_try_is_a_line_and_is_not_made_again(way, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(free_lenses, "COMMON", free_lenses.COMMON.replace("--batch_size 32", "--batch_size 8"))
    out = tmp_path / "tries.jsonl"
    words = ["--data", str(photos), "--steps", "6", "--judge_steps", "2", "--seeds", "3", "--cues", "checks"]
    assert free_lenses.main([*words, "--ways", way, "--out", str(out)]) == 0
    (line,) = map(json.loads, out.read_text().splitlines())
    assert (line["cue"], line["way"], line["seed"], line["steps"]) == ("checks", way, 3, 6)
    assert all(0 <= line[f"{split}{name}"] <= 1 for name in free_lenses.JUDGES for split in ("", "val_"))
    assert line["psnr"] > 15
    capsys.readouterr()
    assert free_lenses.main([*words, "--ways", way, "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 1
    strictest = max(line[f"val_{name}"] for name in free_lenses.JUDGES)
    assert f"| {100 * strictest:.1f} | {line['psnr']:.1f} |" in capsys.readouterr().out
