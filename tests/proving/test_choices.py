"""The bound of a lens that draws what it hides: two laws of what comes out, picture by picture."""

import numpy as np
import PIL.Image
import pytest
import torch
from scipy import stats
from torch import nn

from lens.base.draws import Draws
from lens.base.ranks import Ranks
from lens.figures import removal_table
from lens.images.training_set import training_images
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.proving import bounds, choices
from lens.proving.choices import REPLAYS, Replays
from lens.settings.parsing import parse

WORDS = ["--task", "dataset_classification", "--image_size", "16", "--cache_image_size", "16", "--augment", "none", "--threads", "1",
         "--device", "cpu", "--extractor", "test_resnet", "--shortcut_key", "source"]  # fmt: skip
ROWS, COLUMNS = 13, 9
"""Places of a watermark's box, 4 × 8 in pictures of 16 px."""


@pytest.fixture(scope="module")
def players(tmp_path_factory):
    place = tmp_path_factory.mktemp("choices") / "pictures"
    place.mkdir()
    rng = np.random.default_rng(0)
    for i in range(80):
        PIL.Image.fromarray(rng.integers(20, 150, (16, 16, 3), np.uint8)).save(place / f"{i:03d}.png")
    words = [*WORDS, "--data", str(place), "--pseudo_sources", "2", "--shortcut", "watermark", "--lens", "erase"]
    parsed = parse(words, "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return build(parsed, training_images(parsed.settings), fabric, Ranks(fabric))


class Oracle(nn.Module):
    """Knows the picture without the cue, and so where the mark is: it erases exactly that, or a box drawn evenly."""

    def __init__(self, seen=lambda row: torch.ones_like(row, dtype=torch.bool)):
        super().__init__()
        self.seen = seen

    def law(self, views):
        self.clean = views
        return torch.full((len(views), ROWS * COLUMNS), 1 / (ROWS * COLUMNS))

    def chosen(self, views, draws):
        differs = (views != self.clean).any(dim=1)
        row, column = (differs.any(dim=dim).float().argmax(dim=1) for dim in (2, 1))
        found = differs.flatten(1).any(dim=1) & self.seen(row)
        # Letters fill columns 0 to 7 of the box and its rows from the second quarter of four on.
        place = row.clamp(max=ROWS - 1) * COLUMNS + column.clamp(max=COLUMNS - 1)
        return torch.where(found, place, draws.integers("place", ROWS * COLUMNS)), found

    def unread(self, views, choice):
        row, column, at = choice // COLUMNS, choice % COLUMNS, torch.arange(16)
        rows = (at >= row[:, None]) & (at < row[:, None] + 4)
        columns = (at >= column[:, None]) & (at < column[:, None] + 8)
        return (rows[:, :, None] & columns[:, None])[:, None]


class Elsewhere(Oracle):
    """A swap: the box falls below where there is a mark, and above where there is none."""

    def chosen(self, views, draws):
        found = (views != self.clean).flatten(1).any(dim=1)
        return torch.where(found, ROWS * COLUMNS - 1, 0), found

    def unread(self, views, choice):
        return torch.ones(
            len(views), 1, 16, 16, dtype=torch.bool
        )  # nothing of the mark is left, and it is known all the same

    def law(self, views):
        super().law(views)
        return torch.eye(ROWS * COLUMNS)[:1].expand(len(views), -1)


def apart(players, net, count=4):
    players.lens.unet = net
    return choices.apart(players, players.of_each_source("test", count))


def test_who_erases_all_marks_and_draws_by_their_law_leaves_hardly_anything(players):
    found = apart(players, Oracle())
    assert found.distance.shape == found.missed.shape == (1, len(found.found))
    assert (found.missed == 0).all()
    assert not found.found.any()
    assert found.distance.max() < 0.05  # with as many replays as there are


def test_what_is_missed_is_counted_in_the_distance(players):
    found = apart(players, Oracle(seen=lambda row: row % 3 > 0))
    assert found.missed.mean() == pytest.approx(1 / 3, abs=0.1)
    assert (found.distance >= found.missed - 1e-9).all()
    assert (found.distance <= found.missed + 0.05).all()


def test_a_law_that_tells_the_mark_is_seen_though_nothing_of_it_is_left(players):
    found = apart(players, Elsewhere())
    assert (found.missed == 0).all()
    assert (found.distance == 1).all()
    assert bounds.bound(found.distance, np.arange(len(found.found))).proved == 1


def test_a_mark_that_is_found_where_there_is_none_makes_a_picture_known(players):
    class Sure(Oracle):
        def law(self, views):
            super().law(views)
            return torch.eye(ROWS * COLUMNS)[5:6].expand(len(views), -1)

    found = apart(players, Sure())
    assert found.distance.min() > 0.95


def test_a_lens_that_draws_nothing_has_pairs_and_one_that_draws_has_laws(players):
    players.lens.unet = Oracle()
    assert choices.network_of(players) is players.lens.unet
    told = bounds.of_run(players, players.of_each_source("test", 4))
    assert (told.replays, told.missed, told.found_without) == (REPLAYS, [0.0], 0.0)
    assert told.differ[0] < 0.05 < told.upper[0]
    assert told.proved == pytest.approx(0.5 + told.upper[0] / 2)
    words, note = removal_table._bound(told)
    assert 0 <= float(words.removeprefix("proved ≤ ").removesuffix(" %")) - 100 * told.proved < 0.01  # rounded up
    assert "2,048 replays each: 0.0 % have a part of it left, and of 0.0 % without it something was found" in note
    players.lens.unet = nn.Identity()
    assert choices.network_of(players) is None


def test_replays_are_even_together_and_as_ever_each():
    rows = torch.arange(REPLAYS)
    draws = Replays(0, -1, torch.full((REPLAYS,), 7), rows)
    even = draws.uniform("place", 2)
    counts = torch.histogramdd(even, [16, 16], range=[0.0, 1.0, 0.0, 1.0]).hist
    assert (
        counts - REPLAYS / 256
    ).abs().max() <= 6  # of independent ones 8 ± 2.8 in each of 256 cells, at most about 18
    assert (Draws(0, -1, draws.index, rows).uniform("place", 2) != even).any()
    first = [Replays(0, -1, torch.full((1,), image), rows[:1]).uniform("place", 1).item() for image in range(400)]
    assert stats.kstest(first, "uniform").pvalue > 0.01
    assert torch.equal(draws.uniform("place", 2)[5:9], Replays(0, -1, draws.index[5:9], rows[5:9]).uniform("place", 2))
    assert not torch.allclose(even, draws.uniform("other", 2))
    assert draws.uniform("one", per_image=True).unique().numel() == 1
    many = draws.uniform("many", 40)
    assert many.flatten().unique().numel() > 0.99 * many.numel()


def test_the_end_of_distances_is_hoeffdings_and_no_mean_below_it_is_seen_more_often():
    distance = np.full((1, 60), 0.1)
    found = bounds.bound(distance, np.arange(60))
    m = found.upper[0]
    assert found.differ[0] == pytest.approx(0.1)
    assert 60 * (0.1 * np.log(0.1 / m) + 0.9 * np.log(0.9 / (1 - m))) == pytest.approx(np.log(20))
    assert stats.binom.cdf(6, 60, m) <= 0.05  # the law of such values whose mean varies most
    of_pairs = bounds.bound(np.arange(60)[None] < 6, np.arange(60))
    assert of_pairs.upper[0] < m
    assert bounds.bound(np.ones((1, 5)), np.arange(5)).proved == 1
    assert 0 < bounds.bound(np.zeros((1, 50)), np.arange(50)).upper[0] < 0.07


def test_a_distance_counts_once_for_each_image_of_a_group():
    found = bounds.bound(np.array([[0.25, 0.5, 0.7, 0.6, 0.0]]), np.array([1, 1, 2, 2, 3]))
    assert (found.of, found.groups, found.differ) == (5, 3, [pytest.approx(2.05 / 5)])
