"""A run's directory: settings, metrics, checkpoints and summary; whatever is written is whole or absent."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec

from lens.base import yaml_text
from lens.base.disk_errors import moved, refusal
from lens.base.errors import BadInput
from lens.base.files import (
    MEBIBYTE,
    append_line,
    is_own_folder,
    is_temporary,
    json_text,
    own_folder,
    read_bytes,
    read_text,
    reading,
    remove,
    sweep,
    system_fault,
    write_atomically,
    write_together,
)  # fmt: skip
from lens.base.ranks import own_rank
from lens.record import image_record, origin
from lens.record.checkpoints import WEIGHTS, Checkpoints
from lens.record.lock import Lock
from lens.record.mirror import Mirror
from lens.results.summary import Summary
from lens.settings import old_names

if TYPE_CHECKING:
    from torch import Tensor

P = ParamSpec("P")
RECORD = 256 * MEBIBYTE
"""Bytes, at most, of a record or a summary."""
SUBFOLDERS = ("checkpoint", "best", "figures")
BEGUN = {"lock", origin.NAME, "commands.txt"}
"""What a directory holds before its settings.yaml makes it a run."""


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

    `settings.yaml` makes it one: what was begun and killed before that is begun again. Then come `metrics.jsonl`,
    `checkpoint/` (the last two, each renamed into place), the players' weights and `summary.json`. It may come from a
    stranger: what is read is checked (`schemas`), and nothing is written through a link. `with run:` holds the directory
    against other processes and gives a full disk its one line.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = Lock(directory)
        self._checkpoints = Checkpoints(directory)
        self._mirror: Mirror | None = None

    def __enter__(self) -> Run:
        if self.exists() and own_rank() == 0:
            self.hold()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        finished = (self.directory / "summary.json").exists() and error is None
        if self._mirror is not None:
            self._mirror.finish(finished)
            self._mirror = None
        gone = self._lock.is_moved()
        self.release()
        if gone and isinstance(error, (OSError, BadInput)):
            raise moved(self.directory) from error
        saved = self.last_checkpoint_path()
        kept = f"the last whole checkpoint, {saved.name}, is kept" if saved else "there was no checkpoint yet"
        if told := refusal(error, self.directory, f"continue with --resume {self.directory}", kept):
            raise told from error

    def hold(self) -> None:
        """Lock the directory until the run is left or this process dies, however it dies; remove what a killed one left.

        Raises BadInput, naming the owner, where another process holds it.
        """
        self._lock.acquire()
        try:
            for name in SUBFOLDERS:
                if os.path.lexists(self.directory / name):
                    own_folder(self.directory / name)  # refused now, and not after hours of training
                sweep(self.directory / name)
            sweep(self.directory)
        except BadInput:
            self.release()
            raise

    def refuse_moved(self) -> None:
        """Raise BadInput where the directory that is held is no longer at its place: another may be there by now."""
        if self._lock.is_moved():
            raise moved(self.directory)

    def release(self) -> None:
        """Let go of the lock, where it is held."""
        self._lock.release()

    @classmethod
    def plan(cls, directory: Path) -> Run:
        """A run directory that is yet to be made. Raises BadInput where a run, or anything else, is there already."""
        if (directory / "settings.yaml").exists():
            state = "a finished" if (directory / "summary.json").exists() else "an unfinished"
            raise BadInput(
                f"{directory} holds {state} run: continue it with --resume {directory}, or choose another --out"
            )
        if directory.exists() and not _is_free(directory):
            raise BadInput(f"{directory} exists and is no empty directory: choose another --out")
        return cls(directory)

    def exists(self) -> bool:
        """Whether the directory has been made."""
        return (self.directory / "settings.yaml").is_file()

    @_on_rank_0
    def create(self, plain: dict[str, Any], command: str) -> None:
        """Make a planned directory. Raises BadInput where another is there by now, or where nothing can be written."""
        directory = self.plan(self.directory).directory
        made = not directory.exists()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            try:
                self.hold()
            except BadInput:
                if made:
                    with suppress(OSError):  # another process may have begun in it
                        directory.rmdir()
                raise
            try:
                self.plan(directory)  # another process may have been quicker
                (directory / "commands.txt").unlink(missing_ok=True)
                self.record_origin(plain)
                self.record_command(command)
                write_atomically(directory / "settings.yaml", yaml_text.dump(plain))
            except (OSError, BadInput):
                if not self.exists():
                    for name in BEGUN:
                        (directory / name).unlink(missing_ok=True)
                    self.release()
                    if made:
                        directory.rmdir()
                raise
        except OSError as error:
            raise system_fault(error, directory) or BadInput(
                f"cannot write the run directory {directory} ({error.strerror}): choose another --out"
            ) from error

    @classmethod
    def open(cls, directory: Path) -> Run:
        """An existing run directory. Raises BadInput where it is none."""
        run = cls(directory)
        if not run.exists():
            what = "does not exist"
            if directory.exists():
                what = "has no settings.yaml" if directory.is_dir() else "is a file"
            raise BadInput(f"{directory} is no run directory: it {what}")
        return run

    def settings(self) -> dict[str, Any]:
        """The resolved settings, as plain values. Raises BadInput where they cannot be read."""
        file = self.directory / "settings.yaml"
        with reading(file, "bring it back from a copy, or start a new run with another --out"):
            plain = yaml_text.read(file)
        if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
            raise BadInput(f"{self.directory}/settings.yaml holds no settings")
        if "data" not in plain:
            raise BadInput(
                f"{self.directory}/settings.yaml is damaged: it lacks the setting 'data'; bring it back from a copy, or start a "
                "new run with another --out"
            )
        for name in ("data", "probe"):
            value = plain.get(name, [])
            if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(x, str) for x in value)):
                raise BadInput(
                    f"{self.directory}/settings.yaml: {name} is {value!r}: it must be a name or a list of them"
                )
        return old_names.in_settings(plain)

    @_on_rank_0
    def record_origin(self, plain: dict[str, Any]) -> None:
        """Write which version of lens wrote the settings, and a hash of each plug-in file that they name."""
        self.write_json(origin.NAME, origin.now(plain))

    def origin(self) -> dict[str, Any]:
        """What `record_origin` wrote."""
        return origin.read(self.directory)

    def refuse_changed_plugins(self, plain: dict[str, Any]) -> None:
        """Raise BadInput where a plug-in file that the settings name is another than the run has trained with."""
        origin.refuse_changed_plugins(self.directory, plain)

    @_on_rank_0
    def record_command(self, command: str) -> None:
        """Append a command to commands.txt: the first started the run, later ones resumed it."""
        append_line(self.directory / "commands.txt", " ".join(command.split()))

    def commands(self) -> list[str]:
        """The commands that started and resumed the run."""
        file = self.directory / "commands.txt"
        with reading(file, "bring it back from a copy"):
            return read_text(file, RECORD).splitlines()

    def refuse_other_images(self, splits: bytes) -> None:
        """Raise BadInput where the run has trained on other images, or on these divided otherwise."""
        image_record.refuse_others(self.directory, splits)

    @_on_rank_0
    def record_images(
        self, splits: bytes, skipped: list[dict[str, str]], duplicates: list[dict[str, Any]] | None = None
    ) -> None:
        """Write which images are in which split, which could not be read, and which stand in two sources, if that was asked.

        Raises BadInput where the run has trained on other images: a resumed run must see the same ones.
        """
        recorded = (self.directory / image_record.NAME).exists()
        if recorded or self.last_checkpoint_path():
            self.refuse_other_images(splits)
        if not recorded:
            self.write_json("skipped.json", skipped)
            if duplicates is not None:
                self.write_json("duplicates.json", duplicates)
            image_record.write(self.directory, splits)

    @_on_rank_0
    def update_settings(self, plain: dict[str, Any]) -> None:
        """Record the settings that a resumed run may change."""
        write_atomically(self.directory / "settings.yaml", yaml_text.dump(plain))
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
        from lens.record import schemas  # its library takes a tenth of a second: not before --help

        file = self.directory / "metrics.jsonl"
        with reading(file, "delete the lines that are damaged"):
            lines = read_text(file, RECORD).split("\n")[:-1] if file.exists() else []
        found = []
        for number, line in enumerate(lines, start=1):
            with reading(file, f"delete line {number}, and others that are damaged"):
                found.append(schemas.metrics_line(line))
        return found

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

    def mirror_results(self, summary: Summary) -> None:
        """Mirror the summary and the pictures of a finished run, where there is a mirror."""
        if self._mirror is not None:
            self._mirror.results(summary)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    @_on_rank_0
    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write `checkpoint/step-<step>` as a new directory renamed into place; keep the last two."""
        self._checkpoints.save(self.folder("checkpoint"), step, tensors, state)

    def last_checkpoint(
        self, limit: int, fits: Callable[[dict[str, Tensor], dict[str, Any]], None]
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors, of at most `limit` bytes, and the state of the last whole checkpoint, or None before the first.

        Raises BadInput, with what to delete, where it is damaged or `fits` raises ValueError: it is another network's.
        """
        return self._checkpoints.last(limit, fits)

    def rival_mse(self) -> float | None:
        """The mean squared change that a rival has been held to, or None before the first checkpoint and for a lens."""
        return (self._checkpoints.last_state() or {}).get("target_mse")

    def last_checkpoint_path(self) -> Path | None:
        """Where the last whole checkpoint lies, or None before the first."""
        return self._checkpoints.last_place()

    def refuse_lost_checkpoint(self) -> None:
        """Raise BadInput where a trained run has lost its checkpoint: it would begin anew, over its own weights."""
        trained = any((self.directory / name).exists() for name in ("summary.json", WEIGHTS))
        if trained and self.last_checkpoint_path() is None:
            raise BadInput(
                f"{self.directory} has been trained, and its checkpoint/ holds none: resumed, it would train from the start and "
                "replace its weights; bring the checkpoint back from a copy, or start a new run with another --out"
            )

    # --- results -----------------------------------------------------------------------------------------------------

    @_on_rank_0
    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, whole or not at all; NaN is refused."""
        write_atomically(self.directory / name, json_text(content))

    @_on_rank_0
    def write_files(self, contents: dict[str, str | bytes]) -> None:
        """Write several files, by their names in the directory, all of them or none."""
        write_together({self.directory / name: content for name, content in contents.items()})

    def aside(self, name: str, content: str) -> dict[str, str | bytes]:
        """What `content` would replace in file `name`, under the first free name beside it: to be written with it.

        `removal.json` becomes `removal_1.json`. Empty where no file of ours stands there, or the same one.
        """
        file = self.directory / name
        try:
            old = read_bytes(file, RECORD) if not file.is_symlink() else b""
        except OSError:  # none, a folder, or larger than any of ours
            old = b""
        if old in (b"", content.encode()):
            return {}
        free = (f"{file.stem}_{number}{file.suffix}" for number in itertools.count(1))
        return {next(one for one in free if not os.path.lexists(self.directory / one)): old}

    @_on_rank_0
    def write_summary(self, summary: Summary, name: str = "summary.json") -> None:
        """Write what is known of a finished run."""
        self.write_json(name, summary.to_json())

    def summary(self) -> Summary | None:
        """The summary of a finished run, whatever version wrote it, or None."""
        from lens.record import schemas  # its library takes a tenth of a second: not before --help

        file = self.directory / "summary.json"
        with reading(file, f"delete it, then measure again with --resume {self.directory}"):
            if not file.exists():
                return None
            return schemas.summary(read_bytes(file, RECORD))

    @_on_rank_0
    def forget_summary(self) -> None:
        """Remove the figures of a run that trains on: they would be those of other weights."""
        for folder, pattern in ((".", r"summary.*\.json|removal(_\d+)?\.json"), ("figures", r"removal\..*")):
            if is_own_folder(self.directory / folder):
                for file in (self.directory / folder).iterdir():
                    if re.fullmatch(pattern, file.name):
                        remove(file)

    def folder(self, name: str) -> Path:
        """A subfolder, made if it is not there. Raises BadInput where a link or a file stands in its place."""
        self.refuse_moved()
        return own_folder(self.directory / name)


def _is_free(directory: Path) -> bool:
    """Whether a directory is empty, or holds just what a start leaves that was killed in its first moment."""
    if not directory.is_dir():
        return False
    left = {entry.name for entry in directory.iterdir() if not is_temporary(entry.name)}
    return left <= BEGUN


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory that is no run (a grid's) against other processes, as a run is held. Raises BadInput likewise."""
    holder = Run(directory)
    holder.hold()
    try:
        yield
    finally:
        holder.release()
