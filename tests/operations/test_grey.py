"""Grey stays grey: what has no colour is changed with one channel, decided image by image."""

import numpy as np
import pytest
import torch
from pictures import picture, write_folder
from tiny import TINY, fit, made_lens

from lens import train
from lens.base.draws import EVALUATION, Draws
from lens.operations.grey import keep_grey, without_colour
from lens.players.rivals import Rival
from lens.protocols.lookup import find


def mixed(size=32):
    """A grey image, one with colour, and one that is grey but for half of one pixel's channel."""
    noise = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    noise[0] = noise[0, :1]
    noise[2] = noise[2, :1]
    noise[2, 1, 4, 4] = 0.5
    noise[2, ::2, 4, 4] = 0.5 + 1 / 255
    return noise


def painting(grey, noise=0.0):
    """A lens whose last layer is no longer zero, so that it edits each channel otherwise."""
    torch.manual_seed(0)
    lens = made_lens("full_res", noise=noise, grey=grey, depth=3).eval()
    with torch.no_grad():
        lens.unet.last.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
        lens.unet.last.bias.copy_(torch.tensor([0.1, -0.1, 0.05]))
    return lens


def draws(count):
    each = torch.arange(count)
    return Draws(0, EVALUATION, each, each)


def test_one_level_in_one_pixel_is_colour():
    assert without_colour(mixed()).flatten().tolist() == [True, False, False]


def test_a_lens_edits_a_grey_image_with_one_channel_and_others_as_it_likes():
    images = mixed()
    free, kept = (painting(grey)(images).detach() for grey in ("free", "keep"))
    assert torch.equal(kept[1:], free[1:])
    assert float((free[0] - free[0, :1]).abs().max()) > 0.05
    assert float((kept[0] - kept[0, :1]).abs().max()) == 0
    assert torch.allclose(
        kept[0] - images[0], (free[0] - images[0]).mean(dim=0, keepdim=True).expand(3, -1, -1), atol=1e-6
    )


def test_the_gradient_of_one_channel_reaches_all_three():
    lens, images = painting("keep"), mixed()[:1]
    lens(images)[:, 0].sum().backward()
    assert (lens.unet.last.weight.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_the_noise_of_a_grey_image_is_grey_and_as_strong():
    lens, images = painting("keep", 0.05), mixed()
    noise = lens.noise_for(images, draws(3))
    assert float((noise[0] - noise[0, :1]).abs().max()) == 0
    assert abs(float(noise[0].std()) - 0.05) < 0.004
    assert float((noise[1] - noise[1, :1]).abs().max()) > 0.05


def test_rivals_leave_grey_grey_and_keep_their_size():
    images = mixed()
    weights = torch.linspace(0.5, 2, 3)[:, None, None]

    def loss(views, question):
        return (views * weights * torch.linspace(-1, 1, 32)).sin().sum()

    fgsm = Rival(find("lens", "fgsm")(), 0.001, loss)
    for rival in (fgsm, Rival(find("lens", "random")(), 0.001, loss)):
        change = rival.direction(images, {}, draws(3))
        assert float((change[0] - change[0, :1]).abs().max()) == 0
        assert torch.allclose(change.square().mean(dim=(1, 2, 3)), torch.ones(3), atol=1e-3)
    change = Rival(find("lens", "random")(), 0.001, loss, "free").direction(images, {}, draws(3))
    assert float((change[0] - change[0, :1]).abs().max()) > 0.1


def test_a_change_is_the_same_in_any_batch():
    images, change = mixed(), torch.rand(3, 3, 32, 32)
    assert torch.equal(keep_grey(images, change)[:1], keep_grey(images[:1], change[:1]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder in colour, and another one that is grey."""
    place = tmp_path_factory.mktemp("grey")
    write_folder(place / "colour", 40)
    (place / "grey").mkdir()
    rng = np.random.default_rng(5)
    for number in range(160):
        picture(rng, 0).rotate(90, expand=True).convert("L").save(place / "grey" / f"{number}.png")
    return place


SOURCES = ["--task", "dataset_classification", "--data"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*SOURCES, "grey", "colour"], "100 of 100 pictures of grey are grey, 0 of colour: --lens_grey keep leaves"),
        ([*SOURCES, "grey", "colour", "--lens_grey", "free"], None),
        ([*SOURCES, "grey", "--pseudo_sources", "2"], None),
        ([*SOURCES, "grey", "--pseudo_sources", "2", "--shortcut", "colour_cast", "--shortcut_key", "source"], "pictures of grey#1 are grey, 0 of grey#2: "),
        ([*SOURCES, "grey", "colour", "--lens", "random", "--target_psnr", "25"], "100 of 100 pictures of grey are grey"),
        (["--data", "grey", "colour"], None),
        ([*SOURCES, "grey", "colour", "--lens", "noise+full_res"], "--lens_grey keep and --lens.noise.grey keep leaves"),
        ([*SOURCES, "grey", "colour", "--lens", "noise+full_res", "--lens_grey", "free"], "give --lens.noise.grey free"),
        ([*SOURCES, "grey", "colour", "--lens", "noise+full_res", "--lens_grey", "free", "--lens.noise.grey", "free"], None),
    ],
)  # fmt: skip
def test_grey_that_gives_a_source_away_whatever_the_lens_does_is_told(folders, tmp_path, words, told, capsys):
    words = [str(folders / word) if word in ("grey", "colour") else word for word in words]
    assert train.main(fit([*TINY, *words, "--steps", "1", "--test_images", "8", "--out", str(tmp_path / "run")])) == 0
    error = capsys.readouterr().err.replace(f"{folders}/", "")
    assert (told in error) if told else "are grey" not in error
