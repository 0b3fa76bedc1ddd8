"""Noise before a lens: its strength, its draws, grey images, and that a lens after it learns to restore."""

import json

import pytest
import torch
from pictures import smooth
from tiny import TINY, draws, errors_of_restoring

from lens import train
from lens.base.draws import Draws
from lens.base.errors import BadInput
from lens.lenses.full_res import FullResolution
from lens.lenses.noise import Noise
from lens.players.fixed import FixedLens
from lens.players.lens import LearnedLens

DEPTH = TINY.index("--lens.depth")
QUICK = [*TINY[:DEPTH], *TINY[DEPTH + 2 :]]


def test_it_adds_noise_of_its_strength_and_stays_in_range():
    grey = torch.full((16, 3, 32, 32), 0.5)
    grey[:, 0] = 0.4
    noisy = Noise(sigma=0.1).apply(grey, draws(16))
    change = noisy - grey
    assert change.std().item() == pytest.approx(0.1, rel=0.02)
    assert abs(change.mean().item()) < 0.002
    assert abs(torch.corrcoef(change.transpose(0, 1).flatten(1))[0, 1].item()) < 0.03  # each channel has its own
    ends = Noise(sigma=0.5).apply(smooth(4), draws(4))
    assert ends.min() == 0
    assert ends.max() == 1


def test_an_image_has_its_own_noise_in_any_batch_and_another_in_each_view():
    images = smooth(6)
    whole = Noise().apply(images, draws(6)) - images
    assert not torch.allclose(whole[0], whole[1])
    part = Noise().apply(images[2:4], draws(6).chunk(3)[1])
    assert torch.equal(part - images[2:4], whole[2:4])
    other = Draws(0, -1, torch.arange(6), torch.ones(6, dtype=torch.int64))
    assert not torch.allclose(Noise().apply(images, other) - images, whole)


def test_a_grey_image_stays_grey_at_the_full_strength():
    images = torch.full((8, 3, 32, 32), 0.5)
    change = Noise(sigma=0.1).apply(images, draws(8)) - images
    assert torch.equal(change[:, 0], change[:, 1])
    assert change.std().item() == pytest.approx(0.1, rel=0.03)


def test_a_grey_image_and_one_with_a_trace_of_colour_get_the_same_noise_where_grey_is_free():
    """Else the law of the noise would tell the two apart however strong it is."""
    grey = torch.full((8, 3, 32, 32), 0.5)
    traced = grey.clone()
    traced[:, 0, 0, 0] += 1 / 255
    for kept, same in (("keep", False), ("free", True)):
        noise = Noise(sigma=0.1, grey=kept)
        pairs = noise.apply(grey, draws(8))[:, :, 1:], noise.apply(traced, draws(8))[:, :, 1:]
        assert torch.equal(*pairs) == same


def test_a_lens_after_it_learns_to_restore_what_the_noise_took():
    torch.manual_seed(0)
    lens = LearnedLens(FullResolution(depth=3), before=[FixedLens(Noise(sigma=0.2))])
    images = smooth(16)
    first, last = errors_of_restoring(lens, images)
    assert first == pytest.approx(0.2**2, rel=0.3)  # it begins as the noise alone, less what is clamped
    assert last < first / 2


@pytest.mark.parametrize("sigma", [0, -0.1, 0.6])
def test_a_strength_outside_its_range_is_one_line(sigma):
    with pytest.raises(BadInput, match=r"--lens\.sigma"):
        Noise(sigma=sigma)


def test_it_trains_before_a_lens_that_is_steered(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*QUICK, "--data", str(photos), "--lens", "noise+full_res", "--lens.noise.sigma", "0.05"]
    assert train.main([*words, "--out", "run"]) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["lens"] == "noise+full_res"
    assert 15 < summary["reconstruction"]["psnr"] < 40  # the noise alone costs 26 dB
