"""The words of a command line, as people write them, in the form that the parser takes."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from lens.base.errors import BadInput
from lens.protocols.composition import BETWEEN
from lens.settings import words
from lens.settings.field import KINDS, fields_of


def normalise_arguments(argv: list[str], settings: type[Any]) -> list[str]:
    """Rewrite what the parser does not take as people write it.

    Lists: `--data A --data B` and `--data A B` both become one JSON list (the parser keeps the last of a repeated
    flag). Switches: a bare `--pretrained` becomes `--pretrained=true`. Paths: ~ becomes the person's own folder.

    Raises BadInput for a value that no file of settings can hold, and for one that would import code.
    """
    words.refuse_classes_in_words(argv)
    fields = fields_of(settings)
    types = {name: str(field.type) for name, field in fields.items()}
    lists: dict[str, list[str]] = {}
    rest: list[str] = []
    pending: str | None = None
    for position, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        name = flag[2:].removesuffix("+") if flag.startswith("--") else ""

        def checked(text: str, name: str = name) -> str:
            return words.checked(name or "a word", text, name in fields and fields[name].metadata.get("path", False))

        if word.startswith("--") or word == "-h":
            pending = None
        if name and types.get(name, "").startswith("list"):
            pending = name
            lists.setdefault(name, [])
            if equals:
                lists[name] += [checked(one) for one in _list_value(value)]
        elif pending is not None:
            lists[pending] += [checked(one, pending) for one in _list_value(word)]
        elif name and not equals and types.get(name) in ("bool", "bool | None"):
            following = " ".join(argv[position + 1 : position + 2]).lower()
            rest.append(word if following in ("true", "false") else f"{word}=true")
        elif name in fields and equals:
            rest.append(f"{flag}={checked(value)}")
        else:
            before = argv[position - 1][2:] if position and argv[position - 1].startswith("--") else ""
            rest.append(checked(word, before))
    for name, values in lists.items():
        if not values:
            raise BadInput(f"--{name} needs a value")
        # One word for a list of numbers is none of them (`auto`).
        alone = len(values) == 1 and not types[name].startswith("list[str]")
        rest.append(f"--{name}={values[0] if alone else json.dumps(values, ensure_ascii=False)}")
    return rest


def _list_value(text: str) -> list[str]:
    """One value of a list flag, or several written as JSON or YAML (`[a, b]`); a name in brackets is no list."""
    try:
        value = words.plain_value(text) if text.startswith("[") and text.endswith("]") else text
    except ValueError:
        value = text
    return [str(item) for item in value] if isinstance(value, list) else [str(text)]


def without_files(argv: list[str]) -> tuple[list[str], list[str]]:
    """The --config files that a command line names, and its other words."""
    files: list[str] = []
    rest: list[str] = []
    awaited = False
    for word in argv:
        flag, equals, value = word.partition("=")
        if awaited or (flag == "--config" and equals):
            files.append(words.checked("config", word if awaited else value, is_path=True))
            awaited = False
        elif flag == "--config":
            awaited = True
        else:
            rest.append(word)
    if awaited:
        raise BadInput("--config needs a value")
    return files, rest


def without(flag: str, argv: list[str]) -> tuple[list[str], bool]:
    """A command line without a flag that takes no value, and whether it was there."""
    rest = [word for word in argv if word.partition("=")[0] != flag]
    return rest, len(rest) < len(argv)


def value_of(flag: str, argv: list[str]) -> str | None:
    """The value that a command line gives to a flag, None where it does not."""
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def path_of(flag: str, argv: list[str]) -> str | None:
    """`value_of` a flag that names a path: ~ is the person's own folder. Raises BadInput for what is no path."""
    value = value_of(flag, argv)
    return None if value is None else words.checked(flag[2:], value, is_path=True)


def refuse_times(told: list[str], settings: type[Any], prefix: str = "") -> None:
    """Raise BadInput for a number that is written as a time, or is longer than one that a float holds.

    The parser's library takes 1:30 for ninety, as YAML 1.1 does, and the other one ends in its traceback.
    """
    types = {
        f"--{prefix}{name.replace(BETWEEN, '.')}": field.type if isinstance(field.type, str) else _named(field.type)
        for name, field in fields_of(settings).items()
    }
    numbers = {flag: kind for flag, kind in types.items() if re.search(r"\b(int|float)\b", kind)}
    for word, following in itertools.zip_longest(told, told[1:], fillvalue=""):
        flag, equals, text = word.partition("=")
        text = text if equals else following
        if flag in numbers and re.fullmatch(r"[-+\d_.]{40,}", text):
            raise BadInput(f"{flag} is a number of {len(text)} characters: no setting is")
        parts = re.findall(r'[^\s"\[\],]+', text)  # of a list, as it is written
        is_time = any(re.fullmatch(r"[-+]?\d[\d_]*(:\d+)+(\.\d*)?", part) for part in parts)
        if flag in numbers and (is_time or ("str" not in numbers[flag] and re.search(r"\d:\d", text))):
            kind = re.sub(r"\w+", lambda name: KINDS.get(name[0], name[0]), numbers[flag]).replace(" |", " or")
            raise BadInput(f"{flag} is {text!r}: it must be {kind}")


def flags_last(argv: list[str]) -> list[str]:
    """Rewritten words with the arguments that belong to no flag first: the parser takes them in one piece only."""
    bare = [word.startswith("--") and "=" not in word for word in argv]
    values = [i > 0 and bare[i - 1] and not word.startswith("-") for i, word in enumerate(argv)]
    mine = [not word.startswith("-") and not value for word, value in zip(argv, values, strict=True)]
    return [w for w, m in zip(argv, mine, strict=True) if m] + [w for w, m in zip(argv, mine, strict=True) if not m]


def _named(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
