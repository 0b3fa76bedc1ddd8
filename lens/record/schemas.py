"""What the files of a run hold: their types are checked where they are read, for they may be damaged, or a stranger's."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, NotRequired

import pydantic
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict  # before Python 3.12 pydantic cannot read the standard library's

from lens.base.intervals import TooFew
from lens.operations.quality import mse_of
from lens.settings.groups.data import LARGEST_SIDE
from lens.settings.groups.game import OBJECTIVES

ALLOW = pydantic.ConfigDict(extra="allow")
Number = float | None
Count = Annotated[int, Field(ge=0)]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)] | TooFew | None
"""The two ends of a 95 % interval (None: infinite), that there are too few groups for one, or None where there is none."""


class Asked(TypedDict):
    """What every pretext part says."""

    metric: Literal["accuracy", "loss"]
    images: Count
    chance: Number


class Pretext(Asked, total=False):
    """The pretext task's part of summary.json: accuracies in [0, 1], or losses."""

    __pydantic_config__ = ALLOW  # type: ignore[misc]
    raw: Number
    raw_ci: Interval
    lensed: Number
    lensed_ci: Interval
    clean: Number
    clean_ci: Interval
    gap: Number
    gap_ci: Interval


class Validation(TypedDict, total=False):
    """The last evaluation on validation images: accuracies in [0, 1] or losses, PSNR in dB, and of how many images."""

    __pydantic_config__ = ALLOW  # type: ignore[misc]
    images: Count
    of_images: Count
    raw: Number
    lensed: Number
    clean: Number
    gap: Number
    psnr: Number


class Reconstruction(TypedDict, total=False):
    """What the lens changed: mean squared error on [0, 1], PSNR in dB, SSIM; over every view, or those that carry the cue.

    `all_psnr` stands in files of versions up to 0.3 alone, where `mse` and `psnr` were over the views that carry the cue,
    where some did (`summary` renames them).
    """

    __pydantic_config__ = ALLOW  # type: ignore[misc]
    mse: Number
    mse_ci: Interval
    psnr: Number
    psnr_ci: Interval
    mse_planted: Number
    mse_planted_ci: Interval
    psnr_planted: Number
    psnr_planted_ci: Interval
    ssim: Number
    ssim_ci: Interval
    all_psnr: Number


class Fitted(TypedDict):
    """What every probe says."""

    chance: float
    n_train: Count
    n_test: Count


class Probe(Fitted, total=False):
    """What features are worth on one source: accuracies in [0, 1] beside their floors; `val_…` of validation images."""

    __pydantic_config__ = ALLOW  # type: ignore[misc]
    source: str
    n_test_left_out: Count
    n_val: Count
    val_linear: Number
    val_knn: Number
    val_untrained: Number
    val_pixels: Number
    linear: Number
    linear_ci: Interval
    knn: Number
    knn_ci: Interval
    untrained: Number
    untrained_ci: Interval
    pixels: Number
    pixels_ci: Interval
    linear_sgd: Number
    linear_sgd_ci: Interval
    linear_lensed_statistics: Number
    linear_lensed_statistics_ci: Interval
    layers: dict[str, dict[str, Any]]
    fusion: dict[str, dict[str, Any]]


class Read(TypedDict):
    """What fresh classifiers read of the source, on one kind of images."""

    __pydantic_config__ = ALLOW  # type: ignore[misc]
    balanced_accuracy: float
    ci: Interval
    val_balanced_accuracy: NotRequired[float]


class Bound(TypedDict, total=False):
    """What was proved of any classifier, or why nothing was."""

    none: str
    differ: list[float]
    upper: list[float]
    of: Count
    at_best: float
    proved: float
    unfinished: Count
    missed: list[float]
    found_without: float
    replays: Count


class Removal(TypedDict):
    """The proof of removal's part of summary.json; where nobody was asked for the source, without what judges read of it."""

    __pydantic_config__ = ALLOW  # type: ignore[misc]
    source: NotRequired[dict[str, str]]
    verdict: NotRequired[str]
    chance: NotRequired[float]
    raw: NotRequired[Read]
    lensed: NotRequired[Read]
    judges: NotRequired[dict[str, str]]
    bound: NotRequired[Bound]
    left: NotRequired[Number]
    left_ci: NotRequired[Interval]
    left_to: NotRequired[str]
    psnr_planted: Number
    downstream: dict[str, Any] | None
    frozen: dict[str, Any] | None
    probes: dict[str, dict[str, Any]]


class Summary(TypedDict):
    """summary.json: every figure of a finished run."""

    __pydantic_config__ = ALLOW  # type: ignore[misc]
    task: str
    data: str
    shortcut: str
    shortcut_key: NotRequired[str | None]
    lens: NotRequired[str]
    objective: NotRequired[str | None]
    adversary: NotRequired[str]
    seed: Count
    steps: Count
    seconds: float
    images_per_second: float
    phases: NotRequired[dict[str, float]]
    recon_weight: NotRequired[Number]
    git_commit: NotRequired[str | None]
    match: NotRequired[dict[str, float | str | None] | None]
    pretext: Pretext
    validation: NotRequired[Validation | None]
    reconstruction: NotRequired[Reconstruction | None]
    downstream: dict[str, Probe]
    removal: NotRequired[Removal]


class Best(TypedDict):
    """The best validation score so far, and the step that had it."""

    score: float
    step: Count


class State(TypedDict):
    """state.json of a checkpoint; `players` is a checksum of its tensors' file, `lens_side` the size that the lens is trained
    at: older runs lack both."""

    step: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    best: Best | None
    target_mse: NotRequired[Annotated[float, Field(gt=0, allow_inf_nan=False)]]
    lens_side: NotRequired[Annotated[int, Field(ge=8, le=LARGEST_SIDE)]]
    players: NotRequired[str]


class Origin(TypedDict):
    """origin.json: the version that wrote the settings, and a hash of each plug-in file."""

    lens: Annotated[str, Field(pattern=r"^\d+(\.\d+)*[\w.+-]*$", max_length=40)]
    plugins: dict[str, str]


class Line(TypedDict):
    """A line of metrics.jsonl: losses, rates and accuracies at a step."""

    __pydantic_config__ = ALLOW  # type: ignore[misc]
    kind: Literal["train", "val"]
    step: Count


@functools.cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


LARGEST = 1e100
"""What a number is in size, at most: larger ones nobody measures, draws or writes as JSON."""


def checked(schema: Any, content: bytes | str, finite: bool = True) -> Any:
    """JSON as what `schema` says, all numbers `finite`, and below `LARGEST`, also where the schema leaves them open.

    Raises ValueError, in one line with the place, where it is no JSON or something else.
    """
    try:
        found = _adapter(schema).validate_json(content, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place + ': ' if place else ''}{first['msg']}") from error
    left = [("", found)]
    while left:
        place, one = left.pop()
        if isinstance(one, dict | list):
            left += [
                (f"{place}.{key}", inner) for key, inner in (one.items() if isinstance(one, dict) else enumerate(one))
            ]
        elif isinstance(one, int | float) and (abs(one) > LARGEST or (finite and one != one)):
            raise ValueError(f"{place[1:]}: is no number that is measured")
    return found


def summary(content: bytes | str) -> dict[str, Any]:
    """A run's summary.json, whatever version wrote it, in today's names. Raises ValueError as `checked`."""
    found: dict[str, Any] = checked(Summary, content)
    if "lens" not in found:  # of versions up to 0.3, whose `adversary` said both; which lens it was it did not say
        adversary = found.pop("adversary", None)
        if adversary is None:
            raise ValueError("lens: is missing")
        rival = adversary not in OBJECTIVES
        found |= {"lens": adversary if rival else "lens", "objective": None if rival else adversary}
    if "removal" in found:
        found["removal"] = _with_judges(found["removal"])
    changed = found.get("reconstruction") or {}
    if "all_psnr" in changed:
        found["reconstruction"] = _renamed(changed, planted=found["shortcut"] != "none")
    return found


TRAINED_ON = "the extractor, trained on"


def _with_judges(proof: dict[str, Any]) -> dict[str, Any]:
    """A proof with the names of its further judges: up to 0.3 there was one, `adversary`, the extractor that was trained on.

    Raises ValueError where a judge that is named has no figure.
    """
    if "source" in proof:  # nobody was asked for it
        return {name: value for name, value in proof.items() if name not in ("raw", "lensed", "judges")}
    for name in ("verdict", "chance", "raw", "lensed"):
        if name not in proof:
            raise ValueError(f"removal.{name}: is missing")
    lensed = proof["lensed"]
    if "judges" not in proof:
        lensed = {name.replace("adversary", "trained_on"): value for name, value in lensed.items()}
        proof = proof | {"lensed": lensed, "judges": {"trained_on": TRAINED_ON} if "trained_on" in lensed else {}}
    for key in proof["judges"]:
        for name, schema in ((key, float), (f"{key}_ci", Interval)):
            if name not in lensed:
                raise ValueError(f"removal.lensed.{name}: is missing")
            _checked_value(schema, lensed[name], f"removal.lensed.{name}")
    return proof


def _checked_value(schema: Any, value: Any, place: str) -> None:
    try:
        _adapter(schema).validate_python(value, strict=True)
    except pydantic.ValidationError as error:
        raise ValueError(f"{place}: {error.errors()[0]['msg']}") from error


def _renamed(before: dict[str, Any], planted: bool) -> dict[str, Any]:
    """A reconstruction part of versions up to 0.3, with today's meaning of `mse` and `psnr`: over every view."""
    every = before["all_psnr"]
    found = {name: value for name, value in before.items() if name != "all_psnr"}
    if planted:
        found |= {f"{name}_planted{ci}": before.get(f"{name}{ci}") for name in ("mse", "psnr") for ci in ("", "_ci")}
    if every != before.get("psnr"):  # some carried the cue and some did not: of all of them no interval was kept
        found |= {"mse": 0.0 if every is None else mse_of(every), "psnr": every, "mse_ci": None, "psnr_ci": None}
    return found


def metrics_line(text: str) -> dict[str, Any]:
    """One line of metrics.jsonl. Raises ValueError as `checked`."""
    line: dict[str, Any] = checked(Line, text, finite=False)
    for name, value in line.items():
        if name != "kind" and (isinstance(value, bool) or not isinstance(value, int | float | None)):
            raise ValueError(f"{name}: is no number")
    if line["kind"] == "val" and not {"raw", "clean"} <= line.keys():
        raise ValueError("a line of a validation lacks raw or clean")
    return line
