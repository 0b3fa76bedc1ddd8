"""The proof of a run: its images through its lens, with judges beside which its own extractor is one."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from lens.base.errors import BadInput
from lens.measuring import judges
from lens.measuring.downstream import merge_downstream, untrained_extractor
from lens.measuring.features import of_extractor, of_pixels
from lens.measuring.forensic import Forensic
from lens.measuring.judge import Judge
from lens.measuring.judges import Judging, Network
from lens.measuring.probes import Probe
from lens.players.extractor import Extractor
from lens.players.players import Players
from lens.protocols.lookup import key_name
from lens.proving import bounds
from lens.proving.cost import Features, FrozenFeatures
from lens.proving.lensing import lens_probe, lens_splits
from lens.proving.removal import check as check_sets
from lens.proving.removal import removal as removal_of
from lens.results.removal import TRAINED_ON, Removal
from lens.results.summary import Summary


def removal(players: Players, probes: list[Probe]) -> dict[str, Any]:
    """Everything in removal.json, of a run. Raises BadInput for one of which nothing can be proved, as `check`."""
    check(players)
    judging = judging_of(players)
    further: dict[str, Judge] = {"trained_on": trained_on(players, judging)} if players.by_source else {}
    further["forensic"] = Forensic(players.fabric.device)
    lensed = (lens_probe(players, probe) for probe in probes)
    found = removal_of(lens_splits(players), judging, further, frozen_features(players), lensed)
    return found | {
        "bound": bounds.of_run(players, players.of_each_source("test", players.settings.proof.judge_images))
    }


def judging_of(players: Players) -> Judging:
    """The judges that a run's settings name: with the run's own stem for its extractor's architecture."""
    settings, size = players.settings, players.settings.data.image_size
    stems = {
        name: settings.players.extractor_stem
        if judges.parts(name)[0] == settings.players.extractor
        else judges.stem_of(name, size)
        for name in settings.judge_architectures
    }
    recipe, seed = judges.Recipe(settings.proof.judge_steps), settings.optimisation.seed
    fabric = players.fabric
    return Judging(stems, settings.seeds_of_judges, seed, recipe, size, fabric.device, fabric.autocast)


def trained_on(players: Players, judging: Judging) -> Network:
    """The run's own extractor, trained on with the lens held still.

    Stricter than fresh ones: what hides so well that a network has to know where to look, it may still read. Only of
    dataset classification: the extractor of another task knows nothing of sources.
    """

    def own() -> Extractor:
        extractor = copy.deepcopy(players.extractor).float()  # as the fresh ones, also under --precision 64
        if len(extractor.lensed_statistics):
            extractor.use_lensed_statistics()
        return extractor

    return judging.network(TRAINED_ON, own)


def frozen_features(players: Players) -> FrozenFeatures:
    """What the run's extractor makes of images, and an untrained one, which is built when it is first asked."""
    untrained: list[Extractor] = []

    def reader(extractor: Extractor, lensed_statistics: bool = False) -> Features:
        read = of_extractor(players, extractor, lensed_statistics)
        return lambda images: of_pixels(players, read, images)

    def of_untrained(images: Any) -> Any:
        untrained.extend([] if untrained else [untrained_extractor(players)])
        return reader(untrained[0])(images)

    return FrozenFeatures(reader(players.extractor), reader(players.extractor, True), of_untrained)


def added(summary: Summary, found: dict[str, Any]) -> Summary:
    """A summary with a proof. What was proved of these very weights on other probes stays."""
    proof = Removal.of_json(found)
    earlier = {} if summary.removal is None else summary.removal.probes
    proof = dataclasses.replace(proof, probes=merge_downstream(earlier, proof.probes))
    return dataclasses.replace(summary, removal=proof)


def check(players: Players) -> None:
    """Raise BadInput where there is nothing to prove or nobody to prove it with."""
    images = players.images
    if players.ranks.world > 1:
        raise BadInput("--prove measures in one process: train under torchrun, then lens prove RUN")
    if players.lens is None or players.settings.players.has_rival:
        raise BadInput(
            f"--prove asks what a lens has removed, and this run has none (--lens {players.settings.players.lens})"
        )
    settings = players.settings
    treated = {"grey": settings.views.grey, "colour_jitter": settings.views.colour_jitter, "blur": settings.views.blur}
    if flags := [f"--{flag} {value:g}" for flag, value in treated.items() if value]:
        raise BadInput(
            f"--prove compares images as they are with lensed ones, and {' '.join(flags)} treats them before: leave it "
            "out, or give images that were treated so"
        )
    if len(images.keys) < 2:
        raise BadInput(
            "--prove asks which source an image comes from and this run has one: give two --data, or --pseudo_sources"
        )
    if players.task.views != 1:
        raise BadInput(
            f"--prove looks at whole images and --task {key_name(players.settings.question.task)} lenses {players.task.views} views of "
            "each: use --task dataset_classification or labels"
        )
    if not len(images.indices("fresh")):
        raise BadInput(
            "--prove needs images that the lens has not seen: train with --judge_fraction 0.5 (the default of "
            "--task dataset_classification)"
        )
    counts = {
        split: [len(images.indices(split, source)) for source in range(len(images.keys))]
        for split in ("fresh", "val", "test")
    }
    check_sets(images.keys, counts, judging_of(players))
