"""The parser: flags made of dataclasses, each group of them under its heading; every mistake is one line."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
from jsonargparse import ArgumentParser

from lens.base import yaml_text
from lens.base.characters import fitting
from lens.base.errors import BadInput, nearest
from lens.base.terminal import only_stdout_fails
from lens.protocols.composition import BETWEEN, of_kind
from lens.protocols.lookup import first_docstring_line, folder_of, key_name, keys_of, names, summary_line
from lens.settings import words
from lens.settings.field import KINDS, default_of, fields_of, groups_of
from lens.settings.run_settings import PLUGINS

LOADER = "plain"
jsonargparse.set_loader(LOADER, words.plain_value, exceptions=(yaml_text.YamlError,))


@dataclasses.dataclass(frozen=True)
class Named:
    """A function that reads a value, which --help tells of by its name alone."""

    read: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        return self.read(value)

    def __repr__(self) -> str:
        return self.read.__name__


class Parser(ArgumentParser):
    """A parser whose errors are one line, with the nearest key where a key is unknown."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise BadInput(_one_line(outside(message), self.known_keys()))

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse; --help and --print_config print, and that fails as itself."""
        with only_stdout_fails():
            return super().parse_args(*args, **kwargs)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help in characters that the terminal has."""
        sys.stdout.write(fitting(outside(message), sys.stdout))

    def known_keys(self) -> list[str]:
        return sorted(
            {outside(option[2:]) for action in self._actions for option in action.option_strings if option[:2] == "--"}
        )


def _one_line(message: str, keys: list[str]) -> str:
    keys = [key for key in keys if not key.endswith("+")]
    unknown = re.search(r"unrecognized arguments: (\S+)|Option '([^']+)' is not accepted", message)
    if unknown:
        if not (unknown[1] or "-").startswith("-"):
            return _stray(unknown[1])
        word = (unknown[1] or unknown[2]).split("=")[0].lstrip("-")
        owner, dot, _ = word.partition(".")
        if dot and owner in PLUGINS:
            own = [key for key in keys if key.startswith(f"{owner}.")]
            return f"--{word}: what --{owner} names has no such setting{': ' + nearest(word, own) if own else ' and no other'}"
        if dot and owner in names("task") + names("shortcut"):
            return f"--{word}: {owner} is not selected, so its settings have no meaning; select it or drop the flag"
        return f"unknown setting {word!r}: {nearest(word, keys)}"
    if wrong := re.match(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL):
        return _wrong_kind(wrong[1], wrong[2])
    return " ".join(message.split())


def _wrong_kind(key: str, told: str) -> str:
    """What is said of a value of another kind than the setting's, of which the parser's library has `told`."""
    value = re.search(r"(?:Got|Given) value: (.*)", told)
    wanted = dict.fromkeys(
        re.findall(r"Expected an? (?:<class '(\w+)'>|(?:typing\.)?(.+?)(?=\. Got value|\n|$))", told)
    )
    if not value or not wanted:
        return " ".join(f"--{key}: {told}".split())
    kinds = [kind for plain, other in wanted for kind in (_literal(other) if other else [KINDS.get(plain, plain)])]
    if re.fullmatch(r"[+-]?\.?(nan|inf|infinity)", value[1].strip("'\""), re.IGNORECASE):
        kinds = ["a finite number" if kind == KINDS["float"] else kind for kind in kinds]
    given = "null" if value[1] == "None" else repr(value[1])
    listed = ", ".join(kinds[:-1]) + " or " * (len(kinds) > 1) + kinds[-1]
    return f"--{key} is {given}: it must be {listed}"


def _literal(kind: str) -> list[str]:
    """The values of a kind `Literal['a', 'b']`, or the kind itself, as it is written, where it is another."""
    listed = re.fullmatch(r"Literal(\[.*\])", kind)
    return list(map(str, ast.literal_eval(listed[1]))) if listed else [kind]


def _stray(word: str) -> str:
    """What is said of a word that stands behind no setting, or is the second behind one that takes one value."""
    kinds = [f"--{kind} one+{word}" for kind in PLUGINS if word in names(kind) and of_kind(kind) and word != "none"]
    if kinds:
        return f"{word!r} stands alone: several of a kind are written together, as in {' or '.join(kinds)}"
    return f"{word!r} belongs to no setting: names of settings begin with --, most take one value, and a switch true or false"


SECTION = "{}_settings"
"""What the parser calls the settings of a kind's plug-in: to its library `--task` and `--task.permutations` are one thing."""


def inside(word: str) -> str:
    """A word as the parser knows it: `--task.permutations=8` → `--task_settings.permutations=8`."""
    return re.sub(rf"^--({'|'.join(PLUGINS)})\.", lambda found: f"--{SECTION.format(found[1])}.", word)


TOLD = {"audit": ("cue", "source")}
"""The kinds of plug-ins that the help of a verb lists, where it is not about runs."""


def in_stages(word: str, chosen: Mapping[str, str]) -> str:
    """A setting of one of several plug-ins as a name of Python's: `--lens.jpeg.quality=3` → `--lens.jpeg__of__quality=3`."""
    for kind, key in chosen.items():
        stages = [key_name(one) for one in keys_of(key)]
        if len(stages) > 1:
            word = re.sub(rf"^--{kind}\.({'|'.join(map(re.escape, stages))})\.", rf"--{kind}.\1{BETWEEN}", word)
    return word


def outside(text: str) -> str:
    """Names of the parser's as a person knows them; the flag of a whole section, which nobody may give, is left out."""
    whole = "|".join(map(SECTION.format, PLUGINS))
    text = re.sub(rf"\s\[--({whole}) CONFIG\]|^ +--({whole}) CONFIG\n( {{10,}}.*\n)?", "", text, flags=re.MULTILINE)
    text = re.sub(rf"\b({whole})\.(\w+?){BETWEEN}", r"\1.\2.", text)
    text = re.sub(rf"\b[A-Z\d_]+?{BETWEEN.upper()}", "", text)  # what stands for the value in --help
    return re.sub(rf"\b{SECTION.format('(' + '|'.join(PLUGINS) + ')')}\.", r"\1.", text)


def asks_for_help(argv: list[str]) -> bool:
    """Whether words ask for --help."""
    return bool({"-h", "--help"} & set(argv))


def new_parser(prog: str, helped: bool) -> Parser:
    """A parser of a verb without any flag yet, whose settings have their docstrings where it is to show its help.

    What only --help shows is read from the source of every dataclass and plug-in: half of the time that a parser takes.
    """
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=helped)
    about = description(prog) if helped else None
    return Parser(prog=prog, description=about, allow_abbrev=False, parser_mode=LOADER)


def add_settings(parser: Parser, settings: type[Any], section: str | None) -> list[str]:
    """Make a flag of each field of a dataclass; returns the names of those whose values the parser does not look into.

    Where a setting may hold anything, the parser's library would import and call whatever class it names.
    """
    opened = words.open_fields(settings)
    for part in (settings, *groups_of(settings).values()):
        _name_types(part)
    prefix = f"{section}." if section else ""
    fields = fields_of(settings)
    for part in groups_of(settings).values() or (settings,):
        if any(field.init for field in dataclasses.fields(part)):
            parser.add_class_arguments(part, section, skip={name for name in opened if name in fields_of(part)})
    for name in opened:
        told = {"default": default_of(fields[name]), "help": "settings by their names"}
        parser.add_argument(f"--{prefix}{name}", type=Named(words.mapping), **told)
    return [prefix + name for name in opened]


def _name_types(settings: type[Any]) -> None:
    """Put the types of a dataclass's settings in place of the text that `from __future__ import annotations` makes of them.

    The parser's library reads that text by itself where it is text: it imports torch for it if a module does so for its
    types alone, and what it cannot read (a setting beside what the class inherits) it takes unchecked.
    """
    hints = typing.get_type_hints(settings)
    named = getattr(settings.__init__, "__annotations__", {})  # none where a class has no settings and makes itself
    named |= {name: hints[name] for name in named if name in hints}


def description(prog: str) -> str:
    verb = prog.split(".")[-1].split()[-1]
    lines = [first_docstring_line(Path(__file__).parent.parent / f"{verb}.py")]
    for kind in TOLD.get(verb, ("task", "shortcut", "lens", "source")):
        lines.append(
            f"{folder_of(kind).name}: " + "; ".join(f"{name} ({summary_line(kind, name)})" for name in names(kind))
        )
    return "\n".join(lines)


def outcome(parser: Parser, told: list[str], forget: Callable[[], None]) -> Any:
    """What a parser makes of words. One that has refused them, or shown help or settings, keeps traces: `forget` it then."""
    try:
        return parser.parse_args(told)
    except BaseException:
        forget()
        raise
