"""Crops are the same for an image in any batch, and show what they should."""

import pytest
import torch

from lens.augment import augment, centre
from lens.draws import Draws


def draws(index, epoch=0):
    index = torch.as_tensor(index)
    return Draws(0, epoch, index, torch.zeros_like(index))


@pytest.mark.parametrize("kind", ["none", "crop", "inception"])
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


def test_the_centre_crop_is_the_middle():
    image = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    image[:, :, 1:5, 1:5] = 255
    assert (centre(image, 4) == 1).all()
