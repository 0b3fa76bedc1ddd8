"""A run's directory: settings, metrics, checkpoints and summary; whatever is written is whole or absent."""

from __future__ import annotations

import datetime
import errno
import fcntl
import functools
import gzip
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec

import yaml

from lens.disk_errors import identity, moved, refusal
from lens.files import (
    append_line,
    open_regular,
    reading,
    sync_directory,
    write_atomically,
    write_tensors,
    write_together,
)
from lens.mirror import Mirror
from lens.protocols import BadInput, is_file_key
from lens.ranks import own_rank
from lens.terminal import say

if TYPE_CHECKING:
    from torch import Tensor

P = ParamSpec("P")
CHECKPOINTS_KEPT = 2
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)

_locks: set[int] = set()


def _leave_locks_to_the_parent() -> None:
    """A forked reader of batches would hold its parent's lock for seconds after the parent was killed."""
    for lock in _locks:
        os.close(lock)
    _locks.clear()


os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


def _on_rank_0(method: Callable[P, None]) -> Callable[P, None]:
    """Of several processes only rank 0 writes."""

    @functools.wraps(method)
    def write(*args: P.args, **kwargs: P.kwargs) -> None:
        if own_rank() == 0:
            run = args[0]
            assert isinstance(run, Run)
            run.refuse_moved()
            method(*args, **kwargs)

    return write


class Run:
    """One run's directory.

    It holds `settings.yaml` from its first moment on (it is made under another name and renamed into place), then
    `metrics.jsonl`, `checkpoint/` (the last two, each renamed into place), the players' weights and `summary.json`.
    `with run:` holds the directory against other processes and gives a full disk its one line.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None
        self._mirror: Mirror | None = None

    def __enter__(self) -> Run:
        if self.exists() and own_rank() == 0:
            self.hold(self.directory)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        finished = (self.directory / "summary.json").exists() and error is None
        if self._mirror is not None:
            self._mirror.finish(finished)
            self._mirror = None
        gone = self._is_moved()
        self.release()
        if gone and isinstance(error, (OSError, BadInput)):
            raise moved(self.directory) from error
        saved = self.last_checkpoint_path()
        kept = f"the last whole checkpoint, {saved.name}, is kept" if saved else "there was no checkpoint yet"
        if told := refusal(error, self.directory, f"continue with --resume {self.directory}", kept):
            raise told from error

    def hold(self, place: Path) -> None:
        """Lock the file `lock` in `place` until the run is left or this process dies, however it dies.

        Raises BadInput, naming the owner, where another process holds it.
        """
        try:
            self._lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            _locks.add(self._lock)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                say(f"{place} lies on a disk without locks: let no other process use it")
            os.ftruncate(self._lock, 0)
            owner = f"process {os.getpid()} on {socket.gethostname()} since {datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
            os.write(self._lock, owner.encode())
            self._identity = identity(place)
        except BlockingIOError as error:
            owner = (place / "lock").read_text(encoding="utf-8") or "another process"
            self.release()
            raise BadInput(f"{place} is in use by {owner}: wait until it ends, or stop it") from error
        except OSError as error:
            self.release()
            raise BadInput(
                f"cannot write {place}/lock ({error.strerror}): a run's directory must be writable"
            ) from error

    def refuse_moved(self) -> None:
        """Raise BadInput where the directory that is held is no longer at its place: another may be there by now."""
        if self._is_moved():
            raise moved(self.directory)

    def _is_moved(self) -> bool:
        return self._lock is not None and self._identity is not None and identity(self.directory) != self._identity

    def release(self) -> None:
        """Let go of the lock, where it is held."""
        if self._lock is not None:
            _locks.remove(self._lock)
            os.close(self._lock)
            self._lock = None

    @classmethod
    def plan(cls, directory: Path) -> Run:
        """A run directory that is yet to be made. Raises BadInput where a run, or anything else, is there already."""
        if (directory / "settings.yaml").exists():
            state = "a finished" if (directory / "summary.json").exists() else "an unfinished"
            raise BadInput(
                f"{directory} holds {state} run: continue it with --resume {directory}, or choose another --out"
            )
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise BadInput(f"{directory} exists and is no empty directory: choose another --out")
        return cls(directory)

    def exists(self) -> bool:
        """Whether the directory has been made."""
        return (self.directory / "settings.yaml").is_file()

    @_on_rank_0
    def create(self, plain: dict[str, Any], command: str) -> None:
        """Make a planned directory. Raises BadInput where another is there by now, or where nothing can be written."""
        directory = self.plan(self.directory).directory
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
            try:
                temporary.chmod(0o755)
                content = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
                write_atomically(temporary / "settings.yaml", content)
                Run(temporary).record_origin(plain)
                Run(temporary).record_command(command)
                self.hold(temporary)
                temporary.rename(directory)
            except (OSError, BadInput):
                shutil.rmtree(temporary)
                raise
        except OSError as error:
            raise BadInput(
                f"cannot write the run directory {directory} ({error.strerror}): choose another --out"
            ) from error

    @classmethod
    def open(cls, directory: Path) -> Run:
        """An existing run directory. Raises BadInput where it is none."""
        run = cls(directory)
        if not run.exists():
            what = "has no settings.yaml" if directory.is_dir() else "does not exist"
            raise BadInput(f"{directory} is no run directory: it {what}")
        return run

    def settings(self) -> dict[str, Any]:
        """The resolved settings, as plain values. Raises BadInput where they cannot be read."""
        file = self.directory / "settings.yaml"
        with reading(file, "bring it back from a copy, or start a new run with another --out"):
            plain = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(plain, dict):
            raise BadInput(f"{self.directory}/settings.yaml holds no settings")
        return plain

    @_on_rank_0
    def record_origin(self, plain: dict[str, Any]) -> None:
        """Write which version of lens wrote the settings, and a hash of each plug-in file that they name."""
        from lens import __version__

        keys = [str(plain[kind]) for kind in ("task", "shortcut") if is_file_key(str(plain.get(kind, "")))]
        self.write_json("origin.json", {"lens": __version__, "plugins": {key: _hash(key) for key in keys}})

    def origin(self) -> dict[str, Any]:
        """What `record_origin` wrote; version 0.1.0 did not."""
        file = self.directory / "origin.json"
        if not file.exists():
            return {"lens": "0.1.0", "plugins": {}}
        with reading(file, "bring it back from a copy, or start a new run with another --out"):
            found = json.loads(file.read_text(encoding="utf-8"))
            return {"lens": str(found["lens"]), "plugins": dict(found["plugins"])}

    def refuse_changed_plugins(self) -> None:
        """Raise BadInput where a plug-in file is another than the run has trained with."""
        for key, then in self.origin()["plugins"].items():
            if Path(key).is_file() and _hash(key) != then:
                raise BadInput(
                    f"{key} has changed since {self.directory} was started with it: bring the old file back, or start "
                    "a new run with another --out"
                )

    @_on_rank_0
    def record_command(self, command: str) -> None:
        """Append a command to commands.txt: the first started the run, later ones resumed it."""
        append_line(self.directory / "commands.txt", " ".join(command.split()))

    def commands(self) -> list[str]:
        """The commands that started and resumed the run."""
        file = self.directory / "commands.txt"
        with reading(file, "bring it back from a copy"):
            return file.read_text(encoding="utf-8").splitlines()

    def refuse_other_images(self, splits: bytes) -> None:
        """Raise BadInput where the run has trained on other images, or on these divided otherwise."""
        file = self.directory / "splits.jsonl.gz"
        with reading(file, "bring it back from a copy, or delete it if the images are still the same"):
            recorded = gzip.decompress(file.read_bytes()) if file.exists() else splits
        if recorded != splits:
            raise BadInput(
                f"{self.directory} was trained on other images than its sources hold now, or they were divided otherwise: "
                "bring them back, or start a new run with another --out"
            )

    @_on_rank_0
    def record_images(
        self, splits: bytes, skipped: list[dict[str, str]], duplicates: list[dict[str, Any]] | None = None
    ) -> None:
        """Write which images are in which split, which could not be read, and which stand in two sources, if that was asked.

        Raises BadInput where the run has trained on other images: a resumed run must see the same ones.
        """
        self.refuse_other_images(splits)
        file = self.directory / "splits.jsonl.gz"
        if not file.exists():
            self.write_json("skipped.json", skipped)
            if duplicates is not None:
                self.write_json("duplicates.json", duplicates)
            write_atomically(file, gzip.compress(splits, mtime=0))

    @_on_rank_0
    def update_settings(self, plain: dict[str, Any]) -> None:
        """Record the settings that a resumed run may change."""
        write_atomically(self.directory / "settings.yaml", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
        self.record_origin(plain)

    # --- metrics -----------------------------------------------------------------------------------------------------

    @_on_rank_0
    def log(self, line: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl, which is the record."""
        append_line(self.directory / "metrics.jsonl", json.dumps(line))
        if self._mirror is not None:
            self._mirror.line(line)

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl that are whole."""
        file = self.directory / "metrics.jsonl"
        with reading(file, "delete the lines that are damaged"):
            lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
            return [json.loads(line) for line in lines]

    @_on_rank_0
    def cut_metrics(self, step: int) -> None:
        """Drop the lines after `step`, and a last line that a kill left incomplete."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        write_atomically(self.directory / "metrics.jsonl", "".join(kept))

    def start_mirror(self, plain: dict[str, Any]) -> None:
        """Mirror the record to Weights & Biases, where the settings say so. Raises BadInput where W&B does not start."""
        if plain["wandb"] == "disabled" or own_rank() != 0:
            return
        self._mirror = Mirror(self.directory, plain)
        if not self._mirror.resumed:  # what was logged before there was a mirror
            for line in self.metrics():
                self._mirror.line(line)

    def mirror_results(self, summary: dict[str, Any]) -> None:
        """Mirror the summary and the pictures of a finished run, where there is a mirror."""
        if self._mirror is not None:
            self._mirror.results(summary)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    @_on_rank_0
    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write `checkpoint/step-<step>` as a new directory renamed into place; keep the last two."""
        folder = self.directory / "checkpoint"
        place = folder / f"step-{step:08d}"
        folder.mkdir(exist_ok=True)
        if not place.exists():
            temporary = folder / f".step-{step:08d}"
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                temporary.mkdir()
                write_tensors(temporary, {"players": tensors})
                write_atomically(temporary / "state.json", json.dumps({"step": step, **state}))
                sync_directory(temporary)
                temporary.rename(place)
            except OSError:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            sync_directory(folder)
        for old in self._checkpoints()[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(old)

    def last_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and the state of the last whole checkpoint, or None before the first."""
        from safetensors.torch import load_file

        place, state = self.last_checkpoint_path(), self._last_state()
        if place is None or state is None:
            return None
        with reading(place, self._without(place)):
            return load_file(place / "players.safetensors"), state

    def rival_mse(self) -> float | None:
        """The mean squared change that a rival has been held to, or None before the first checkpoint and for a lens."""
        return (self._last_state() or {}).get("target_mse")

    def _last_state(self) -> dict[str, Any] | None:
        place = self.last_checkpoint_path()
        if place is None:
            return None
        with reading(place, self._without(place)):
            return dict(json.loads((place / "state.json").read_text()))

    def _without(self, place: Path) -> str:
        earlier = self._checkpoints()[:-1]
        return f"delete {place} to continue {f'from {earlier[-1].name}' if earlier else 'from the start'}"

    def last_checkpoint_path(self) -> Path | None:
        """Where the last whole checkpoint lies, or None before the first."""
        return self._checkpoints()[-1] if self._checkpoints() else None

    def _checkpoints(self) -> list[Path]:
        return sorted((self.directory / "checkpoint").glob("step-*"))

    # --- results -----------------------------------------------------------------------------------------------------

    @_on_rank_0
    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, whole or not at all; NaN is refused."""
        write_atomically(self.directory / name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    @_on_rank_0
    def write_files(self, contents: dict[str, str | bytes]) -> None:
        """Write several files, by their names in the directory, all of them or none."""
        write_together({self.directory / name: content for name, content in contents.items()})

    def summary(self) -> dict[str, Any] | None:
        """The summary of a finished run, or None."""
        file = self.directory / "summary.json"
        with reading(file, f"delete it, then measure again with --resume {self.directory}"):
            return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    @_on_rank_0
    def forget_summary(self) -> None:
        """Remove the figures of a run that trains on: they would be those of other weights."""
        for pattern in ("summary*.json", "removal.json", "figures/removal.*"):
            for file in self.directory.glob(pattern):
                file.unlink()

    def folder(self, name: str) -> Path:
        """A subfolder, made if it is not there."""
        self.refuse_moved()
        (self.directory / name).mkdir(exist_ok=True)
        return self.directory / name


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory that is no run (a grid's) against other processes, as a run is held. Raises BadInput likewise."""
    holder = Run(directory)
    holder.hold(directory)
    try:
        yield
    finally:
        holder.release()


def holder(directory: Path) -> str | None:
    """Who holds a run's directory, or None where nobody does or there is none."""
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


def _hash(key: str) -> str:
    return hashlib.sha256(Path(key).read_bytes()).hexdigest()
