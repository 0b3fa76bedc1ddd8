"""A bound: pairs that differ in the cue alone go through the lens, and what comes out the same nobody can tell apart."""

import dataclasses

import numpy as np
import PIL.Image
import pytest
import torch
from pictures import turned_blocks
from scipy import stats

from lens.base.ranks import Ranks
from lens.figures import removal_table
from lens.images.training_set import training_images
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.proving import bounds
from lens.settings.parsing import parse

KEYED = ["--shortcut_key", "source"]
WORDS = ["--task", "dataset_classification", "--image_size", "16", "--cache_image_size", "16", "--augment", "none", "--threads", "1",
         "--device", "cpu", "--extractor", "test_resnet"]  # fmt: skip


def written(place, pixels):
    """A folder of 240 pictures of 16 px, each as `pixels` of a generator says."""
    place.mkdir()
    rng = np.random.default_rng(0)
    for i in range(240):
        PIL.Image.fromarray(pixels(rng).astype(np.uint8)).save(place / f"{i:03d}.png")
    return str(place)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    def ramp(rng):
        light = np.linspace(40, 200, 16)[:, None, None] * rng.uniform(0.5, 1, 3)
        return (light + rng.normal(0, 4, (16, 16, 3))).clip(0, 255)

    return written(tmp_path_factory.mktemp("bounds") / "pictures", ramp)


@pytest.fixture(scope="module")
def noise_pictures(tmp_path_factory):
    return written(tmp_path_factory.mktemp("bounds") / "noise", lambda rng: rng.integers(0, 255, (16, 16, 3)))


def players(folder, *words, data=None):
    key = KEYED if "--shortcut" in words and "--shortcut_key" not in words else []
    parsed = parse([*WORDS, "--data", *(data or [folder]), *words, *key], "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return build(parsed, training_images(parsed.settings), fabric, Ranks(fabric))


TWO = ["--pseudo_sources", "2"]


def test_the_projection_of_the_plants_own_codec_leaves_no_pair_apart(folder):
    made = players(folder, *TWO, "--shortcut", "jpeg", "--lens", "jpeg")
    assert bounds.why_none(made) is None
    index = made.of_each_source("test", None)
    differ = bounds.differing(made, index)
    assert differ.shape == (1, len(index))
    assert not differ.any()
    found = bounds.bound(differ, made.images.group[index])
    assert (found.differ, found.of, found.at_best) == ([0.0], len(index), 0.5)
    assert found.upper[0] == pytest.approx(1 - 0.05 ** (1 / len(index)))
    assert found.proved == pytest.approx(0.5 + found.upper[0] / 2)


def test_another_quality_or_a_lens_that_does_nothing_leaves_all_of_them_apart(folder):
    for words in (["--lens", "jpeg", "--lens.quality", "30"], ["--lens", "full_res"]):
        made = players(folder, *TWO, "--shortcut", "jpeg", *words)
        index = made.of_each_source("test", 20)
        found = bounds.bound(bounds.differing(made, index), made.images.group[index])
        assert found.differ[0] > 0.8, words
        assert found.proved == pytest.approx((1 + found.upper[0]) / 2)


def test_of_three_sources_each_cue_has_its_pairs(folder):
    made = players(folder, "--pseudo_sources", "3", "--shortcut", "colour_cast", "--lens", "jpeg")
    index = made.of_each_source("test", 15)
    differ = bounds.differing(made, index)
    assert differ.shape == (2, len(index))
    assert differ.all()
    assert bounds.bound(differ, made.images.group[index]).proved == 1


def test_pairs_share_the_lenss_noise(folder):
    """Images that are the same going in are the same coming out, whatever the lens draws."""

    class Idle:
        plants = True

        def plant(self, images, theta, draws):
            return images

    made = players(
        folder, *TWO, "--shortcut", "watermark", "--lens", "full_res", "--lens_noise", "0.1", "--target_psnr", "15"
    )
    made = dataclasses.replace(made, shortcut=Idle())
    assert not bounds.differing(made, made.of_each_source("test", 10)).any()


@pytest.mark.parametrize(
    ("lens", "apart"), [("jpeg+full_res", 0), ("jpeg+noise", 0), ("full_res+jpeg", 1), ("noise+jpeg", 1)]
)
def test_a_stage_after_the_projection_keeps_its_bound_and_one_before_it_does_not(folder, lens, apart):
    """What comes after it is a function of what is the same for both of a pair, and of draws that they share."""
    made = players(folder, *TWO, "--shortcut", "jpeg", "--lens", lens)
    with torch.no_grad():
        for number, weights in enumerate(made.lens.parameters()):
            weights.add_(0.1 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(number)))
    share = bounds.differing(made, made.of_each_source("test", None)).mean()
    assert share == 0 if apart == 0 else share > 0.9


@pytest.mark.parametrize("lens", ["jpeg", "jpeg+noise", "noise+jpeg", "jpeg+full_res", "full_res+jpeg"])
def test_what_has_not_settled_is_counted_wherever_the_stage_stands(noise_pictures, lens):
    passes = "--lens.passes" if lens == "jpeg" else "--lens.jpeg.passes"
    quality = passes.replace("passes", "quality")
    for given, counted in (("1", True), ("256", False)):
        made = players(noise_pictures, *TWO, "--shortcut", "jpeg", "--lens", lens, passes, given, quality, "90")
        index = made.of_each_source("test", None)
        assert (bounds.unfinished(made, index) > len(index) / 4) == counted, given


@pytest.mark.parametrize(("lens", "apart"), [("downsample+full_res", 0), ("full_res", 1)])
def test_what_is_finer_than_a_block_is_proved_gone_whatever_the_lens_after_it_does(folder, lens, apart):
    """Pairs that differ in the order of a block's pixels alone, with the noise that they share."""

    class Turned:
        plants = True

        def plant(self, images, theta, draws):
            return turned_blocks(images)

    words = ["--shortcut", "watermark", "--lens_noise", "0.1", "--target_psnr", "15"]
    made = players(folder, *TWO, *words, "--lens", lens)
    with torch.no_grad():
        for number, weights in enumerate(made.lens.parameters()):
            weights.add_(0.1 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(number)))
    made = dataclasses.replace(made, shortcut=Turned())
    assert bounds.differing(made, made.of_each_source("test", None)).mean() == apart


def test_the_ends_are_those_of_clopper_and_pearson_and_hold_for_all_sources_together():
    differ = np.zeros((2, 50), bool)
    differ[0, :3] = True
    differ[1] = True
    found = bounds.bound(differ, np.arange(50))
    # Of 50 pairs 3 differ: the share at which so few are seen with probability 2.5 % (5 % shared by two sources).
    assert stats.binom.cdf(3, 50, found.upper[0]) == pytest.approx(0.025)
    assert found.differ == [0.06, 1.0]
    assert found.upper[1] == 1
    assert found.at_best == pytest.approx((1 + 0.06 + 1) / 3)
    assert found.proved == pytest.approx((1 + found.upper[0] + 1) / 3)


@pytest.mark.parametrize(("distance", "pairs"), [(0.995, 20), (0.999, 100), (1.0, 20)])
def test_of_laws_that_are_all_but_apart_nothing_is_proved(distance, pairs):
    found = bounds.bound(np.full((1, pairs), distance), np.arange(pairs))
    assert (found.upper, found.proved) == ([1.0], 1.0)


def test_an_image_counts_as_in_an_accuracy_whatever_the_size_of_its_group():
    differ = np.array([[True, False, False, False, False, False]])
    found = bounds.bound(differ, np.array([7, 7, 7, 8, 8, 9]))
    assert (found.of, found.groups, found.differ) == (6, 3, [pytest.approx(1 / 6)])
    # Five films of 200 pictures of which all differ, 495 groups of two of which none does: who reads the films reads half of all.
    group = np.repeat(np.arange(500), [200] * 5 + [2] * 495)
    found = bounds.bound((group < 5)[None], group)
    assert found.at_best == pytest.approx((1 + 1000 / 1990) / 2)
    assert found.proved > 0.9
    assert "of 1,990 pairs with and without the cue (in 500 groups) 1,000 leave" in removal_table._bound(found)[1]


@pytest.mark.parametrize("kind", [bool, float])
def test_the_end_holds_in_groups_of_any_sizes(kind):
    """Large groups are the ones that differ: the end is below what is true in 5 % of trials at most, and says something."""
    rng, trials = np.random.default_rng(0), 400
    sizes = np.repeat([1, 4, 10], [80, 60, 40])
    group, share = np.repeat(np.arange(180), sizes), np.array([0.02, 0.1, 0.3]).repeat([80, 60, 40])
    truth = float((sizes * share).sum() / sizes.sum())
    missed, ends = 0, []
    for _ in range(trials):
        each = rng.random(180) < share  # a group as a whole
        found = bounds.bound(each[group][None].astype(kind), group)
        missed += found.upper[0] < truth
        ends.append(found.upper[0])
    assert missed <= 0.05 * trials
    assert np.mean(ends) < truth + 0.2


def test_the_bound_holds_for_the_best_classifier_of_a_known_law():
    """Pictures are one of ten values; the cue moves three of them: who knows all reads (1 + P) / 2, and no more is claimed."""
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 10, 20_000)
    planted = np.where(clean < 3, clean + 100, clean)
    found = bounds.bound((clean != planted)[None], np.arange(len(clean)))
    reads = (np.mean(clean < 100) + np.mean(planted >= 100)) / 2  # says "planted" of what it knows to be
    assert reads <= found.proved < reads + 0.01


def test_where_nothing_can_be_replayed_there_is_none_and_it_says_why(folder, noise_pictures):
    keyed = players(folder, *TWO, "--shortcut", "jpeg", "--shortcut_key", "random")
    assert "its key is random, not source" in bounds.why_none(keyed)
    assert "not planted" in bounds.why_none(players(folder, *TWO))
    two = players(folder, "--shortcut", "jpeg", data=[folder, noise_pictures])
    assert "differ in more than the planted cue" in bounds.why_none(two)


def test_looking_at_pairs_moves_no_random_number(folder):
    made = players(folder, *TWO, "--shortcut", "jpeg", "--lens", "jpeg")
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    bounds.differing(made, made.of_each_source("test", 10))
    assert torch.equal(torch.rand(1), expected)
