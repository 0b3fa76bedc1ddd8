"""Processes side by side: so many at a time, each with its log; a stop reaches all of them, and they save."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from lens.base.files import open_own, own_folder
from lens.base.stopping import Lifeline
from lens.base.threads import usable_cores

POLL = 0.1


@dataclasses.dataclass(frozen=True)
class Job:
    """A command and the file that its output is appended to; `after`: it starts when the job of that name has ended."""

    name: str
    command: list[str]
    log: Path
    after: str | None = None


@dataclasses.dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    start: int


def work(
    jobs: Iterable[Job],
    workers: int,
    stops: list[int],
    ended: Callable[[Job, int, str], None],
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Run the jobs in order, `workers` at a time, each once what it waits for has ended; `ended` gets each one's exit code and its last error line.

    Jobs side by side share the cores that this process may use; a person's own $OMP_NUM_THREADS stays.
    When a signal is in `stops` no job is started any more, those that run get SIGTERM, and all are waited for; so also
    where something fails here. On a second signal (KeyboardInterrupt) they are killed. Where this process is killed
    they learn it by their lifeline, and end as on SIGTERM.
    """
    waiting, told = deque(jobs), False
    running: list[_Running] = []
    lifeline = Lifeline()
    environment = lifeline.environment()
    if workers > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // workers)))
    try:
        while running or (waiting and not stops):
            while len(running) < workers and not stops and (job := _ready(waiting, running)) is not None:
                waiting.remove(job)
                running.append(_start(job, lifeline, environment))
            if stops and not told:
                told = True
                for one in running:
                    one.process.terminate()
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                ended(one.job, one.process.returncode, last_error(one.job.log, one.start, one.process.returncode))
            tick()
            time.sleep(POLL)
    except KeyboardInterrupt:
        for one in running:
            one.process.kill()
        raise
    finally:
        for one in running:
            one.process.terminate()
        try:
            for one in running:
                one.process.wait()
        except KeyboardInterrupt:
            for one in running:
                one.process.kill()
            raise
        finally:
            lifeline.close()


def _ready(waiting: Iterable[Job], running: Iterable[_Running]) -> Job | None:
    """The first job that waits for none of those that have not ended."""
    unended = {job.name for job in waiting} | {one.job.name for one in running}
    return next((job for job in waiting if job.after not in unended), None)


def _start(job: Job, lifeline: Lifeline, environment: dict[str, str]) -> _Running:
    own_folder(job.log.parent)
    with os.fdopen(open_own(job.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as log:
        start = os.fstat(log.fileno()).st_size
        # In a session of its own: Ctrl-C at the terminal reaches this process alone, which passes it on once.
        process = subprocess.Popen(
            job.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            pass_fds=(lifeline.reading,), env=environment,
        )  # fmt: skip
    return _Running(job, process, start)


def last_error(log: Path, start: int, code: int) -> str:
    """The last line of error that a process wrote after `start`, or what killed it; a log that is gone says nothing."""
    if code < 0:
        return f"killed by signal {-code}"
    try:
        with open(log, "rb") as stream:
            stream.seek(start)
            written = stream.read()
    except OSError as error:
        return f"exit code {code}, and its log cannot be read ({error.strerror})"
    lines = [line.strip() for line in written.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("lens: error:")]
    return (errors or lines or [f"exit code {code}, and nothing in its log"])[-1]
