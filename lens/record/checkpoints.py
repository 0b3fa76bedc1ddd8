"""The checkpoints of a run: the last two, each whole or absent."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.base.files import (
    checksum,
    is_own_folder,
    own_folder,
    read_bytes,
    reading,
    sync_directory,
    temporary_beside,
    write_atomically,
    write_tensors,
)
from lens.record.lock import SMALL

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 2


WEIGHTS = "extractor.safetensors"
"""A run that has this file has been trained to an end: what begins it anew replaces that."""


class Checkpoints:
    """The folder `checkpoint` of a run's directory, each checkpoint a folder `step-<step>` in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(self, folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write a checkpoint into `folder` as a new directory renamed into place; keep the last two."""
        place = folder / f"step-{step:08d}"
        if not place.exists():
            temporary = temporary_beside(place)
            try:
                temporary.mkdir()
                sums = write_tensors(temporary, {"players": tensors})
                content = {"step": step, **state, **sums}
                write_atomically(temporary / "state.json", json.dumps(content))
                sync_directory(temporary)
                temporary.rename(place)
            except OSError:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            sync_directory(folder)
        for old in self._places()[:-KEPT]:
            shutil.rmtree(old)

    def last(
        self, limit: int, fits: Callable[[dict[str, Tensor], dict[str, Any]], None]
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors, of at most `limit` bytes, and the state of the last whole checkpoint, or None before the first.

        Raises BadInput, with what to delete, where it is damaged or `fits` raises ValueError: it is another network's.
        """
        from safetensors.torch import load

        place, state = self.last_place(), self.last_state()
        if place is None or state is None:
            return None
        with reading(place, self._without(place)):
            content = read_bytes(place / "players.safetensors", limit)
            if state.get("players") not in (None, checksum(content)):
                raise ValueError("its tensors are not those that were written: the checksum is another")
            tensors = load(content)
            fits(tensors, state)
            return tensors, state

    def last_state(self) -> dict[str, Any] | None:
        """The state of the last whole checkpoint, or None before the first. Raises BadInput where it is damaged."""
        from lens.record import schemas  # its library takes a tenth of a second: not before --help

        place = self.last_place()
        if place is None:
            return None
        with reading(place, self._without(place)):
            state: dict[str, Any] = schemas.checked(schemas.State, read_bytes(place / "state.json", SMALL))
            if state["step"] != int(place.name.removeprefix("step-")):
                raise ValueError(f"it is of step {state['step']}")
            return state

    def last_place(self) -> Path | None:
        """Where the last whole checkpoint lies, or None before the first."""
        places = self._places()
        return places[-1] if places else None

    def _without(self, place: Path) -> str:
        earlier = self._places()[:-1]
        if not earlier and (self.directory / WEIGHTS).exists():
            return "bring it back from a copy, or start a new run with another --out"
        return f"delete {place} to continue {f'from {earlier[-1].name}' if earlier else 'from the start'}"

    def _places(self) -> list[Path]:
        folder = self.directory / "checkpoint"
        if not os.path.lexists(folder):
            return []
        own_folder(folder)
        named = (place for place in folder.iterdir() if re.fullmatch(r"step-\d{8,12}", place.name))
        return sorted(place for place in named if is_own_folder(place))
