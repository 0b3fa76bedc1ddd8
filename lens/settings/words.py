"""Settings of files as words of a command line, so that the parser has one way in, and none to anybody's classes."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import math
import os
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Union

from lens.base import yaml_text
from lens.base.errors import BadInput, check_path, check_text
from lens.base.files import system_fault
from lens.settings.field import groups_of
from lens.settings.run_settings import PLUGINS

CLASSES = ("class_path", "init_args")
"""The keys by which the parser's library is told to import a class and to call it."""
PLAIN = (bool, int, float, str, type(None))


# --- kinds of settings -----------------------------------------------------------------------------------------------


def open_fields(settings: type[Any]) -> list[str]:
    """The settings of a dataclass that hold anything: a mapping, or a list of what is not said.

    Raises BadInput, with the field, for one of another kind (a class, a function): no settings file can hold it, unless it
    imports code.
    """
    inner = groups_of(settings)
    try:
        hints = typing.get_type_hints(settings)
    except NameError as error:
        raise BadInput(f"the type of a setting of {settings.__name__} is unknown ({error})") from error
    own = [field.name for field in dataclasses.fields(settings) if field.init and field.name not in inner]
    kinds = {name: _kind(hints[name]) for name in own}
    for name, kind in kinds.items():
        if kind == "code":
            raise BadInput(
                f"the setting {name} of {settings.__name__} is a {hints[name]}: settings are numbers, words, true or false, "
                "lists and mappings of them"
            )
    opened = [name for name, kind in kinds.items() if kind == "open"]
    return [*(name for part in inner.values() for name in open_fields(part)), *opened]


def _kind(hint: Any) -> str:
    """Of a type: "plain", "open" (anything that a file can hold) or "code"."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in PLAIN or origin is Literal:
        return "plain"
    if hint in (Any, dict, list, collections.abc.Mapping) or origin in (dict, collections.abc.Mapping):
        return "open"
    if dataclasses.is_dataclass(hint) or origin in (list, tuple, set, frozenset, collections.abc.Sequence, Union, types.UnionType):  # fmt: skip
        parts = typing.get_type_hints(hint).values() if dataclasses.is_dataclass(hint) else inner
        kinds = {_kind(part) for part in parts if part is not Ellipsis}
        return next((kind for kind in ("code", "open") if kind in kinds), "plain")
    return "code"


def mapping(value: Any) -> dict[str, Any]:
    """The value of an open setting, as YAML or JSON text or as it is. Raises ValueError where it is no mapping.

    Nothing in it is looked at but for `CLASSES`: to the parser it is one value.
    """
    found = plain_value(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError(f"it must be a mapping, such as {{channels: [32, 64]}}, and is {value!r}")
    refuse_classes("a setting", found)
    return found


def plain_value(text: str) -> Any:
    """What a text holds: JSON where it looks like that, else YAML. Raises YamlError, a ValueError, where it is neither."""
    if text[:1] in '[{"':
        try:
            return json.loads(text, object_pairs_hook=_unique)
        except yaml_text.YamlError:
            raise
        except (ValueError, RecursionError):
            pass  # YAML's own lists and mappings have no quotes
    return yaml_text.parse(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON. Raises YamlError where a key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if [name for name, _ in pairs].count(key) > 1)
        raise yaml_text.YamlError(f"the key {twice!r} stands twice: which of its values is meant?")
    return found


def refuse_classes(where: str, value: Any) -> None:
    """Raise BadInput where `class_path` or `init_args` is a key anywhere in a value: settings import and call nothing."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            for key in one:
                if any(part in CLASSES for part in str(key).split(".")):
                    raise BadInput(
                        f"{where}: {key!r} would import and call code; settings are numbers, words, lists and mappings: "
                        "take it out, and trust nothing else that came with it"
                    )
            left += one.values()
        elif isinstance(one, list):
            left += one


def refuse_classes_in_words(argv: Iterable[str]) -> None:
    """`refuse_classes` for the words of a command line."""
    for word in argv:
        flag, _, value = word.partition("=") if word.startswith("--") else ("", "", word)
        refuse_classes("the command line", {flag[2:]: None})
        if any(key in value for key in CLASSES):
            try:
                refuse_classes("the command line", plain_value(value))
            except yaml_text.YamlError:
                continue  # a word, whatever it says


# --- from mappings to words ------------------------------------------------------------------------------------------


def of_file(file: str) -> dict[str, Any]:
    """The settings in a YAML file. Raises BadInput, in one line, where it cannot be read or holds something else."""
    try:
        found = yaml_text.read(Path(file))
    except OSError as error:
        what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise system_fault(error, file) or BadInput(f"--config {file} {what}: give a YAML file of settings") from error
    except ValueError as error:
        raise BadInput(f"--config {file} is no YAML of settings: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadInput(f"--config {file} holds no settings: it must be a mapping, key: value")
    refuse_classes(file, found)
    for key in ("config", "print_config"):
        if key in found:
            raise BadInput(f"--config {file}: {key} has no meaning in a file of settings: give it on the command line")
    for key in found:
        refuse_key(str(key))
    return {str(key): value for key, value in found.items()}


def refuse_key(key: str) -> None:
    """Raise BadInput for a key that is no setting's name: with a = in it, it would be read as another one."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", key):
        raise BadInput(
            f"{key[:80]!r} is no name of a setting: it has letters, digits and _, and a dot before each part"
        )


def of_mapping(settings: dict[str, Any], lists: Iterable[str], opened: Iterable[str]) -> list[str]:
    """Settings as words `--key=value`: those in `lists` as JSON lists, those in `opened` as one value, whatever they hold.

    A mapping that is not `opened` is a section, and becomes a word for each setting in it.
    """
    lists, opened = set(lists), set(opened)
    found = []
    for key, value in settings.items():
        refuse_key(key)
        if isinstance(value, dict) and key not in opened:
            found += of_mapping({f"{key}.{name}": inner for name, inner in value.items()}, lists, opened)
        elif key in lists and isinstance(value, str) and value.startswith("["):
            found.append(f"--{key}={_text([value])}")  # a name in brackets, which is no list
        else:
            found.append(f"--{key}={_text(value)}")
    return found


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return json.dumps(value, ensure_ascii=False, default=str)


def key_of(word: str) -> str:
    """The setting of a word `--key=value`: of a plug-in's own the whole key, of a mapping's part the mapping."""
    key = word[2:].partition("=")[0]
    first = key.partition(".")[0]
    return key if first in PLUGINS else first


def gathered(words: list[str], opened: Iterable[str]) -> list[str]:
    """Words with those of each open setting made one: `--x={a: 1} --x.b=2` → `--x={"a": 1, "b": 2}`.

    Raises BadInput where the value of one is no mapping.
    """
    found = []
    values: dict[str, dict[str, Any]] = {}
    pending: str | None = None
    for word in words:
        if pending is not None:
            word, pending = f"{pending}={word}", None
        flag, equals, text = word.partition("=")
        name = next((name for name in opened if flag == f"--{name}" or flag.startswith(f"--{name}.")), None)
        if name is None:
            found.append(word)
        elif not equals:
            pending = word
        else:
            try:
                _put(values, name, flag[3 + len(name) :], text)
            except ValueError as error:
                raise BadInput(f"{flag}: {error}") from error
    if pending is not None:
        raise BadInput(f"{pending} needs a value")
    return found + [f"--{name}={_text(value)}" for name, value in values.items()]


def _put(values: dict[str, dict[str, Any]], name: str, path: str, text: str) -> None:
    """Set what `path`, with dots, names within the open setting `name`; without a path, all of it."""
    if not path:
        values[name] = mapping(text)
        return
    try:
        value = plain_value(text)
    except yaml_text.YamlError:
        value = text
    refuse_classes(name, {path: value})
    *outer, last = path.split(".")
    place: Any = values.setdefault(name, {})
    for part in outer:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise ValueError(f"{part} holds {place!r} and no mapping")
    place[last] = value


# --- paths -----------------------------------------------------------------------------------------------------------


def checked(flag: str, value: str, is_path: bool) -> str:
    """A word as it is meant: of a path that begins with ~ the person's own folder.

    Raises BadInput for what no settings file or no file system can hold: bytes that are no UTF-8, NUL, a path that is too
    long, the folder of a user that there is not.
    """
    try:
        (check_path if is_path else check_text)(value)
    except BadInput as error:
        raise BadInput(f"--{flag}: {error}") from error
    if not is_path:
        return value
    expanded = os.path.expanduser(value)
    if expanded.startswith("~"):
        raise BadInput(f"--{flag} {value}: there is no such user; for a name that begins with ~ write ./{value}")
    return expanded
