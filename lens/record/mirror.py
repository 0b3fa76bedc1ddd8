"""The mirror of a run's record in Weights & Biases; the record itself is on disk."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lens.base.characters import printable
from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE, own_folder, read_bytes, read_text, reading, write_atomically
from lens.base.terminal import say
from lens.results.summary import Summary

PICTURES = ("edits", "edit_map", "curves", "removal")
"""What a run draws into its figures/."""
PNG = b"\x89PNG\r\n\x1a\n"
LONGEST_NAME = 128
"""Characters of a run's name in W&B, at most."""
LARGEST_PICTURE = 64 * MEBIBYTE


class Mirror:
    """One W&B run for one run directory, the same again when that is resumed: its id is kept in wandb.json."""

    def __init__(self, directory: Path, plain: dict[str, Any]) -> None:
        """Start W&B as the settings `plain` say. Raises BadInput where it does not start."""
        import wandb

        self.directory = directory
        # W&B would write through a link, and into the system's folder for temporary files where it cannot write here.
        own_folder(directory / "wandb")
        file = directory / "wandb.json"
        self.resumed = os.path.lexists(file)
        identity = stored_id(file) if self.resumed else uuid.uuid4().hex[:8]
        try:
            self.run: Any = wandb.init(
                mode=plain["wandb"], project=plain["wandb_project"], group=plain["wandb_group"],
                tags=plain["wandb_tags"], name=printable(self.directory.resolve().name)[:LONGEST_NAME], id=identity, resume="allow",
                dir=str(self.directory), config=plain, allow_val_change=True, reinit="create_new",
                settings=wandb.Settings(
                    silent=True, console="off", save_code=False, disable_git=True, init_timeout=60, finish_timeout=120,
                    finish_timeout_raises=True,
                ),
            )  # fmt: skip
        except (wandb.Error, OSError, ValueError) as error:  # its settings raise pydantic's ValueError
            other = "offline" if plain["wandb"] == "online" else "disabled"
            raise BadInput(
                f"--wandb {plain['wandb']} does not start ({' '.join(str(error).split())}): continue with --resume "
                f"{self.directory} --wandb {other}"
            ) from error
        if not self.resumed:
            write_atomically(file, json.dumps({"id": identity}) + "\n")

    @staticmethod
    def check(mode: str) -> None:
        """Raise BadInput where `--wandb online` has no login or no network; never prompts."""
        if mode != "online":
            return
        import wandb

        advice = "or try --wandb offline, which needs neither and can be uploaded later with wandb sync"
        try:
            session = wandb.setup(wandb.Settings(silent=True, mode="online"))
            logged_in = wandb.login(prompt=False, verify=False)
            if logged_in:
                # First by ourselves: W&B goes on trying for minutes, also after it has given up and the process wants to end.
                _reach(session.settings.base_url)
                wandb.login(prompt=False, verify=True)
        except (wandb.Error, OSError, ValueError) as error:
            raise BadInput(
                f"--wandb online: {' '.join(str(error).split())}; check the login and the network, {advice}"
            ) from error
        if not logged_in:
            raise BadInput(f"--wandb online: there is no login; run wandb login or set WANDB_API_KEY, {advice}")

    def results(self, summary: Summary) -> None:
        """Mirror the summary and the pictures of a finished run."""
        import wandb

        pictures = {}
        for name in PICTURES:
            file = self.directory / "figures" / f"{name}.png"
            # A stranger's may lead anywhere, and be of a format that runs something.
            if file.is_file() and not file.is_symlink() and read_bytes(file, LARGEST_PICTURE).startswith(PNG):
                pictures[f"figures/{name}"] = wandb.Image(str(file))
        self._act(
            lambda mirror: mirror.log(
                pictures,
                step=max(summary.trained.steps, mirror.step),  # a run that is measured again is past its last step
            )
        )
        self._act(lambda mirror: mirror.summary.update(summary.to_json()))

    def line(self, line: dict[str, Any]) -> None:
        """Mirror a line of metrics.jsonl."""
        named = {f"{line['kind']}/{name}": value for name, value in line.items() if name not in ("kind", "step")}
        # W&B ignores a step that it has had: what a resumed run repeats is the same to the bit.
        self._act(lambda mirror: mirror.log(named, step=line["step"]))

    def finish(self, finished: bool) -> None:
        """Close W&B's run, as a failed one where the run did not finish."""
        self._act(lambda mirror: mirror.finish(exit_code=0 if finished else 1))

    def _act(self, act: Callable[[Any], object]) -> None:
        """Act on W&B's run; where it fails, say so once and go on: the record is on disk."""
        if self.run is None:
            return
        try:
            act(self.run)
        except Exception as error:
            self.run = None
            said = " ".join(str(error).split())
            say(
                f"Weights & Biases failed ({type(error).__name__}: {said}); the run goes on without it, its record is "
                f"{self.directory / 'metrics.jsonl'}"
            )


def stored_id(file: Path) -> str:
    """The id of the W&B run that a run is mirrored to. Raises BadInput where the file holds none."""
    advice = "delete it to log to a new W&B run"
    with reading(file, advice):
        found = json.loads(read_text(file, MEBIBYTE))["id"]
    # It becomes a part of a folder's name.
    if not isinstance(found, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found):
        raise BadInput(f"{file} holds no id of a W&B run: {advice}")
    return found


def _reach(address: str, seconds: float = 20) -> None:
    """Raise OSError where no server answers at an address; whatever it answers will do."""
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(address, timeout=seconds).close()
    except urllib.error.HTTPError:
        return
    except urllib.error.URLError as error:
        raise OSError(f"nobody answers at {address} ({error.reason})") from error


def group_rows(project: str, group: str) -> list[dict[str, Any]]:
    """A row for each mirrored run of a group (its name, state and pretext figures); none without a login or a network."""
    import wandb

    try:
        Mirror.check("online")
        runs = list(wandb.Api().runs(project, filters={"group": group}))
    except (BadInput, ValueError, wandb.Error) as error:
        say(f"nothing is read from Weights & Biases: {' '.join(str(error).split())}")
        return []
    return [{"run": run.name, "state": run.state, **run.summary.get("pretext", {})} for run in runs]
