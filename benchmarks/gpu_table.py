"""The figures of `benchmarks.gpu` as one short table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lens.base import intervals

Row = tuple[str, str, str, str]
"""The part, what was measured, the figure, what it stands beside."""

REPLICATION = {
    "clean": "68.3",
    "arrow": "53.2 / 51.1 (two rates)",
    "arrow + lens": "57.1 to 62.6 (100 to 670 epochs)",
}
"""Downstream accuracy in % of Ahmadian & Lindsten (ICASSP 2023): ResNet-50, CIFAR-10's 50,000 training images."""


def table(parts: dict[str, Any]) -> str:
    """The parts of one or several calls as Markdown, those that failed too."""
    parts = {name: parts[name] for name in ROWS if name in parts}
    lines = [_head(parts), "", "| part | what | figure | beside |", "|---|---|---|---|"]
    for name, part in parts.items():
        rows: list[Row] = []
        if result := part.get("result"):
            rows = ROWS[name](result)
        if part["state"] != "done":
            after = f" after {part['seconds']:.0f} of {part['limit']:.0f} s" if "seconds" in part else ""
            rows.append(
                (name, "the part as a whole", f"**{part['state']}**{after}", part.get("error", "what it had is above"))
            )
        lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    notes = [
        NOTES[name](part["result"], part.get("dry", False))
        for name, part in parts.items()
        if name in NOTES and part.get("result")
    ]
    return "\n".join([*lines, *(line for note in notes for line in ("", note))])


def _head(parts: dict[str, Any]) -> str:
    machines = [part["machine"] for part in parts.values() if "machine" in part]
    cards = ", ".join(sorted({m["device"] for m in machines})) or "no part has ended"
    torches = ", ".join(sorted({m["versions"]["torch"] for m in machines}))
    commits = ", ".join(sorted({str(m["git_commit"])[:7] for m in machines}))
    dry = (
        "A trial at tiny sizes on a CPU, whose figures say nothing. "
        if any(p.get("dry") for p in parts.values())
        else ""
    )
    seconds = sum(part.get("seconds", 0) for part in parts.values())
    return f"{dry}{cards}; torch {torches}; commit {commits}; {seconds:.0f} s in all."


# --- a part's rows ---------------------------------------------------------------------------------------------------


def _gradients(result: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for precision in dict.fromkeys(case["precision"] for case in result["cases"]):
        cases = [case for case in result["cases"] if case["precision"] == precision]
        worst = [max(case[f"{player}_error"] for case in cases) for player in ("extractor", "lens")]
        beside = f"limit {result['limit']:.0e}"
        if precision != 64:
            apart = cases[0]["on_cpu"]
            beside = f"the CPU so: {apart['extractor_error']:.1e}, {apart['lens_error']:.1e}"
        name = {64: "float64", 32: "float32 as torch has it", "bf16": "bf16 mixed"}[precision]
        what = f"relative error, {name}, worst of {len(cases)}; reference: float64, CPU"
        rows.append(("gradients", what, f"extractor {worst[0]:.1e}, lens {worst[1]:.1e}", beside))
    return rows


def _resume(result: dict[str, Any]) -> list[Row]:
    steps = result["steps"]
    rows: list[Row] = []
    for precision, part in result["precisions"].items():
        figure, beside = "same bits", "no deterministic algorithms asked for"
        if not part["same"]:
            figure = f"**{part['unlike']} of {part['tensors']} tensors differ**, by {part['largest']:.1e} at most"
            told = {
                "two whole runs": part.get("whole_runs"),
                "with deterministic algorithms": part.get("deterministic"),
            }
            words = {None: "not tried", True: "same bits", False: "other bits"}
            beside = "; ".join(f"{name}: {words[found and found['same']]}" for name, found in told.items())
        rows.append(("resume", f"{precision}, {steps} steps against {steps // 2} + {steps // 2}", figure, beside))
    return rows


def _step(result: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for mode, row in result["modes"].items():
        share = row["share_of_bf16_peak"]
        peak = "" if share is None else f", {share:.0%} of {row['flops_per_second'] / share / 1e12:.0f} TFLOP/s"
        figure = f"{row['images_per_second']:,.1f} images/s, × {row['ratio_to_floor']:.3f} of its floor{peak}"
        rows.append(("step", mode, figure, f"bound by {row['bound_by']}"))
    memory = "; ".join(f"{mode} {row['peak_memory'] / 1e9:.2f}" for mode, row in result["modes"].items())
    return [*rows, ("step", "peak memory, GB", memory, "")]


def _ways(part: str) -> Callable[[dict[str, Any]], list[Row]]:
    def rows(result: dict[str, Any]) -> list[Row]:
        found: list[Row] = []
        for mode, ways in result["ways"].items():
            row = ways[part]
            if "error" in row:
                found.append((part, mode, "**failed**", row["error"]))
                continue
            figure = f"{row['images_per_second']:,.1f} images/s, × {row['speed_up']:.3f}"
            beside = f"the step as it is, just before; first call {row['first']:.0f} s"
            if row["gradients_apart"] is not None:
                beside += f"; gradients apart by {row['gradients_apart']:.1e}"
            found.append((part, mode, figure, beside))
        if result["left_out"]:
            found.append((part, ", ".join(result["left_out"]), "–", "no time left"))
        return found

    return rows


def _arrow(result: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for arm, part in result["arms"].items():
        figure = f"downstream {_percent(part['downstream'], 'linear')}, untrained {100 * part['downstream']['untrained']:.1f} %"
        figure += f"; rotation, clean {100 * part['pretext']['clean']:.1f} %"
        figure += "" if part["psnr"] is None else f"; {part['psnr']:.1f} dB"
        rows.append(("arrow", f"{arm}, {part['steps']:,} steps", figure, f"replication: {REPLICATION[arm]} %"))
    return rows


def _cast(result: dict[str, Any]) -> list[Row]:
    training = result["training"]
    pretext = training["pretext"]
    what = f"{result['image_size']} px, {training['steps']:,} steps"
    figure = f"its own extractor: raw {100 * pretext['raw']:.1f} %, lensed {100 * pretext['lensed']:.1f} %; {training['psnr']:.1f} dB"
    rows: list[Row] = [("cast", what, figure, f"chance 50 %; {training['images_per_second']:,.0f} images/s")]
    if removal := result.get("removal"):
        told = [f"{name} {_percent(removal, name)}" for name in ("raw", "lensed", "trained_on")]
        what = f"fresh classifiers, {removal['steps']:,} steps, {removal['seeds']} seed"
        rows.append(("cast", what, ", ".join(told), f"verdict: {removal['verdict']}"))
    return rows


def _percent(values: dict[str, Any], name: str) -> str:
    """An accuracy in % with its 95 % interval, or that there are too few groups for one."""
    ends = intervals.words(values[f"{name}_ci"], lambda end: f"{100 * end:.1f}")
    return f"{100 * values[name]:.1f} % ({ends})"


def _arrow_note(result: dict[str, Any], dry: bool) -> str:
    trained = next((part["training_images"] for part in result["arms"].values()), None)
    what = "images of our own making" if dry else "a part of CIFAR-10"
    return (
        f"arrow: `{result['config']}` for {result['steps']:,} steps instead of 100 epochs, one seed, on {what}: "
        f"{result['images']['train']:,} training images, of which {trained:,} are trained on, and {result['images']['test']:,} "
        "test images. The replication (Ahmadian & Lindsten, ICASSP 2023) has all 50,000 and 100 epochs or more: its figures "
        "stand beside ours, not against them."
    )


def _cast_note(result: dict[str, Any], dry: bool) -> str:
    return (
        f"cast: `{result['config']}` at {result['image_size']} px for {result['steps']:,} of its {result['full_steps']:,} steps, "
        "seed 0, on the same images, enlarged where they are smaller."
    )


ROWS: dict[str, Callable[[dict[str, Any]], list[Row]]] = {
    "gradients": _gradients, "resume": _resume, "step": _step, "graph": _ways("graph"), "compile": _ways("compile"),
    "arrow": _arrow, "cast": _cast,
}  # fmt: skip
NOTES: dict[str, Callable[[dict[str, Any], bool], str]] = {"arrow": _arrow_note, "cast": _cast_note}
