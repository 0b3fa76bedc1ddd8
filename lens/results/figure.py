"""One figure of a result: its value with interval and validation twin, and what is to be known of it."""

from __future__ import annotations

import dataclasses
from collections.abc import MutableMapping, Sequence
from typing import Any, Literal

from lens.base.intervals import TooFew

Unit = Literal["share", "score", "dB", "s", "word", "count", ""]
"""A share of 1, shown in %; the pretext task's score, a share or (of a task without accuracy) a loss; decibels; seconds; …"""
Number = float | None
Ends = Sequence[Number] | TooFew | None
"""The two ends of a 95 % interval (None: infinite), that there are too few groups for one, or None where there is none."""
DIGITS = {"share": 1, "dB": 2, "s": 0}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A measured figure: its value, its 95 % interval, and the same of validation images, to choose by; None where there is none.

    The value is None where it would be infinite (the PSNR of images that nothing changed), and where nothing was measured.
    """

    value: Number
    interval: Ends = None
    validation: Number = None


@dataclasses.dataclass(frozen=True)
class Figure:
    """What is to be known of a figure; `key` is its field and its key in a file, `column` the name of its column in a table.

    `interval` is the key of its 95 % interval (None: it has none). `validated`: validation images have it too, as val_KEY
    beside it, or, where `validation_part`, in the summary's own part of that name; `of_images` is the column that says of how
    many. `higher_is_better` is None where neither side is; `each`: of several sources every one has a column COLUMN_SOURCE.
    A grid's table leaves out what is not `shown`.
    """

    key: str
    column: str
    shown: bool
    unit: Unit
    digits: int
    higher_is_better: bool | None
    interval: str | None
    validated: bool
    validation_part: bool
    of_images: str | None
    each: bool

    @property
    def keys(self) -> list[str]:
        """Every key of a file that an estimate of it may be written under."""
        beside = [f"val_{self.key}"] if self.validated and not self.validation_part else []
        return [self.key, *([self.interval] if self.interval else []), *beside]

    def of(self, key: str) -> Figure:
        """One of several figures of a kind, by its key: its column is COLUMN_KEY."""
        return dataclasses.replace(self, key=key, column=f"{self.column}_{key}", interval=f"{key}_ci")

    def written(self, one: Estimate) -> dict[str, Any]:
        """An estimate as a file has it: KEY, its interval and val_KEY."""
        found: dict[str, Any] = {self.key: one.value}
        if self.interval:
            found[self.interval] = one.interval
        if one.validation is not None:
            found[f"val_{self.key}"] = one.validation
        return found

    def read(self, left: MutableMapping[str, Any]) -> Estimate | None:
        """The estimate that a file has, taken out of what is `left` of it; None where it has none."""
        if self.key not in left:
            return None
        value, *beside = (left.pop(key, None) for key in (self.key, self.interval or "", f"val_{self.key}"))
        return Estimate(value, *beside)


def figure(
    column: str | None = None,
    *,
    unit: Unit = "share",
    digits: int | None = None,
    higher_is_better: bool | None = None,
    interval: str | bool = True,
    validated: bool = True,
    validation_part: bool = False,
    of_images: str | None = None,
    each: bool = False,
    shown: bool = True,
    required: bool = False,
    optional: bool = False,
    several: bool = False,
) -> Any:
    """A field that is a figure (`Figure`): an `Estimate`, or a plain value where it has neither interval nor twin.

    Its column is called like it where no other name is given. A plain value that is
    `optional` is left out of a file where it is None. `several` estimates lie in a mapping by their keys (`Figure.of`).
    """
    told = {name: value for name, value in locals().items() if name not in ("required", "optional", "several")}
    metadata = {"figure": told, "optional": optional}
    if several:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=dataclasses.MISSING if required else None, metadata=metadata)


def beside(validated: bool = False, interval: bool = True, required: bool = False) -> Any:
    """An estimate that stands in a run's own table alone, not in a grid's."""
    return figure(validated=validated, interval=interval, required=required, shown=False)


def known(field: dataclasses.Field[Any]) -> Figure | None:
    """What a dataclass's field says of its figure; None where it is none."""
    told = dict(field.metadata.get("figure", {}))
    if not told:
        return None
    told["column"] = told["column"] or field.name
    told["digits"] = DIGITS.get(told["unit"], 3) if told["digits"] is None else told["digits"]
    told["interval"] = f"{field.name}_ci" if told["interval"] is True else told["interval"] or None
    return Figure(field.name, **told)
