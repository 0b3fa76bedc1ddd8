"""What the sources that read files share."""

from __future__ import annotations

import os


def file_stamp(path: str) -> str:
    """What changes if a file does: its size and time; "missing" where it has none, so that reading it counts it."""
    try:
        stat = os.stat(path)
    except OSError:
        return "missing"
    return f"{stat.st_size}/{stat.st_mtime_ns}"
