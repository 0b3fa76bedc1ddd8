"""Crops are the same for an image in any batch, and show what they should."""

import math

import numpy as np
import pytest
import torch

from lens.base.draws import Draws
from lens.images.augment import augment, centre


def draws(index, epoch=0):
    index = torch.as_tensor(index)
    return Draws(0, epoch, index, torch.zeros_like(index))


@pytest.mark.parametrize("kind", ["none", "crop", "inception", "resized"])
def test_an_image_is_cropped_the_same_in_any_batch(kind):
    images = torch.randint(0, 256, (6, 3, 36, 36), dtype=torch.uint8)
    whole = augment(kind, images, 32, draws(range(6)))
    assert whole.shape == (6, 3, 32, 32)
    assert whole.min() >= 0
    assert whole.max() <= 1
    some = torch.tensor([4, 1])
    assert torch.allclose(augment(kind, images[some], 32, draws(some)), whole[some], atol=1e-6)
    if kind != "none":
        assert not torch.equal(augment(kind, images, 32, draws(range(6), epoch=1)), whole)


@pytest.mark.parametrize("kind", ["none", "crop", "inception", "resized"])
def test_crops_are_single_where_torchs_default_is_double(kind):
    """Under --precision 64 it is, where batch statistics are estimated again."""
    images = torch.randint(0, 256, (6, 3, 36, 36), dtype=torch.uint8)
    single = augment(kind, images, 32, draws(range(6)))
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(augment(kind, images, 32, draws(range(6))), single)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_random_crop_is_a_window_of_the_image_sometimes_mirrored():
    x = torch.arange(12, dtype=torch.uint8)
    image = (x[:, None] * 12 + x)[None, None].repeat(200, 3, 1, 1)
    crops = (augment("crop", image, 8, draws(range(200))) * 255).round().long()[:, 0]
    steps = crops[:, :, 1] - crops[:, :, 0]
    mirrored = steps[:, 0] == -1
    assert ((steps == 1).all(dim=1) | (steps == -1).all(dim=1)).all()
    assert 0.35 < mirrored.float().mean() < 0.65
    corners = torch.where(mirrored, crops[:, 0, -1], crops[:, 0, 0])
    assert set(corners.tolist()) == {12 * i + j for i in range(5) for j in range(5)}


def test_a_resized_crop_has_the_area_and_aspect_of_its_rule():
    side, size, count = 65, 16, 4000
    x = torch.arange(side, dtype=torch.uint8) * 3
    image = torch.stack([x.expand(side, side), x[:, None].expand(side, side), torch.zeros(side, side)])
    crops = augment("resized", image.to(torch.uint8)[None].expand(count, -1, -1, -1), size, draws(range(count)))
    # A ramp of 3 levels a pixel tells how many pixels of the image one pixel of the crop spans. Its middle is asked:
    # at the edge of the image a ramp ends half a pixel early.
    ramps = crops.double() * 255 / 3
    across = (ramps[:, 0, 8, 11] - ramps[:, 0, 8, 4]) / 7 * size / side
    down = (ramps[:, 1, 11, 8] - ramps[:, 1, 4, 8]) / 7 * size / side
    assert 0.45 < (across < 0).double().mean() < 0.55  # mirrored
    assert (down > 0).all()
    width, height = across.abs(), down
    rng = np.random.default_rng(0)
    area, ratio = rng.uniform(0.08, 1, 100_000), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), 100_000))
    wanted = np.minimum(np.sqrt(area * ratio), 1) * np.minimum(np.sqrt(area / ratio), 1)
    got = (width * height).numpy()
    assert 0.079 < got.min() < 0.085
    assert got.max() < 1.001
    assert abs(got.mean() - wanted.mean()) < 4 * wanted.std() / np.sqrt(count)
    quantiles = [0.1, 0.25, 0.5, 0.75, 0.9]
    assert np.allclose(np.quantile(got, quantiles), np.quantile(wanted, quantiles), atol=0.025)
    free = (width < 0.99) & (height < 0.99)
    aspect = (width / height)[free].log() / math.log(4 / 3)
    assert aspect.abs().max() < 1.01
    assert aspect.min() < -0.98
    assert aspect.max() > 0.98
    # Places: the middle of the crop is anywhere where the crop fits.
    place = (ramps[:, 1, 7:9, 8].mean(dim=1) + 0.5) / side - height / 2
    share = (place / (1 - height))[height < 0.9]
    assert -0.01 < share.min() < 0.02
    assert 0.98 < share.max() < 1.01
    assert abs(share.mean() - 0.5) < 0.02


def test_the_centre_crop_is_the_middle():
    image = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    image[:, :, 1:5, 1:5] = 255
    assert (centre(image, 4) == 1).all()
