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


def test_a_file_is_executed_once_for_what_it_holds(tmp_path):
    file, told = tmp_path / "shift.py", tmp_path / "told"
    text = f"""
import dataclasses
with open({str(told)!r}, "a") as told:
    told.write("x")

@dataclasses.dataclass(frozen=True)
class Shift:
    by: int = 1
    plants = True

    def plant(self, images, theta, draws):
        return images
"""
    file.write_text(text)
    first, again = (find("shortcut", str(file)) for _ in range(2))
    assert first is again
    assert told.read_text() == "x"
    file.write_text(text.replace("by: int = 1", "by: int = 2"))
    assert (find("shortcut", str(file))().by, first().by) == (2, 1)
    assert told.read_text() == "xx"
    assert not (tmp_path / "__pycache__").exists()


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
