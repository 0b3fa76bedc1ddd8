"""YAML as settings are written in it: plain values only, each key once, nothing that expands, nothing that means two things."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import yaml

from lens.base.files import MEBIBYTE, read_text

LARGEST = MEBIBYTE
"""Bytes of a settings file or a grid, at most."""
DEEPEST = 32
"""Mappings and lists within each other, at most."""
MOST = 50_000
"""Values in a file, at most, those that an alias repeats counted each time."""


class YamlError(yaml.YAMLError, ValueError):  # type: ignore[misc]
    """What a text has that no settings have."""


PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$")
FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)


class _Plain:
    """Numbers, words, true and false, lists and mappings.

    YAML 1.1 takes 1:30 for ninety, 010 for eight and 2020-01-01 for a date: here all three are words.
    """

    yaml_constructors: ClassVar[Any] = {
        tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag in PLAIN
    }
    yaml_implicit_resolvers: ClassVar[Any] = {
        letter: [(tag, pattern) for tag, pattern in resolvers if tag in PLAIN - {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"} or tag.endswith(":merge")]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }  # fmt: skip

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """A plain value; a number that is tagged as one must be written as one."""
        if node.tag not in PLAIN:
            raise YamlError(f"{node.tag} is no kind of value that settings have{_at(node)}")
        if node.tag.endswith(":int") and not INT.match(node.value):
            raise YamlError(f"{node.value!r} is no whole number{_at(node)}")
        return super().construct_object(node, deep=True)  # type: ignore[misc]

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping in which no key stands twice."""
        if not isinstance(node, yaml.MappingNode):
            raise YamlError(f"what is tagged as a mapping is none{_at(node)}")
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(f"a key is no word{_at(key)}")
            if key.value in seen and not key.tag.endswith(":merge"):
                raise YamlError(f"the key {key.value!r} stands twice{_at(key)}: which of its values is meant?")
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep=True)  # type: ignore[misc]
        return found


class _Loader(_Plain, yaml.SafeLoader):  # type: ignore[misc]
    """The loader in Python, whose errors are told and which has the last word."""


class _Quick(_Plain, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """libyaml's, seven times as fast, where PyYAML was built with it."""


APART = re.compile("[\t\ufeff!]|[|>][-+0-9]*#")
"""Where the two may read differently: a tab, a mark of the order of bytes, a tag, a comment within a block's first sign."""


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Without aliases; a word that YAML 1.1, or the loader here, would take for something else is quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        """No aliases: a person reads it."""
        return True


def _word(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """A word, between double quotes where it holds a line break of a kind that is read back as a space."""
    style = '"' if any(mark in text for mark in "\r\n\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _word)
for _owner in (_Loader, _Quick, _Dumper):
    _owner.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
    _owner.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def parse(text: str) -> Any:
    """The value that a YAML text holds. Raises YamlError, in one line, for what no settings need.

    That is: text that is no YAML, keys that stand twice or are no words, tags of other kinds, nesting beyond `DEEPEST`, and
    more than `MOST` values, also where a short text repeats them by aliases, or one holds itself.
    """
    refused = (yaml.YAMLError, ValueError, LookupError, ArithmeticError, RecursionError)
    try:
        if len(text) > LARGEST:
            raise YamlError(f"the text has {len(text):,} characters, more than settings have")
        with suppress(*refused):  # told by the other loader
            if not APART.search(text):
                return _parsed(text, _Quick)
        return _parsed(text, _Loader)
    except YamlError:
        raise
    except refused as error:
        raise YamlError(" ".join(str(error).split())) from error


def _parsed(text: str, kind: type[_Loader | _Quick]) -> Any:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=kind)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or count > MOST:
            what = f"nests more than {DEEPEST} deep" if depth > DEEPEST else f"holds more than {MOST:,} values"
            raise YamlError(f"it {what}{_at(event)}: no settings do")
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_expansion(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def read(file: Path) -> Any:
    """The value in a YAML file. Raises YamlError as `parse`, and OSError for what is no regular file or too large."""
    try:
        text = read_text(file, LARGEST)
    except UnicodeDecodeError as error:
        raise YamlError(f"it is no UTF-8 text ({error.reason} at byte {error.start})") from error
    return parse(text)


def dump(value: Any) -> str:
    """A plain value as YAML that `parse` reads back the same."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def _refuse_expansion(root: yaml.Node) -> None:
    """Count the values with those that aliases repeat, each node once: what a bomb expands to is never built."""
    sizes: dict[int, int] = {}
    open_now: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_now:
            raise YamlError(f"a value holds itself{_at(node)}")
        if id(node) not in sizes:
            open_now.add(id(node))
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
            if isinstance(node, yaml.MappingNode):
                parts = [part for pair in node.value for part in pair]
            sizes[id(node)] = 1 + sum(map(size, parts))
            open_now.remove(id(node))
        return sizes[id(node)]

    if size(root) > MOST:
        raise YamlError(f"its aliases expand to more than {MOST:,} values: no settings do")


def _at(place: Any) -> str:
    mark = place.start_mark
    return f" (line {mark.line + 1})" if mark is not None else ""
