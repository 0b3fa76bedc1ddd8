"""Downstream: what the frozen features are worth to linear and k-NN probes on labelled sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

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

Array = np.ndarray[Any, Any]
DEFAULT = linear.ProbeRecipe()


def downstream(
    experiment: Players,
    images: data.Images,
    source: int,
    key: str,
    recipe: linear.ProbeRecipe = DEFAULT,
    layer: Sequence[str] = (),
    phases: Phases | None = None,
) -> dict[str, Any]:
    """Linear and k-NN accuracy of the frozen features on a labelled source, each with its 95 % interval.

    They are of test images. `val_NAME` beside each is the same of validation images, to choose by; where validation chose
    the penalty (logistic regression), it is that of the chosen one, and a little too high.
    Beside them two floors with the same probe: an untrained extractor's features, and 12×12 pixels. Then the linear
    accuracy of the inner layers that `layer` names ("all" for each of them), and of the same layers untrained.
    """
    phases = phases or Phases()
    settings = experiment.settings
    recipe = dataclasses.replace(recipe, device=experiment.fabric.device)
    limits = (settings.measuring.probe_images, settings.measuring.probe_test_images)
    splits = probe_splits(images, source, key, *limits, settings.optimisation.seed)
    label = classes.of_source(images, source)
    labels = {split: label[index] for split, index in splits.items()}
    sizes = {f"n_{split}": len(answers) for split, answers in labels.items()}
    sizes |= {f"n_{split}_of": len(images.indices(split, source)) for split in splits}
    every = label[images.indices("test", source)]
    if left_out := int((~np.isin(every[every >= 0], labels["train"])).sum()):
        sizes["n_test_left_out"] = left_out
    group = images.group[splits["test"]]
    ones = np.ones(len(group))
    readers = {
        "linear": features.of_extractor(experiment, experiment.extractor),
        "untrained": features.of_extractor(experiment, untrained := untrained_extractor(experiment)),
        "pixels": features.pixels,
    }
    if experiment.lensed_statistics_only and experiment.extractor.norms:
        readers["linear_lensed_statistics"] = features.of_extractor(
            experiment, experiment.extractor, lensed_statistics=True
        )
    inner: list[inner_features.Reader] = []
    if layer:
        names = inner_features.choose(experiment.extractor.backbone, list(layer), settings.players.extractor)
        for name, extractor in (("layers", experiment.extractor), ("layers untrained", untrained)):
            inner.append(inner_features.Reader(extractor.backbone, names))
            readers[name] = features.of_extractor(experiment, extractor, read=inner[-1])
    found: dict[str, dict[str, Array]] = {name: {} for name in readers}
    with phases.timed("features"), Bar("features", sum(map(len, splits.values())), "images") as bar:
        for split, index in splits.items():
            for name, rows in features.read(experiment, readers, images, index, bar.add).items():
                found[name][split] = rows
    # Every rank takes its share of the features; the probes are fitted on rank 0.
    if not experiment.ranks.writes:
        return {}
    result: dict[str, Any] = {}

    def fitted(into: dict[str, Any], name: str, rows: dict[str, Array]) -> dict[str, Any]:
        fits = linear.fit(rows, labels, settings.optimisation.seed, recipe, bar.add)
        for method, (correct, went) in fits.items():
            key = linear.keyed(name, method)
            into[key], into[f"{key}_ci"] = proportions.proportion(correct.astype(float), ones, group)
            into[f"val_{key}"] = went["validation"]
        return {linear.keyed("fit", method): fit for method, (_, fit) in fits.items()}

    plain = [name for name in readers if not name.startswith("layers")]
    columns = inner[0].columns if inner else {}
    total = (len(plain) + 2 * len(columns)) * recipe.fits
    with phases.timed("probes"), Bar("fitting probes", total, "fits") as bar:
        fit = fitted(result, "linear", found["linear"])
        nearest = knn.probe(found["linear"], labels, recipe.device)
        result["knn"], result["knn_ci"] = proportions.proportion(nearest.astype(float), ones, group)
        result["val_knn"] = float(knn.probe(found["linear"], labels, recipe.device, "val").mean())
        for name in plain[1:]:
            fitted(result, name, found[name])
        for name, mine in columns.items():
            part: dict[str, Any] = {"features": mine.stop - mine.start, **sizes}
            part |= fitted(part, "linear", {split: x[:, mine] for split, x in found["layers"].items()})
            fitted(part, "untrained", {split: x[:, mine] for split, x in found["layers untrained"].items()})
            result.setdefault("layers", {})[name] = part
    result["chance"] = proportions.chance(labels["test"])
    return result | sizes | fit


def untrained_extractor(experiment: Players) -> Extractor:
    """The floor of every probe: the run's extractor with its initial weights, batch statistics estimated on its images."""
    torch.manual_seed(experiment.settings.optimisation.seed)
    untrained = new_extractor(experiment.settings, experiment.task)
    untrained.to(experiment.fabric.device, next(experiment.extractor.parameters()).dtype)
    experiment.reestimate_statistics(untrained)
    return untrained


def merge_downstream(earlier: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Add new probes to earlier ones; another source of the same short name goes under its whole path.

    What was measured on the same images and is not measured now (another method, other layers) stays.
    """
    merged = dict(earlier)
    for name, part in new.items():
        clash = name in earlier and earlier[name].get("source") != part["source"]
        place = part["source"] if clash else name
        merged[place] = _beside(merged.get(place, {}), part)
    return merged


def _beside(before: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    if "fusion" in part and "linear" not in part and before.get("source") == part["source"]:
        # A fusion tells its own numbers of images: it leaves what was measured of the run alone.
        part = part | {key: before[key] for key in ("n_train", "n_test", "chance") if key in before}
    if any(before.get(key) != part.get(key) for key in ("source", "n_train", "n_test", "control_run")):
        return part
    joined = before | part
    for key in ("layers", "fusion"):
        if key in before and key in part:
            joined[key] = before[key] | {name: _beside(before[key].get(name, {}), x) for name, x in part[key].items()}
    return joined
