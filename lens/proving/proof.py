"""The proof of a run: its images through its lens, with judges beside which its own extractor is one."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.measuring import judges
from lens.measuring.downstream import merge_downstream, untrained_extractor
from lens.measuring.features import of_extractor, of_pixels
from lens.measuring.forensic import Forensic
from lens.measuring.judge import Judge
from lens.measuring.judges import Judging, Network
from lens.measuring.probes import Probe
from lens.players.extractor import Extractor
from lens.players.players import Players
from lens.proving import begun_with, best_possible, bounds, cue, question
from lens.proving.cost import Features, FrozenFeatures
from lens.proving.lensing import lens_probe, lens_splits, splits_of
from lens.proving.removal import check as check_sets
from lens.proving.removal import removal as removal_of
from lens.proving.removal import unasked
from lens.proving.rungs import rungs
from lens.proving.whole import whole
from lens.results.removal import TRAINED_ON, Bound, Cue, Removal
from lens.results.summary import Summary


def removal(players: Players, probes: list[Probe]) -> Removal:
    """The proof of a run. Raises BadInput for one of which nothing can be proved, as `check`."""
    check(players)
    judging, frozen, shown = judging_of(players), frozen_features(players), whole(players)
    probed = (lens_probe(players, probe) for probe in probes)
    sets = lens_splits(shown)
    bound = None
    if why := why_no_source(players):
        found = unasked(sets, judging, frozen, probed, why)
    else:
        further: dict[str, Judge] = {"trained_on": trained_on(players, judging)} if players.by_source else {}
        both = {"forensic": Forensic(players.fabric.device)}
        found = removal_of(sets, judging, further, frozen, probed, both)
        unknown = begun_with.why_unknown(players)
        bound = Bound(none=unknown) if unknown else bounds.of_run(shown, splits_of(players)["test"])
        if players.settings.proof.judge_cues:
            found = dataclasses.replace(found, rungs=rungs(sets, judging.seed))
    why = why_no_cue(players)
    asked = Cue(none=why) if why else cue.of_run(players, judging)
    return dataclasses.replace(
        found,
        bound=bound,
        cue=asked,
        question=question.of_run(players, judging, lambda: own_extractor(players)),
        best_possible=best_possible.of_run(players, asked, sets.splits["test"]),
    )


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
    return Judging(
        stems,
        settings.seeds_of_judges,
        seed,
        recipe,
        size,
        fabric.device,
        fabric.autocast,
        settings.proof.raised_judges,
    )


def trained_on(players: Players, judging: Judging) -> Network:
    """The run's own extractor, trained on with the lens held still.

    Stricter than fresh ones: what hides so well that a network has to know where to look, it may still read. Only of
    dataset classification: the extractor of another task knows nothing of sources.
    """

    return judging.network(TRAINED_ON, lambda: own_extractor(players))


def own_extractor(players: Players) -> Extractor:
    """A copy of a run's extractor, as it was when it met lensed images."""
    extractor = copy.deepcopy(players.extractor).float()  # as the fresh ones, also under --precision 64
    if len(extractor.lensed_statistics):
        extractor.use_lensed_statistics()
    return extractor


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


def added(summary: Summary, proof: Removal) -> Summary:
    """A summary with a proof. What was proved of these very weights on other probes stays."""
    earlier = {} if summary.removal is None else summary.removal.probes
    proof = dataclasses.replace(proof, probes=merge_downstream(earlier, proof.probes))
    return dataclasses.replace(summary, removal=proof)


def why_no_source(players: Players) -> str | None:
    """Why nobody is asked for the source of a run's images, or None where judges are."""
    if len(players.images.keys) < 2:
        return "there is one source: give two --data, or --pseudo_sources"
    return _treated(players)


def why_no_cue(players: Players) -> str | None:
    """The same of the planted cue."""
    return cue.why_none(players) or _treated(players)


def _treated(players: Players) -> str | None:
    """Why images cannot be compared with lensed ones: they were treated by hand before."""
    views = players.settings.views
    treated = {"grey": views.grey, "colour_jitter": views.colour_jitter, "blur": views.blur}
    if flags := [f"--{flag} {value:g}" for flag, value in treated.items() if value]:
        return (
            f"images as they are would be compared with lensed ones, and {' '.join(flags)} treats them before: leave it out, "
            "or give images that were treated so"
        )
    return None


def check(players: Players) -> None:
    """Raise BadInput where there is nothing to prove or nobody to prove it with."""
    images = players.images
    if players.ranks.world > 1:
        raise BadInput("--prove measures in one process: train under torchrun, then lens prove RUN")
    if players.lens is None or players.settings.players.has_rival:
        raise BadInput(
            f"--prove asks what a lens has removed, and this run has none (--lens {players.settings.players.lens})"
        )
    reasons = {
        "source": why_no_source(players),
        "planted cue": why_no_cue(players),
        "own question": question.why_none(players),
    }
    if all(reasons.values()):
        told = "; ".join(f"of the {what}: {why}" for what, why in reasons.items())
        raise BadInput(f"--prove has nothing to ask of this run; {told}")
    if not len(images.indices("fresh")):
        raise BadInput(
            "--prove needs images that the lens has not seen: train with --judge_fraction 0.5 (the default of "
            "--task dataset_classification)"
        )
    begun_with.refuse_met(players)
    if unknown := begun_with.why_unknown(players):
        say(f"--prove: {unknown}")
    counts = {
        split: [len(images.indices(split, source)) for source in range(len(images.keys))]
        for split in ("fresh", "val", "test")
    }
    judging = judging_of(players)
    check_sets(images.keys, counts, judging)
    if not reasons["own question"]:
        question.check(players, judging)
