"""The change that a rival of the lens is held to: a number, or that of a paired lens run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lens.base.errors import BadInput, check_number
from lens.operations.quality import mse_of
from lens.record.run import Run
from lens.settings import agreement
from lens.settings.parsing import Parsed


def target_mse(parsed: Parsed) -> float:
    """The mean squared change that a rival is held to: --match_mse, or the last validation error of the run it names.

    It is over every view, whether it carries a cue or not, and before rounding, as is what --target_psnr steers to.

    Raises BadInput where that is no finished lens run, or one of other images or another question.
    """
    settings = parsed.settings
    match = settings.game.match_mse
    if match is None:
        assert settings.game.steered_psnr is not None
        return mse_of(settings.game.steered_psnr)
    if isinstance(match, float):
        return match
    run = Run.open(Path(match))
    summary, validated = run.summary(), [line for line in run.metrics() if line["kind"] == "val"]
    found = [line["mse"] for line in validated if line.get("mse")]
    if summary is not None and not found and (rounded := [line["psnr"] for line in validated if line.get("psnr")]):
        raise BadInput(
            f"--match_mse {match}: version {run.origin()['lens']} did not record the error before rounding, to which a rival "
            f"is held: train that run a step further (--resume {match} --steps {summary.trained.steps + 1}), or give a value, "
            f"such as its error at 8 bits, {10 ** (-rounded[-1] / 10):.3g}"
        )
    if summary is None or not found:
        raise BadInput(
            f"--match_mse {match}: that run is not finished or has no lens; give a finished lens run or a value"
        )
    if differs := difference(parsed, run.settings()):
        name, mine, theirs = differs
        raise BadInput(
            f"--match_mse {match}: its {name} is {theirs!r} and here it is {mine!r}; a paired run has the same"
        )
    check_number("match_mse", found[-1], low=0, high=0.25, open_low=True)
    return float(found[-1])


def difference(rival: Parsed, lens: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first setting in which a rival differs from the lens run that it is held to, with both values, or None."""
    own = sorted(key for key in rival.plain.keys() | lens.keys() if key.startswith(("task.", "shortcut.")))
    return agreement.first_difference([*agreement.names(agreement.AGREE["rival"]), *own], rival.plain, lens)
