"""The base of all results: how a dataclass that names its figures is written as JSON and read back."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, Self

from lens.results.figure import Estimate, Figure, known

Kind = Literal["plain", "estimate", "estimates", "result", "inlined", "by name", "list"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One measurement, or a part of one. Its fields are figures, plain values and other results (also by name, or in a list).

    A file has a field under its own name, an estimate with its interval and its validation twin beside it (`Figure.written`).
    Several estimates of a kind, a result's last field, are all the keys that are left and have an interval (`Figure.of`).
    What is None is written as null; an estimate, and what is `optional`, is then left out.
    """

    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What a file says beyond its fields: of another version, or added by hand. It is written back."""

    def to_json(self) -> dict[str, Any]:
        """What a file holds of it: its own values first, then the results in it."""
        own: dict[str, Any] = {}
        within: dict[str, Any] = {}
        for part in self.parts():
            value = getattr(self, part.name)
            if part.kind == "inlined":
                own |= value.to_json()
            elif part.figure and part.kind == "estimate":
                own |= {} if value is None else part.figure.written(value)
            elif part.figure and part.kind == "estimates":
                for key, one in value.items():
                    own |= part.figure.of(key).written(one)
            elif part.optional and value in (None, {}):
                continue
            elif part.kind == "plain" or value is None:
                own[part.name] = value
            else:
                within[part.name] = part.to_json(value)
        return own | within | dict(self.more)

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Self:
        """What `to_json` has written; that it is that is checked before (`lens.record.schemas`)."""
        left = dict(found)
        one = cls.taken(left)
        return dataclasses.replace(one, more=left)

    @classmethod
    def taken(cls, left: MutableMapping[str, Any]) -> Self:
        """The same, its keys taken out of what is `left` of a file."""
        values: dict[str, Any] = {}
        for part in cls.parts():
            if part.kind == "inlined":
                values[part.name] = part.of.taken(left)
            elif part.figure and part.kind == "estimate":
                values[part.name] = part.figure.read(left)
            elif part.figure and part.kind == "estimates":
                keys = [key for key in left if f"{key}_ci" in left]
                values[part.name] = {key: part.figure.of(key).read(left) for key in keys}
            elif part.name in left:
                value = left.pop(part.name)
                values[part.name] = value if value is None else part.of_json(value)
        return cls(**values)

    @classmethod
    @functools.cache
    def parts(cls) -> tuple[Part, ...]:
        """Its fields, in their order, without what it does not know (`more`)."""
        hints = typing.get_type_hints(cls)
        return tuple(_part(field, hints[field.name]) for field in dataclasses.fields(cls) if field.name != "more")


def optional(default: Any = None, asked: str | None = None) -> Any:
    """A field that a file leaves out where it is None, or an empty mapping; `asked` as `Part`."""
    metadata = {"optional": True, "asked": asked}
    if default is None:
        return dataclasses.field(default=None, metadata=metadata)
    return dataclasses.field(default_factory=default, metadata=metadata)


def inlined() -> Any:
    """A field that is a result whose keys stand in the file beside the other fields, not under its own name."""
    return dataclasses.field(metadata={"inlined": True})


@dataclasses.dataclass(frozen=True)
class Part:
    """A field of a result: its kind, its type without None (of results: their class), and what it says of its figure.

    `asked` is what the columns of a result are called after whose class does not say it (`{asked}_raw`).
    """

    name: str
    kind: Kind
    of: Any
    figure: Figure | None
    required: bool
    optional: bool
    may_be_none: bool
    asked: str | None = None

    def to_json(self, value: Any) -> Any:
        """A result, several by name, or a list of them, as a file has them."""
        if self.kind == "by name":
            return {name: one.to_json() for name, one in value.items()}
        return [one.to_json() for one in value] if self.kind == "list" else value.to_json()

    def of_json(self, value: Any) -> Any:
        """What `to_json` has written; a plain value is itself."""
        if self.kind == "by name":
            return {name: self.of.of_json(one) for name, one in value.items()}
        if self.kind == "list":
            return [self.of.of_json(one) for one in value]
        return value if self.kind == "plain" else self.of.of_json(value)


def _part(field: dataclasses.Field[Any], hint: Any) -> Part:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    given = [one for one in options if one is not types.NoneType]
    of = given[0] if len(given) == 1 else hint
    kind: Kind = "plain"
    if of is Estimate:
        kind = "estimate"
    elif _is_result(of):
        kind = "inlined" if field.metadata.get("inlined") else "result"
    elif (inner := (typing.get_args(of) or (None,))[-1]) is Estimate:
        kind = "estimates"
    elif _is_result(inner):
        kind, of = ("list" if typing.get_origin(of) is list else "by name"), inner
    required = field.default is field.default_factory is dataclasses.MISSING
    optional = bool(field.metadata.get("optional"))
    asked = field.metadata.get("asked")
    return Part(field.name, kind, of, known(field), required, optional, types.NoneType in options, asked)


def _is_result(of: Any) -> bool:
    return isinstance(of, type) and issubclass(of, Result)
