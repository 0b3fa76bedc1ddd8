"""An entry point: a mistake is one line and exit code 2, whatever happens to the reader or the disk."""

from __future__ import annotations

import _thread
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lens.base.errors import BadInput
from lens.base.files import system_fault
from lens.base.garbage import fewer_collections
from lens.base.ranks import launched, let_the_other_speak, own_rank
from lens.base.stopping import follow_parent, interrupt_on_signals
from lens.base.terminal import StdoutLost, open_all, settle, to_stderr
from lens.base.threads import choose_waiting


def _tells_of_a_killed_reader(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def _interrupt_later() -> None:
    time.sleep(0.1)
    _thread.interrupt_main(signal.SIGTERM)  # SIGINT may be ignored, and SIGTERM raises the same


@contextmanager
def hear_what_deletions_swallow() -> Iterator[None]:
    """Lose nothing, and print nothing, where a signal comes in the middle of a `__del__` or a weak reference's callback.

    Handlers raise wherever the main thread is, and what is raised there Python prints, and goes on. An interruption is
    raised again outside. torch's word of a killed reader is not: it asks after its readers again while it waits for the
    next batch, and what it raises there is what `guard` tells.
    """
    before = sys.unraisablehook

    def hook(met: sys.UnraisableHookArgs) -> None:
        if isinstance(met.exc_value, KeyboardInterrupt):
            _thread.start_new_thread(_interrupt_later, ())  # what is raised in here is swallowed too
        elif not _tells_of_a_killed_reader(met.exc_value):
            before(met)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def guard(body: Callable[[], int]) -> int:
    """Run an entry point: a person's mistake becomes one line on stderr and exit code 2, an interruption 130.

    Output that was asked for and cannot be written (a full disk) is such a line too; a reader that has had enough
    (`| head`) is none.
    """
    choose_waiting()
    open_all()
    left: SystemExit | None = None
    code = 0
    try:
        code = _told(body)
    except SystemExit as error:  # what --help and --print_config end with
        left = error
    lost = settle(sys.stdout)
    if lost is not None and lost.errno != errno.EPIPE and code == 0:
        code, left = _unwritten(lost), None
    settle(sys.stderr)
    if left is not None:
        raise left
    return code


def _unwritten(lost: OSError) -> int:
    """The exit code where stdout took not all that was asked for, with its line."""
    if lost.errno == errno.EPIPE:
        return 0
    to_stderr(f"lens: error: stdout takes nothing ({lost.strerror}): send it somewhere else")
    return 2


def _told(body: Callable[[], int]) -> int:
    try:
        with fewer_collections(), interrupt_on_signals(), hear_what_deletions_swallow():
            follow_parent()
            return body()
    except BadInput as error:
        _tell(error)
        return 2
    except RuntimeError as error:
        if any(words in str(error) for words in ("ancdata", os.strerror(errno.EMFILE))):
            # How torch tells of it where a reader hands over a batch.
            _tell(system_fault(OSError(errno.EMFILE, "")) or BadInput(str(error)))
            return 2
        if not _tells_of_a_killed_reader(error):
            raise
        to_stderr(
            f"lens: error: a process that reads images was killed ({' '.join(str(error).split())}): continue with --resume, "
            "with fewer --num_workers if memory was short"
        )
        return 1
    except UnicodeEncodeError as error:
        if error.encoding != (sys.stdout.encoding or "").lower():
            raise
        letter = error.object[error.start]
        to_stderr(f"lens: error: stdout is {error.encoding}, which lacks {letter!r}: set PYTHONIOENCODING=utf-8")
        return 2
    except StdoutLost as error:
        return _unwritten(error)
    except OSError as error:
        fault = system_fault(error)
        if fault is None:
            raise
        _tell(fault)
        return 2
    except KeyboardInterrupt:
        to_stderr("lens: interrupted")
        return 130


def _tell(error: BadInput) -> None:
    """A mistake's one line. Before the ranks have met, most are all the ranks': the first speaks, another where it does not."""
    try:
        rank, processes = own_rank(), launched()
    except BadInput:  # the environment itself is the mistake
        rank, processes = 0, 1
    met = "torch" in sys.modules and sys.modules["torch"].distributed.is_initialized()
    if rank > 0 and not met:
        let_the_other_speak()
    who = f"rank {rank}: " if rank > 0 or (processes > 1 and met) else ""
    to_stderr(f"lens: error: {who}{' '.join(str(error).split())}")
