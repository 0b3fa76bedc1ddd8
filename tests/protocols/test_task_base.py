"""What a task inherits: each default, what a class lacks is told, and a task around another hides nothing of it."""

import dataclasses
import importlib
import inspect
from types import SimpleNamespace

import pytest
import torch

from lens.base.errors import BadInput
from lens.measuring import pretext
from lens.protocols.lookup import find, names
from lens.protocols.task import Task, WrappedTask

DEFAULTS = {
    "views": 1, "spatial": False, "classes": None, "answer": None, "head_reads_question": False, "couples": False,
    "balanced": True, "grey": 0.0, "standardise": False, "defaults": {}, "correct": None,
}  # fmt: skip
METHODS = [name for name, member in vars(Task).items() if inspect.isfunction(member)]
LEAST = """
import dataclasses
from lens.protocols.task import Task
@dataclasses.dataclass(frozen=True)
class Least(Task):
    angle: int = 90
    def pose(self, images, draws): return images, {"target": images}
    def present(self, views, question): return views
    def prepare(self, images): return images
    def head(self, features): return None
    def loss(self, outputs, question): return outputs
"""


@pytest.fixture
def least(tmp_path):
    """A task that has only what it must have, and one setting."""
    (tmp_path / "least.py").write_text(LEAST)
    return find("task", str(tmp_path / "least.py"))


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_a_task_that_says_nothing_has_the_default(least, name, value):
    assert getattr(least, name) == value
    assert getattr(least(), name) == value


def test_every_class_variable_has_a_default_that_is_tested():
    assert list(Task.__annotations__) == list(DEFAULTS)


def test_only_the_fields_of_a_plugin_are_its_settings(least):
    assert [field.name for field in dataclasses.fields(least)] == ["angle"]
    for name in names("task"):
        task = find("task", name)
        assert issubclass(
            getattr(importlib.import_module(f"lens.tasks.{name}"), task.__name__), Task
        )  # as it is written
        assert not {field.name for field in dataclasses.fields(task) if field.init} & {*DEFAULTS, *METHODS}


def test_outputs_are_the_logits_where_there_are_classes_and_nowhere_else(least):
    outputs = torch.rand(2, 3)
    with pytest.raises(TypeError, match="Least has no classes"):
        least().logits(outputs)
    with pytest.raises(TypeError, match="Colorization has no classes"):
        find("task", "colorization")().logits(outputs)
    assert find("task", "rotation")().logits(outputs) is outputs


def test_a_task_without_a_choice_of_two_has_no_accuracy_and_no_chance(least):
    assert pretext._score(least(), torch.zeros(2), {}) is None
    assert pretext._chance(least(), []) is None
    assert pretext._chance(find("task", "inpainting")(), []) == 0.5


def test_a_task_that_is_not_of_the_datas_classes_says_so(least):
    with pytest.raises(BadInput, match=r"Least cannot be asked about 2 classes: it lacks for_classes"):
        least().for_classes(["a", "b"])


HEAD = "import dataclasses\nfrom lens.protocols.task import Task\nfrom lens.protocols.shortcut import Shortcut\nfrom lens.protocols.source import Source\n"
LACKING = {
    "task": [
        ("(Task)", "pose = loss = None", "present, prepare, head"),
        ("(Task)", "pass", "pose, present, prepare, head, loss"),
        ("", "pose = present = None", "prepare, head, loss"),
    ],
    "shortcut": [
        ("", "pass", "plants, plant"),
        ("", "plants = True", "plant"),
        ("(Shortcut)", "plants = True", "plant"),
    ],
    "source": [("", "pass", "listing, read"), ("(Source)", "listing = None", "read")],
}


@pytest.mark.parametrize(
    ("kind", "parents", "body", "lacks"), [(kind, *row) for kind in LACKING for row in LACKING[kind]]
)
def test_what_a_class_lacks_is_told(tmp_path, kind, parents, body, lacks):
    file = tmp_path / "mine.py"
    file.write_text(f"{HEAD}@dataclasses.dataclass(frozen=True)\nclass Mine{parents}:\n    {body}\n")
    with pytest.raises(BadInput) as told:
        find(kind, str(file))
    assert str(told.value) == f"--{kind} {file}: Mine lacks {lacks}"


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_task_around_another_has_its_class_variables(name):
    inner = SimpleNamespace(**{name: object()})
    assert getattr(WrappedTask(inner), name) is getattr(inner, name)


@pytest.mark.parametrize("name", METHODS)
def test_a_task_around_another_asks_it(name):
    answer, asked = object(), []
    inner = SimpleNamespace(**{name: lambda *given: asked.append(given) or answer})
    given = tuple(object() for _ in list(inspect.signature(vars(Task)[name]).parameters)[1:])
    wrapped = WrappedTask(inner)
    got = getattr(wrapped, name)(*given)
    assert asked == [given]
    if name == "for_classes":  # a wrapped one again, and the first is as it was
        assert (type(got), got.task, wrapped.task) == (WrappedTask, answer, inner)
    else:
        assert got is answer
