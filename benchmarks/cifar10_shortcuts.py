"""A planted cue on CIFAR-10: what it costs rotation, and what a lens (or a rival of it) wins back.

    python -m benchmarks.cifar10_shortcuts --shortcut arrow --data ../data/cifar10 --runs runs/cifar10 --out results

Runs every arm of `configs/cifar10_arrow.yaml` (those without a lens: `cifar10_arrow_no_lens.yaml`) with that shortcut for every seed (finished runs are kept, unfinished ones
resumed), then writes the table (`cifar10_<shortcut>.md`, `.json`), the curve and the pictures. `--arms` chooses some by
their words, `--table` only reads what is there. Arms that have no run here keep the figures of an earlier `.json`.
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
NO_LENS = "configs/cifar10_arrow_no_lens.yaml"
CLEAN, CUE, CONTROL = "clean, no lens", "cue, no lens", "cue with a random key, no lens"
ARMS: dict[str, list[str]] = {
    CLEAN: ["--adversary", "none", "--shortcut", "none"],
    CUE: ["--adversary", "none"],
    CONTROL: ["--adversary", "none", "--shortcut_key", "random"],
    "lens at 25 dB": ["--target_psnr", "25.25"],
    "lens at 20 dB": ["--target_psnr", "20.25"],
    "lens at 15 dB": ["--target_psnr", "15.25"],
    "FGSM, matched to 25 dB": ["--adversary", "fgsm", "--match_mse"],
    "random augmentation, matched to 25 dB": ["--adversary", "random", "--match_mse"],
}
MATCHED = "lens at 25 dB"


def folder(runs: Path, shortcut: str, arm: str, seed: int) -> Path:
    """Where an arm's run of one seed lies; the clean one serves every shortcut."""
    name = arm.replace(", ", "-").replace(" ", "_")
    return runs / (f"{name}-{seed}" if arm == CLEAN else f"{shortcut}-{name}-{seed}")


def train(asked: argparse.Namespace, more: list[str]) -> None:
    """Run what is not finished, seed by seed, `jobs` runs at a time; each writes its log beside its directory."""
    asked.runs.mkdir(parents=True, exist_ok=True)

    def one(job: tuple[int, str]) -> None:
        seed, arm = job
        out = folder(asked.runs, asked.shortcut, arm, seed)
        if (out / "summary.json").exists():
            return
        argv = ["--resume", str(out)]
        if not out.exists():
            config = asked.no_lens_config if "--adversary" in ARMS[arm] else asked.config
            argv = ["--config", config, "--data", asked.data, "--seed", str(seed), "--out", str(out)]
            argv += ["--shortcut", asked.shortcut, *ARMS[arm]]
            if argv[-1] == "--match_mse":
                argv.append(matched(asked, seed))
            argv += more
        print(f"{asked.shortcut}: {arm}, seed {seed}", flush=True)
        with open(out.with_suffix(".log"), "a") as log:
            subprocess.run([sys.executable, "-m", "lens.train", *argv], check=True, stdout=log, stderr=log)

    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        jobs = [(seed, arm) for seed in asked.seeds for arm in chosen(asked.arms)]
        list(pool.map(one, [job for job in jobs if "matched" not in job[1]]))
        list(pool.map(one, [job for job in jobs if "matched" in job[1]]))  # to runs that are finished by now


def matched(asked: argparse.Namespace, seed: int) -> str:
    """The lens run of this seed that a rival is matched to; where it is no longer there, its error in the table."""
    run = folder(asked.runs, asked.shortcut, MATCHED, seed)
    if run.exists():
        return str(run)
    table = asked.out / f"cifar10_{asked.shortcut}.json"
    part = json.loads(table.read_text())["arms"].get(MATCHED, {}) if table.exists() else {}
    if seed not in part.get("seeds", []):
        raise SystemExit(f"there is no {MATCHED!r} of seed {seed} to match, neither {run} nor in {table}: run it first")
    return str(10 ** (-part["psnr"][part["seeds"].index(seed)] / 10))


def chosen(words: list[str] | None) -> list[str]:
    """The arms whose names hold one of the words; all of them without any."""
    return [arm for arm in ARMS if not words or any(word in arm for word in words)]


def recovered(values: dict[str, dict[int, float]], error: float, arm: str) -> tuple[float, list[float]]:
    """Share of the lost accuracy that an arm wins back, (arm − cue) / (clean − cue), with a 95 % interval.

    Bootstrap over seeds, paired across arms; on top of it each arm's test-sampling error is drawn independently,
    which is conservative, because all arms share their test images.
    """
    rng = np.random.default_rng(0)
    names = (CLEAN, CUE, arm)
    common = [seed for seed in values[arm] if all(seed in values[name] for name in names)]
    stack = np.array([[values[name][seed] for seed in common] for name in names])
    chosen = rng.integers(0, stack.shape[1], size=(10_000, stack.shape[1]))
    means = stack[:, chosen].mean(axis=2) + rng.normal(0, error, (3, 10_000))
    clean, cue, other = means
    low, high = np.quantile((other - cue) / (clean - cue), [0.025, 0.975])
    clean, cue, other = stack.mean(axis=1)
    return float((other - cue) / (clean - cue)), [float(low), float(high)]


def cue_left(run: Path, images: int = 512) -> dict[str, list[float]]:
    """How much of the cue is in lensed images, and of the same cue in the three other directions.

    For each direction k, with d_k = planted_k − clean: ⟨lensed − clean, d_k⟩ / ⟨d_k, d_k⟩, summed over upright test
    images that carry the cue in direction 0. 1 is as planted, 0 is none, below 0 is the opposite. Beside it the same of the
    planted images: cues in different directions need not be independent of each other.
    """
    import torch

    from lens.base.draws import EVALUATION
    from lens.images import data
    from lens.images.augment import centre
    from lens.operations import quality
    from lens.players import experiment, networks
    from lens.record.run import Run
    from lens.settings.parsing import parse

    parsed = parse([], "lens.train", Run.open(run).settings())
    loaded = experiment.training_images(parsed.settings)
    players = experiment.build(parsed, loaded, experiment.make_fabric(parsed.settings))
    assert players.lens is not None
    networks.load_weights(players.lens, run / "lens.safetensors", "lens")
    players.lens.eval()
    batch = data.gather(loaded, loaded.indices("test")[:images], EVALUATION)
    clean, draws = centre(batch.images, parsed.settings.image_size), batch.draws(parsed.settings.seed)
    planted = [parsed.plugins["shortcut"].plant(clean, torch.full((len(clean),), k / 4), draws) for k in range(4)]
    with torch.no_grad():
        lensed = torch.cat(
            [quality.to_8_bits(players.lens(part.to(players.fabric.device))).cpu() for part in planted[0].split(128)]
        )
    return {
        name: [float(((shown - clean) * (p - clean)).sum() / (p - clean).square().sum()) for p in planted]
        for name, shown in (("planted", planted[0]), ("lensed", lensed))
    }


def standard_error(intervals: list[list[float]]) -> float:
    """The standard error behind 95 % intervals, mean over runs."""
    return float(np.mean([(high - low) / 2 / 1.96 for low, high in intervals]))


def collect(asked: argparse.Namespace) -> dict[str, Any]:
    """Every figure of the table, from the runs' summaries, over those of an earlier table."""
    from lens.record import schemas

    earlier = asked.out / f"cifar10_{asked.shortcut}.json"
    arms: dict[str, Any] = json.loads(earlier.read_text())["arms"] if earlier.exists() else {}
    for arm in ARMS:
        place = {seed: folder(asked.runs, asked.shortcut, arm, seed) for seed in asked.seeds}
        done = [seed for seed in asked.seeds if (place[seed] / "summary.json").exists()]
        if not done:
            continue
        summaries = [schemas.summary((place[seed] / "summary.json").read_bytes()) for seed in done]
        downstream = [next(iter(s["downstream"].values())) for s in summaries]
        arms[arm] = {
            "seeds": done,
            "downstream": [d["linear"] for d in downstream],
            "downstream_error": standard_error([d["linear_ci"] for d in downstream]),
            "rotation_clean_error": standard_error([s["pretext"]["clean_ci"] for s in summaries]),
            "untrained": [d["untrained"] for d in downstream],
            "rotation_clean": [s["pretext"]["clean"] for s in summaries],
            "rotation_raw": [s["pretext"]["raw"] for s in summaries],
            "rotation_lensed": [s["pretext"]["lensed"] for s in summaries],
            "psnr": [s["reconstruction"]["psnr"] for s in summaries],
            "match": [s["match"]["ratio"] for s in summaries if s.get("match")],
            "seconds": [s["seconds"] for s in summaries],
            "commits": sorted({str(s["git_commit"]) for s in summaries}),
        }
        if arm.startswith("lens"):
            left = [cue_left(place[seed]) for seed in done]
            arms[arm]["cue_left"] = {name: np.mean([x[name] for x in left], axis=0).tolist() for name in left[0]}
    for measure_name in ("downstream", "rotation_clean"):
        values = {arm: dict(zip(part["seeds"], part[measure_name], strict=True)) for arm, part in arms.items()}
        for arm in arms:
            if arm not in (CLEAN, CUE, CONTROL):
                arms[arm][f"{measure_name}_recovered"] = recovered(values, arms[arm][f"{measure_name}_error"], arm)
    return {"shortcut": asked.shortcut, "arms": {arm: arms[arm] for arm in ARMS if arm in arms}}


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
    shortcut = result["shortcut"]
    lines = [
        f"# The shortcut `{shortcut}` on CIFAR-10",
        "",
        f"`{command}`; mean ± s.e.m. over seeds, in %; downstream is the linear accuracy of frozen features on clean",
        "CIFAR-10 test images, rotation accuracy is on clean test images. *Won back* is (arm − cue) / (clean − cue) with a 95 %",
        "bootstrap interval (seeds, and test sampling on top). Other work ran beside these runs, so the seconds are bounds.",
        "",
        "| arm | seeds | downstream | won back | rotation, clean | won back | rotation, planted | PSNR, dB | training, s | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, part in result["arms"].items():

        def share(name: str, part: dict[str, Any] = part) -> str:
            if name not in part:
                return ""
            value, (low, high) = part[name]
            return f"{100 * value:.0f} % ({100 * low:.0f} – {100 * high:.0f})"

        lines.append(
            f"| {arm} | {', '.join(map(str, part['seeds']))} | {mean_sem(part['downstream'])} | {share('downstream_recovered')} | "
            f"{mean_sem(part['rotation_clean'])} | {share('rotation_clean_recovered')} | {mean_sem(part['rotation_raw'])} | "
            f"{mean_sem(part['psnr'], 1, 2)} | {mean_sem(part['seconds'], 1, 0)} | "
            f"{', '.join(commit[:7] for commit in part['commits'])} |"
        )
    for arm, part in result["arms"].items():
        if part.get("match"):
            ratios = ", ".join(f"{ratio:.3f}" for ratio in part["match"])
            lines += [
                "",
                f"{arm}: mean squared change on validation images over its target, that of the lens of the same seed: {ratios}.",
            ]
    untrained = [value for part in result["arms"].values() for value in part["untrained"]]
    lines += ["", f"An untrained extractor's features give {100 * np.mean(untrained):.1f} % downstream."]
    left = {arm: part["cue_left"] for arm, part in result["arms"].items() if "cue_left" in part}
    if left:
        lines += [
            "",
            "## Is the cue hidden, and is it added elsewhere?",
            "",
            "⟨lensed − clean, d⟩ / ⟨d, d⟩ with d = planted − clean, on upright test images, mean over seeds: 1 is as planted, 0 is",
            "none, below 0 is the opposite. The cue is planted upwards; the other columns ask for the same cue elsewhere.",
            "",
            "| images | up (planted) | left | down | right |",
            "|---|---|---|---|---|",
        ]
        rows = {"planted": next(iter(left.values()))["planted"]} | {arm: part["lensed"] for arm, part in left.items()}
        lines += [
            f"| {name} | " + " | ".join(f"{value:+.2f}" for value in values) + " |" for name, values in rows.items()
        ]
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
        arms = result["arms"]
        for arm, colour in ((CLEAN, "tab:green"), (CUE, "tab:red"), (CONTROL, "tab:grey")):
            if arm in arms:
                mean, sem = 100 * np.mean(arms[arm][name]), 100 * spread(arms[arm][name])
                axis.axhline(mean, color=colour, label=arm)
                axis.axhspan(mean - sem, mean + sem, color=colour, alpha=0.2, lw=0)
        for start, label, colour in (
            ("lens", "lens", "tab:blue"),
            ("FGSM", "FGSM", "tab:orange"),
            ("random", "random augmentation", "tab:purple"),
        ):
            shown = sorted((part for arm, part in arms.items() if arm.startswith(start)), key=lambda p: p["psnr"])
            if shown:
                x = [np.mean(part["psnr"]) for part in shown]
                y = [100 * np.mean(part[name]) for part in shown]
                e = [100 * spread(part[name]) for part in shown]
                axis.errorbar(x, y, e, marker="o", color=colour, capsize=3, label=label)
        axis.set_xlabel("PSNR of the change, dB")
        axis.set_title(title, fontsize=10)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=130)
    plt.close(figure)


def main() -> None:
    """Run, then write the table, the curve and one picture of the cue being hidden."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shortcut", default="arrow", help="arrow, chromatic or light_gradient")
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--no_lens_config", default=NO_LENS)
    parser.add_argument("--data", default="./cifar10/", help="CIFAR-10 as parquet files train and test")
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar10_shortcuts"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", help="words of the arms to run; default all")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; give each --threads 1 on a small machine")
    parser.add_argument("--table", action="store_true", help="train nothing, read finished runs")
    asked, more = parser.parse_known_args()
    if not asked.table:
        train(asked, more)
    result = collect(asked)
    name = f"cifar10_{asked.shortcut}"
    command = " ".join(
        ["python -m benchmarks.cifar10_shortcuts --shortcut", asked.shortcut, f"--jobs {asked.jobs}", *more]
    )
    asked.out.mkdir(exist_ok=True)
    (asked.out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (asked.out / f"{name}.md").write_text(table(result, command))
    draw(result, asked.out / f"{name}.png")
    for arm in result["arms"]:
        picture = folder(asked.runs, asked.shortcut, arm, asked.seeds[0]) / "figures" / "edits.png"
        if picture.exists():
            short = arm.split(" at ")[1].replace(" ", "") if " at " in arm else arm.split()[0].strip(",").lower()
            shutil.copy(picture, asked.out / f"{name}_edits_{short}.png")
    print(table(result, command))


if __name__ == "__main__":
    main()
