"""The checks that need a GPU, each in a process and a time of its own, twelve minutes in all; one table last.

    benchmarks/gpu.sh                        # every part, on a GPU
    benchmarks/gpu.sh gradients resume       # some of them; the others' figures in the JSON file stay
    # in calls of ten minutes: gradients resume step graph compile, then arrow cast
    benchmarks/gpu.sh --dry                  # all of it at tiny sizes on a CPU
    python -m benchmarks.gpu --table A.json B.json    # nothing but the table, of several calls

Parts: gradients (the step on CUDA against the slow reference), resume (bit for bit), step (`benchmarks.step`: memory, rates,
what bounds them), graph and compile (the step as a CUDA graph, and compiled), arrow (three arms on CIFAR-10), cast
(dataset classification with a planted cast). A part that fails or overruns is told, the others go on, and the exit code is
1. What a part has found stands in OUT/gpu.json as soon as it is found, so that a run that is cut leaves what it had.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks import gpu_pack, gpu_table
from lens.base import files
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.terminal import print_lines, say

PARTS: dict[str, tuple[str, float]] = {
    "gradients": ("benchmarks.gpu_gradients:check", 60),
    "resume": ("benchmarks.gpu_resume:check", 75),
    "step": ("benchmarks.gpu_step:modes", 70),
    "graph": ("benchmarks.gpu_step:graphs", 35),
    "compile": ("benchmarks.gpu_step:compiled", 100),
    "arrow": ("benchmarks.gpu_training:arrow", 240),
    "cast": ("benchmarks.gpu_training:cast", 120),
}
"""Of each part: the function that does it, and the seconds that it may take. With what comes before them they stay within twelve minutes."""
NAME = "gpu.json"
IMPORTED = (
    "lens.proving.proof",
    "lens.figures.run",
    "matplotlib.pyplot",
    "sklearn.linear_model",
    "sklearn.neighbors",
    "kornia",
    "timm",
)
"""What parts import when they need it: of a trial's processes, which are forked, each finds it there."""
LINES = 12
"""Lines of its output that are shown of a part that failed."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a part is told: its seconds, where its images lie (class folders), and a folder of its own for what it writes."""

    dry: bool
    seconds: float
    images: Path
    work: Path

    @property
    def device(self) -> str:
        """The device of the checks."""
        return "cpu" if self.dry else "cuda"

    @property
    def start_method(self) -> str:
        """How a process is begun: afresh, as CUDA wants it; a trial forks, which saves seconds of imports."""
        return "fork" if self.dry else "spawn"


# --- the record ------------------------------------------------------------------------------------------------------


def read(file: Path) -> dict[str, Any]:
    """The parts of a JSON file of ours, none where there is no file. Raises BadInput where it is something else."""
    if not file.exists():
        return {"parts": {}}
    with files.reading(file, "delete it, or give another --out"):
        found = json.loads(files.read_text(file, 64 * files.MEBIBYTE))
        if not isinstance(found.get("parts"), dict):
            raise ValueError("it holds no parts")
        return dict(found)


def record(file: Path, name: str, **entry: Any) -> None:
    """Put what is known of a part over what was known before."""
    content = read(file)
    content["parts"][name] = content["parts"].get(name, {}) | entry
    files.write_atomically(file, files.json_text(content))


# --- one part --------------------------------------------------------------------------------------------------------


def run_part(name: str, asked: Asked, file: Path, log: Path, where: dict[str, Any]) -> bool:
    """Do a part in a process of its own, and end that when its time is up; whether it succeeded. `where` is the machine."""
    files.write_atomically(
        file, files.json_text({"parts": {k: v for k, v in read(file)["parts"].items() if k != name}})
    )
    record(file, name, state="running", dry=asked.dry, limit=asked.seconds, machine=where)
    context: Any = multiprocessing.get_context(asked.start_method)
    process = context.Process(target=_work, args=(name, asked, file, log))
    start = time.monotonic()
    before = log.stat().st_size if log.exists() else 0
    process.start()
    try:
        process.join(asked.seconds)
        cut = process.is_alive()
    finally:
        if process.is_alive():
            _kill(process.pid)
            process.join()
    seconds = time.monotonic() - start
    entry = read(file)["parts"][name]
    failed = entry.get("result", {}).get("failed", [])
    state = "cut" if cut else "failed" if process.exitcode or failed else "done"
    if state == "failed" and "error" not in entry:
        entry["error"] = "; ".join(failed) or f"its process ended with {process.exitcode}"
    record(file, name, **entry | {"state": state, "seconds": seconds})
    say(f"{name}: {state} after {seconds:.0f} of {asked.seconds:.0f} s")
    if process.exitcode and not cut:
        with log.open(encoding="utf-8", errors="replace") as stream:
            stream.seek(before)
            for line in stream.read().splitlines()[-LINES:]:
                say(f"    {line}")
    return state == "done"


def _kill(process: int) -> None:
    """End a part's process and all that it has started, which are one group."""
    for kill in (os.killpg, os.kill):  # the group is not there yet where the process has only begun
        try:
            kill(process, signal.SIGKILL)
            return
        except ProcessLookupError:
            continue


def _work(name: str, asked: Asked, file: Path, log: Path) -> None:
    """In the part's process: everything that is printed goes into the log, everything that is found into the record."""
    os.setpgid(0, 0)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    # Whatever stood there in the process that this one was forked from.
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    print(f"--- {name}", flush=True)
    try:
        module, _, function = PARTS[name][0].partition(":")
        check = getattr(importlib.import_module(module), function)
        result = check(asked, lambda found: record(file, name, result=found))
        record(file, name, result=result)
    except BaseException as error:
        traceback.print_exc()
        told = str(error).strip().splitlines() or [""]
        record(file, name, error=f"{type(error).__name__}: {told[0]}"[:500])
        raise SystemExit(1) from error


def machine(device: str) -> dict[str, Any]:
    """What a figure depends on: the card, the versions, the commit."""
    import torch

    from lens.base.versions import git_commit, versions

    card = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {"device": card, "cores": os.cpu_count(), "versions": versions(), "git_commit": git_commit()}


# --- the whole -------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Run the parts, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--dry", action="store_true", help="tiny sizes on a CPU, images of our own making")
    parser.add_argument(
        "--pack", type=Path, default=Path("benchmarks/pack"), help="what benchmarks/gpu_pack.sh has filled"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of gpu.json, gpu.md and gpu.log")
    parser.add_argument(
        "--table", type=Path, nargs="+", metavar="FILE", help="print the table of such files, do nothing else"
    )
    arguments = parser.parse_args(argv)
    return guard(lambda: table(arguments.table) if arguments.table else run(arguments))


def table(sources: list[Path]) -> int:
    """Print the table of several files; of a part that stands in several, the last counts."""
    for file in sources:
        if not file.is_file():
            raise BadInput(f"{file} is no file: give a gpu.json that benchmarks/gpu.sh has written")
    print_lines(gpu_table.table({name: part for file in sources for name, part in read(file)["parts"].items()}))
    return 0


def run(arguments: argparse.Namespace) -> int:
    """The parts one after the other, each recorded when it has ended; 1 where one failed."""
    for name in arguments.parts:
        if name not in PARTS:
            raise BadInput(f"there is no part {name!r}: give some of {', '.join(PARTS)}, or none for all")
    chosen = [name for name in PARTS if name in arguments.parts or not arguments.parts]
    if arguments.dry:
        for module in (*(PARTS[name][0].partition(":")[0] for name in chosen), *IMPORTED):
            importlib.import_module(module)
    else:
        import torch

        if not torch.cuda.is_available():
            raise BadInput(
                "torch sees no CUDA device: this is for a GPU; --dry tries everything at tiny sizes on a CPU"
            )
    packed = arguments.pack / gpu_pack.NAME
    if not packed.exists() and not arguments.dry:
        raise BadInput(f"{packed} is missing: fill the folder with benchmarks/gpu_pack.sh DATA, or try --dry")
    arguments.out.mkdir(parents=True, exist_ok=True)
    file, log = arguments.out / NAME, arguments.out / "gpu.log"
    content = read(file)
    kept = {name: part for name, part in content["parts"].items() if part.get("dry") == arguments.dry}
    files.write_atomically(file, files.json_text({"parts": kept}))
    with tempfile.TemporaryDirectory(prefix="lens-gpu-", ignore_cleanup_errors=True) as folder:
        os.environ["LENS_CACHE"] = f"{folder}/cache"
        images = Path(folder, "images")
        gpu_pack.synthetic(images) if arguments.dry else gpu_pack.unpack(packed, images)
        where, done = machine("cpu" if arguments.dry else "cuda"), []
        for name in chosen:
            work = Path(folder, name)
            work.mkdir()
            done.append(run_part(name, Asked(arguments.dry, PARTS[name][1], images, work), file, log, where))
            shown = gpu_table.table(read(file)["parts"])
            files.write_atomically(arguments.out / "gpu.md", shown + "\n")
    print_lines(shown)
    say(f"figures: {file}")
    return 0 if all(done) else 1


if __name__ == "__main__":
    from benchmarks import gpu  # by its own name, under which a part's process finds it

    raise SystemExit(gpu.main())
