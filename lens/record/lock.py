"""A directory held by one process against all others."""

from __future__ import annotations

import datetime
import errno
import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from lens.base.disk_errors import identity
from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE, open_own, open_regular, read_bytes, system_fault
from lens.base.terminal import say

SMALL = MEBIBYTE
"""Bytes, at most, of a small file of a run: settings, state, its lock."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)

_locks: set[int] = set()


def _leave_locks_to_the_parent() -> None:
    """A forked reader of batches would hold its parent's lock for seconds after the parent was killed."""
    for lock in _locks:
        os.close(lock)
    _locks.clear()


os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


class Lock:
    """The file `lock` of a directory, locked until it is released or this process dies, however it dies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None

    def acquire(self) -> None:
        """Lock the file. Raises BadInput, naming the owner, where another process holds it, or where it cannot be written."""
        place = self.directory / "lock"
        try:
            self._lock = open_own(place, os.O_RDWR | os.O_CREAT)
            _locks.add(self._lock)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                say(f"{self.directory} lies on a disk without locks: let no other process use it")
            os.ftruncate(self._lock, 0)
            owner = f"process {os.getpid()} on {socket.gethostname()} since {datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
            with suppress(OSError):  # who holds it is a courtesy; a full disk is met by what is written next
                os.write(self._lock, owner.encode())
            self._identity = identity(self.directory)
        except BlockingIOError as error:
            owner = read_bytes(place, SMALL).decode("utf-8", "replace") or "another process"
            self.release()
            raise BadInput(f"{self.directory} is in use by {owner}: wait until it ends, or stop it") from error
        except OSError as error:
            self.release()
            line = f"cannot write {place} ({error.strerror}): a run's directory must be writable"
            raise system_fault(error, place) or BadInput(line) from error

    def is_moved(self) -> bool:
        """Whether the directory that is held is no longer at its place: another may be there by now."""
        return self._lock is not None and self._identity is not None and identity(self.directory) != self._identity

    def release(self) -> None:
        """Let go of the lock, where it is held."""
        if self._lock is not None:
            _locks.remove(self._lock)
            os.close(self._lock)
            self._lock = None


def holder(directory: Path) -> str | None:
    """Who holds a directory, or None where nobody does or there is none."""
    try:
        lock = open_regular(directory / "lock")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(lock, 200).decode("utf-8", "replace") or "another process"
    except OSError:  # a disk without locks
        return None
    finally:
        os.close(lock)
    return None
