"""Contract of every shortcut found, of its keys, and of the place where it is planted."""

import io

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from lens.base.draws import Draws, generator
from lens.base.errors import BadInput
from lens.images.planting import plant
from lens.protocols.lookup import find, names

SIDE = 32
ROTATION = find("task", "rotation")()


def images(count=8, seed=0):
    return torch.rand(count, 3, SIDE, SIDE, generator=generator(seed, 0, "images"))


def rows(count=8, views=1, epoch=0):
    index = torch.arange(count)
    return Draws(0, epoch, index, torch.zeros_like(index)).repeat(views)


def planted(shortcut, key, count=8, views=1, epoch=0, sources=1, source=None):
    pictures = images(count).repeat_interleave(views, dim=0)
    source = torch.zeros(count, dtype=torch.long) if source is None else source
    source = source.repeat_interleave(views)
    return plant(shortcut, key, pictures, rows(count, views, epoch), source, sources)


@pytest.fixture(params=names("shortcut"))
def shortcut(request):
    return find("shortcut", request.param)()


@pytest.fixture
def arrow():
    return find("shortcut", "arrow")()


def test_planted_images_stay_in_range_and_rows_are_independent(shortcut):
    theta = torch.linspace(0, 0.99, 8)
    whole = shortcut.plant(images(), theta, rows())
    assert whole.min() >= 0
    assert whole.max() <= 1
    some = Draws(0, 0, torch.arange(2, 5), torch.zeros(3, dtype=torch.long))
    assert torch.allclose(shortcut.plant(images()[2:5], theta[2:5], some), whole[2:5], atol=1e-6)
    assert torch.equal(whole, images()) == (not shortcut.plants)


def test_constant_key_gives_all_images_the_same_cue(arrow):
    pictures, carriers = planted(arrow, "constant")
    assert carriers.all()
    assert torch.equal(pictures, arrow.plant(images(), torch.zeros(8), rows()))


def test_image_key_is_the_same_in_every_view_and_epoch(arrow):
    first, _ = planted(arrow, "image", views=4)
    later, _ = planted(arrow, "image", views=4, epoch=9)
    assert torch.equal(first, later)
    assert torch.equal(first[0::4], first[3::4])


def test_random_key_is_drawn_afresh_in_every_view_and_epoch(arrow):
    first, _ = planted(arrow, "random", count=50, views=4)
    later, _ = planted(arrow, "random", count=50, views=4, epoch=1)
    assert not torch.equal(first, later)
    same = (first[0::4] == first[1::4]).flatten(1).all(dim=1).float().mean()
    assert 0.05 < same < 0.5  # two of four directions agree in a quarter of the images


def test_source_key_leaves_source_0_alone_and_separates_the_others(arrow):
    source = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    pictures, carriers = planted(arrow, "source", sources=4, source=source)
    assert carriers.tolist() == [False, False] + [True] * 6
    assert torch.equal(pictures[:2], images()[:2])
    for row, theta in ((2, 0.0), (4, 0.25), (6, 0.5)):
        assert torch.equal(
            pictures[row : row + 2], arrow.plant(images()[row : row + 2], torch.full((2,), theta), rows(2))
        )


def test_the_arrow_points_in_four_directions_that_are_turns_of_each_other(arrow):
    white = torch.ones(4, 3, SIDE, SIDE)
    arrows = arrow.plant(white, torch.tensor([0.0, 0.25, 0.5, 0.75]), rows(4))
    for turn in range(4):
        assert torch.equal(torch.rot90(arrows[0], turn, dims=(1, 2)), arrows[turn])
    up = 1 - arrows[0, 0]
    assert (up.sum(dim=1) > 0).nonzero().max() < SIDE / 2  # near the top edge
    wings = (up > 0.3).sum(dim=1)
    assert wings[: SIDE // 8 + 2].max() > wings[SIDE // 8 + 3 : SIDE // 4].max()  # the head is above the shaft


def test_the_random_control_shows_the_same_pixels_as_the_constant_cue_under_rotation(arrow):
    """Every view of the control carries one of the four overlays that the turned constant arrow makes."""
    white = torch.ones(32, 3, SIDE, SIDE)
    draws = rows(8, views=4)
    source = torch.zeros(32, dtype=torch.long)

    def views(key):
        pictures, _ = plant(arrow, key, white, draws, source, 1)
        return {tuple(view.flatten().tolist()) for view in ROTATION.pose(pictures, draws)[0]}

    assert views("constant") == views("random")
    assert len(views("constant")) == 4


def test_the_cue_is_planted_before_the_image_is_turned(arrow):
    """A cue drawn after the turn would carry no label: the turned image's arrow must be turned with it."""
    pictures, _ = planted(arrow, "constant", views=4)
    views, question = ROTATION.pose(pictures, rows(8, views=4))
    for turn in range(4):
        expected = torch.rot90(arrow.plant(images(), torch.zeros(8), rows()), turn, dims=(2, 3))
        assert torch.equal(views[question["target"] == turn], expected)


# --- what carries the label is read; the random key is at chance -----------------------------------------------------

BY_TURN = ("arrow", "chromatic", "light_gradient")
BY_SOURCE = ("arrow", "chromatic", "light_gradient", "watermark", "colour_cast", "jpeg", "patch_noise", "one_pixel")


def grey_noise(count, seed):
    """Grey noise in coarse and fine grains: it has no upside and no class, but edges, so that channels can be compared."""
    random = generator(seed, 0, "noise")
    coarse = torch.rand(count, 1, SIDE // 4, SIDE // 4, generator=random)
    fine = torch.rand(count, 1, SIDE, SIDE, generator=random)
    return (0.15 + 0.4 * nn.functional.interpolate(coarse, size=SIDE) + 0.1 * fine).repeat(1, 3, 1, 1)


def by_turn(shortcut, key, count, seed):
    """Rotation: the label is the turn, the cue is planted before it."""
    draws = Draws(0, seed, torch.arange(count), torch.zeros(count, dtype=torch.long)).repeat(4)
    noise = grey_noise(count, seed).repeat_interleave(4, dim=0)
    pictures, _ = plant(shortcut, key, noise, draws, torch.zeros(count * 4, dtype=torch.long), 1)
    views, question = ROTATION.pose(pictures, draws)
    return views, question["target"]


def by_source(shortcut, key, count, seed):
    """Which of two sources does the image come from?"""
    count *= 4
    draws = Draws(0, seed, torch.arange(count), torch.zeros(count, dtype=torch.long))
    source = torch.randint(2, (count,), generator=generator(seed, 0, "source"))
    return plant(shortcut, key, grey_noise(count, seed), draws, source, 2)[0], source


def accuracy(batch, classes):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16 * 9, classes),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for step in range(30):
        pictures, label = batch(16, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(pictures * 2 - 1), label).backward()
        optimizer.step()
    pictures, label = batch(128, 1000)
    return (net(pictures * 2 - 1).argmax(dim=1) == label).float().mean().item()


@pytest.mark.parametrize(
    ("name", "batch", "carrier", "classes"),
    [(n, by_turn, "constant", 4) for n in BY_TURN] + [(n, by_source, "source", 2) for n in BY_SOURCE],
)
def test_a_small_classifier_reads_a_cue_that_carries_the_label_and_a_random_one_is_at_chance(
    name, batch, carrier, classes
):
    shortcut = find("shortcut", name)()
    assert accuracy(lambda *a: batch(shortcut, carrier, *a), classes) > 0.95
    assert abs(accuracy(lambda *a: batch(shortcut, "random", *a), classes) - 1 / classes) < 0.09  # 4 standard errors


def test_every_shortcut_is_tried_above():
    assert set(BY_SOURCE) == set(names("shortcut")) - {"none"}


# --- each cue as the protocol says -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_TURN)
def test_directions_are_turns_of_each_other_so_that_the_random_control_is_matched_pixel_for_pixel(name):
    shortcut = find("shortcut", name)()
    picture = grey_noise(1, 0)
    for turn in range(4):
        by_theta = shortcut.plant(torch.rot90(picture, turn, dims=(2, 3)), torch.tensor([turn / 4]), rows(1))
        turned = torch.rot90(shortcut.plant(picture, torch.zeros(1), rows(1)), turn, dims=(2, 3))
        assert torch.allclose(by_theta, turned, atol=1e-5)


def test_chromatic_moves_green_up_by_a_pixel_and_leaves_red_and_blue():
    pictures = images()
    planted = find("shortcut", "chromatic")().plant(pictures, torch.zeros(8), rows())
    assert torch.allclose(planted[:, 1, :-1], pictures[:, 1, 1:], atol=1e-5)
    assert torch.allclose(planted[:, 1, -1], pictures[:, 1, -1], atol=1e-5)  # the edge repeats
    assert torch.equal(planted[:, ::2], pictures[:, ::2])


def test_radial_chromatic_spreads_green_from_the_centre():
    dots = torch.zeros(1, 3, SIDE, SIDE)
    dots[:, :, 15:17, 2] = dots[:, :, 15:17, 29] = 1  # left and right, level with the centre
    outward = find("shortcut", "chromatic")(radial=True, strength=2).plant(dots, torch.zeros(1), rows(1))[0, 1]
    inward = find("shortcut", "chromatic")(radial=True, strength=2).plant(dots, torch.tensor([0.5]), rows(1))[0, 1]
    x = torch.arange(SIDE).float()

    def centre_of_mass(green, half):
        return ((green * x)[:, half].sum() / green[:, half].sum()).item()

    left, right = slice(0, 16), slice(16, 32)
    assert centre_of_mass(outward, left) < 1.3
    assert centre_of_mass(outward, right) > 29.7
    assert centre_of_mass(inward, left) > 2.7
    assert centre_of_mass(inward, right) < 28.3


def test_the_light_gradient_brightens_towards_up_and_averages_to_nothing():
    grey = torch.full((1, 3, SIDE, SIDE), 0.5)
    change = find("shortcut", "light_gradient")().plant(grey, torch.zeros(1), rows(1)) - grey
    assert change[0, :, 0].mean().item() == pytest.approx(0.15 * (1 - 1 / SIDE), abs=1e-5)
    assert change[0, :, -1].mean().item() == pytest.approx(-0.15 * (1 - 1 / SIDE), abs=1e-5)
    assert change.mean().abs() < 1e-6
    assert (change[0, 0] - change[0, 0, :, :1]).abs().max() < 1e-6  # the same along each row


def test_a_watermark_is_one_of_four_words_and_its_place_never_follows_the_key():
    watermark = find("shortcut", "watermark")()
    black = torch.zeros(64, 3, SIDE, SIDE)
    marked = watermark.plant(black, torch.zeros(64), rows(64))
    assert marked.max() == pytest.approx(0.4)
    assert len({int(m.sum() * 1000) for m in marked}) == 1  # one word, whole in every picture
    corners = {tuple((m[0] > 0).nonzero().min(dim=0).values.tolist()) for m in marked}
    assert len(corners) > 40
    words = watermark.plant(black[:4], torch.arange(4) / 4, rows(4))
    assert len({int(m.sum() * 1000) for m in words}) == 4
    rows_hit, columns_hit = (marked[0, 0] > 0).any(dim=1).sum(), (marked[0, 0] > 0).any(dim=0).sum()
    assert rows_hit <= SIDE / 4
    assert columns_hit <= SIDE / 2
    again = watermark.plant(black, torch.zeros(64), rows(64, epoch=1))
    assert not torch.equal(marked, again)


def test_a_colour_cast_moves_two_channels_by_its_strength():
    grey = torch.full((6, 3, SIDE, SIDE), 0.5)
    change = find("shortcut", "colour_cast")().plant(grey, torch.arange(6) / 6 + 0.01, rows(6)) - grey
    offsets = change.mean(dim=(2, 3))
    assert torch.allclose(offsets.sort(dim=1).values, torch.tensor([[-0.08, 0, 0.08]]).expand(6, 3), atol=1e-6)
    assert len({tuple(row) for row in offsets.round(decimals=3).tolist()}) == 6


@pytest.mark.parametrize(("theta", "quality", "side"), [(0.0, 40, 32), (0.5, 65, 32), (0.998, 90, 32), (0.0, 40, 50)])
def test_jpeg_is_libjpegs_within_one_level_on_99_percent_of_pixels(theta, quality, side):
    smooth = nn.functional.interpolate(
        torch.rand(16, 3, 7, 7, generator=generator(0, 0, "x")), size=side, mode="bicubic"
    )
    pictures = ((0.2 + 0.6 * smooth).clamp(0, 1) * 255).round() / 255
    ours = find("shortcut", "jpeg")().plant(pictures, torch.full((16,), theta), rows(16))
    levels = (ours * 255).round()
    assert torch.allclose(ours * 255, levels, atol=1e-3)  # rounded hard
    apart = []
    for picture, mine in zip(pictures, levels, strict=True):
        buffer = io.BytesIO()
        PIL.Image.fromarray((picture * 255).byte().permute(1, 2, 0).numpy()).save(
            buffer, "JPEG", quality=quality, subsampling=0
        )
        theirs = torch.from_numpy(np.array(PIL.Image.open(buffer))).permute(2, 0, 1).float()
        apart.append((mine - theirs).abs())
    assert (torch.stack(apart) <= 1).float().mean() > 0.99
    assert (torch.stack(apart) == 0).float().mean() > 0.8


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("arrow", {"size": 0.0}), ("arrow", {"size": 2.0}), ("arrow", {"strength": -1.0}), ("arrow", {"strength": float("nan")}),
        ("chromatic", {"strength": 0.0}), ("chromatic", {"directions": 0}), ("light_gradient", {"strength": 1.5}),
        ("light_gradient", {"directions": -1}), ("watermark", {"strength": 0.0}), ("colour_cast", {"strength": 2.0}),
        ("jpeg", {"quality": 0}), ("jpeg", {"quality": 95}), ("jpeg", {"highest": 101}),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused(name, setting):
    with pytest.raises(BadInput, match=r"--shortcut\."):
        find("shortcut", name)(**setting)
