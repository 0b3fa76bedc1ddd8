"""One line for a run whose other rank has died: what is left of it cannot go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from lens.base.ranks import launched, own_rank
from lens.base.terminal import to_stderr

WORDS = (
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "timed out",
    "timeout",
    "aborted",
)
"""What torch.distributed says of it, among other things."""


@contextmanager
def lost_ranks_told_in_one_line(resume: object) -> Iterator[None]:
    """Turn the library's report of a rank that has died into one line, with what to do about it, and exit code 2.

    As soon as one rank has died torchrun asks the others to end. The line is told here, before anything else is undone on
    the way out, and is not left half said for that: a signal that comes meanwhile asks for what is happening anyway.
    """
    try:
        yield
    except (RuntimeError, KeyboardInterrupt) as error:  # torch.distributed's own errors are RuntimeErrors
        lost = error.__context__ if isinstance(error, KeyboardInterrupt) else error  # asked to end while on its way out
        if launched() == 1 or not any(word in str(lost).lower() for word in WORDS):
            raise
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        to_stderr(
            f"lens: error: rank {own_rank()}: another rank has died or was killed, and this one cannot go on without it; "
            f"continue from the last checkpoint with the same torchrun line and --resume {resume} "
            f"({str(lost).splitlines()[0]})"
        )
        signal.signal(signal.SIGTERM, before)
        raise SystemExit(2) from error
