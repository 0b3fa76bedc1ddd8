"""The settings of a small verb: one dataclass, one argument without a flag."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, TypeVar

from lens.settings import old_names, words
from lens.settings.arguments import flags_last, normalise_arguments, refuse_times
from lens.settings.field import as_list
from lens.settings.parser import Parser, asks_for_help, new_parser, outcome

T = TypeVar("T")


def parse_simple(argv: list[str], prog: str, settings: type[T], positional: str, what: str) -> T:
    """Settings of a small verb: a frozen dataclass whose field `positional` is the first argument, `what` it is in --help.

    A field that is a list takes one argument or several, before the flags and after them.
    """
    argv = flags_last(normalise_arguments(old_names.renamed(argv, settings), settings))
    refuse_times(argv, settings)
    parser = _simple_parser(prog, settings, positional, what, asks_for_help(argv))  # type: ignore[arg-type]
    parsed = parser.instantiate(outcome(parser, argv, _simple_parser.cache_clear))
    values = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = values[field.name] = getattr(parsed, field.name)
        if field.metadata.get("path") and value is not None:  # the first argument has no flag that was looked at
            several = [words.checked(field.name, one, is_path=True) for one in as_list(value)]
            values[field.name] = several if isinstance(value, list) else several[0]
    return settings(**values)


@functools.lru_cache(maxsize=16)
def _simple_parser(prog: str, settings: type[Any], positional: str, what: str, helped: bool) -> Parser:
    parser = new_parser(prog, helped)
    kind = {field.name: str(field.type) for field in dataclasses.fields(settings)}[positional]
    several: Any = {"nargs": "+"} if kind.startswith("list") else {}
    parser.add_argument(positional, type=str, help=what, **several)
    parser.add_class_arguments(settings, None, skip={positional})
    return parser
