"""Features of two runs side by side, always beside a control of as many features.

Minderer et al. (2020, section 4) put features with and without removal together. Twice as many features can raise a linear
accuracy by their number alone, so the control puts together two runs without removal that differ in their seed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from lens.base.errors import BadInput
from lens.images import classes
from lens.images.cache import cache_dir_of
from lens.measuring import feature_store, features, linear, proportions, resampling
from lens.measuring.downstream import Array
from lens.measuring.probes import Probe, probe_splits
from lens.players.finished import FinishedRun
from lens.players.players import Players
from lens.results.downstream import Downstream
from lens.results.figure import Estimate
from lens.results.fusion import Fusion
from lens.settings import agreement, idle
from lens.settings.run_settings import FIELDS


@dataclasses.dataclass(frozen=True)
class Trio:
    """The players of the run, of the one whose features are put beside it, and of the control."""

    run: Players
    other: Players
    control: Players


def check(run: FinishedRun, other: FinishedRun, control: FinishedRun) -> None:
    """Raise BadInput, with the setting, where the runs saw other images, or where the control is none."""
    alike = agreement.names(agreement.AGREE["fuse"])
    for one in (other, control):
        if differs := agreement.first_difference(alike, run.parsed.plain, one.parsed.plain):
            name, mine, theirs = differs
            raise BadInput(
                f"{one.run.directory} has {name} {theirs!r} and {run.run.directory} {mine!r}: features that are put "
                "together are of the same images at the same size"
            )
    first, second = ({**x.parsed.plain, "steps": x.summary.trained.steps} for x in (other, control))
    unread = [set(idle.idle(x.parsed.settings, FIELDS)) for x in (other, control)]
    plugins = sorted((set(first) | set(second)) - set(FIELDS))  # their own settings
    compared = [*agreement.names(agreement.AGREE["control"]), *plugins, "steps"]
    # What is not read does not matter; where one of them alone reads it, what makes it do so differs too.
    compared = [name for name in compared if name not in unread[0] | unread[1]]
    if differs := agreement.first_difference(compared, first, second):
        name, wanted, given = differs
        raise BadInput(
            f"--fuse_control {control.run.directory} has {name} {given!r} and {other.run.directory} {wanted!r}: a "
            "control differs in its seed alone"
        )
    if first["seed"] == second["seed"]:
        raise BadInput(
            f"--fuse_control {control.run.directory} has the seed of {other.run.directory}, {first['seed']}: a control is "
            "the same run with another seed"
        )


@torch.no_grad()
def width(players: Players) -> int:
    """F, the number of pooled features of a run's extractor."""
    players.extractor.eval()
    reference = next(players.extractor.parameters())
    side = players.settings.data.image_size
    inputs = players.task.prepare(torch.zeros(1, 3, side, side, device=reference.device)).to(reference.dtype)
    return int(players.extractor.features(inputs).shape[1])


def measured(trio: Trio, probe: Probe, recipe: linear.ProbeRecipe, name: str, control: str) -> Downstream:
    """A source's part of a summary: the linear accuracy of the run and the other, alone and together, and the control.

    `gain` is the accuracy of run + other minus that of control + other, paired: its 95 % interval is a bootstrap over
    test images (groups of them). Raises BadInput where the control is not of the run's width.
    """
    widths = {"run": width(trio.run), "other": width(trio.other), "fused": width(trio.run) + width(trio.other)}
    if width(trio.control) != widths["run"]:
        raise BadInput(
            f"the run has {widths['run']} features and --fuse_control {control} {width(trio.control)}: a control has as "
            "many, or their number alone could tell"
        )
    settings = trio.run.settings
    limits = (settings.measuring.probe_images, settings.measuring.probe_test_images)
    splits = probe_splits(probe.images, probe.source, probe.key, *limits, settings.optimisation.seed)
    label = classes.of_source(probe.images, probe.source)
    labels = {split: label[index] for split, index in splits.items()}
    group = probe.images.group[splits["test"]]
    ones = np.ones(len(group))
    folder = cache_dir_of(settings.data)

    def read(players: Players) -> dict[str, Array]:
        readers = {"": features.of_extractor(players, players.extractor)}
        return {s: features.read(players, readers, probe.images, index)[""] for s, index in splits.items()}

    def beside(first: dict[str, Array], second: dict[str, Array]) -> dict[str, Array]:
        return {split: feature_store.joined(first[split], second[split], folder) for split in splits}

    sizes: dict[str, Any] = {"n_train": len(labels["train"]), "n_test": len(labels["test"])}
    accuracies: dict[str, Any] = {}
    fits: dict[str, Any] = {}
    correct: dict[tuple[str, str], Array] = {}

    def fitted(what: str, found: dict[str, Array]) -> None:
        for method, (right, fit) in linear.fit(found, labels, settings.optimisation.seed, recipe).items():
            correct[what, method] = right.astype(float)
            accuracies[linear.keyed(what, method)] = Estimate(
                *proportions.proportion(correct[what, method], ones, group), fit.validation
            )
            fits[linear.keyed(f"{what}_fit", method)] = fit

    run, other = read(trio.run), read(trio.other)
    fitted("run", run)
    fitted("other", other)
    fitted("fused", beside(run, other))
    del run
    fitted("control", beside(read(trio.control), other))
    for method in linear.METHODS[recipe.method]:
        gain = correct["fused", method] - correct["control", method]
        interval = resampling.bootstrap(gain, ones, group, settings.optimisation.seed)
        seen = [fits[linear.keyed(f"{what}_fit", method)].validation for what in ("fused", "control")]
        chosen_by = None if None in seen else seen[0] - seen[1]
        accuracies[linear.keyed("gain", method)] = Estimate(float(gain.mean()), interval, chosen_by)
    part = Fusion(control_run=control, features=widths, **sizes, **accuracies, **fits)
    chance = proportions.chance(labels["test"])
    return Downstream(source=probe.key, chance=chance, **sizes, fusion={name: part})
