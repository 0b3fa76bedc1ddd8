"""Damage runs, grids and files of settings at random, and see that every verb answers in one line and touches nothing else.

    python -m benchmarks.fuzz --rounds 500 --seed 0

A round copies a small finished run (or a grid, or writes a file of settings), damages it in one to three ways (bytes, types,
links, pipes, nesting, other people's classes), and calls a verb on it. Counted are exit codes, and what must be none: tracebacks,
calls that hang, files touched outside of the copy, commands run, several lines for one mistake. Each failure is shown with its
seed; `--only ROUND` repeats one. tests/benchmarks/test_fuzz.py plays some rounds of it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import yaml

SECONDS = 120
"""A call that takes longer hangs."""
TINY = [
    "--extractor", "test_resnet", "--lens", "full_res", "--lens.depth", "3", "--image_size", "16", "--cache_image_size", "16", "--batch_size", "4",
    "--steps", "2", "--log_every", "1", "--val_every", "2", "--checkpoint_every", "1", "--val_images", "4", "--test_images", "4",
    "--probe_images", "8", "--probe_test_images", "4", "--threads", "1", "--device", "cpu",
]  # fmt: skip
EVIL: dict[str, Any] = {"class_path": "subprocess.Popen", "init_args": {"args": "touch owned", "shell": True}}
VALUES: list[Any] = [
    ".py", "./evil.py=.py", None, True, -1, 0, 3, 1e308, float("nan"), float("inf"), 10**400, "", "x", "\x1b]0;owned\x07", "a\nb", "../../outside/file", "~", "1:30",
    [], [[]], {}, {"a": EVIL}, EVIL, ["x"] * 50, "x" * 3000, {"a": {"b": {"c": None}}}, "$x_1$", "[bold]",
]  # fmt: skip


@dataclasses.dataclass
class Outcome:
    """What came of a round: the exit code, and every fault that there must not be."""

    number: int
    did: list[str]
    argv: list[str]
    code: int | None
    faults: list[str]
    output: str


def prepare(place: Path, seed: int = 0) -> None:
    """Images, a finished run and a grid of two in `place`; nothing else may ever change there."""
    from lens import train

    rng = np.random.default_rng(seed)
    for label in range(2):
        (place / "photos" / f"class{label}").mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(place / "photos" / f"class{label}" / f"{i:02d}.png")
    (place / "evil.py=.py").write_text("open('owned', 'w').close()\n")
    (place / "outside").mkdir()
    for name in ("file", "state.json", "step-00000001"):
        (place / "outside" / name).write_text("precious")
    quiet = io.StringIO()
    with within(place), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        code = train.main(
            [*TINY, "--data", "./photos", "--shortcut", "arrow", "--cache_dir", "./cache", "--out", "run"]
        )
        assert code == 0
        settings = {word[2:]: yaml.safe_load(value) for word, value in zip(TINY[::2], TINY[1::2], strict=True)}
        settings |= {"data": "./photos", "cache_dir": "./cache"}
        grid = {
            "axes": {"shortcut": ["none", "arrow"]},
            "seeds": [0],
            "baseline": {"shortcut": "none"},
            "settings": settings,
        }
        Path("grid.yaml").write_text(yaml.safe_dump(grid))
        for name in ("none", "arrow"):
            shutil.copytree("run", f"grid/runs/{name}-seed0")
        Path("grid/failed.json").write_text("{}")
        shutil.copy("grid.yaml", "grid/grid.yaml")


@contextlib.contextmanager
def within(place: Path) -> Iterator[None]:
    """The working directory for a while."""
    before = os.getcwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)


# --- damage ----------------------------------------------------------------------------------------------------------


def bytes_changed(rng: random.Random, file: Path) -> str:
    """Cut, flip, insert or replace bytes."""
    data = bytearray(file.read_bytes())
    how = rng.choice(["cut", "flip", "garbage", "empty", "deep", "insert", "nul"])
    if how == "cut":
        data = data[: rng.randrange(len(data) + 1)]
    elif how == "flip":
        for _ in range(rng.randint(1, 20)):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "garbage":
        data = bytearray(rng.randbytes(rng.randrange(300)))
    elif how == "deep":
        data = bytearray(b"[" * 50_000)
    elif how == "insert":
        at = rng.randrange(len(data) + 1)
        data[at:at] = rng.randbytes(8)
    else:
        data = bytearray(b"\0" * rng.randrange(2)) if how == "nul" else bytearray()
    file.write_bytes(bytes(data))
    return how


def value_changed(rng: random.Random, file: Path) -> str:
    """Another value, or another key, somewhere in a JSON or YAML file, or in a line of one."""
    packed = file.suffix == ".gz"
    text = (gzip.decompress(file.read_bytes()) if packed else file.read_bytes()).decode("utf-8", "replace")
    lines = text.splitlines() if file.name.removesuffix(".gz").endswith(".jsonl") else [text]
    at = rng.randrange(len(lines)) if lines else 0
    try:
        content = yaml.safe_load(lines[at]) if file.suffix == ".yaml" else json.loads(lines[at])
    except (ValueError, IndexError, yaml.YAMLError, RecursionError):
        return bytes_changed(rng, file)  # it has been damaged before
    places: list[tuple[Any, Any]] = []
    left = [content]
    while left:
        one = left.pop()
        for key, inner in one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ():
            places.append((one, key))
            left.append(inner)
    value = rng.choice(VALUES)
    if not places:
        content, told = value, "all of it"
    else:
        owner, key = rng.choice(places)
        told = f"{key} = {str(value)[:40]!r}"
        if isinstance(owner, dict) and rng.random() < 0.2:
            owner[rng.choice(["class_path", "x", "", "\x1b[2J", str(key) + "_"])] = owner.pop(key)
        elif rng.random() < 0.15:
            del owner[key]
        else:
            owner[key] = value
    lines[at : at + 1] = [json.dumps(content)]
    data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    file.write_bytes(gzip.compress(data) if packed else data)
    return told


def replaced(rng: random.Random, file: Path, outside: Path) -> str:
    """A link, a pipe, a folder or nothing in the place of a file or a folder."""
    how = rng.choice(
        [
            "link to a file",
            "link to a folder",
            "link to itself",
            "broken link",
            "pipe",
            "folder",
            "file",
            "gone",
            "device",
        ]
    )
    shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()
    if how.startswith("link") or how == "broken link":
        targets = {"link to a file": outside / "file", "link to a folder": outside, "link to itself": Path(file.name)}
        file.symlink_to(targets.get(how, outside / "nothing"))
    elif how == "device":
        file.symlink_to("/dev/zero")
    elif how == "pipe":
        os.mkfifo(file)
    elif how == "folder":
        file.mkdir()
    elif how == "file":
        file.write_text("{}")
    return how


def damage(rng: random.Random, root: Path, outside: Path) -> str:
    """One damage to something in a directory; returns what."""
    every = sorted(place for place in root.rglob("*") if not place.is_symlink())
    small = [
        place for place in every if place.is_file() and place.suffix in (".json", ".yaml", ".jsonl", ".gz", ".txt")
    ]
    kind = rng.choice(["bytes", "value", "value", "replaced"])
    try:
        if kind == "replaced":
            file = rng.choice(every)
            return f"{file.relative_to(root)}: {replaced(rng, file, outside)}"
        file = rng.choice(small if kind == "value" else [place for place in every if place.is_file()])
        how = value_changed(rng, file) if kind == "value" and file.suffix != ".txt" else bytes_changed(rng, file)
        return f"{file.relative_to(root)}: {how}"
    except (IndexError, FileNotFoundError):
        return "nothing is left to damage"


def settings_file(rng: random.Random) -> str:
    """A file of settings, or of a grid, with values that some of them have."""
    from lens.protocols.lookup import names
    from lens.settings.run_settings import FIELDS

    known = list(FIELDS) + names("task") + names("shortcut")
    known += 5 * ["task=./evil.py", "config=./evil.py", "lr\n--task", "a b", "extractor_args.class_path"]
    chosen = {rng.choice(known): rng.choice(VALUES) for _ in range(rng.randint(1, 4))}
    if rng.random() < 0.3:
        chosen = {"settings": chosen, "axes": {rng.choice(known): [rng.choice(VALUES)]}, "seeds": [0], "baseline": {}}
        chosen["baseline"] = {next(iter(chosen["axes"])): "x"}
    return (
        yaml.safe_dump(chosen)
        if rng.random() < 0.8
        else "".join(rng.choice("[]{}:,&*!?-ab\n '\"|>%@#") for _ in range(80))
    )


# --- a round ---------------------------------------------------------------------------------------------------------


def snapshot(place: Path, but: str) -> dict[str, tuple[int, int, bytes | str]]:
    """What lies below a folder, one subfolder and the caches aside: time and content of files, targets of links."""
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for folder, subfolders, files in os.walk(place):
        subfolders[:] = [name for name in subfolders if not (folder == str(place) and name in (but, "cache"))]
        for name in [*files, *subfolders]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            is_file = os.path.isfile(path) and not os.path.islink(path)
            content: bytes | str = Path(path).read_bytes() if is_file and status.st_size < 10_000 else ""
            found[path] = (status.st_mtime_ns if is_file else 0, status.st_size if is_file else 0, content)
    return found


def verbs(rng: random.Random, kind: str) -> tuple[str, list[str]]:
    """A verb, and its words, for a damaged copy of a kind."""
    if kind == "grid":
        return "ablate", ["copy/grid.yaml" if rng.random() < 0.3 else "grid.yaml", "--out", "copy", "--table"]
    if kind == "settings":
        return rng.choice(
            [
                ("train", ["--config", "copy/file.yaml", "--data", "./nothing"]),
                ("ablate", ["copy/file.yaml", "--table"]),
            ]
        )
    return rng.choice([
        ("probe", ["copy"]), ("train", ["--resume", "copy"]), ("train", ["--resume", "copy", "--steps", "3"]),
        ("probe", ["copy", "run", "--maps", "--out", "copy/compared"]), ("probe", ["run", "--fuse", "copy", "--fuse_control", "grid/runs/none-seed0"]),
    ])  # fmt: skip


def play(place: Path, seed: int, number: int) -> Outcome:
    """One round in a prepared place."""
    rng = random.Random(f"{seed}/{number}")
    kind = rng.choices(["run", "grid", "settings"], [6, 2, 2])[0]
    copy = place / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    did = []
    if kind == "settings":
        copy.mkdir()
        text = settings_file(rng)
        (copy / "file.yaml").write_text(text)
        did.append(text[:200])
    else:
        shutil.copytree(place / kind, copy)
        did += [damage(rng, copy, place / "outside") for _ in range(rng.randint(1, 3))]
    verb, argv = verbs(rng, kind)
    before = snapshot(place, "copy")
    code, output, faults = called(place, verb, argv)
    after = snapshot(place, "copy")
    allowed = {
        str(place / run / "lock") for run in ("run", "grid/runs/none-seed0")
    }  # which are held while they are read
    if argv[0] == "run":
        allowed.add(str(place / "run" / "summary.json"))
    touched = [
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path) and path not in allowed
    ]
    faults += [f"touched {path}" for path in sorted(touched)]
    if any((folder / "owned").exists() for folder in (place, copy)):
        faults.append("a command was run")
    if "\x1b]0;owned" in output:
        faults.append("control characters reached the terminal")
    errors = [line for line in output.splitlines() if line.startswith("lens: error:")]
    if code == 2 and len(errors) != 1:
        faults.append(f"{len(errors)} lines for one mistake")
    if code not in (0, 2):
        faults.append(f"exit code {code}")
    return Outcome(number, did, [verb, *argv], code, faults, output)


def called(place: Path, verb: str, argv: list[str]) -> tuple[int | None, str, list[str]]:
    """A verb's exit code, what it printed, and its faults: an exception, or that it hangs."""
    import importlib

    def late(number: int, frame: object) -> None:
        raise TimeoutError

    main: Callable[[list[str]], int] = importlib.import_module(f"lens.{verb}").main
    output, faults, code = io.StringIO(), [], None
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with within(place), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = main(argv)
    except TimeoutError:
        faults.append("it hangs")
    except (SystemExit, Exception):
        faults.append("traceback: " + traceback.format_exc())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, output.getvalue(), faults


def main(argv: list[str] | None = None) -> int:
    """Play the rounds, print a table of what came of them; 1 where one has a fault."""
    from rich.console import Console
    from rich.table import Table

    from lens.base.bar import Bar

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="play this round alone, and show what it printed")
    asked = parser.parse_args(argv)
    counts: Counter[tuple[str, str]] = Counter()
    bad = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        prepare(place)
        numbers = [asked.only] if asked.only is not None else range(asked.rounds)
        with Bar("rounds", len(numbers), "rounds") as bar:
            for done, number in enumerate(numbers, start=1):
                found = play(place, asked.seed, number)
                counts[found.argv[0], "fault" if found.faults else f"exit {found.code}"] += 1
                if found.faults:
                    bad.append(found)
                if asked.only is not None:
                    print(found.did, found.argv, found.output, sep="\n")
                bar.advance(done, f"{len(bad)} with faults")
    table = Table(title=f"{sum(counts.values())} rounds, seed {asked.seed}")
    for heading in ("verb", "exit 0", "exit 2", "fault"):
        table.add_column(heading, justify="right" if heading != "verb" else "left")
    for verb in sorted({verb for verb, _ in counts}):
        table.add_row(verb, *(str(counts[verb, what]) for what in ("exit 0", "exit 2", "fault")))
    Console().print(table)
    for one in bad:
        print(f"round {one.number}: {one.argv}, {one.did}", *one.faults, sep="\n  ", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
