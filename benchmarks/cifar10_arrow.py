"""The arrow on CIFAR-10: what the cue costs, and what a lens wins back at several PSNRs.

    python -m benchmarks.cifar10_arrow --data ../data/cifar10 --runs runs/arrow --out results

Runs every arm of `configs/cifar10_arrow.yaml` for every seed (finished runs are kept, unfinished ones resumed), then
writes the table (`cifar10_arrow.md`, `.json`), the curve and the pictures. With `--table` it only reads what is there.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

CONFIG = "configs/cifar10_arrow.yaml"
ARMS: dict[str, list[str]] = {
    "clean, no lens": ["--adversary", "none", "--shortcut", "none"],
    "arrow, no lens": ["--adversary", "none"],
    "random key, no lens": ["--adversary", "none", "--shortcut_key", "random"],
    "arrow, lens at 20 dB": ["--target_psnr", "20.25"],
    "arrow, lens at 25 dB": ["--target_psnr", "25.25"],
    "arrow, lens at 15 dB": ["--target_psnr", "15.25"],
}


def folder(runs: Path, arm: str, seed: int) -> Path:
    """Where an arm's run of one seed lies."""
    return runs / f"{arm.replace(', ', '-').replace(' ', '_')}-{seed}"


def train(config: str, data: str, runs: Path, seeds: list[int], jobs: int, more: list[str]) -> None:
    """Run what is not finished, seed by seed, `jobs` runs at a time; each writes its log beside its directory."""
    runs.mkdir(parents=True, exist_ok=True)

    def one(job: tuple[int, str]) -> None:
        seed, arm = job
        out = folder(runs, arm, seed)
        if (out / "summary.json").exists():
            return
        argv = ["--resume", str(out)]
        if not out.exists():
            argv = ["--config", config, "--data", data, "--seed", str(seed), "--out", str(out), *ARMS[arm], *more]
        print(f"{arm}, seed {seed}", flush=True)
        with open(out.with_suffix(".log"), "a") as log:
            subprocess.run([sys.executable, "-m", "lens.train", *argv], check=True, stdout=log, stderr=log)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        # The arms that everything is compared with first, the rest of the curve last.
        ordered = [(seed, arm) for seed in seeds for arm in list(ARMS)[:4]]
        list(pool.map(one, ordered + [(seed, arm) for seed in seeds for arm in list(ARMS)[4:]]))


def recovered(values: dict[str, np.ndarray[Any, Any]], error: float, arm: str) -> tuple[float, list[float]]:
    """Share of the lost accuracy that an arm wins back, (lens − arrow) / (clean − arrow), with a 95 % interval.

    Bootstrap over seeds, paired across arms; on top of it each arm's test-sampling error is drawn independently,
    which is conservative, because all arms share their test images.
    """
    rng = np.random.default_rng(0)
    names = ("clean, no lens", "arrow, no lens", arm)
    count = min(len(values[name]) for name in names)  # an arm may have fewer seeds, always the first ones
    stack = np.stack([values[name][:count] for name in names])
    chosen = rng.integers(0, stack.shape[1], size=(10_000, stack.shape[1]))
    means = stack[:, chosen].mean(axis=2) + rng.normal(0, error, (3, 10_000))
    clean, arrow, lens = means
    low, high = np.quantile((lens - arrow) / (clean - arrow), [0.025, 0.975])
    clean, arrow, lens = stack.mean(axis=1)
    return float((lens - arrow) / (clean - arrow)), [float(low), float(high)]


def arrow_contrast(run: Path, images: int = 512) -> dict[str, list[float]]:
    """How dark the four arrow shapes stand out of their surroundings, in upright clean, planted and lensed images.

    For each of the four overlays (the planted one first): mean over its pixels minus mean over the ring around them,
    in levels of 8 bits, averaged over test images. An arrow that is there is strongly negative; a lens that adds
    arrows in other directions makes the others negative too.
    """
    import torch
    from torch.nn import functional

    from lens import experiment, measure, networks
    from lens.augment import centre
    from lens.run import Run
    from lens.settings import parse

    parsed = parse([], "lens.train", Run.open(run).settings())
    loaded = experiment.training_images(parsed.settings)
    players = experiment.build(parsed, loaded, experiment.make_fabric(parsed.settings))
    assert players.lens is not None
    networks.load_weights(players.lens, run / "lens.safetensors", "lens")
    players.lens.eval()
    shortcut = parsed.plugins["shortcut"]
    white = torch.ones(4, 3, parsed.settings.image_size, parsed.settings.image_size)
    drawn = 1 - shortcut.plant(white, torch.arange(4) / 4)[:, :1]
    inside = (drawn > 0.5).float()
    ring = functional.max_pool2d(drawn, 5, 1, 2).gt(0).float() * (drawn == 0)
    kernel = inside / inside.sum(dim=(2, 3), keepdim=True) - ring / ring.sum(dim=(2, 3), keepdim=True)
    clean = centre(loaded.fetch(loaded.indices("test")[:images]), parsed.settings.image_size)
    planted = shortcut.plant(clean, torch.zeros(len(clean)))
    with torch.no_grad():
        lensed = torch.cat(
            [measure.to_8_bits(players.lens(part.to(players.fabric.device))).cpu() for part in planted.split(128)]
        )
    return {
        name: (torch.einsum("bchw,khw->bk", pictures, kernel[:, 0]) / 3 * 255).mean(dim=0).tolist()
        for name, pictures in (("clean", clean), ("planted", planted), ("lensed", lensed))
    }


def standard_error(intervals: list[list[float]]) -> float:
    """The standard error behind 95 % intervals, mean over runs."""
    return float(np.mean([(high - low) / 2 / 1.96 for low, high in intervals]))


def collect(runs: Path, seeds: list[int]) -> dict[str, Any]:
    """Every figure of the table, from the runs' summaries."""
    result: dict[str, Any] = {"seeds": seeds, "arms": {}}
    for arm in ARMS:
        done = [seed for seed in seeds if (folder(runs, arm, seed) / "summary.json").exists()]
        if not done:
            continue
        summaries = [json.loads((folder(runs, arm, seed) / "summary.json").read_text()) for seed in done]
        downstream = [next(iter(s["downstream"].values())) for s in summaries]
        result["arms"][arm] = {
            "seeds": done,
            "downstream": [d["linear"] for d in downstream],
            "downstream_error": standard_error([d["linear_ci"] for d in downstream]),
            "rotation_clean_error": standard_error([s["pretext"]["clean_ci"] for s in summaries]),
            "untrained": [d["untrained"] for d in downstream],
            "rotation_clean": [s["pretext"]["clean"] for s in summaries],
            "rotation_raw": [s["pretext"]["raw"] for s in summaries],
            "rotation_lensed": [s["pretext"]["lensed"] for s in summaries],
            "psnr": [s["reconstruction"]["psnr"] for s in summaries],
            "seconds": [s["seconds"] for s in summaries],
            "commits": sorted({str(s["git_commit"]) for s in summaries}),
        }
    arms = result["arms"]
    for measure_name in ("downstream", "rotation_clean"):
        values = {arm: np.array(part[measure_name]) for arm, part in arms.items()}
        for arm in arms:
            if "lens at" in arm:
                arms[arm][f"{measure_name}_recovered"] = recovered(values, arms[arm][f"{measure_name}_error"], arm)
    for arm in arms:
        if "lens at" in arm:
            contrasts = [arrow_contrast(folder(runs, arm, seed)) for seed in arms[arm]["seeds"]]
            arms[arm]["contrast"] = {
                name: np.mean([c[name] for c in contrasts], axis=0).tolist() for name in contrasts[0]
            }
    return result


def mean_sem(values: list[float | None], scale: float = 100, digits: int = 1) -> str:
    """Mean ± standard error of the mean over seeds."""
    if any(value is None for value in values):
        return "–"
    array = np.array(values, dtype=float) * scale
    if len(array) == 1:
        return f"{array.mean():.{digits}f}"
    return f"{array.mean():.{digits}f} ± {array.std(ddof=1) / np.sqrt(len(array)):.{digits}f}"


def spread(values: list[float]) -> float:
    """Standard error of the mean over seeds, zero for a single one."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def table(result: dict[str, Any], command: str) -> str:
    """The table as Markdown."""
    lines = [
        "# The arrow on CIFAR-10",
        "",
        f"`{command}`, seeds {', '.join(map(str, result['seeds']))}; mean ± s.e.m. over seeds, in %; downstream is the linear",
        "accuracy of frozen features on clean CIFAR-10 test images, rotation accuracy is on clean test images. *Won back* is",
        "(lens − arrow) / (clean − arrow) with a 95 % bootstrap interval (seeds, and test sampling on top).",
        "",
        "| arm | seeds | downstream | won back | rotation, clean | won back | rotation, planted | PSNR, dB | training, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, part in result["arms"].items():

        def share(name: str, part: dict[str, Any] = part) -> str:
            if name not in part:
                return ""
            value, (low, high) = part[name]
            return f"{100 * value:.0f} % ({100 * low:.0f} – {100 * high:.0f})"

        lines.append(
            f"| {arm} | {len(part['seeds'])} | {mean_sem(part['downstream'])} | {share('downstream_recovered')} | "
            f"{mean_sem(part['rotation_clean'])} | {share('rotation_clean_recovered')} | {mean_sem(part['rotation_raw'])} | "
            f"{mean_sem(part['psnr'], 1, 2)} | {mean_sem(part['seconds'], 1, 0)} |"
        )
    untrained = [value for part in result["arms"].values() for value in part["untrained"]]
    commits = sorted({commit for part in result["arms"].values() for commit in part["commits"]})
    lines += [
        "",
        f"An untrained extractor's features give {100 * np.mean(untrained):.1f} % downstream. Commits of the runs: {', '.join(commits)}.",
        "",
        "## Is the arrow hidden, and are arrows added elsewhere?",
        "",
        "How much darker the four arrow shapes are than the ring around them, in levels of 8 bits, mean over upright test",
        "images and seeds; the planted arrow points up.",
        "",
        "| images | up (planted) | left | down | right |",
        "|---|---|---|---|---|",
    ]
    first = True
    for arm, part in result["arms"].items():
        for name, values in part.get("contrast", {}).items():
            if name != "lensed" and not first:
                continue
            label = f"{arm}: lensed" if name == "lensed" else name
            lines.append(f"| {label} | " + " | ".join(f"{-value:+.1f}" for value in values) + " |")
        first = first and "contrast" not in part
    return "\n".join(lines) + "\n"


def draw(result: dict[str, Any], file: Path) -> None:
    """Downstream and clean rotation accuracy against PSNR, with the arms that have no lens as lines."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for axis, name, title in zip(
        axes, ("downstream", "rotation_clean"), ("downstream linear, %", "rotation on clean images, %"), strict=True
    ):
        for (arm, part), colour in zip(result["arms"].items(), ("tab:green", "tab:red", "tab:grey"), strict=False):
            mean, sem = 100 * np.mean(part[name]), 100 * spread(part[name])
            axis.axhline(mean, color=colour, label=arm)
            axis.axhspan(mean - sem, mean + sem, color=colour, alpha=0.2, lw=0)
        lensed = sorted((part for arm, part in result["arms"].items() if "lens at" in arm), key=lambda p: p["psnr"])
        x = [np.mean(part["psnr"]) for part in lensed]
        y = [100 * np.mean(part[name]) for part in lensed]
        e = [100 * spread(part[name]) for part in lensed]
        axis.errorbar(x, y, e, marker="o", color="tab:blue", capsize=3, label="arrow, lens")
        axis.set_xlabel("PSNR of the lens, dB")
        axis.set_title(title, fontsize=10)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=130)
    plt.close(figure)


def main() -> None:
    """Run, then write the table, the curve and one picture of the arrow being hidden."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--data", default="./cifar10/", help="CIFAR-10 as parquet files train and test")
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar10_arrow"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; give each --threads 1 on a small machine")
    parser.add_argument("--table", action="store_true", help="train nothing, read finished runs")
    arguments, more = parser.parse_known_args()
    if not arguments.table:
        train(arguments.config, arguments.data, arguments.runs, arguments.seeds, arguments.jobs, more)
    result = collect(arguments.runs, arguments.seeds)
    name = Path(arguments.config).stem
    command = " ".join(
        ["python -m benchmarks.cifar10_arrow --config", arguments.config, f"--jobs {arguments.jobs}", *more]
    )
    arguments.out.mkdir(exist_ok=True)
    (arguments.out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (arguments.out / f"{name}.md").write_text(table(result, command))
    draw(result, arguments.out / f"{name}.png")
    for arm in ARMS:
        if arm in result["arms"] and "lens at" in arm:
            picture = folder(arguments.runs, arm, arguments.seeds[0]) / "figures" / "edits.png"
            shutil.copy(picture, arguments.out / f"{name}_edits_{arm.split()[-2]}dB.png")
    print(table(result, command))


if __name__ == "__main__":
    main()
