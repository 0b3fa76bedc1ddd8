"""How many CPU threads this process uses, and how they wait for each other."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity and of its control group's quota, at least 1."""
    import joblib  # type: ignore[import-untyped]  # scikit-learn's: it knows the limits of containers

    return max(1, int(joblib.cpu_count()))


def wait_without_spinning() -> None:
    """Let threads of OpenMP that wait for others sleep; called before torch is imported, whose OpenMP reads it once.

    They spin for milliseconds otherwise, and two runs side by side, each with a thread a core, stop each other for most of the
    time. The default run on two cores, in steps a second (24 steps each, several times, in one go): alone 2.1 to 2.3 asleep, 2.3
    to 2.7 spinning; two at once 1.5 each asleep, 0.6 each spinning; a short spin lies between in both. A person's own
    $OMP_WAIT_POLICY or $GOMP_SPINCOUNT stays.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
