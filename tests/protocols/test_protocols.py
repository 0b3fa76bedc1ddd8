"""The look-up finds plug-ins by their files' names, and every plug-in says what it is."""

import dataclasses

import pytest

from lens.base.errors import BadInput, check_number, nearest
from lens.protocols.lookup import find, names, summary_line

ALL = [(kind, name) for kind in ("task", "shortcut", "source") for name in names(kind)]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_plugin_is_a_frozen_dataclass_with_a_line_for_help(kind, name):
    plugin = find(kind, name)
    assert dataclasses.is_dataclass(plugin)
    assert plugin.__dataclass_params__.frozen
    assert 10 < len(summary_line(kind, name)) <= 120
    assert plugin.__doc__


def test_the_built_in_plugins_are_found():
    assert {"rotation"} <= set(names("task"))
    assert {"arrow", "none"} <= set(names("shortcut"))
    assert {"chest_xray", "cifar10", "folder", "hub", "imagenet", "parquet", "webdataset"} <= set(names("source"))


def test_nearest_names_the_nearest_and_all():
    assert nearest("aple", ["apple", "pear"]) == "did you mean 'apple'? (known: apple, pear)"
    assert nearest("zzz", ["apple"]) == "(known: apple)"


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 2.0])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(BadInput, match="--x is"):
        check_number("x", value, low=0, high=1)
    check_number("x", 0.0, low=0, high=1)
    with pytest.raises(BadInput):
        check_number("x", 0.0, low=0, open_low=True)
