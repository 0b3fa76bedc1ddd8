"""The look-up that finds a plug-in by its file's name.

A kind is a file of this room, which holds its interface, and a folder of its name in the plural, which holds its plug-ins.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import is_protocol  # the standard library's is of Python 3.13

from lens.base.errors import BadInput, nearest
from lens.base.terminal import say

PACKAGE = Path(__file__).parent.parent
JOIN = "+"
"""What stands between the plug-ins of a composition."""


def folder_of(kind: str) -> Path:
    """The folder of a kind's plug-ins: "task" → `tasks/`, "lens" → `lenses/`."""
    return PACKAGE / (kind + ("es" if kind.endswith("s") else "s"))


def names(kind: str) -> list[str]:
    """The keys of all plug-ins of a kind ("task", "shortcut", "source"), by their files' names."""
    return sorted(file.stem for file in folder_of(kind).glob("*.py") if not file.stem.startswith("_"))


def summary_line(kind: str, name: str) -> str:
    """The first line of a plug-in's docstring, read without importing it."""
    return first_docstring_line(folder_of(kind) / f"{name}.py")


def first_docstring_line(file: Path) -> str:
    """The first line of a Python file's docstring, read without importing it."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n", 1)[0]


def is_file_key(key: str) -> bool:
    """Whether a plug-in's key names a file outside the package (`./my_task.py`)."""
    return key.endswith(".py") or "/" in key


def key_name(key: str) -> str:
    """The name under which a plug-in's settings stand: `./my_task.py` → `my_task`."""
    return JOIN.join(Path(part).stem if is_file_key(part) else part for part in keys_of(key))


def keys_of(key: str) -> list[str]:
    """The plug-ins of a key: of a composition (`jpeg+full_res`) its parts, else the key itself."""
    return [key] if os.path.isfile(key) else key.split(JOIN)  # of a name that is too long pathlib raises


def settings_of(plugin: type[Any]) -> list[str]:
    """The names of a plug-in's own settings, as they are called after its kind: `depth`, in a composition `jpeg.quality`."""
    from lens.protocols.composition import BETWEEN

    return [field.name.replace(BETWEEN, ".") for field in dataclasses.fields(plugin)]


def short_names(keys: Sequence[str]) -> list[str]:
    """What sources are called in a summary or a picture: a path by its last part, by the whole where two share that."""
    short = [(Path(key.replace("/#", "#")).name or key) if "/" in key else key for key in keys]
    return [key if short.count(name) > 1 else name for name, key in zip(short, keys, strict=True)]


def find(kind: str, key: str) -> type[Any]:
    """The one public dataclass of the plug-in file that `key` names: a built-in's name, or a path to a .py file.

    Of several lenses, or shortcuts (`jpeg+full_res`), it is one that applies them in their order (`composition`).

    Raises BadInput for an unknown name (with the nearest one), a missing file, or a file without that dataclass or one that
    lacks what its kind needs.
    """
    if len(keys_of(key)) > 1 and (several := _composed(kind, key)):
        return several
    if is_file_key(key):
        path = Path(key)
        if not path.is_file() or path.suffix != ".py":
            what = "that is no .py file" if path.exists() else "there is no such file"
            what = "that is a folder" if path.is_dir() else what
            raise BadInput(f"--{kind} {key}: {what}; give a path to a .py file or a name {nearest(key, names(kind))}")
        try:
            module = _executed(path.resolve(), path.read_bytes())
        except Exception as error:
            raise BadInput(f"--{kind} {key} cannot be loaded: {type(error).__name__}: {error}") from error
    elif key in names(kind):
        module = importlib.import_module(f"lens.{folder_of(kind).name}.{key}")
    else:
        from lens.protocols.composition import of_kind

        parts = [part.strip() for part in key.split(",")]
        are_several = len(parts) > 1 and {*parts} <= {*names(kind)} and of_kind(kind) is not None
        joined = f"several are written {JOIN.join(parts)}; " if are_several else ""
        raise BadInput(f"unknown {kind} {key!r}: {joined}{nearest(key, names(kind))}")
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
    interface = getattr(importlib.import_module(f"lens.protocols.{kind}"), kind.capitalize())
    if missing := _missing(found[0], interface):
        raise BadInput(f"--{kind} {key}: {found[0].__name__} lacks {', '.join(missing)}")
    return found[0] if is_protocol(interface) else _inheriting(found[0], interface, f"--{kind} {key}")


@functools.cache
def _executed(path: Path, content: bytes) -> types.ModuleType:
    """The module of a plug-in file, executed once for what it holds: one verb looks it up several times."""
    spec = importlib.util.spec_from_file_location(f"lens_plugin_{path.stem}", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    exec(compile(content, path, "exec"), module.__dict__)
    return module


def _composed(kind: str, key: str) -> type[Any] | None:
    """The plug-in of several, None of a kind of which there is one. Raises BadInput where one is unknown, stands twice, or cannot stand beside another."""
    from lens.protocols.composition import compose, of_kind

    if of_kind(kind) is None:
        return None
    if "" in keys_of(key):
        raise BadInput(
            f"--{kind} {key}: a {JOIN} stands between two names, as in one{JOIN}other, and here one of them is missing"
        )
    parts: dict[str, type[Any]] = {}
    for one in keys_of(key):
        if key_name(one) in parts:
            raise BadInput(f"--{kind} {key}: {key_name(one)} stands twice, and its settings have one name: drop one")
        parts[key_name(one)] = find(kind, one)
    return compose(kind, tuple(parts.items()))


def _missing(plugin: type[Any], interface: type[Any]) -> list[str]:
    """What a plug-in must have itself and has not: a protocol's variables and methods, a base class's abstract methods."""
    needed = [name for name, member in vars(interface).items() if inspect.isfunction(member)]
    if is_protocol(interface):
        needed = [*interface.__annotations__, *needed]
    else:
        needed = [name for name in needed if name in interface.__abstractmethods__]
        needed += plugin.needs() if hasattr(plugin, "needs") else []
    own = {name for parent in plugin.__mro__ if parent not in interface.__mro__ for name in vars(parent)}
    return [name for name in needed if not name.startswith("_") and name not in own]


def _inheriting(plugin: type[Any], base: type[Any], flag: str) -> type[Any]:
    """The plug-in, or, for one version, one written for 0.3 that has all of `base` but its defaults, with these."""
    if issubclass(plugin, base):
        return plugin
    _say_once(
        f"{flag}: {plugin.__name__} does not inherit {base.__module__}.{base.__name__}: for one version it is given that "
        f"class's defaults; write class {plugin.__name__}({base.__name__})"
    )
    own = {"__module__": plugin.__module__, "__qualname__": plugin.__qualname__, "__doc__": plugin.__doc__}
    return types.new_class(plugin.__name__, (plugin, base), exec_body=lambda body: body.update(own))


@functools.cache
def _say_once(line: str) -> None:
    """A plug-in is looked up several times by one verb."""
    say(line)
