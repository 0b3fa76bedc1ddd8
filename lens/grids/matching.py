"""A rival in a grid, held to the change that the lens of its own cell and seed makes: `match_mse: NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lens.base.errors import BadInput, nearest
from lens.players import rival_target
from lens.settings.parsing import Parsed

Cell = dict[str, str]
"""The name of a value for each axis."""


def cell_of(settings: Mapping[str, Any], cell: Cell, axes: Mapping[str, Mapping[str, Any]]) -> Cell | None:
    """The cell that a cell's `match_mse` names: the same but for the one axis that has a value of this name.

    None where it names no cell: a number, or a run outside of the grid, which is written with a /. Raises BadInput for
    a word that no axis has, or several.
    """
    name = settings.get("match_mse")
    if not isinstance(name, str) or "/" in name or _is_number(name):
        return None
    having = [axis for axis, values in axes.items() if name in values]
    if len(having) == 1:
        return cell | {having[0]: name}
    if having:
        raise BadInput(
            f"match_mse: {name!r} is a value of the axes {' and '.join(having)}: rename one of the two values"
        )
    every = [value for values in axes.values() for value in values]
    raise BadInput(
        f"match_mse: {name!r} is no value of an axis: {nearest(name, every)}; a run outside of the grid is named with a /, "
        "such as ./runs/first"
    )


def refuse_unlike(rival: Parsed, name: str, lens: Parsed | None) -> None:
    """Raise BadInput where a rival cannot be held to the cell called `name`, `lens`: None where the grid has none such."""
    if lens is None:
        raise BadInput(
            f"match_mse: the grid has no cell {name}, exclude: leaves it out: keep it, or leave this one out too"
        )
    if not lens.settings.players.lens_class.learns:
        raise BadInput(
            f"match_mse: the cell {name} has no lens (lens: {lens.settings.players.lens}): name a cell that has one"
        )
    if differs := rival_target.difference(rival, lens.plain):
        setting, mine, theirs = differs
        raise BadInput(
            f"match_mse: the {setting} of the cell {name} is {theirs!r} and here it is {mine!r}; a paired run has the same"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
