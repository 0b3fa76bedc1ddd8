"""Networks that work on every pixel."""

import pytest
import torch
from tiny import made_lens
from torch.nn import functional

from lens.base.errors import BadInput
from lens.players.all_conv import AllConv
from lens.players.building import build_extractor
from lens.protocols.lookup import find


def left(name, images, edit, steps=100, enough=0.0):
    """The share of an edit of these images that a lens has not learnt after so many steps, or as soon as it is `enough`."""
    torch.manual_seed(1)
    lens = made_lens(name) if name == "colour" else made_lens(name, depth=3)
    optimizer = torch.optim.Adam(lens.parameters(), 1e-2)
    for _ in range(steps):
        loss = (lens(images) - images - edit).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < enough * edit.square().mean().item():
            break
    return loss.item() / edit.square().mean().item()


@pytest.mark.parametrize(("size", "depth"), [(32, 3), (40, 3), (64, 5)])
def test_the_full_lens_starts_as_the_identity_at_any_size(size, depth):
    torch.manual_seed(0)
    images = torch.rand(2, 3, size, size)
    assert torch.equal(made_lens("full_res", depth=depth)(images), images)


def test_the_full_lens_can_learn_an_edit_of_single_pixels_and_the_default_cannot():
    """Sharpening noise: what is decoded from half the resolution has no such edit."""
    torch.manual_seed(0)
    images = torch.rand(4, 3, 16, 16)
    edit = 0.5 * (images - functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="reflect"), 3, 1))

    assert left("full_res", images, edit, steps=60, enough=0.3) < 0.3
    assert left("unet", images, edit, steps=60) > 0.7


def test_all_conv_is_an_extractor_for_pooled_and_spatial_tasks():
    images = torch.rand(4, 3, 32, 32)
    rotation = build_extractor(find("task", "rotation")(), "all_conv", 32, "default", {"width": 8}, False, True)
    assert rotation(images * 2 - 1).shape == (4, 4)
    assert rotation.features(images).shape == (4, 32)
    jigsaw = build_extractor(find("task", "jigsaw")(), "all_conv", 32, "default", {"width": 8}, False, False)
    assert jigsaw.backbone.layers
    net = AllConv(8, img_size=32)
    (features,) = net.forward_intermediates(images)
    assert features.shape == (4, 32, 8, 8)
    assert torch.allclose(features.amax(dim=(2, 3)), net(images))


def test_every_pixel_reaches_all_conv():
    torch.manual_seed(0)
    net = AllConv(8, pool="mean", img_size=32).eval()
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    net(images).square().sum().backward()
    assert (images.grad.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize(
    ("stem", "pretrained", "message"),
    [
        ("small", False, "is for ResNets"),
        ("stride1", False, "no root convolution"),
        ("default", True, "no weights for all_conv"),
    ],
)
def test_all_conv_has_no_other_root_and_no_published_weights(stem, pretrained, message):
    with pytest.raises(BadInput, match=message):
        build_extractor(find("task", "rotation")(), "all_conv", 32, stem, {}, pretrained, False)


def test_an_argument_that_all_conv_does_not_take_is_refused():
    with pytest.raises(BadInput, match="does not take"):
        build_extractor(find("task", "rotation")(), "all_conv", 32, "default", {"depth": 3}, False, False)


def test_the_colour_lens_starts_as_the_identity_and_can_only_map_colours():
    torch.manual_seed(0)
    images = torch.rand(4, 3, 32, 32)
    images[:, :, :, 16:] = images[:, :, :, :16]  # the same colours twice
    lens = made_lens("colour")
    assert torch.equal(lens(images), images)
    torch.nn.init.normal_(lens.unet.last.weight, std=0.1)
    torch.nn.init.normal_(lens.unet.last.bias, std=0.1)
    changed = lens(images)
    assert (changed - images).abs().max() > 0.05
    assert torch.allclose(changed[:, :, :, 16:], changed[:, :, :, :16], atol=1e-6)
    delta = (changed - images).flatten(2)  # of each image an affine function of its colours
    design = torch.cat([images.flatten(2), torch.ones(4, 1, 1024)], dim=1)
    for d, x in zip(delta, design, strict=True):
        fitted = torch.linalg.lstsq(x.T, d.T).solution
        assert torch.allclose(x.T @ fitted, d.T, atol=1e-4)


def test_the_smooth_lens_starts_as_the_identity_can_blur_and_cannot_paint():
    """Fitted to two edits of the same images: the mean of 3×3 pixels, and each pixel's other colours painted into it."""
    torch.manual_seed(0)
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(made_lens("smooth", depth=3)(images), images)
    assert made_lens("smooth", depth=4)(torch.rand(2, 3, 30, 26)).shape == (2, 3, 30, 26)
    blur = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1) - images
    paint = 0.4 * (images[:, [1, 2, 0]] - 0.5)

    assert left("smooth", images, blur, enough=0.2) < 0.2
    assert left("full_res", images, paint, enough=0.2) < 0.2
    assert left("smooth", images, paint) > 0.6


def test_a_maximum_is_not_outvoted():
    """One marked place among many: the pooled maximum keeps it whole, the mean dilutes it."""
    torch.manual_seed(0)
    net = AllConv(8, img_size=32, pool="max").eval()
    plain = torch.zeros(1, 3, 32, 32)
    marked = plain.clone()
    marked[:, :, 12:18, 12:18] = 3
    largest = net.layers(marked).amax(dim=(2, 3))
    assert torch.equal(net(marked), largest)
    mean = AllConv(8, pool="mean", img_size=32).eval()
    mean.load_state_dict(net.state_dict())
    assert (net(marked) - net(plain)).abs().sum() > 2 * (mean(marked) - mean(plain)).abs().sum()
    with pytest.raises(BadInput, match="pool is mean or max"):
        build_extractor(find("task", "rotation")(), "all_conv", 32, "default", {"pool": "median"}, False, False)
