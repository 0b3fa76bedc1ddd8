"""Several plug-ins of a kind one after the other as one: `--lens jpeg+full_res`, whose settings are `--lens.jpeg.quality`.

A kind can be composed whose file in this room has a class `Composition`: what several of it are together.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

from lens.base.errors import BadInput

BETWEEN = "__of__"
"""What stands for the dot between a stage and its setting where a name must be Python's: `jpeg__of__quality`."""


class Composed:
    """Plug-ins of a kind in their order; a kind's `Composition` inherits it."""

    KIND: ClassVar[str]
    parts: ClassVar[Mapping[str, type[Any]]]

    @classmethod
    def traits(cls, parts: Mapping[str, type[Any]]) -> dict[str, Any]:
        """What these are together, by the names of the kind's class variables. Raises BadInput for what cannot stand together."""
        return {}

    @property
    def named_stages(self) -> dict[str, Any]:
        """Each stage with its own settings by its name, in order. Raises BadInput for a setting outside its range."""
        found = {}
        for name, part in self.parts.items():
            start = f"{name}{BETWEEN}"
            own = {key.removeprefix(start): value for key, value in vars(self).items() if key.startswith(start)}
            try:
                found[name] = part(**own)
            except BadInput as error:
                raise BadInput(str(error).replace(f"--{self.KIND}.", f"--{self.KIND}.{name}.")) from error
        return found

    @property
    def stages(self) -> list[Any]:
        """The same without names."""
        return list(self.named_stages.values())

    def __post_init__(self) -> None:
        """Raise BadInput for a setting of a stage that is outside its range."""
        assert self.named_stages


def of_kind(kind: str) -> type[Composed] | None:
    """What several plug-ins of a kind are together; None where one must do."""
    return getattr(importlib.import_module(f"lens.protocols.{kind}"), "Composition", None)


@functools.cache
def compose(kind: str, named: tuple[tuple[str, type[Any]], ...]) -> type[Any]:
    """A plug-in of several, each with its name: of the same ones the same.

    Raises BadInput where one cannot stand beside another (`Composed.traits`).
    """
    composition, parts = of_kind(kind), dict(named)
    assert composition is not None
    traits = composition.traits(parts)
    fields: list[Any] = []
    lines = []
    for name, part in parts.items():
        docs = _docs(part)
        for field in dataclasses.fields(part):
            fields.append((f"{name}{BETWEEN}{field.name}", _type_of(part, field.name), _copy(field)))
            lines.append(f"    {name}{BETWEEN}{field.name}: {' '.join(docs.get(field.name, '').split())}")
    told = "\n".join([f"Plug-ins of the kind {kind}, one after the other.", "", "Args:", *lines])
    return dataclasses.make_dataclass(
        "Several", fields, bases=(composition,), frozen=True, namespace={"parts": parts, "__doc__": told} | traits
    )


def _type_of(part: type[Any], name: str) -> Any:
    return typing.get_type_hints(part)[name]


def _docs(part: type[Any]) -> dict[str, str]:
    """What each setting of a plug-in is, also of those that it inherits."""
    import docstring_parser

    told = [docstring_parser.parse_from_object(one).params for one in part.__mro__ if dataclasses.is_dataclass(one)]
    return {param.arg_name: param.description or "" for own in reversed(told) for param in own}


def _copy(field: dataclasses.Field[Any]) -> Any:
    """A field like another one, with its default."""
    if field.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=field.default_factory)
    return dataclasses.field(default=field.default)
