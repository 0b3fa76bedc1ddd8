"""Plug-ins written for 0.3 work as they did, and each old name is told of once, with the new one."""

import copy
import importlib
import inspect
import sys
import warnings

import pytest
from tiny import TINY, fit

import lens.protocols
from lens import train
from lens.images import opening
from lens.protocols import lookup
from lens.protocols.task import Task

TASK = '''"""Is the upper half on top? A task as 0.3 had them."""
from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.draws import Draws
from lens.protocols import Question

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Upside:
    """A question with two answers."""

    views: ClassVar[int] = 2
    spatial: ClassVar[bool] = False
    classes: ClassVar[int | None] = 2

    scale: float = 2.0
    """How far from zero the input goes."""

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        import torch

        turned = torch.where((draws.view == 1)[:, None, None, None], images.flip(2), images)
        return turned, {"target": draws.view}

    def present(self, views: Tensor, question: Question) -> Tensor:
        return (views - 0.5) * self.scale

    def prepare(self, images: Tensor) -> Tensor:
        return (images - 0.5) * self.scale

    def head(self, features: int) -> nn.Module:
        from torch import nn

        return nn.Linear(features, 2)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(outputs, question["target"], reduction="none")

    def logits(self, outputs: Tensor) -> Tensor:
        return outputs
'''
SHORTCUT = '''"""A line of white on top."""
import dataclasses
from typing import ClassVar

from lens.protocols import check_number

@dataclasses.dataclass(frozen=True)
class Line:
    """As bright as is said."""

    plants: ClassVar[bool] = True
    bright: float = 1.0

    def __post_init__(self):
        check_number("line.bright", self.bright, low=0, high=1)

    def plant(self, images, theta, draws):
        images = images.clone()
        images[:, :, 0] = self.bright * theta[:, None, None]
        return images
'''
SOURCE = '''"""The files of a folder and of the folders in it."""
import dataclasses
from pathlib import Path

import PIL.Image

from lens.files import MEBIBYTE
from lens.protocols import BadInput, Listing, Record

@dataclasses.dataclass(frozen=True)
class Files:
    """In the order of their names."""

    path: str

    def listing(self):
        found = [file for file in sorted(Path(self.path).rglob("*.png")) if file.stat().st_size < MEBIBYTE]
        if not found:
            raise BadInput(f"{self.path} has no pictures")
        return Listing([Record(str(file), int(file.parent.name[-1])) for file in found], ["a", "b"])

    def read(self, position):
        return PIL.Image.open(self.listing().records[position].name)
'''
MOVED = {
    "lens.base.errors": ["BadInput", "nearest", "LONGEST_PATH", "LONGEST_NAME", "check_text", "check_path", "check_number"],
    "lens.protocols.lookup": ["names", "summary_line", "first_docstring_line", "is_file_key", "key_name", "short_names", "find"],
    "lens.protocols.shortcut": ["Shortcut"],
    "lens.protocols.source": ["Record", "Listing", "Source"],
    "lens.protocols.task": ["Question", "Task", "WrappedTask", "nearer"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _untold(monkeypatch):
    """Nothing was told of yet in this process."""
    lens.protocols.__getattr__.cache_clear()
    lookup._say_once.cache_clear()
    for name in ("draws", "files"):
        monkeypatch.delitem(sys.modules, f"lens.{name}", raising=False)


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A folder with a task, a shortcut and a source of 0.3, where work goes on; the source has the name `mine`."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("upside", TASK), ("line", SHORTCUT), ("files_of", SOURCE)):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(opening, "names", lambda kind: [*lookup.names(kind), "mine"])
    monkeypatch.setattr(opening, "find", lambda kind, key: lookup.find(kind, "./files_of.py" if key == "mine" else key))
    return tmp_path


def test_a_task_a_shortcut_and_a_source_of_0_3_train_and_each_name_is_told_of_once(old, photos, capsys):
    words = [
        *TINY, "--lens", "none", "--steps", "2", "--data", f"mine:{photos}", "--task", "./upside.py", "--upside.scale", "3",
        "--shortcut", "./line.py", "--line.bright", "0.5", "--out", "r",
    ]  # fmt: skip
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert train.main(fit(words)) == 0
    assert {one.category for one in told} == {FutureWarning}
    assert sorted(str(one.message).split(";")[0] for one in told) == [
        "lens.draws is now lens.base.draws",
        "lens.files is now lens.base.files",
        "lens.protocols.BadInput is now lens.base.errors.BadInput",
        "lens.protocols.Listing is now lens.protocols.source.Listing",
        "lens.protocols.Question is now lens.protocols.task.Question",
        "lens.protocols.Record is now lens.protocols.source.Record",
        "lens.protocols.check_number is now lens.base.errors.check_number",
    ]
    assert {one.filename.rsplit("/", 1)[-1] for one in told} == {"upside.py", "line.py", "files_of.py"}
    said = [line for line in capsys.readouterr().err.splitlines() if "inherit" in line]
    assert len(said) == 1
    assert said[0].startswith("--task ./upside.py: Upside does not inherit lens.protocols.task.Task: for one version")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_task_of_0_3_has_the_defaults_and_is_otherwise_what_it_was(old, capsys):
    upside = lookup.find("task", "./upside.py")
    assert issubclass(upside, Task)
    assert (upside.__name__, upside.__doc__) == ("Upside", "A question with two answers.")
    task = upside(scale=4.0)
    assert (task.views, task.classes, task.balanced, task.correct, task.defaults) == (2, 2, True, None, {})
    assert copy.deepcopy(task) == task != upside()
    assert repr(task) == "Upside(scale=4.0)"
    lookup.find("task", "./upside.py")
    assert len(capsys.readouterr().err.splitlines()) == 1  # of two look-ups


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_task_that_inherits_what_0_3_called_task_is_told_of_its_import_alone(old, capsys):
    text = TASK.replace("import Question", "import Question, Task").replace("class Upside:", "class Upside(Task):")
    (old / "upside.py").write_text(text)
    assert issubclass(lookup.find("task", "./upside.py"), Task)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("place", "name"), [(place, name) for place, here in MOVED.items() for name in here])
def test_every_name_of_0_3_is_found_and_its_new_place_named(place, name):
    with pytest.warns(FutureWarning, match=f"{name} is now {place}.{name};") as told:
        found = getattr(lens.protocols, name)
    assert found is getattr(importlib.import_module(place), name)
    assert [one.filename for one in told] == [__file__]
    assert getattr(lens.protocols, name) is found  # and nothing more is told: warnings are errors here


def test_what_has_no_new_place_does_what_it_did():
    with pytest.warns(FutureWarning, match=r"trait is now task\.NAME"):
        trait = lens.protocols.trait
    with pytest.warns(FutureWarning, match="TRAITS is now the class variables"):
        traits = lens.protocols.TRAITS
    with pytest.warns(FutureWarning, match="KINDS is now the folders"):
        kinds = lens.protocols.KINDS
    assert traits == {
        "answer": None, "head_reads_question": False, "couples": False, "balanced": True, "grey": 0.0, "standardise": False,
        "defaults": {},
    }  # fmt: skip
    assert kinds == {"task": "tasks", "shortcut": "shortcuts", "source": "sources"}
    assert trait(lookup.find("task", "labels"), "answer") == "label"
    assert trait(lookup.find("task", "rotation")(), "balanced") is True


def test_a_name_that_never_was_is_no_name():
    with pytest.raises(AttributeError, match=r"module 'lens.protocols' has no attribute 'bogus'"):
        _ = lens.protocols.bogus
    with pytest.raises(ImportError):
        exec("from lens.protocols import bogus")


@pytest.mark.parametrize("name", ["draws", "files"])
def test_a_module_of_0_3_has_all_that_is_in_the_new_one(name):
    with pytest.warns(FutureWarning, match=f"lens.{name} is now lens.base.{name};") as told:
        old = importlib.import_module(f"lens.{name}")
    assert len(told) == 1
    new = importlib.import_module(f"lens.base.{name}")
    own = [n for n, member in vars(new).items() if inspect.getmodule(member) is new and not n.startswith("_")]
    assert len(own) > 2
    assert all(getattr(old, n) is getattr(new, n) for n in own)
