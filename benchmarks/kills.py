"""Does anything that is killed at a random moment end as if it had not been?

    taskset -c 1 python -m benchmarks.kills --runs 40 --seed 0 --threads 1 [--minutes 5] [--out results/kills.md]

Each is a fork of this process, which pays for the imports once; the runs of a grid are processes as always. Starts a tiny training, and now and then a tiny grid, sends SIGKILL, SIGTERM, SIGHUP or SIGINT at a random moment of it (or
two signals, one soon after the other), goes on as its user would, and compares the weights bit for bit with those of one
that was left alone. A grid's runs must be gone, or go, before the next call finishes the grid. The table counts, for each
signal: started, cut short (the others had finished by then), the same in the end, temporary files or processes left
behind, tracebacks. Exit code 1 unless all of them are the same and nothing is left.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import yaml

from lens import ablate, train
from lens.base.bar import Bar

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
TINY = {
    "extractor": "test_resnet", "lens.depth": 3, "image_size": 32, "cache_image_size": 36, "batch_size": 4, "steps": 12,
    "log_every": 2, "val_every": 3, "checkpoint_every": 2, "val_images": 8, "test_images": 8, "probe_images": 20,
    "device": "cpu", "shortcut": "arrow", "target_psnr": 20,
}  # fmt: skip
AXES = {"lr": [0.01, 0.02]}
EVERY = 5
"""One round of signals in so many is of grids."""
IMPORTED = (
    "lens.players.experiment", "lens.measuring.evaluate", "lens.figures.run", "lens.training.trainer", "lens.grids.summary", "lens.figures.grid", "timm",
    "segmentation_models_pytorch", "sklearn.linear_model", "sklearn.neighbors", "kornia.metrics", "matplotlib.pyplot",
)  # fmt: skip
"""What a training imports: here once for all of them."""
SECONDS_TO_END = 20.0
"""What a run may take to end whose grid was killed."""
COLUMNS = ("signal", "what", "started", "cut short", "same in the end", "left behind", "tracebacks")


def write_images(root: Path, count: int = 30) -> Path:
    """Two classes of noisy pictures, brighter at the top."""
    import numpy as np
    import PIL.Image

    generator = np.random.default_rng(0)
    for label in range(2):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(count):
            pixels = np.linspace(220, 30, 40)[:, None, None] + generator.normal(0, 15, (40, 48, 3))
            pixels[..., 2 * label] += 40
            PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"class{label}" / f"{number:03d}.png")
    return root


class Process:
    """A fork that does what `python -m lens.train` or `lens.ablate` does, in a session of its own."""

    def __init__(self, verb: Callable[[list[str]], int], argv: list[str], log: Path) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.number = os.fork()
        if self.number == 0:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), 1)
            os.dup2(1, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = 1
            try:
                code = verb(argv)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def send(self, number: int) -> bool:
        """Send a signal; whether it still ran."""
        if os.waitid(os.P_PID, self.number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
        os.kill(self.number, number)
        return True

    def wait(self) -> int:
        """Its exit code, negative where a signal killed it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])


class Bench:
    """The folder of a benchmark, and how what is killed in it is started."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder = folder
        self.settings = TINY | {"data": str(write_images(folder / "images")), "threads": threads}
        os.environ |= {"LENS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": str(threads)}
        plain = {
            "settings": self.settings,
            "axes": AXES,
            "baseline": {"lr": "0.01"},
            "seeds": [0],
            "measures": ["clean"],
        }
        (folder / "grid.yaml").write_text(yaml.safe_dump(plain))

    def start(self, kind: str, out: Path, log: Path) -> Process:
        """Start a training or a grid, or go on with it; what it says is appended to the log."""
        if kind == "grid":
            return Process(ablate.main, [str(self.folder / "grid.yaml"), "--out", str(out)], log)
        if (out / "settings.yaml").exists():
            return Process(train.main, ["--resume", str(out)], log)
        return Process(
            train.main, [*(f"--{name}={value}" for name, value in self.settings.items()), f"--out={out}"], log
        )

    def weights(self, kind: str, out: Path) -> dict[str, bytes]:
        """The bytes of all final weights, by their place in a run or a grid."""
        places = sorted((out / "runs").iterdir()) if kind == "grid" else [out]
        return {
            f"{place.name if kind == 'grid' else ''}/{name}": (place / f"{name}.safetensors").read_bytes()
            for place in places
            for name in ("extractor", "head", "lens")
        }


def left_behind(out: Path) -> list[str]:
    """Temporary files and folders in a directory or beside it, and processes that still work on it."""
    files = [str(file) for file in out.rglob(".*")] + [str(file) for file in out.parent.glob(f".{out.name}*")]
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(out).encode() in (entry / "cmdline").read_bytes():
                processes.append(f"process {entry.name}")
    return files + processes


def one(
    bench: Bench, kind: str, number: int, seconds: float, generator: random.Random, whole: dict[str, bytes]
) -> dict[str, int]:
    """Start, send one signal or two, go on, compare."""
    out, log = bench.folder / f"{kind}-{number}", bench.folder / f"{kind}-{number}.log"
    sent = SIGNALS[number % len(SIGNALS)]
    process = bench.start(kind, out, log)
    time.sleep(generator.random() * seconds)
    cut = process.send(sent)
    if generator.random() < 0.25:
        time.sleep(generator.random() * 0.5)
        process.send(generator.choice(SIGNALS))
    process.wait()
    code = bench.start(kind, out, log).wait()
    tracebacks = log.read_text(errors="replace").count("Traceback (most recent call last)")
    left = left_behind(out)
    end = time.monotonic() + SECONDS_TO_END
    while left and time.monotonic() < end:  # a run that had all but ended when its grid was killed ends by itself
        time.sleep(0.1)
        left = left_behind(out)
    same = code == 0 and bench.weights(kind, out) == whole
    if not same or left or tracebacks:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        print(f"{out.name}, {sent.name}: exit code {code}, left {left}\n{said}", file=sys.stderr)
    found = {"started": 1, "cut short": int(cut), "same in the end": int(same)}
    return found | {"left behind": len(left), "tracebacks": tracebacks}


def table(counts: dict[tuple[str, str], collections.Counter[str]]) -> str:
    """The counts in Markdown, their sums in the last row."""
    total = sum(counts.values(), collections.Counter[str]())
    rows = [*sorted(counts.items()), (("all", ""), total)]
    lines = [COLUMNS, ["---", "---", *["---:"] * (len(COLUMNS) - 2)]]
    lines += [[*key, *(str(count[name]) for name in COLUMNS[2:])] for key, count in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    """Kill, go on, compare, count; 1 where anything differs or is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no other after so long")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    asked = parser.parse_args()
    for module in IMPORTED:
        importlib.import_module(module)
    generator, begun = random.Random(asked.seed), time.monotonic()
    counts: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), asked.threads)
        wholes, seconds = {}, {}
        for kind in ("train", "grid"):
            # The first training fills the cache.
            for name in ("warm", "whole") if kind == "train" else ("whole",):
                start, out = time.monotonic(), bench.folder / f"{name}-{kind}"
                if bench.start(kind, out, bench.folder / "log").wait():
                    raise SystemExit((bench.folder / "log").read_text())
                seconds[kind] = time.monotonic() - start
            wholes[kind] = bench.weights(kind, out)
        with Bar("killed", asked.runs, "runs") as bar:
            for number in range(asked.runs):
                if time.monotonic() - begun > 60 * asked.minutes:
                    break
                kind = "grid" if number // len(SIGNALS) % EVERY == EVERY - 1 else "train"
                found = one(bench, kind, number, seconds[kind], generator, wholes[kind])
                counts[SIGNALS[number % len(SIGNALS)].name, kind].update(found)
                bar.advance(number + 1)
    print(table(counts))
    if asked.out:
        asked.out.write_text(
            f"# Killed at random moments\n\n`python -m benchmarks.kills --seed {asked.seed}`\n\n{table(counts)}\n"
        )
    total = sum(counts.values(), collections.Counter[str]())
    return int(total["same in the end"] < total["started"] or total["left behind"] + total["tracebacks"] > 0)


if __name__ == "__main__":
    sys.exit(main())
