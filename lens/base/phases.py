"""What a run's time went into: the seconds of each phase, for its summary and its table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

BEGAN = time.monotonic()
"""When this process began, nearly: an entry point imports this file before the libraries that take seconds."""


class Phases:
    """Seconds by the phase's name, in the order in which the phases began; one that comes again adds to its own."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add what happens within to the phase `name`, whether or not it succeeds."""
        start = time.monotonic()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - start
