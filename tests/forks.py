"""Processes forked from one that has imported everything (`preloaded`): each as killable as one begun afresh, without its seconds of imports.

Their runs are `undrawn`, their probes choose from `two_penalties`.
"""

import atexit
import multiprocessing
import os
import sys

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["preloaded"])


def start(main, *argv, log):
    """Begin `main(argv)` with this process's environment and folder; its output is appended to `log`.

    The process's `exitcode`, after `join`, is what `main` gives, or −n where signal n has killed it.
    """
    process = CONTEXT.Process(
        target=_begin, args=(main, argv, str(log), dict(os.environ), multiprocessing.get_start_method())
    )
    with pytest.MonkeyPatch.context() as patch:  # the server begins here, and looks for `preloaded`
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process.start()
    return process


def run(main, *argv, log):
    """`start`, to its end: the exit code."""
    process = start(main, *argv, log=log)
    process.join()
    return process.exitcode


def _begin(main, argv, log, environment, method):
    multiprocessing.set_start_method(method, force=True)  # of its readers: here it would be the forkserver
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.environ.clear()
    os.environ.update(environment)
    assert "preloaded" in sys.modules
    from tiny import two_penalties, undrawn

    undrawn(pytest.MonkeyPatch())
    two_penalties(pytest.MonkeyPatch())
    sys.exit(main(list(argv)))


@atexit.register
def _kill_what_is_left():
    """What a failed test has left running would be waited for."""
    for process in multiprocessing.active_children():
        process.kill()
