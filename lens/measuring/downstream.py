"""Downstream: what the frozen features are worth to linear and k-NN probes on labelled sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from lens.base.bar import Bar
from lens.base.phases import Phases
from lens.images import classes, data
from lens.measuring import features, inner_features, knn, linear, proportions
from lens.measuring.probes import probe_splits
from lens.players.build import new_extractor
from lens.players.extractor import Extractor
from lens.players.players import Players
from lens.results.downstream import Downstream, Layer
from lens.results.figure import Estimate
from lens.results.removal import OnProbe
from lens.results.result import Result

R = TypeVar("R", bound=Result)
Probed = TypeVar("Probed", Downstream, OnProbe)
Array = np.ndarray[Any, Any]
DEFAULT = linear.ProbeRecipe()


def downstream(
    players: Players,
    images: data.Images,
    source: int,
    key: str,
    recipe: linear.ProbeRecipe = DEFAULT,
    layer: Sequence[str] = (),
    phases: Phases | None = None,
) -> Downstream | None:
    """Linear and k-NN accuracy of the frozen features on a labelled source, each with its 95 % interval; None but on rank 0.

    They are of test images. The validation twin of each is to choose by; where validation chose the penalty (logistic
    regression), it is that of the chosen one, and a little too high.
    Beside them two floors with the same probe: an untrained extractor's features, and 12×12 pixels. Then the linear
    accuracy of the inner layers that `layer` names ("all" for each of them), and of the same layers untrained.
    """
    phases = phases or Phases()
    settings = players.settings
    recipe = dataclasses.replace(recipe, device=players.fabric.device)
    limits = (settings.measuring.probe_images, settings.measuring.probe_test_images)
    splits = probe_splits(images, source, key, *limits, settings.optimisation.seed)
    label = classes.of_source(images, source)
    labels = {split: label[index] for split, index in splits.items()}
    sizes: dict[str, Any] = {f"n_{split}": len(answers) for split, answers in labels.items()}
    sizes |= {f"n_{split}_of": len(images.indices(split, source)) for split in splits}
    every = label[images.indices("test", source)]
    if left_out := int((~np.isin(every[every >= 0], labels["train"])).sum()):
        sizes["n_test_left_out"] = left_out
    group = images.group[splits["test"]]
    ones = np.ones(len(group))
    readers = {
        "linear": features.of_extractor(players, players.extractor),
        "untrained": features.of_extractor(players, untrained := untrained_extractor(players)),
        "pixels": features.pixels,
    }
    if players.lensed_statistics_only and players.extractor.norms:
        readers["linear_lensed_statistics"] = features.of_extractor(players, players.extractor, lensed_statistics=True)
    inner: list[inner_features.Reader] = []
    if layer:
        names = inner_features.choose(players.extractor.backbone, list(layer), settings.players.extractor)
        for name, extractor in (("layers", players.extractor), ("layers untrained", untrained)):
            inner.append(inner_features.Reader(extractor.backbone, names))
            readers[name] = features.of_extractor(players, extractor, read=inner[-1])
    found: dict[str, dict[str, Array]] = {name: {} for name in readers}
    with phases.timed("features"), Bar("features", sum(map(len, splits.values())), "images") as bar:
        for split, index in splits.items():
            for name, rows in features.read(players, readers, images, index, bar.add).items():
                found[name][split] = rows
    # Every rank takes its share of the features; the probes are fitted on rank 0.
    if not players.ranks.writes:
        return None

    def fitted(name: str, rows: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Any]]:
        fits = linear.fit(rows, labels, settings.optimisation.seed, recipe, bar.add)
        accuracies = {
            linear.keyed(name, method): Estimate(
                *proportions.proportion(correct.astype(float), ones, group), went.validation
            )
            for method, (correct, went) in fits.items()
        }
        return accuracies, {linear.keyed("fit", method): went for method, (_, went) in fits.items()}

    plain = [name for name in readers if not name.startswith("layers")]
    columns = inner[0].columns if inner else {}
    total = (len(plain) + 2 * len(columns)) * recipe.fits
    with phases.timed("probes"), Bar("fitting probes", total, "fits") as bar:
        accuracies, fit = fitted("linear", found["linear"])
        nearest = knn.probe(found["linear"], labels, recipe.device)
        validation = float(knn.probe(found["linear"], labels, recipe.device, "val").mean())
        accuracies["knn"] = Estimate(*proportions.proportion(nearest.astype(float), ones, group), validation)
        for name in plain[1:]:
            accuracies |= fitted(name, found[name])[0]
        layers = {}
        for name, mine in columns.items():
            trained, went = fitted("linear", {split: x[:, mine] for split, x in found["layers"].items()})
            floor, _ = fitted("untrained", {split: x[:, mine] for split, x in found["layers untrained"].items()})
            layers[name] = Layer(features=mine.stop - mine.start, **sizes, **trained, **floor, **went)
    chance = proportions.chance(labels["test"])
    return Downstream(chance=chance, source=key, **sizes, **accuracies, **fit, layers=layers)


def untrained_extractor(players: Players) -> Extractor:
    """The floor of every probe: the run's extractor with its initial weights, batch statistics estimated on its images."""
    torch.manual_seed(players.settings.optimisation.seed)
    untrained = new_extractor(players.settings, players.task)
    untrained.to(players.fabric.device, next(players.extractor.parameters()).dtype)
    players.reestimate_statistics(untrained)
    return untrained


def merge_downstream(earlier: Mapping[str, Probed], new: Mapping[str, Probed]) -> dict[str, Probed]:
    """Add new probes to earlier ones; another source of the same short name goes under its whole path.

    What was measured on the same images and is not measured now (another method, other layers) stays.
    """
    merged = dict(earlier)
    for name, part in new.items():
        clash = name in earlier and earlier[name].source != part.source
        place = str(part.source) if clash else name
        merged[place] = _beside(merged[place], part) if place in merged else part
    return merged


def replaced(earlier: Mapping[str, Downstream], new: Mapping[str, Downstream]) -> list[str]:
    """The sources whose earlier figures give way to new ones, since they are of other numbers of images."""
    return [
        name
        for name, part in new.items()
        if (before := earlier.get(name)) is not None and before.source == part.source and not _of_the_same(before, part)
    ]


def _beside(before: Probed, part: Probed) -> Probed:
    if before.source != part.source:
        return part
    if not isinstance(part, Downstream) or not isinstance(before, Downstream):
        return _joined(before, part)
    if part.fusion and part.linear is None:
        # A fusion tells its own numbers of images: it leaves what was measured of the run alone.
        part = dataclasses.replace(part, n_train=before.n_train, n_test=before.n_test, chance=before.chance)
    if not _of_the_same(before, part):
        return part
    layers = {name: _joined(before.layers.get(name), one) for name, one in part.layers.items()}
    fusion = {name: _joined(before.fusion.get(name), one) for name, one in part.fusion.items()}
    joined = _joined(before, part)
    return dataclasses.replace(joined, layers={**before.layers, **layers}, fusion={**before.fusion, **fusion})


def _joined(before: R | None, part: R) -> R:
    """What was measured before, and over it what is measured now, of the same images."""
    if before is None or not _of_the_same(before, part):
        return part
    fields = (field.name for field in dataclasses.fields(part))
    now = {name: value for name in fields if (value := getattr(part, name)) not in (None, {})}
    return dataclasses.replace(before, **now)


def _of_the_same(before: R, part: R) -> bool:
    """Whether two were fitted and asked on as many images, and beside the same control."""
    return all(
        getattr(before, name, None) == getattr(part, name, None) for name in ("n_train", "n_test", "control_run")
    )
