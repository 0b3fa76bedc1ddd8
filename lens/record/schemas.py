"""What the files of a run hold: their types are checked where they are read, for they may be damaged, or a stranger's."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired

import pydantic
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict  # before Python 3.12 pydantic cannot read the standard library's

from lens.base.intervals import TooFew
from lens.operations.quality import mse_of
from lens.results.removal import TRAINED_ON, Removal
from lens.results.result import Part, Result
from lens.results.summary import Summary
from lens.results.trained import Best
from lens.settings.groups.data import LARGEST_SIDE
from lens.settings.groups.game import OBJECTIVES

ALLOW = pydantic.ConfigDict(extra="allow")
Number = float | None
Count = Annotated[int, Field(ge=0)]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)] | TooFew | None
"""The two ends of a 95 % interval (None: infinite), that there are too few groups for one, or None where there is none."""


@functools.cache
def of(result: type[Result]) -> Any:
    """What a file may hold of a result: its fields' keys and their types; whatever else may stand beside them."""
    schema = TypedDict(result.__name__, _keys(result))  # type: ignore[misc]
    schema.__pydantic_config__ = ALLOW  # type: ignore[attr-defined]
    return schema


def _keys(result: type[Result]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for part in result.parts():
        if part.kind == "inlined":
            keys |= _keys(part.of)
        elif part.figure and part.kind == "estimate":
            for key in part.figure.keys:
                keys[key] = NotRequired[Interval if key == part.figure.interval else Number]
            if part.required:
                keys[part.name] = Number
        elif part.kind != "estimates":  # which are known by the names that stand elsewhere (`_check_whole`)
            holds = _type(part) | None if part.may_be_none else _type(part)
            keys[part.name] = holds if part.required else NotRequired[holds]
    return keys


def _type(part: Part) -> Any:
    if part.kind == "plain":
        return Count if part.of is int else part.of
    one = of(part.of)
    return {"by name": dict[str, one], "list": list[one], "result": one}[part.kind]  # type: ignore[valid-type]


class State(TypedDict):
    """state.json of a checkpoint; `players` is a checksum of its tensors' file, `lens_side` the size that the lens is trained
    at: older runs lack both."""

    step: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    best: of(Best) | None  # type: ignore[valid-type]
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
    with _in_one_line():
        found = _adapter(schema).validate_json(content, strict=True)
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


@contextlib.contextmanager
def _in_one_line(within: str = "") -> Iterator[None]:
    try:
        yield
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join([within] * bool(within) + [str(part) for part in first["loc"]])
        raise ValueError(f"{place + ': ' if place else ''}{first['msg']}") from error


def summary(content: bytes | str) -> Summary:
    """A run's summary.json, whatever version wrote it. Raises ValueError as `checked`."""
    found = _in_todays_names(checked(dict[str, Any], content))
    with _in_one_line():
        _adapter(of(Summary)).validate_python(found, strict=True)
    if proof := found.get("removal"):
        _check_whole(proof)
    return Summary.of_json(found)


def _in_todays_names(found: dict[str, Any]) -> dict[str, Any]:
    """A summary of any version as today's would say it; what is of a wrong type stays, it is checked after."""
    if "lens" not in found and isinstance(adversary := found.get("adversary"), str):
        # Of versions up to 0.3, whose `adversary` said both; which lens it was it did not say.
        rival = adversary not in OBJECTIVES
        found = {key: value for key, value in found.items() if key != "adversary"}
        found |= {"lens": adversary if rival else "lens", "objective": None if rival else adversary}
    changed, proof = found.get("reconstruction"), found.get("removal")
    if isinstance(changed, dict) and "all_psnr" in changed:
        if not isinstance(changed["all_psnr"], float | int | None):
            raise ValueError("reconstruction.all_psnr: is no number")
        found = found | {"reconstruction": _over_every_view(changed, planted=found.get("shortcut") != "none")}
    if isinstance(proof, dict) and "source" in proof:  # nobody was asked for it
        of_it = ("raw", "lensed", "judges")
        found = found | {"removal": {name: value for name, value in proof.items() if name not in of_it}}
    elif isinstance(proof, dict) and isinstance(lensed := proof.get("lensed"), dict) and "judges" not in proof:
        # Up to 0.3 there was one further judge, `adversary`, the extractor that was trained on.
        lensed = {name.replace("adversary", "trained_on"): value for name, value in lensed.items()}
        judges = {"trained_on": TRAINED_ON} if "trained_on" in lensed else {}
        found = found | {"removal": proof | {"lensed": lensed, "judges": judges}}
    return found


def _check_whole(proof: dict[str, Any]) -> None:
    """Raise ValueError where a proof says half of what it was asked, or a judge that is named has no figure."""
    planted = (proof.get("cue") or {}).get("planted", {})
    parts = {
        f"cue.planted.{cue}.{name}.": planted[cue][name]
        for cue in planted
        for name in ("presence", "theta")
        if planted[cue].get(name)
    }
    parts |= {"question.": proof["question"]} if proof.get("question") else {}
    asked = {place: part for place, part in parts.items() if part.get("none") is None}
    for place, part in (asked | ({} if "source" in proof else {"": proof})).items():
        for name in Removal.ASKED:
            if part.get(name) is None:
                raise ValueError(f"removal.{place}{name}: is missing")
        for key in part.get("judges", {}):
            for name, schema in ((key, float), (f"{key}_ci", Interval)):
                if name not in part["lensed"]:
                    raise ValueError(f"removal.{place}lensed.{name}: is missing")
                with _in_one_line(f"removal.{place}lensed.{name}"):
                    _adapter(schema).validate_python(part["lensed"][name], strict=True)


def _over_every_view(before: dict[str, Any], planted: bool) -> dict[str, Any]:
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
