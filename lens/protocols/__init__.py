"""The interfaces that plug-ins fill, one file a kind, and the look-up that finds a plug-in by its file's name.

Shape letters, used in names (`logits_EK`) and docstrings throughout the package:

    B  images in a batch            V  views: B times the views that a task takes of each image
    E  examples (rows of the loss)  K  classes
    F  features of the extractor    C H W  channels (always RGB), height, width

A plug-in is a file: its name is its key on the command line, its docstring's first line its line in `--help`, and its
one public dataclass holds its settings and fills one of the interfaces here: it inherits `Task`, or has what `Shortcut`
or `Source` ask for. Of lens itself it imports `protocols`, `operations` and `base` only; heavy libraries are imported
inside functions, so that `--help` and bad input answer at once.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

_MOVED = {
    "lens.base.errors": ("BadInput", "LONGEST_NAME", "LONGEST_PATH", "check_number", "check_path", "check_text", "nearest"),
    "lens.protocols.lookup": ("find", "first_docstring_line", "is_file_key", "key_name", "names", "short_names", "summary_line"),
    "lens.protocols.shortcut": ("Shortcut",),
    "lens.protocols.source": ("Listing", "Record", "Source"),
    "lens.protocols.task": ("Question", "Task", "WrappedTask", "nearer"),
}  # fmt: skip
"""Where that is now which was in this file in 0.3."""
_GONE = {
    "KINDS": "the folders of lens",
    "TRAITS": "the class variables of lens.protocols.task.Task",
    "trait": "task.NAME",
}
"""What there is instead of the rest."""


@functools.cache
def __getattr__(name: str) -> Any:
    """A name of 0.3, for one version: each is told of once."""
    place = next((place for place, here in _MOVED.items() if name in here), None)
    if place is None and name not in _GONE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    now = f"{place}.{name}" if place else _GONE[name]
    warnings.warn(f"{__name__}.{name} is now {now}; the old name works for one version", FutureWarning, stacklevel=2)
    if place:
        return getattr(importlib.import_module(place), name)
    task = importlib.import_module("lens.protocols.task").Task
    kinds = {"task": "tasks", "shortcut": "shortcuts", "source": "sources"}
    said = ("answer", "head_reads_question", "couples", "balanced", "grey", "standardise", "defaults")
    return {"KINDS": kinds, "TRAITS": {trait: getattr(task, trait) for trait in said}, "trait": getattr}[name]
