"""From a flag to a source: a built-in name, a path, or a data set of the hub."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from pathlib import Path

from lens.base.errors import BadInput, check_path, nearest
from lens.base.files import system_fault
from lens.base.walk import entries, own_kind, walk
from lens.protocols.lookup import find, names
from lens.protocols.source import Source


def open_source(
    key: str,
    image_column: str | None = None,
    label_column: str | None = None,
    root: str | None = None,
    cache_dir: Path | None = None,
) -> Source:
    """The source that `--data` or `--probe` names: a built-in source's name, a path (with a slash), or `hub:NAME`.

    A source is given those of these settings that it has.

    Raises BadInput for an unknown name (with the nearest one) or a path that no source reads.
    """
    check_path(key)
    readers = {name: find("source", name) for name in names("source")}
    fields = {name: {field.name for field in dataclasses.fields(reader)} for name, reader in readers.items()}
    built_in = [name for name in readers if "path" not in fields[name]]

    def opened(name: str, path: str) -> Source:
        given = {"path": path, "image_column": image_column, "label_column": label_column, "root": root}
        given["cache_dir"] = str(cache_dir / "datasets") if cache_dir else None
        source: Source = readers[name](**{field: given[field] for field in fields[name] & set(given)})
        return source

    scheme, _, rest = key.partition(":")
    if rest and scheme in readers and scheme not in built_in and not hasattr(readers[scheme], "accepts"):
        return opened(scheme, rest)
    if "/" not in key:
        if key in built_in:
            return opened(key, key)
        hint = f"; for a path write ./{key}" if os.path.exists(key) else "; a path has a slash"
        raise BadInput(f"unknown data {key!r}: {nearest(key, built_in)}{hint}")
    path = Path(key)
    if not _exists(key):
        hub = f"; for the Hugging Face hub write hub:{key}" if re.fullmatch(r"\w[\w.-]*/[\w.-]+", key) else ""
        raise BadInput(
            f"{key} does not exist: give a folder of images, a parquet file, or a name {nearest(key, built_in)}{hub}"
        )
    if path.is_dir() and (kind := own_kind(entries(key))):
        raise BadInput(f"{key} is one of lens's own folders ({kind}): name a folder of pictures")
    # One walk for all readers: on a network disk a walk takes minutes.
    files = walk(key) if path.is_dir() else [key]
    endings = {os.path.splitext(name)[1].lower() for name in files}
    for name, reader in readers.items():
        if hasattr(reader, "accepts") and reader.accepts(path, endings):
            return opened(name, key)
    raise BadInput(f"{key} is no folder of images, parquet file, WebDataset shard (.tar) or file list (.txt, .csv)")


def _exists(key: str) -> bool:
    """Whether a path leads to a folder or a file. Raises BadInput where it leads to anything else, or cannot be followed."""
    try:
        mode = os.stat(key).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        line = f"{key[:80]!r} cannot be opened ({error.strerror}): give a folder or a file"
        raise system_fault(error, key) or BadInput(line) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise BadInput(f"{key} is a pipe, a socket or a device: give a folder or a file")
    return True
