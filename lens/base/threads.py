"""How many CPU threads this process uses, and how they wait for each other."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

SPINS = 20_000
"""How often a waiting thread looks before it sleeps, where it may: about a millisecond."""
_lock: int | None = None


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity and of its control group's quota, at least 1."""
    import joblib  # type: ignore[import-untyped]  # scikit-learn's: it knows the limits of containers

    return max(1, int(joblib.cpu_count()))


def choose_waiting() -> None:
    """Decide how threads of OpenMP wait for each other; called before torch is imported, whose OpenMP reads it once.

    The first process of lens on a machine lets them spin for about a millisecond, every other one lets them sleep: two runs
    side by side that both spin, each with a thread a core, stop each other for most of the time. The default run on two
    cores, in steps a second (24 steps each, several times): alone 1.9 to 2.7 spinning, 1.6 to 2.3 asleep; two at once 0.5 each
    where both spin, 0.7 and 1.4 where one does, 1.2 to 1.6 where none does. A person's own $OMP_WAIT_POLICY or $GOMP_SPINCOUNT
    stays, and is handed on to the processes that are begun from here.
    """
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return
    if _is_first():
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    else:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _is_first() -> bool:
    """Whether no other process of this person's lens is at work on the machine; it then holds a lock until it ends."""
    global _lock
    place = Path(tempfile.gettempdir()) / f"lens-threads-{os.getuid()}"
    try:
        lock = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:  # no place for a lock: sleeping harms nobody
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held
        os.close(lock)
        return False
    _lock = lock
    return True


def set_threads(threads: int | None, processes: int = 1) -> None:
    """Set the threads of torch and of the linear algebra: `threads`, else the usable cores, shared by `processes`.

    Without `threads` $OMP_NUM_THREADS stays, and torch's own choice where that is lower.
    """
    import torch
    from threadpoolctl import threadpool_limits

    if threads is None:
        if "OMP_NUM_THREADS" in os.environ:
            return
        threads = min(torch.get_num_threads(), max(1, usable_cores() // processes))
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # the probes' linear algebra has threads of its own
