"""Contract of every shortcut found, of its keys, and of the place where it is planted."""

import pytest
import torch
from torch import nn

from lens.draws import Draws, generator
from lens.planting import plant
from lens.protocols import BadInput, find, names

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
    whole = shortcut.plant(images(), theta)
    assert whole.min() >= 0
    assert whole.max() <= 1
    assert torch.equal(shortcut.plant(images()[2:5], theta[2:5]), whole[2:5])
    assert torch.equal(whole, images()) == (not shortcut.plants)


def test_constant_key_gives_all_images_the_same_cue(arrow):
    pictures, carriers = planted(arrow, "constant")
    assert carriers.all()
    assert torch.equal(pictures, arrow.plant(images(), torch.zeros(8)))


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
        assert torch.equal(pictures[row : row + 2], arrow.plant(images()[row : row + 2], torch.full((2,), theta)))


def test_the_arrow_points_in_four_directions_that_are_turns_of_each_other(arrow):
    white = torch.ones(4, 3, SIDE, SIDE)
    arrows = arrow.plant(white, torch.tensor([0.0, 0.25, 0.5, 0.75]))
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
        expected = torch.rot90(arrow.plant(images(), torch.zeros(8)), turn, dims=(2, 3))
        assert torch.equal(views[question["target"] == turn], expected)


@pytest.mark.parametrize(("key", "reads"), [("constant", True), ("random", False)])
def test_a_small_classifier_reads_the_cue_only_where_it_carries_the_label(arrow, key, reads):
    """On noise, which has no upside, only the cue can tell the turn."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)

    def views(epoch, count):
        index = torch.arange(count)
        draws = Draws(0, epoch, index, torch.zeros_like(index)).repeat(4)
        noise = torch.rand(count * 4, 3, SIDE, SIDE, generator=generator(epoch, 0, "noise"))
        pictures, _ = plant(arrow, key, noise, draws, torch.zeros(count * 4, dtype=torch.long), 1)
        return ROTATION.pose(pictures, draws)

    for epoch in range(60):
        pictures, question = views(epoch, 32)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(pictures * 2 - 1), question["target"]).backward()
        optimizer.step()
    pictures, question = views(1000, 256)
    accuracy = (net(pictures * 2 - 1).argmax(dim=1) == question["target"]).float().mean().item()
    assert accuracy > 0.95 if reads else abs(accuracy - 0.25) < 0.06


@pytest.mark.parametrize("setting", [{"size": 0.0}, {"size": 2.0}, {"strength": -1.0}, {"strength": float("nan")}])
def test_a_setting_out_of_range_is_refused(setting):
    with pytest.raises(BadInput, match=r"--arrow\."):
        find("shortcut", "arrow")(**setting)
