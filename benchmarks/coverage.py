"""How often does a 95 % interval of an accuracy over groups of images hold the truth? Rules side by side, simulated.

    python -m benchmarks.coverage [--seed 1] [--runs 2000] [--resamples 999] [--out results/coverage.png]

A group's accuracy is drawn from a beta distribution of mean `accuracy` and intra-group correlation `icc`, the answers about
its images from a binomial one. Printed, in Markdown, for each set of sizes and accuracy: the lowest coverage over the
correlations, and the mean width over them, in points. The second table is that of the paired gap between two accuracies of
the same groups, the other one at 50 %; the third that of the balanced accuracy of two sources, each of as many groups, at
the same accuracy. The picture shows the lowest coverages of at least ten effective groups.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from lens.base.intervals import FEWEST, Interval, effective_groups, too_few
from lens.measuring import proportions, resampling

Array = np.ndarray[Any, Any]
Ends = tuple[Array, Array]
OURS = "lens"
IMAGES = 20
"""Images in a group, where all have the same number."""
SIZES = {
    **{f"{count} of {IMAGES}": [IMAGES] * count for count in (3, 5, 10, 20, 40, 80)},
    "1 of 200, 9 of 5": [200] + [5] * 9,
    "2 of 100, 20 of 5": [100] * 2 + [5] * 20,
    "30 of 1 to 30": list(range(1, 31)),
    "60 of 1 to 60": list(range(1, 61)),
    "20 of 1": [1] * 20,
    "200 of 1": [1] * 200,
}
ACCURACIES = (0.5, 0.7, 0.9, 0.95)
CORRELATIONS = (0.0, 0.1, 0.3, 0.6, 0.9)


@dataclasses.dataclass(frozen=True)
class Answers:
    """R simulated test splits: right answers (R, G) of groups of `sizes` (G,), and what the rules need of them, (R,) each."""

    correct: Array
    sizes: Array

    @property
    def p(self) -> Array:
        """The accuracy."""
        return np.asarray(self.correct.sum(axis=1) / self.sizes.sum())

    @property
    def variance(self) -> Array:
        """Its cluster-robust variance, with G / (G − 1) (Liang & Zeger 1986; Cameron, Gelbach & Miller 2008)."""
        apart = self.correct - self.p[:, None] * self.sizes
        groups = len(self.sizes)
        return np.asarray((apart**2).sum(axis=1) / self.sizes.sum() ** 2 * groups / (groups - 1))

    @property
    def kish(self) -> Array:
        """The number of independent answers that spread as much, at most all; G_eff where all groups agree."""
        p, variance = self.p, self.variance
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(variance > 0, np.minimum(p * (1 - p) / variance, self.sizes.sum()), self.effective)

    @property
    def effective(self) -> float:
        """G_eff = (Σn)² / Σn²."""
        return effective_groups(self.sizes)


# --- rules for an accuracy -------------------------------------------------------------------------------------------


def student(degrees: Any) -> Array:
    """The 97.5 % quantile of Student's t."""
    return np.asarray(special.stdtrit(np.maximum(degrees, 0.5), 0.975))


def wilson(p: Array, n: Array) -> Ends:
    """Wilson's score interval."""
    centre = (p + proportions.Z**2 / (2 * n)) / (1 + proportions.Z**2 / n)
    half = proportions.Z * np.sqrt(p * (1 - p) / n + proportions.Z**2 / (4 * n**2)) / (1 + proportions.Z**2 / n)
    return centre - half, centre + half


def clopper(p: Array, n: Array) -> Ends:
    """Clopper and Pearson's exact interval, of any real n."""
    x = p * n
    with np.errstate(invalid="ignore"):
        low = np.where(x > 0, special.betaincinv(x, n - x + 1, 0.025), 0.0)
        high = np.where(x < n, special.betaincinv(x + 1, np.maximum(n - x, 1e-12), 0.975), 1.0)
    return low, high


def wilson_kish(told: Answers, rng: np.random.Generator, resamples: int) -> Ends:
    """Wilson's at Kish's n."""
    return wilson(told.p, told.kish)


def wilson_t(told: Answers, rng: np.random.Generator, resamples: int) -> Ends:
    """The same with a t quantile at G_eff − 1: Wilson's formula at n (z / t)²."""
    return wilson(told.p, told.kish * (proportions.Z / student(told.effective - 1)) ** 2)


def logit_t(told: Answers, rng: np.random.Generator, resamples: int) -> Ends:
    """A t interval on the logit, by the delta method; where all groups agree that of `wilson_t`."""
    p, low, high = told.p, *wilson_t(told, rng, resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle, half = special.logit(p), student(told.effective - 1) * np.sqrt(told.variance) / (p * (1 - p))
        usable = (told.variance > 0) & (p > 0) & (p < 1)
        return tuple(np.where(usable, special.expit(middle + s * half), e) for s, e in ((-1, low), (1, high)))  # type: ignore[return-value]


def bootstrap_t(told: Answers, rng: np.random.Generator, resamples: int) -> Ends:
    """The studentised bootstrap over groups; resamples without spread are left out, and `wilson_t` stands in without any."""
    low, high = studentised(told.correct, told.sizes, rng, resamples)
    fallback = wilson_t(told, rng, resamples)
    unusable = ~np.isfinite(low) | ~np.isfinite(high)
    return np.where(unusable, fallback[0], low.clip(0, 1)), np.where(unusable, fallback[1], high.clip(0, 1))


def korn_graubard(told: Answers, rng: np.random.Generator, resamples: int) -> Ends:
    """Clopper and Pearson's at Kish's n, times (t of n − 1 / t of G_eff − 1)² (Korn & Graubard 1998)."""
    ratio = student(told.sizes.sum() - 1) / student(told.effective - 1)
    return clopper(told.p, told.kish * ratio**2)


def of_measure(told: Answers, rng: np.random.Generator, resamples: int) -> Ends:
    """That of `lens.measuring.proportions.proportion`; not a number where it says that there are too few groups."""
    return ends_of([proportions.proportion(correct, told.sizes)[1] for correct in told.correct])


def ends_of(found: Sequence[Interval]) -> Ends:
    """Both ends of intervals; not a number where there are too few groups."""
    ends = np.array([[np.nan, np.nan] if too_few(one) else one for one in found])
    return ends[:, 0], ends[:, 1]


ACCURACY: dict[str, Callable[[Answers, np.random.Generator, int], Ends]] = {
    "Wilson": wilson_kish,
    "Wilson, t": wilson_t,
    "logit, t": logit_t,
    "bootstrap-t": bootstrap_t,
    "Korn-Graubard": korn_graubard,
    OURS: of_measure,
}


# --- rules for a paired gap ------------------------------------------------------------------------------------------


def drawn(groups: int, resamples: int, rng: np.random.Generator) -> Array:
    """How often each group stands in each resample: (groups, resamples)."""
    return np.asarray(rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples).T.astype(float))


def robust(values: Array, sizes: Array) -> tuple[Array, Array]:
    """The ratio Σvalues / Σsizes and its cluster-robust standard error, (R,) each."""
    ratio = values.sum(axis=1) / sizes.sum()
    groups = len(sizes)
    apart = values - ratio[:, None] * sizes
    return ratio, np.sqrt((apart**2).sum(axis=1) * groups / (groups - 1)) / sizes.sum()


def studentised(values: Array, sizes: Array, rng: np.random.Generator, resamples: int) -> Ends:
    """The bootstrap-t interval of Σvalues / Σsizes; not finite where no resample has a spread."""
    times = drawn(len(sizes), resamples, rng)
    ratio, error = robust(values, sizes)
    total = sizes @ times
    again = values @ times / total
    squares = values**2 @ times - 2 * again * ((values * sizes) @ times) + again**2 * (sizes**2 @ times)
    groups = len(sizes)
    spread = np.sqrt(np.maximum(squares, 0) * groups / (groups - 1)) / total
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a row without any spread is not a number
        t = np.where(spread > 1e-9, (again - ratio[:, None]) / spread, np.nan)
        low, high = np.nanquantile(t, [0.025, 0.975], axis=1)
    return ratio - high * error, ratio - low * error


def percentile(values: Array, sizes: Array, rng: np.random.Generator, resamples: int, tail: float = 0.025) -> Ends:
    """The percentile bootstrap over groups."""
    times = drawn(len(sizes), resamples, rng)
    low, high = np.quantile(values @ times / (sizes @ times), [tail, 1 - tail], axis=1)
    return low, high


def expanded(values: Array, sizes: Array, rng: np.random.Generator, resamples: int) -> Ends:
    """That of `lens.measuring.resampling.bootstrap`, the expanded percentile (Hesterberg 2015); not a number of too few groups."""
    groups = effective_groups(sizes)
    if groups < FEWEST:
        nothing = np.full(len(values), np.nan)
        return nothing, nothing
    return percentile(values, sizes, rng, resamples, resampling.expanded_tail(groups))


def cluster_t(values: Array, sizes: Array, rng: np.random.Generator, resamples: int) -> Ends:
    """The ratio ± t cluster-robust errors, t at G_eff − 1."""
    ratio, error = robust(values, sizes)
    t = student(effective_groups(sizes) - 1)
    return ratio - t * error, ratio + t * error


GAP: dict[str, Callable[[Array, Array, np.random.Generator, int], Ends]] = {
    "percentile": percentile, "cluster-robust t": cluster_t, "bootstrap-t": studentised, OURS: expanded,
}  # fmt: skip


def of_sources(told: Answers, other: Array) -> Ends:
    """That of `lens.measuring.proportions.balanced_accuracy`, for a second source's right answers (R, G) in groups of the same sizes."""
    sizes, source = np.tile(told.sizes, 2), np.repeat([0, 1], len(told.sizes))
    rows = np.concatenate([told.correct, other], axis=1)
    return ends_of([proportions.balanced_accuracy(correct, sizes, source)[1] for correct in rows])


# --- the simulation --------------------------------------------------------------------------------------------------


def answers(sizes: Array, accuracy: float, icc: float, runs: int, rng: np.random.Generator) -> Array:
    """Right answers of beta-binomial groups: (runs, G)."""
    if icc == 0:
        rate: Any = accuracy
    else:
        strength = (1 - icc) / icc
        rate = rng.beta(accuracy * strength, (1 - accuracy) * strength, (runs, len(sizes)))
    return rng.binomial(sizes.astype(int), rate, (runs, len(sizes))).astype(float)


def cell(name: str, accuracy: float, icc: float, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Coverage and mean width of every rule for one set of sizes, accuracy and correlation."""
    sizes = np.array(SIZES[name], float)
    place = [asked.seed, list(SIZES).index(name), round(100 * accuracy), round(100 * icc)]
    rng = np.random.default_rng(place)
    told = Answers(answers(sizes, accuracy, icc, asked.runs, rng), sizes)
    gap = told.correct - answers(sizes, 0.5, icc, asked.runs, rng)
    found = []

    def judge(what: str, rule: str, truth: float, ends: Ends) -> None:
        low, high = ends
        held = (low <= truth + 1e-9) & (truth - 1e-9 <= high)
        found.append({
            "what": what, "sizes": name, "effective": told.effective, "accuracy": accuracy, "icc": icc, "rule": rule,
            "coverage": None if np.isnan(low).all() else float(np.mean(held)), "width": float(np.mean(high - low)),
        })  # fmt: skip

    for rule, interval in ACCURACY.items():
        judge("accuracy", rule, accuracy, interval(told, rng, asked.resamples))
    for rule, of_gap in GAP.items():
        judge("gap", rule, accuracy - 0.5, of_gap(gap, sizes, rng, asked.resamples))
    judge("balanced", OURS, accuracy, of_sources(told, answers(sizes, accuracy, icc, asked.runs, rng)))
    return found


def main() -> None:
    """Simulate, print the tables, write every cell and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2000, help="simulated test splits of a cell")
    parser.add_argument("--resamples", type=int, default=999, help="of a bootstrap")
    parser.add_argument("--out", type=Path, help="where the picture goes")
    asked = parser.parse_args()

    from lens.base.bar import Bar

    cells = [(n, a, i) for n in SIZES for a in ACCURACIES for i in CORRELATIONS if i == 0 or max(SIZES[n]) > 1]
    found = []
    with Bar("coverage", len(cells), "cells") as bar:
        for one in cells:
            found += cell(*one, asked)
            bar.add()
    for what, rules in (("accuracy", [*ACCURACY]), ("gap", [*GAP]), ("balanced", [OURS])):
        print(table([line for line in found if line["what"] == what], rules), end="\n\n")
    if asked.out:
        asked.out.write_bytes(picture(found))


def table(found: Sequence[dict[str, Any]], rules: Sequence[str]) -> str:
    """A row a set of sizes and accuracy, a column a rule: the lowest coverage over the correlations in %, the mean width in points."""
    rows = [["groups", "G_eff", "accuracy", *rules]]
    for name in SIZES:
        for accuracy in ACCURACIES:
            mine = [line for line in found if (line["sizes"], line["accuracy"]) == (name, accuracy)]
            words = []
            for rule in rules:
                cells = [line for line in mine if line["rule"] == rule]
                covered = [line["coverage"] for line in cells if line["coverage"] is not None]
                width = 100 * float(np.mean([line["width"] for line in cells]))
                wide = f"{width:.0f}" if width < 999 else "> 999"
                words.append(f"{100 * min(covered):.1f} ({wide})" if covered else "too few groups")
            rows.append([name, f"{mine[0]['effective']:.1f}", f"{100 * accuracy:g} %", *words])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def picture(found: Sequence[dict[str, Any]]) -> bytes:
    """The lowest coverage over the correlations against G_eff, from ten on: a column an accuracy, a line a rule."""
    from lens.figures.drawing import png, pyplot

    plt = pyplot()
    figure, axes = plt.subplots(2, len(ACCURACIES), figsize=(3.1 * len(ACCURACIES), 6.2), sharex=True, sharey=True)
    for row, (what, rules) in zip(axes, (("accuracy", ACCURACY), ("gap", GAP)), strict=True):
        for axis, accuracy in zip(row, ACCURACIES, strict=True):
            for rule in rules:
                mine = [x for x in found if (x["what"], x["accuracy"], x["rule"]) == (what, accuracy, rule)]
                lowest: dict[float, float] = {}
                for x in mine:
                    if x["coverage"] is not None and x["effective"] >= FEWEST and max(SIZES[x["sizes"]]) > 1:
                        lowest[x["effective"]] = min(lowest.get(x["effective"], 1.0), x["coverage"])
                points = sorted(lowest.items())
                style: dict[str, Any] = {"lw": 2.5, "color": "black"} if rule == OURS else {"lw": 1}
                axis.plot([g for g, _ in points], [100 * c for _, c in points], marker=".", label=rule, **style)
            axis.axhline(95, color="0.6", lw=0.8, ls=":")
            axis.axhline(93, color="0.6", lw=0.8, ls="--")
            axis.set_xscale("log")
            axis.set_xticks([10, 20, 40, 80], ["10", "20", "40", "80"])
            axis.minorticks_off()
            axis.set_ylim(78, 100)
            axis.tick_params(labelsize=7)
            axis.set_title(f"{what}{' to 50 %' * (what == 'gap')}, {100 * accuracy:g} %", fontsize=9)
        row[0].legend(fontsize=7, loc="lower right")
        row[0].set_ylabel("lowest coverage, %", fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel("effective groups", fontsize=8)
    figure.tight_layout()
    return png(plt, figure)


if __name__ == "__main__":
    main()
