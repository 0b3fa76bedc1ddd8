"""No group is cut, whatever its size; splits and pseudo-sources have the sizes that they should."""

import numpy as np
import pytest

from lens.auditing import division
from lens.base.errors import BadInput
from lens.images.data import Images


def images(group, source, keys=("a", "b")):
    count = len(group)
    return Images(
        keys=list(keys), arrays=[], offsets=[], names=[f"{n}.png" for n in range(count)], label=np.full(count, -1),
        group=np.asarray(group), source=np.asarray(source), split=np.full(count, ""), classes=[[] for _ in keys], skipped=[],
        store=np.asarray(source), stores=list(keys), group_names=[f"g{n}" for n in range(max(group) + 1)],
        gives_splits=[False] * len(keys),
    )  # fmt: skip


def grouped():
    """Groups of 1 to 6 images, 400 of source a and 200 of b; ten groups stand in both."""
    chance = np.random.default_rng(0)
    size = chance.integers(1, 7, 600)
    group = np.repeat(np.arange(600), size)
    source = np.repeat((np.arange(600) >= 400).astype(int), size)
    both = np.flatnonzero(np.isin(group, np.arange(10)))
    source[both[::2]] = 1
    return images(group, source)


def cut(values, group):
    return [g for g in np.unique(group) if len(np.unique(values[group == g])) > 1]


def test_groups_fall_into_one_split_and_each_source_is_divided_alike():
    data = grouped()
    split = division.split(data, 0)
    assert cut(split, data.group) == []
    for source in (0, 1):
        mine = split[data.source == source]
        for name, share in (("train", 0.5), ("val", 0.2), ("test", 0.3)):
            assert (mine == name).mean() == pytest.approx(share, abs=0.03)
    assert (division.split(data, 1) != split).any()


def test_pseudo_sources_cut_no_group_and_are_as_large_as_the_sources_in_every_split():
    data = grouped()
    split = division.split(data, 0)
    part = division.pseudo_sources(data, split, 0)
    assert cut(part, data.group) == []
    for name in ("train", "val", "test"):
        mine = split == name
        assert (part[mine] == 0).mean() == pytest.approx((data.source[mine] == 0).mean(), abs=0.03)
        # They say nothing of the source.
        assert abs(np.corrcoef(part[mine], data.source[mine])[0, 1]) < 0.15


def test_groups_that_leave_nothing_to_test_are_refused():
    group = np.repeat(np.arange(24), 10)
    with pytest.raises(BadInput, match=r"a has 12 groups of images, which leaves . to its test split: 10 are needed"):
        division.split(images(group, np.repeat([0, 1], 120)), 0)


def test_a_source_whose_own_splits_share_groups_is_told():
    data = images([0, 0, 1, 2, 3, 3], [0, 0, 0, 0, 1, 1])
    lines = division.leaks(data, np.array(["train", "test", "train", "test", "", ""]))
    assert len(lines) == 1
    assert lines[0].startswith("a: 1 of 3 groups")
