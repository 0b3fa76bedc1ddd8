"""The small interfaces that plug-ins fill, and the look-up that finds a plug-in by its file's name.

Shape letters, used in names (`logits_EK`) and docstrings throughout the package:

    B  images in a batch            V  views: B times the views that a task takes of each image
    E  examples (rows of the loss)  K  classes
    F  features of the extractor    C H W  channels (always RGB), height, width

A plug-in is a file: its name is its key on the command line, its docstring's first line its line in `--help`, and its
one public dataclass holds its settings and fills one of the protocols below. Of lens itself it imports this file,
`draws` and `files` only; heavy libraries are imported inside functions, so that `--help` and bad input answer at once.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import PIL.Image
    from torch import Tensor, nn

    from lens.draws import Draws

Question = dict[str, "Tensor"]


class BadInput(ValueError):
    """A mistake of the person at the keyboard: shown as one line, exit code 2, no traceback."""


class Task(Protocol):
    """A pretext task in three parts, because some tasks cut and standardise *after* the lens.

    `views` is the number of views of each image: `pose` is handed every image that many times, image by image, with
    `draws.view` counting them. `spatial` tells whether `head` reads the feature map (V, F, h, w) or pooled features
    (V, F). `classes` is K, or None where the target is not a class: such a task may have a method
    `correct(outputs, question)` → (E,), 1 where it chooses rightly between two answers, else 0 (a tie: 0.5).
    A task may also have the traits of `TRAITS`. In the question `target` is the answer, whatever its kind.
    """

    views: ClassVar[int]
    spatial: ClassVar[bool]
    classes: ClassVar[int | None]

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """Images (V, C, H, W) in [0, 1] → views the lens may edit, same range, and what is asked about them.

        With classes the question holds `target` (E,) int64. Everything else that `present` and `loss` need is there
        too, one row a view or an example: a regression's target comes from the images given here, never from the lens.
        """

    def present(self, views: Tensor, question: Question) -> Tensor:
        """Views (V, C, H, W) in [0, 1], raw or lensed → the extractor's input: cut, standardised, scaled."""

    def prepare(self, images: Tensor) -> Tensor:
        """Upright images (B, C, H, W) in [0, 1] → the input for downstream features, as many rows for each image."""

    def head(self, features: int) -> nn.Module:
        """The network on top of the extractor's features, from F features to what `loss` reads."""

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """The head's outputs → one loss per example (E,)."""

    def logits(self, outputs: Tensor) -> Tensor:
        """The head's outputs → class logits (E, K); asked only where `classes` is not None."""


TRAITS: dict[str, Any] = {"answer": None, "head_reads_question": False, "couples": False, "balanced": True, "grey": 0.0, "standardise": False, "defaults": {}}  # fmt: skip
"""What a task may say of itself beside its protocol's members, with the value of one that says nothing.

`answer`: "label" where the answer is the image's label, "source" where it is the number of its data source (`pose` leaves
`target` out, and `for_classes(names)` gives the task for these labels or sources); sources are trained on and measured in
equal parts. `head_reads_question`: the head is called with features and question. `couples`: the loss of an
example depends on others, so that several ranks put theirs together. `balanced`: every class is asked equally often;
otherwise chance is the share of the most frequent one. `grey`, `standardise`: its protocol's removal by hand (`removal`).
`defaults`: settings of a run that are others where this task is asked and nothing is said.
"""


def trait(task: Any, name: str) -> Any:
    """A task's own value of one of `TRAITS`, or the default."""
    return getattr(task, name, TRAITS[name])


class WrappedTask:
    """A task around another: what it does not do itself, `task` does.

    Special methods (`__deepcopy__`, `__getstate__`) are never the inner task's: a copy would be of that one alone.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def __getattr__(self, name: str) -> Any:
        # `copy` and `pickle` make an object before it has a `task`, and ask it for more.
        if name == "task" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.task, name)


def nearer(own: Tensor, other: Tensor) -> Tensor:
    """Of two distances (E,), is the answer nearer to its own image's: 1, else 0, and 0.5 for a tie."""
    return (own < other).float() + 0.5 * (own == other).float()


class Shortcut(Protocol):
    """A cue that can be planted in images.

    `plants` is False only for the shortcut that plants nothing.
    """

    plants: ClassVar[bool]

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Images (V, C, H, W) in [0, 1] and the cue's parameter (V,) in [0, 1) → planted images, same range.

        `draws` are for what is random whatever the key says: a watermark's place.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One image of a source: a name unique in the source, its label, split and group, and what changes if it does.

    `split` is "train", "val" or "test", or None where the source leaves splitting to `data`. Images of one `group`
    (a patient) never fall into two splits, and intervals treat them as one draw. `stamp` goes into the cache's key: while
    it is the same, nothing is decoded or hashed again. `portable_stamp` is what an honest copy shares with it (a file's size
    and time); a run records it where nothing is hashed. Where it is empty, it is the `stamp`.
    """

    name: str
    label: int | None = None
    split: str | None = None
    group: str | None = None
    stamp: str = ""
    portable_stamp: str = ""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a source holds: its records in a fixed order, the class names (empty where there are no labels).

    `notes` are lines for the person: what was passed over, or has no label.
    """

    records: Sequence[Record]
    classes: Sequence[str]
    notes: Sequence[str] = ()


class Source(Protocol):
    """A place where images come from.

    A source that is read from a path has the settings `path`, `image_column` and `label_column` and a static
    `accepts(path, endings)`, which is handed the endings of all files there (lower case, with the dot); a built-in source is called by its name, and `root`, where it has one, is the folder of its files.
    One with a `path` and no `accepts` is called `NAME:PATH`. `cache_dir`, where there is one, is for files of its own.
    """

    def listing(self) -> Listing:
        """Names, labels and splits, without decoding an image. Raises BadInput where there is nothing to read."""

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing, decoded lazily; any exception counts as a bad image."""


KINDS = {"task": "tasks", "shortcut": "shortcuts", "source": "sources"}


def nearest(word: str, known: Iterable[str]) -> str:
    """The ending of an error line: the nearest known word, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    shown = ", ".join(known) if len(known) <= 12 else f"{len(known)} of them"
    return f"{hint}(known: {shown})"


def names(kind: str) -> list[str]:
    """The keys of all plug-ins of a kind ("task", "shortcut", "source"), by their files' names."""
    folder = Path(__file__).parent / KINDS[kind]
    return sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))


def summary_line(kind: str, name: str) -> str:
    """The first line of a plug-in's docstring, read without importing it."""
    return first_docstring_line(Path(__file__).parent / KINDS[kind] / f"{name}.py")


def first_docstring_line(file: Path) -> str:
    """The first line of a Python file's docstring, read without importing it."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n", 1)[0]


def is_file_key(key: str) -> bool:
    """Whether a plug-in's key names a file outside the package (`./my_task.py`)."""
    return key.endswith(".py") or "/" in key


def key_name(key: str) -> str:
    """The name under which a plug-in's settings stand: `./my_task.py` → `my_task`."""
    return Path(key).stem if is_file_key(key) else key


def short_names(keys: Sequence[str]) -> list[str]:
    """What sources are called in a summary or a picture: a path by its last part, by the whole where two share that."""
    short = [(Path(key.replace("/#", "#")).name or key) if "/" in key else key for key in keys]
    return [key if short.count(name) > 1 else name for name, key in zip(short, keys, strict=True)]


def find(kind: str, key: str) -> type[Any]:
    """The one public dataclass of the plug-in file that `key` names: a built-in's name, or a path to a .py file.

    Raises BadInput for an unknown name (with the nearest one), a missing file, or a file without that dataclass.
    """
    if is_file_key(key):
        path = Path(key)
        if not path.is_file():
            raise BadInput(
                f"--{kind} {key}: there is no such file; give a path to a .py file or a name {nearest(key, names(kind))}"
            )
        spec = importlib.util.spec_from_file_location(f"lens_plugin_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise BadInput(f"--{kind} {key} cannot be loaded: {type(error).__name__}: {error}") from error
    elif key in names(kind):
        module = importlib.import_module(f"lens.{KINDS[kind]}.{key}")
    else:
        raise BadInput(f"unknown {kind} {key!r}: {nearest(key, names(kind))}")
    found = [
        member
        for name, member in vars(module).items()
        if not name.startswith("_")
        and inspect.isclass(member)
        and dataclasses.is_dataclass(member)
        and member.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise BadInput(f"--{kind} {key}: expected one public dataclass in the file, found {len(found)}")
    needed = {"task": Task, "shortcut": Shortcut, "source": Source}[kind]
    missing = [name for name in _members(needed) if not hasattr(found[0], name)]
    if missing:
        raise BadInput(f"--{kind} {key}: {found[0].__name__} lacks {', '.join(missing)}")
    return found[0]


def _members(protocol: type[Any]) -> list[str]:
    """The names that a plug-in must have: the protocol's class variables and methods (`logits` only with classes)."""
    names = [
        *protocol.__annotations__,
        *(name for name, member in vars(protocol).items() if inspect.isfunction(member)),
    ]
    return [name for name in names if not name.startswith("_") and name != "logits"]


LONGEST_PATH = 4095
LONGEST_NAME = 255
"""Bytes of a path, and of a part of it, at most, that Linux takes."""


def check_text(text: str) -> None:
    """Raise BadInput for a text that no file of settings can hold, or no path: not UTF-8, or with a NUL character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{text[:80]!r} is no UTF-8, so that no settings file can hold it: rename it, or make a link to it with a plain name"
        ) from error
    if "\0" in text:
        raise BadInput(f"{text[:80]!r} has a NUL character: no name has")


def check_path(text: str) -> None:
    """Raise BadInput for a text that cannot be a path: see `check_text`, or too long, as a whole or in a part."""
    check_text(text)
    if (length := len(text.encode("utf-8"))) > LONGEST_PATH:
        raise BadInput(f"the path {text[:40]!r}… has {length:,} bytes: it may have {LONGEST_PATH:,}")
    longest = max(len(part.encode("utf-8")) for part in text.split("/"))
    if longest > LONGEST_NAME and ":" not in text:
        raise BadInput(f"the path {text[:40]!r}… has a part of {longest:,} bytes: it may have {LONGEST_NAME}")


def check_number(
    name: str, value: float, *, low: float, high: float = math.inf, open_low: bool = False, open_high: bool = False
) -> None:
    """Raise BadInput unless `value` is finite and within [low, high], without an end that is `open`."""
    outside = value < low or value > high or (open_low and value == low) or (open_high and value == high)
    if not math.isfinite(value) or outside:
        below = f"above {low:g}" if open_low else f"at least {low:g}"
        above = "" if math.isinf(high) else f" and {'below' if open_high else 'at most'} {high:g}"
        raise BadInput(f"--{name} is {value}: it must be a finite number, {below}{above}")
