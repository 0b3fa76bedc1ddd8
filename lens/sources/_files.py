"""What the sources that read files share: endings, the names of splits, stamps."""

from __future__ import annotations

import os

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"})
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
PLACES205 = "trainvalsplit_places205"
"""The folder of Places205's file lists."""


def file_stamp(path: str) -> str:
    """What changes if a file does: its size and time; "missing" where it has none, so that reading it counts it."""
    try:
        stat = os.stat(path)
    except OSError:
        return "missing"
    return f"{stat.st_size}/{stat.st_mtime_ns}"
