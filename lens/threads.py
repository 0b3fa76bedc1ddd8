"""How many CPU threads this process uses, and how they wait for each other."""

from __future__ import annotations

import os

SPINS = 20_000
"""How often a waiting thread looks before it sleeps: some tens of microseconds."""


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity and of its control group's quota, at least 1."""
    import joblib  # type: ignore[import-untyped]  # scikit-learn's: it knows the limits of containers

    return max(1, int(joblib.cpu_count()))


def wait_without_spinning() -> None:
    """Let threads of OpenMP that wait for others soon sleep; called before torch is imported, whose OpenMP reads it once.

    They spin for milliseconds otherwise: two runs side by side, each with a thread a core, then stop each other for most of
    the time. Sleeping at once costs a lone run a fifth of its speed, so they spin for some microseconds first. A person's
    own $OMP_WAIT_POLICY or $GOMP_SPINCOUNT stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


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
