"""The folder of an audit: what is finished of it already, and its results."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lens.auditing.answers import Answers
from lens.auditing.asked import AuditSettings
from lens.auditing.seen import Seen
from lens.base.errors import BadInput
from lens.base.files import (
    json_text,
    read_arrays,
    read_text,
    reading,
    refuse_strangers_files,
    write_atomically,
    write_together,
)
from lens.results.audit import Audit, Row, Where

Array = np.ndarray[Any, Any]
MOST = 1 << 28
"""Bytes of a file of an audit, at most."""
ROWS = "rows"
PART = 4096
"""Images that are hashed at a time."""
ADVICE = "delete it, or choose another --out"


@dataclasses.dataclass
class Finished:
    """The rows of one audit that are finished, each in a file of its own below `folder`; nothing is kept where that is None.

    A row belongs to the images that it was asked about, and to the settings: `fingerprint` is a hash of both.
    """

    folder: Path | None
    asked: AuditSettings
    fingerprint: str = ""

    def begin(self, seen: Seen) -> None:
        """Know which images the audit is about, where anything is kept."""
        if self.folder is None:
            return
        digest = hashlib.blake2b(digest_size=16)
        settings = (self.asked.seed, self.asked.budget, self.asked.image_size, self.asked.features, sorted(seen.cues))
        digest.update(repr((settings, seen.images.keys)).encode())
        for name, split in zip(seen.images.names, seen.images.split.tolist(), strict=True):
            digest.update(f"{name}\0{split}\0".encode("utf-8", "surrogateescape"))
        for start in range(0, len(seen.images), PART):
            digest.update(seen.fetch(np.arange(start, min(start + PART, len(seen.images)))).tobytes())
        self.fingerprint = digest.hexdigest()

    def has(self, key: str) -> bool:
        """Whether the row is finished, of these images."""
        return self._arrays(key) is not None

    def read(self, key: str) -> tuple[Answers, Where | None]:
        """A finished row, and where its network looks, where that was asked."""
        found = self._arrays(key)
        assert found is not None
        about = json.loads(str(found["about"]))
        where = None if about["where"] is None else Where.of_json(about["where"])
        answers = Answers(about["name"], about["judge"], found["odds"], about["null"], about["seconds"])
        return answers, where

    def keep(self, answers: Answers, where: Where | None = None) -> None:
        """Write a row that has just been finished. Raises BadInput where the folder cannot be written to."""
        if self.folder is None:
            return
        about = {name: getattr(answers, name) for name in ("name", "judge", "null", "seconds")}
        about["where"] = None if where is None else where.to_json()
        content = io.BytesIO()
        told = {"fingerprint": np.array(self.fingerprint), "about": np.array(json.dumps(about)), "odds": answers.odds}
        np.savez(content, allow_pickle=False, **told)
        file = self._file(answers.key)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, content.getvalue())
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / ROWS / f"{key.replace(' ', '_')}.npz"

    def _arrays(self, key: str) -> dict[str, Array] | None:
        if self.folder is None or not self._file(key).exists():
            return None
        with reading(self._file(key), ADVICE):
            found = read_arrays(self._file(key), MOST)
            return found if str(found["fingerprint"]) == self.fingerprint else None


def planned(asked: AuditSettings) -> Path:
    """The folder of the results, not made yet.

    Raises BadInput where it cannot be made, holds an audit of other sources, or anything that is no audit's.
    """
    folder = Path(asked.out or f"runs/audit-{datetime.datetime.now():%Y%m%d-%H%M%S}")
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise BadInput(f"--out {folder}: {existing} is no folder that can be written to; choose another --out")
    real = folder.resolve()
    for key in asked.source:
        if "/" in key and (real == Path(key).resolve() or Path(key).resolve() in real.parents):
            raise BadInput(f"--out {folder} lies in {key}, whose images are audited: choose another --out")
    file = folder / "audit.json"
    if file.exists():
        with reading(file, ADVICE):
            earlier = [str(name) for name in json.loads(read_text(file, MOST))["sources"]]
        if earlier != asked.source:
            raise BadInput(f"{file} is of {', '.join(earlier)}: choose another --out")
    elif existing == folder and not any((folder / ROWS).glob("*.npz")):  # an interrupted audit has its rows alone
        refuse_strangers_files(folder, "audit")
    return folder


def write(folder: Path, audit: Audit, arrays: Mapping[str, Array], pictures: Mapping[str, bytes | str]) -> None:
    """Write all results together: audit.json, audit.parquet of the rows, audit.npz for pictures, and the pictures.

    Raises BadInput where the folder cannot be written to.
    """
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[Path, str | bytes] = {folder / name: picture for name, picture in pictures.items()}
        files |= {folder / "audit.npz": content.getvalue(), folder / "audit.parquet": parquet(audit.rows)}
        write_together(files | {folder / "audit.json": json_text(audit.to_json())})
    except OSError as error:
        raise _unwritable(folder, error) from error


def plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as flat dicts: the interval's ends under `ci_low` and `ci_high`, None where there is none; lists as JSON text."""
    found = []
    for row in rows:
        one = row.to_json()
        ends = one.pop("ci")
        low, high = ends if isinstance(ends, list) else (None, None)
        one = {key: value if not isinstance(value, list | dict) else json_text(value) for key, value in one.items()}
        found.append(one | {"ci_low": low, "ci_high": high})
    return found


def parquet(rows: Sequence[Row]) -> bytes:
    """Rows as the bytes of a parquet file."""
    import pyarrow
    import pyarrow.parquet

    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(plain(rows)), content)
    return content.getvalue()


def _unwritable(folder: Path, error: OSError) -> BadInput:
    return BadInput(f"cannot write the audit {folder} ({error.strerror}): choose another --out")
