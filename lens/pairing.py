"""Runs that belong together: which settings a rival must share with the lens run whose change it is held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lens.parsing import Parsed
from lens.protocols import BadInput, check_number, key_name
from lens.run import Run
from lens.settings import Settings, as_list

PAIRED = (
    "task", "data", "label_column", "image_size", "cache_size", "augment", "rand_augment", "mixup", "cutmix",
    "label_smoothing", "grey", "colour_jitter", "blur", "standardise", "shortcut", "shortcut_key", "seed", "eval_images",
    "split_sources", "group_by", "fresh_fraction",
)  # fmt: skip
"""Settings in which a lens run and a rival that is matched to it must agree."""


def target_mse(parsed: Parsed) -> float:
    """The mean squared change that a rival is held to: --match_mse, or the last validation error of the run it names.

    It is over every view, whether it carries a cue or not, and before rounding, as is what --target_psnr steers to.
    Raises BadInput where that is no finished lens run, or one of other images.
    """
    settings = parsed.settings
    match = settings.match_mse
    if match is None:
        assert settings.steered_psnr is not None
        return float(10 ** (-settings.steered_psnr / 10))
    if isinstance(match, float):
        return match
    run = Run.open(Path(match))
    found = [line["mse"] for line in run.metrics() if line["kind"] == "val" and line.get("mse")]
    if run.summary() is None or not found:
        raise BadInput(
            f"--match_mse {match}: that run is not finished or has no lens; give a finished lens run or a value"
        )
    other = run.settings()
    for name in (*PAIRED, key_name(settings.task), key_name(settings.shortcut)):  # and the plug-ins' own settings
        unsaid = getattr(Settings, name, None)  # what a run meant that knew no such setting
        mine, theirs = comparable(name, parsed.plain.get(name)), comparable(name, other.get(name, unsaid))
        if mine != theirs:
            raise BadInput(
                f"--match_mse {match}: its {name} is {theirs!r} and here it is {mine!r}; a paired run has the same"
            )
    check_number("match_mse", found[-1], low=0, high=0.25, open_low=True)
    return float(found[-1])


def comparable(name: str, value: Any) -> Any:
    """A setting's value; of sources, however their paths are written."""
    if name != "data":
        return value
    return [str(Path(key).resolve()) if "/" in key else key for key in as_list(value or [])]
