"""What each measurement of a run says: its figures, with their columns, units and better sides. Tables ask here, nobody guesses keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

Unit = Literal["share", "score", "dB", "s", "word", "count", ""]
"""A share of 1, shown in %; the pretext task's score, a share or (of a task without accuracy) a loss; decibels; seconds; …"""
Number = float | None
SEVERAL = "*"
"""In a result's place: one part for each source, by its name."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure of a result: `key` in its part of summary.json, `column` in a grid's table, and what is to be known of it.

    `interval` is the key of its 95 % interval (None: it has none). `validated`: validation images have it too, as val_KEY
    beside it, or, where `validation_part`, in the summary's own part of that name; `of_images` is the column that says of how
    many. `higher_is_better` is None where neither side is; `each`: of several sources every one has a column COLUMN_SOURCE.
    """

    key: str
    column: str
    unit: Unit
    digits: int
    higher_is_better: bool | None
    interval: str | None
    validated: bool
    validation_part: bool
    of_images: str | None
    each: bool


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
) -> Any:
    """A field that is a figure (`Figure`); its column is called like it where no other name is given."""
    metadata = {name: value for name, value in locals().items()}
    return dataclasses.field(default=None, metadata=metadata)


class Result:
    """One measurement. `place` is where it lies in summary.json; its fields are figures."""

    place: ClassVar[tuple[str, ...]] = ()
    always: ClassVar[bool] = True
    """Whether a table has its columns also where no run has such a part."""

    @classmethod
    def figures(cls) -> list[Figure]:
        """Its figures, in their order."""
        found = []
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            known = dict(field.metadata)
            known["column"] = known["column"] or field.name
            known["digits"] = (
                {"share": 1, "dB": 2, "s": 0}.get(known["unit"], 3) if known["digits"] is None else known["digits"]
            )
            known["interval"] = f"{field.name}_ci" if known["interval"] is True else known["interval"] or None
            found.append(Figure(field.name, **known))
        return found

    @classmethod
    def parts(cls, summary: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What a summary holds of it, each part with its source's name ("" where there is one alone); nothing is one empty part."""
        part: Any = summary
        for name in cls.place:
            if name == SEVERAL:
                yield from (part or {"": {}}).items()
                return
            part = part.get(name) or {}
        yield "", part


@dataclasses.dataclass(frozen=True)
class Downstream(Result):
    """What frozen features are worth on a labelled source, beside their floors."""

    place = ("downstream", SEVERAL)
    linear: Number = figure("downstream", higher_is_better=True, of_images="val_downstream_images", each=True)
    knn: Number = figure(higher_is_better=True, of_images="val_downstream_images")
    untrained: Number = figure(of_images="val_downstream_images")
    pixels: Number = figure(of_images="val_downstream_images")
    chance: Number = figure("downstream_chance", interval=False, validated=False)
    n_val: int | None = figure("val_downstream_images", unit="count", interval=False, validated=False)


@dataclasses.dataclass(frozen=True)
class Pretext(Result):
    """What the task's own extractor scores on raw, lensed and clean images."""

    place = ("pretext",)
    raw: Number = figure(unit="score", higher_is_better=True, validation_part=True, of_images="val_images")
    lensed: Number = figure(unit="score", validation_part=True, of_images="val_images")
    clean: Number = figure(unit="score", higher_is_better=True, validation_part=True, of_images="val_images")
    gap: Number = figure(unit="score", validation_part=True, of_images="val_images")
    chance: Number = figure(interval=False, validated=False)
    metric: str | None = figure(unit="word", interval=False, validated=False)


@dataclasses.dataclass(frozen=True)
class Reconstruction(Result):
    """What the lens changed: over every view, and over those that carry the planted cue."""

    place = ("reconstruction",)
    psnr: Number = figure(unit="dB", validation_part=True, of_images="val_images")
    psnr_planted: Number = figure(unit="dB", validated=False)
    ssim: Number = figure(unit="", validated=False)
    mse: Number = figure(unit="", digits=5, validated=False)
    mse_planted: Number = figure(unit="", digits=5, validated=False)


@dataclasses.dataclass(frozen=True)
class Validation(Result):
    """Of how many images the validation figures of the pretext task and the PSNR are."""

    place = ("validation",)
    images: int | None = figure("val_images", unit="count", interval=False, validated=False)


@dataclasses.dataclass(frozen=True)
class Training(Result):
    """The run itself."""

    seconds: Number = figure(unit="s", interval=False, validated=False)
    images_per_second: Number = figure(unit="", digits=1, interval=False, validated=False)
    recon_weight: Number = figure(unit="", interval=False, validated=False)
    git_commit: str | None = figure(unit="word", interval=False, validated=False)


@dataclasses.dataclass(frozen=True)
class Match(Result):
    """How near a rival came to the change that it was held to."""

    place = ("match",)
    ratio: Number = figure("match_ratio", unit="", interval=False, validated=False)


@dataclasses.dataclass(frozen=True)
class SourceRaw(Result):
    """What the best fresh classifier reads of the source on raw images."""

    place = ("removal", "raw")
    always = False
    balanced_accuracy: Number = figure("source_raw", interval="ci")


@dataclasses.dataclass(frozen=True)
class SourceLensed(Result):
    """The same on lensed images, and what the extractor, trained on, reads there."""

    place = ("removal", "lensed")
    always = False
    balanced_accuracy: Number = figure("source_lensed", interval="ci", higher_is_better=False)
    trained_on: Number = figure("source_trained_on", higher_is_better=False)


@dataclasses.dataclass(frozen=True)
class Labels(Result):
    """What a lens costs fresh classifiers of the class labels."""

    place = ("removal", "downstream")
    always = False
    raw: Number = figure("class_raw", interval=False)
    lensed: Number = figure("class_lensed", interval=False, higher_is_better=True)
    cost: Number = figure(higher_is_better=False)


@dataclasses.dataclass(frozen=True)
class Frozen(Result):
    """What frozen features tell of class labels, before a lens and after it."""

    place = ("removal", "frozen")
    always = False
    raw: Number = figure("frozen_raw")
    lensed: Number = figure("frozen_lensed", higher_is_better=True)


@dataclasses.dataclass(frozen=True)
class OnProbe(Result):
    """The same on the images of a probe."""

    place = ("removal", "probes", SEVERAL)
    always = False
    raw: Number = figure("probe_raw", each=True)
    lensed: Number = figure("probe_lensed", higher_is_better=True, each=True)


RESULTS: list[type[Result]] = [
    Downstream, Pretext, Reconstruction, Training, Match, Validation, SourceRaw, SourceLensed, Labels, Frozen, OnProbe,
]  # fmt: skip
"""Every measurement, in the order of a table's columns."""
OF_IMAGES = {"val_images": "the pretext task and the PSNR", "val_downstream_images": "probes"}
"""The columns that say of how many images validation figures are, and of which figures."""
JUDGE = dataclasses.replace(SourceLensed.figures()[1], key="", column="source")
"""What a further judge of a proof reads on lensed images: its column is source_KEY."""


JUDGES = ("trained_on", "forensic")
"""The keys of the further judges of a proof."""


def every(only_always: bool = False) -> list[Figure]:
    """All figures, or those alone whose columns every table has."""
    return [one for result in RESULTS if result.always or not only_always for one in result.figures()]


def described(column: str) -> Figure | None:
    """The figure that a column of a grid's table shows, also as val_COLUMN, COLUMN_measured or COLUMN_SOURCE."""
    figures = {one.column: one for one in every()}
    bare = column.removesuffix("_measured")
    for name in (bare, bare.removeprefix("val_")):
        if name in figures:
            return figures[name]
    of_a_source = [one for one in (*figures.values(), JUDGE) if one.each or one is JUDGE]
    found = [one for one in of_a_source if bare.removeprefix("val_").startswith(f"{one.column}_")]
    return max(found, key=lambda one: len(one.column), default=None)
