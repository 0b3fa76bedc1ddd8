"""What was trained, and how fast."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lens.results.figure import Number, figure
from lens.results.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Best(Result):
    """The best validation score so far, and the step that had it."""

    score: float
    step: int


def _told(unit: Any = "", digits: int | None = None, required: bool = False) -> Any:
    return figure(unit=unit, digits=digits, interval=False, validated=False, required=required)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained(Result):
    """The run itself: what it was told that tables show, its `seconds` of training, and with which code.

    `lens` is the lens's or the rival's name, `shortcut_key` None where nothing is planted, `objective` None without a lens,
    `command` the commands that started and resumed it, `resumed` how often it was.
    """

    task: str
    data: str
    shortcut: str
    shortcut_key: str | None = None
    lens: str
    objective: str | None = None
    shuffle_labels: bool | None = None
    seed: int
    steps: int
    images_seen: int | None = None
    seconds: float = _told("s", required=True)
    images_per_second: float = _told(digits=1, required=True)
    recon_weight: Number = _told()
    ranks: int | None = None
    sync_batchnorm: str | None = None
    skipped_images: int | None = None
    best: Best | None = None
    versions: Mapping[str, Any] | None = None
    git_commit: str | None = _told("word")
    command: str | None = None
    resumed: int | None = None
