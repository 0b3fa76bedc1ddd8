"""Several lenses one after the other as one plug-in: `--lens jpeg+full_res`, whose settings are `--lens.jpeg.quality`."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lens.base.errors import BadInput
from lens.protocols.lens import Lens

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws

BETWEEN = "__of__"
"""What stands for the dot between a stage and its setting where a name must be Python's: `jpeg__of__quality`."""


class Composition(Lens):
    """Lenses one after the other, of which one at most learns: the others are told what to do.

    A stage before the one that learns is part of what it sees; one after it changes what it made, and its gradient passes.
    """

    parts: ClassVar[Mapping[str, type[Lens]]]

    @property
    def stages(self) -> list[Lens]:
        """Each stage with its own settings, in order. Raises BadInput for a setting outside its range."""
        found = []
        for name, part in self.parts.items():
            start = f"{name}{BETWEEN}"
            own = {key.removeprefix(start): value for key, value in vars(self).items() if key.startswith(start)}
            try:
                found.append(part(**own))
            except BadInput as error:
                raise BadInput(str(error).replace("--lens.", f"--lens.{name}.")) from error
        return found

    def __post_init__(self) -> None:
        """Raise BadInput for a setting of a stage that is outside its range."""
        assert self.stages

    def apply(self, views: Tensor, draws: Draws) -> Tensor:
        """Every stage, where none learns."""
        for stage in self.stages:
            views = stage.apply(views, draws)
        return views

    def unfinished(self, lensed: Tensor) -> Tensor:
        """What the last stage says of it."""
        return self.stages[-1].unfinished(lensed)


@functools.cache
def compose(named: tuple[tuple[str, type[Lens]], ...]) -> type[Composition]:
    """A plug-in of several, each with its name: of the same ones the same.

    Raises BadInput where two of them learn, or one is a rival of the lens or no lens.
    """
    parts = dict(named)
    if learning := [name for name, part in parts.items() if part.learns][1:]:
        raise BadInput(
            f"--lens {'+'.join(parts)}: one of several lenses may learn, and {learning[0]} is the second: drop it"
        )
    for name, part in parts.items():
        if not part.learns and not part.fixed:
            raise BadInput(
                f"--lens {'+'.join(parts)}: {name} is no lens that can stand beside another (a rival of it, or none): drop it"
            )
    fields: list[Any] = []
    lines = []
    for name, part in parts.items():
        docs = _docs(part)
        for field in dataclasses.fields(part):  # type: ignore[arg-type]
            fields.append((f"{name}{BETWEEN}{field.name}", _type_of(part, field.name), _copy(field)))
            lines.append(f"    {name}{BETWEEN}{field.name}: {' '.join(docs.get(field.name, '').split())}")
    learns, replaces = (any(getattr(part, of) for part in parts.values()) for of in ("learns", "replaces"))
    return dataclasses.make_dataclass(
        "Composed", fields, bases=(Composition,), frozen=True,
        namespace={"parts": parts, "learns": learns, "fixed": not learns, "replaces": replaces, "__doc__": "\n".join(["Lenses one after the other.", "", "Args:", *lines])},
    )  # fmt: skip


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
