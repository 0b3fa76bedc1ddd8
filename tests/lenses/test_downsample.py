"""A lower resolution before a lens: what is finer is gone for good, and a lens after it learns to restore."""

import json

import pytest
import torch
from pictures import smooth, turned_blocks
from tiny import TINY, draws, errors_of_restoring

from lens import train
from lens.base.errors import BadInput
from lens.lenses.downsample import Downsample
from lens.lenses.full_res import FullResolution
from lens.players.fixed import FixedLens
from lens.players.lens import LearnedLens

DEPTH = TINY.index("--lens.depth")
QUICK = [*TINY[:DEPTH], *TINY[DEPTH + 2 :]]


def checks(side, size=1):
    row = torch.arange(side) // size % 2
    return 1 - 2.0 * (row[:, None] ^ row)


@pytest.mark.parametrize("factor", [2, 4])
def test_what_is_finer_than_a_block_is_gone_and_what_is_coarser_is_not(factor):
    images = 0.3 + 0.4 * smooth(4)
    lens = Downsample(factor=factor)
    plain = lens.apply(images, draws(4))
    assert torch.allclose(lens.apply(images + 0.1 * checks(32), draws(4)), plain, atol=1e-6)
    coarse = lens.apply(images + 0.1 * checks(32, size=8), draws(4)) - plain
    assert coarse.abs().max() > 0.09
    assert torch.allclose(plain.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=0.01)
    flat = torch.full((1, 3, 32, 32), 0.25)
    assert torch.allclose(lens.apply(flat, draws(1)), flat)


def test_sides_that_are_no_multiple_keep_their_size_and_channels_their_own_values():
    images = torch.rand(2, 3, 31, 17, generator=torch.Generator().manual_seed(0))
    images[:, 1] = images[:, 0]
    small = Downsample(factor=4).apply(images, draws(2))
    assert small.shape == images.shape
    assert torch.equal(small[:, 0], small[:, 1])
    assert not torch.allclose(small[:, 0], small[:, 2])
    assert small.std() < 0.6 * images.std()


def test_a_lens_after_it_learns_to_restore_what_images_usually_have_there():
    torch.manual_seed(0)
    lens = LearnedLens(FullResolution(depth=3), before=[FixedLens(Downsample(factor=4))])
    edge = torch.randint(4, 28, (16, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    images = (torch.arange(32) > edge).float().expand(16, 3, 32, 32) * 0.8 + 0.1
    first, last = errors_of_restoring(lens, images)
    assert first > 0.005  # edges are blurred
    assert last < first / 2


@pytest.mark.parametrize("factor", [1, 0, 17])
def test_a_factor_outside_its_range_is_one_line(factor):
    with pytest.raises(BadInput, match=r"--lens\.factor"):
        Downsample(factor=factor)


def test_images_with_the_same_means_come_out_the_same_bit_for_bit():
    images = torch.randint(256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0)) / 255
    assert torch.equal(Downsample().apply(turned_blocks(images), draws(8)), Downsample().apply(images, draws(8)))
    assert not torch.equal(
        Downsample(factor=3).apply(turned_blocks(images), draws(8)), Downsample(factor=3).apply(images, draws(8))
    )


def test_it_trains_before_a_lens_that_is_steered(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*QUICK, "--data", str(photos), "--lens", "downsample+noise+full_res", "--lens.noise.sigma", "0.05"]
    assert train.main([*words, "--lens.downsample.factor", "4", "--out", "run"]) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["lens"] == "downsample+noise+full_res"
    assert 8 < summary["reconstruction"]["psnr"] < 30
