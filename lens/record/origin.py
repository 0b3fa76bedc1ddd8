"""Which version of lens wrote a run's settings, and which plug-in files they named: origin.json."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE, read_bytes, reading
from lens.protocols.lookup import is_file_key, keys_of
from lens.record.lock import SMALL
from lens.settings.run_settings import PLUGINS

NAME = "origin.json"
LARGEST = 256 * MEBIBYTE
"""Bytes of a plug-in's file, at most."""


def now(plain: dict[str, Any]) -> dict[str, Any]:
    """What is to be written beside settings: this version, and a hash of each plug-in file that they name."""
    from lens import __version__

    return {"lens": __version__, "plugins": {key: _hash(key) for key in _files(plain)}}


def read(directory: Path) -> dict[str, Any]:
    """What `now` gave when the settings were written; version 0.1.0 wrote nothing. Raises BadInput where it is damaged."""
    from lens.record import schemas  # its library takes a tenth of a second: not before --help

    file = directory / NAME
    if not file.exists():
        return {"lens": "0.1.0", "plugins": {}}
    with reading(file, "bring it back from a copy, or start a new run with another --out"):
        found: dict[str, Any] = schemas.checked(schemas.Origin, read_bytes(file, SMALL))
        return found


def refuse_changed_plugins(directory: Path, plain: dict[str, Any]) -> None:
    """Raise BadInput where a plug-in file that the settings name is another than the run has trained with."""
    recorded = read(directory)["plugins"]
    for key in _files(plain):
        if key in recorded and Path(key).is_file() and _hash(key) != recorded[key]:
            raise BadInput(
                f"{key} has changed since {directory} was started with it: bring the old file back, or start a new run "
                "with another --out"
            )


def _files(plain: dict[str, Any]) -> list[str]:
    """The plug-in files that settings name."""
    return [key for kind in PLUGINS for key in keys_of(str(plain.get(kind, ""))) if is_file_key(key)]


def _hash(key: str) -> str:
    return hashlib.sha256(read_bytes(key, LARGEST)).hexdigest()
