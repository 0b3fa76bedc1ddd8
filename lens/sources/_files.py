"""What the sources that read files share: endings, the names of splits, stamps."""

from __future__ import annotations

import os

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"})
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
PLACES205 = "trainvalsplit_places205"
"""The folder of Places205's file lists."""


def file_stamps(path: str | os.PathLike[str]) -> tuple[str, str]:
    """A record's two stamps: what changes if a file does, and what of it an honest copy shares, its size and time.

    The first has the time of the entry (ctime) too, which nobody sets: two files that were swapped may have one size and
    one time, as all files out of an archive do. Both are "missing" where there is no file, so that reading it counts it.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return "missing", "missing"
    portable = f"{stat.st_size}/{stat.st_mtime_ns}"
    return f"{portable}/{stat.st_ctime_ns}", portable
