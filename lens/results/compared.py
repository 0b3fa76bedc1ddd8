"""What a comparison says of each of its runs."""

from __future__ import annotations

import dataclasses

from lens.results.figure import Estimate, beside
from lens.results.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared(Result):
    """A run: its directory, what it was told, a `title` in parts (task, data, cue), and the PSNR of its lens in dB.

    `match`: whether what changes the images is no lens but is held to the change of one.
    """

    run: str
    task: str
    data: str
    shortcut: str
    shortcut_key: str | None = None
    lens: str
    steps: int
    seed: int
    title: list[str]
    match: bool
    psnr: Estimate = beside(required=True)
