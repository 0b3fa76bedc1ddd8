"""Where a run is computed, in which numbers, by how many threads and processes."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from lens.base.errors import BadInput, check_number
from lens.settings.field import setting

MOST_PROCESSES = 256
"""Processes that read batches, or runs at a time, at most: a thousand take all memory before they do anything."""
MOST_THREADS = 1024
"""CPU threads, at most: torch and the kernel end a process that asks for many more."""


@dataclasses.dataclass(frozen=True)
class MachineSettings:
    """Where a run is computed, in which numbers, by how many threads and processes."""

    device: str = setting("auto", role="machine", resume=True)
    """auto (cuda where there is one, else cpu), cpu, cuda or cuda:N."""
    precision: Literal[32, 64, "bf16"] = setting(32, role="precision")
    """32, bf16 (mixed precision), or 64 (double, to compare runs that must agree)."""
    num_workers: int = setting(0, role="machine", resume=True, was="workers")
    """Processes that read batches; 0 reads them in the main process."""
    threads: int | None = setting(None, role="machine")
    """CPU threads; default: as many as this process may use. Bit-identical resuming needs the same number."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        check_number("num_workers", self.num_workers, low=0, high=MOST_PROCESSES)
        if self.threads is not None:
            check_number("threads", self.threads, low=1, high=MOST_THREADS)
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise BadInput(f"--device {self.device!r} is unknown: give auto, cpu, cuda or cuda:N")
