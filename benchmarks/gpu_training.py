"""Two trainings on a GPU for as many steps as their time gives: the arrow of CIFAR-10 in three arms, and a planted cast."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu import Asked
from benchmarks.step_ways import now
from lens import prove, train
from lens.base import files
from lens.grids import file as grid_file
from lens.grids.grid import Grid, GridRun
from lens.images import batching
from lens.images.training_set import training_images
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.settings import agreement, words
from lens.settings.parsing import parse
from lens.training.trainer import Trainer

ARROW = "configs/cifar10_arrow_resnet50.yaml"
ARMS: dict[str, dict[str, Any]] = {
    "clean": {"lens": "none", "shortcut": "none"},
    "arrow": {"lens": "none"},
    "arrow + lens": {},
}
PLANTED, CUE = Path("configs/removal/planted.yaml"), "colour cast"
FULL_SIZE = {"image_size": 224, "cache_image_size": 224, "val_images": 500, "test_images": 1000, "probe_images": 1000}
TINY = {
    "image_size": 16, "cache_image_size": 16, "batch_size": 4, "threads": 1, "precision": 32, "val_images": 8, "test_images": 8,
    "probe_images": 20, "probe_test_images": 20,
}  # fmt: skip
MEASURING = 20
"""Seconds that the measuring of an arm is thought to take."""
CALLS = 10
"""Steps by which a rate is measured, after half as many that are not counted."""


def arrow(asked: Asked, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Every arm of the arrow experiment for the same number of steps: downstream accuracy, rotation, PSNR."""
    start = time.monotonic()
    settings = {name: value for name, value in words.of_file(ARROW).items() if name != "epochs"}
    tiny = {"extractor": "all_conv", "extractor_stem": "default", "extractor_args": {"width": 4}, "num_workers": 0}
    tiny |= {"lens_encoder": "full", "lens_depth": 3}
    change = {"val_images": 500} if not asked.dry else TINY | tiny
    runs = runs_of(asked, Grid("arrow", settings, {"arm": ARMS}, [0], [({}, change)], [], {"arm": "clean"}, []))
    rates = {run.cell["arm"]: seconds_a_step(run.words, 2 if asked.dry else CALLS) for run in runs}
    left = 0.95 * asked.seconds - (time.monotonic() - start) - MEASURING * len(runs)
    steps = 2 if asked.dry else max(1, int(left / sum(rates.values())))
    result: dict[str, Any] = {"config": ARROW, "steps": steps, "seconds_a_step": rates, "arms": {}, "failed": []}
    result["images"] = {split: len([*(asked.images / split).rglob("*.png")]) for split in ("train", "test")}
    for run in runs:
        result["arms"][run.cell["arm"]] = trained(asked, run, steps)
        keep(result)
    return result


def cast(asked: Asked, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Dataset classification with the colour cast of the configuration, then fresh classifiers on what the lens left."""
    start = time.monotonic()
    planted = grid_file.read(PLANTED)
    judges = planted.axes["cue"][CUE]["judges"]
    change = FULL_SIZE if not asked.dry else FULL_SIZE | TINY
    planted.rules.append(({}, change))
    run = next(run for run in runs_of(asked, planted) if run.cell["cue"] == CUE and run.seed == 0)
    run = GridRun(
        run.cell, run.seed, [word for word in run.words if words.key_of(word) not in agreement.names({"proof"})]
    )
    rate = seconds_a_step(run.words, 3 if asked.dry else CALLS)
    left = 0.55 * asked.seconds - (time.monotonic() - start)
    most = next(int(word.partition("=")[2]) for word in run.words if words.key_of(word) == "steps")
    steps = 3 if asked.dry else max(1, min(most, int(left / rate)))
    run = GridRun(run.cell, run.seed, [word for word in run.words if words.key_of(word) != "steps"])
    result: dict[str, Any] = {"config": f"{PLANTED}, {CUE}", "steps": steps, "full_steps": most, "failed": []}
    result |= {"seconds_a_step": rate, "image_size": change["image_size"]}
    result["training"] = trained(asked, run, steps)
    keep(result)

    judged = ["--judge_seeds=1", f"--judge_steps={2 if asked.dry else 400}"]
    judged += [f"--judges={name}" for name in (judges[:1] if asked.dry else judges)]
    if asked.dry:
        judged.append("--judge_images=16")
    out = asked.work / run.slug
    prove.prove([str(out), *judged])
    removal = files_json(out / "removal.json")
    result["removal"] = {
        "steps": removal["recipe"]["steps"], "seeds": len(removal["recipe"]["seeds"]), "chance": removal["chance"],
        "raw": removal["raw"]["balanced_accuracy"], "raw_ci": removal["raw"]["ci"],
        "lensed": removal["lensed"]["balanced_accuracy"], "lensed_ci": removal["lensed"]["ci"],
        "trained_on": removal["lensed"]["trained_on"], "trained_on_ci": removal["lensed"]["trained_on_ci"],
        "psnr": removal["psnr"], "psnr_planted": removal["psnr_planted"], "verdict": removal["verdict"],
    }  # fmt: skip
    return result


def runs_of(asked: Asked, planned: Grid) -> list[GridRun]:
    """The runs of a grid on the images that are here."""
    planned.rules.append(({}, {"data": str(asked.images), "device": asked.device}))
    return planned.runs()


def seconds_a_step(told: list[str], calls: int) -> float:
    """How long a training step of such a run takes, its batch included."""
    parsed = parse(told, "lens.train")
    settings = parsed.settings
    fabric, images = make_fabric(settings.machine), training_images(settings)
    players = build(parsed, images, fabric)
    trainer = Trainer(players, 10**6)
    warm_up = max(1, calls // 2)
    start = 0.0
    batches = batching.training_batches(
        images,
        settings.optimisation.batch_size,
        settings.optimisation.seed,
        0,
        warm_up + calls,
        0,
        balanced=players.by_source,
    )
    for number, batch in enumerate(batches):
        if number == warm_up:
            start = now(fabric.device)
        trainer.train_step(batch.to(fabric.device))
    return (now(fabric.device) - start) / calls


def trained(asked: Asked, run: GridRun, steps: int) -> dict[str, Any]:
    """Train a run and measure it: what the table needs of its summary."""
    start = time.monotonic()
    out = asked.work / run.slug
    often = [f"--{name}={steps}" for name in ("steps", "val_every", "checkpoint_every")]
    told = [word for word in run.words if words.key_of(word) not in ("val_every", "checkpoint_every")]
    code = train.start([*told, *often, f"--seed={run.seed}", f"--out={out}"])
    if code:
        raise RuntimeError(f"{run.title}: the training ended with {code}")
    summary = files_json(out / "summary.json")
    downstream = next(iter(summary["downstream"].values()), {})
    return {
        "steps": summary["steps"], "images_seen": summary["images_seen"], "training_seconds": summary["seconds"],
        "seconds": time.monotonic() - start, "images_per_second": summary["images_per_second"],
        "training_images": downstream.get("n_train"),
        "downstream": {name: downstream.get(name) for name in ("linear", "linear_ci", "untrained", "pixels", "chance")},
        "pretext": {name: summary["pretext"].get(name) for name in ("clean", "raw", "lensed", "chance")},
        "psnr": summary["reconstruction"]["psnr"], "command": summary["command"],
    }  # fmt: skip


def files_json(file: Path) -> dict[str, Any]:
    """The content of a run's JSON file."""
    found: dict[str, Any] = json.loads(files.read_text(file, 16 * files.MEBIBYTE))
    return found
