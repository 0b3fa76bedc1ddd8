"""Groups, splits, the fresh part and pseudo-sources, each a function of names alone."""

import numpy as np
import pytest

from lens.images import splits
from lens.protocols.source import Listing, Record


def numbered(groups):
    known = {}
    return np.array([known.setdefault(group, len(known)) for group in groups]), list(known)


def test_an_expression_finds_groups_by_its_parenthesis_or_whole():
    records = [Record(name) for name in ("p1/a.png", "p1/b.png", "p22/c.png", "other.png")]
    assert splits.groups_of(records, r"p(\d+)/") == (["1", "1", "22", "other.png"], [True, True, True, False])
    assert splits.groups_of(records, r"p\d+")[0] == ["p1", "p1", "p22", "other.png"]
    assert splits.groups_of(records, r"p(?:\d+)")[0] == ["p1", "p1", "p22", "other.png"]
    assert splits.groups_of(records) == ([r.name for r in records], [False] * 4)


def test_a_parenthesis_that_took_no_part_names_no_group():
    found, matched = splits.groups_of([Record("a.png"), Record("x7.png")], r"x(\d)|a")
    assert (found, matched) == (["a.png", "7"], [False, True])


def test_without_a_match_the_sources_own_group_stays():
    records = [Record("a", group="ann"), Record("b7", group="ann")]
    assert splits.groups_of(records, r"b(\d)")[0] == ["ann", "7"]


def test_splits_go_by_the_group_that_is_found():
    records = [Record(f"p{i // 4}_{i}.png") for i in range(400)]
    names, _ = splits.groups_of(records, r"p\d+")
    found = splits.split_of(Listing(records, []), names)
    for start in range(0, 400, 4):
        assert len(set(found[start : start + 4])) == 1
    assert set(found) == set(splits.SPLITS)


def test_a_group_in_several_splits_goes_to_the_most_held_out():
    split = np.array(["train", "test", "train", "val", "train", "train"])
    settled, moved = splits.keep_groups_whole(split, np.array([0, 0, 1, 1, 2, 2]), np.ones(6, bool))
    assert settled.tolist() == ["test", "test", "val", "val", "train", "train"]
    assert moved == 2


def test_the_fresh_part_is_a_share_of_training_groups_and_depends_on_names_alone():
    group, names = numbered([f"g{i // 2}" for i in range(4000)])
    split = np.array(splits.split_of(Listing([Record(f"{i}", group=f"g{i // 2}") for i in range(4000)], [])))
    fresh = splits.keep_fresh(split, group, names, 0.5)
    assert ((fresh == split) | ((split == "train") & (fresh == "fresh"))).all()  # from training alone
    assert (fresh[::2] == fresh[1::2]).all()
    assert (fresh == "fresh").sum() / (split == "train").sum() == pytest.approx(0.5, abs=0.05)
    order = np.random.default_rng(0).permutation(4000)
    shuffled, other = numbered([names[g] for g in group[order]])
    assert (splits.keep_fresh(split[order], shuffled, other, 0.5) == fresh[order]).all()
    more = splits.keep_fresh(split, group, names, 0.7)
    assert (more[fresh == "fresh"] == "fresh").all()
    assert (splits.keep_fresh(split, group, names, 0.0) == split).all()


@pytest.mark.parametrize("count", [2, 3, 7])
def test_pseudo_sources_are_random_parts_of_equal_size(count):
    group, names = numbered([f"i{i}" for i in range(1000)])
    part = splits.pseudo_sources(group, names, count, seed=0)
    sizes = np.bincount(part, minlength=count)
    assert sizes.max() - sizes.min() <= 1
    assert (part != splits.pseudo_sources(group, names, count, seed=1)).mean() > 0.3
    # Files lie in an order: the parts are none.
    assert abs(np.corrcoef(part, np.arange(1000))[0, 1]) < 0.1
    order = np.random.default_rng(0).permutation(1000)
    shuffled, other = numbered([names[g] for g in group[order]])
    assert (splits.pseudo_sources(shuffled, other, count, seed=0) == part[order]).all()


def test_a_group_is_in_one_pseudo_source():
    group, names = numbered([f"g{i // 5}" for i in range(1000)])
    part = splits.pseudo_sources(group, names, 4, seed=0)
    assert (part.reshape(-1, 5) == part[::5, None]).all()
    assert np.ptp(np.bincount(part)) <= 5
