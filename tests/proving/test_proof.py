"""Proof of removal: a swap is not removed, the identity changes nothing, an oracle removes."""

import copy
import dataclasses
import functools
import json
import shutil
from collections import Counter

import numpy as np
import PIL.Image
import pytest
import torch
from tiny import TINY, fit
from torch import nn

from lens import prove, train
from lens.base.errors import BadInput
from lens.base.ranks import Ranks
from lens.figures import removal_table
from lens.images import classes
from lens.images.training_set import training_images
from lens.measuring import judges, probes
from lens.measuring.edits import edits_of
from lens.measuring.forensic import Forensic, Trees
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.protocols.lookup import short_names
from lens.proving import cost, examples, lensing, proof, reading, removal
from lens.proving import verdict as verdicts
from lens.record import schemas
from lens.results.figure import Estimate
from lens.results.removal import TRAINED_ON, Bound, Judged, Removal
from lens.settings.parsing import parse

SIDE = 16
CORNER = (slice(None), slice(None), slice(0, 4), slice(0, 4))
WORDS = [
    *TINY, "--task", "dataset_classification", "--image_size", "16", "--cache_image_size", "16", "--augment", "none",
    "--extractor", "all_conv", "--extractor_args", "{width: 8}", "--lens", "full_res", "--feed", "lensed",
    "--judge_fraction", "0.7",
    "--probe_images", "40", "--probe_test_images", "20",
]  # fmt: skip
JUDGES = ["--prove", "--judges", "all_conv:{width: 8}", "--judge_seeds", "1", "--judge_cues", "false"]
QUICK = judges.Recipe(steps=90, least=60, every=30, patience=2, batch=32)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two folders of noisy pictures, two classes each; those of the second have a lighter corner."""
    place = tmp_path_factory.mktemp("proof")
    for number, name in enumerate(("plain", "marked")):
        rng = np.random.default_rng(number)
        for label in range(2):
            (place / name / f"class{label}").mkdir(parents=True)
            for i in range(250):
                pixels = rng.integers(60, 150, (SIDE, SIDE, 3))
                pixels[6:12, 6:12, 0 if label else 2] += 60
                pixels[:4, :4] += 45 * number
                PIL.Image.fromarray(pixels.astype(np.uint8)).save(place / name / f"class{label}" / f"{i:03d}.png")
    return [str(place / name) for name in ("plain", "marked")]


def built(*words):
    parsed = parse(fit([*WORDS, *JUDGES, *words]), "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return build(parsed, training_images(parsed.settings), fabric, Ranks(fabric))


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch):
    monkeypatch.setattr(proof, "Forensic", functools.partial(Forensic, trees=Trees(most=20)))


@pytest.fixture
def players(sources, monkeypatch):
    monkeypatch.setattr(judges, "Recipe", lambda steps: QUICK)
    monkeypatch.setattr(verdicts, "CLOSE", 0.4)  # 200 test images: their intervals are wide, and lie by luck
    return built("--data", *sources)


def test_raised_judges_are_asked_where_a_run_says_so(players, sources):
    assert not proof.judging_of(players).raised
    assert proof.judging_of(built("--data", *sources, "--raised_judges", "true")).raised


@pytest.fixture(scope="module")
def raw_judgement():
    """What the classifiers find on raw images: the same for every lens, and asked once."""
    return {}


@pytest.fixture
def raw_once(players, raw_judgement, monkeypatch):
    real = removal.told_apart

    def told_apart(sets, judging, kind):
        if kind != "raw":
            return real(sets, judging, kind)
        if kind not in raw_judgement:
            raw_judgement[kind] = real(sets, judging, kind)
        return copy.deepcopy(raw_judgement[kind])

    monkeypatch.setattr(removal, "told_apart", told_apart)


class Corner(nn.Module):
    """Edits the corner alone: `edit` gets it and whether it is the lighter one."""

    def __init__(self, edit):
        super().__init__()
        self.edit = edit

    def forward(self, images):
        changed = images.clone()
        corner = changed[CORNER]
        marked = corner.mean(dim=(1, 2, 3), keepdim=True) > 128 / 255
        changed[CORNER] = self.edit(corner, marked)
        return changed


def swap(corner, marked):
    return corner + torch.where(marked, -45 / 255, 45 / 255)


def erase(corner, marked):
    return torch.full_like(corner, 0.5)


@pytest.mark.usefixtures("raw_once")
def test_a_lens_that_swaps_the_sources_has_not_removed_the_cue(players):
    players.lens = Corner(swap)
    found = proof.removal(players, []).to_json()
    assert found["readable"]
    assert found["lensed"]["balanced_accuracy"] > 0.95
    assert min(found["lensed"][judge] for judge in found["judges"]) > 0.95
    assert found["verdict"] == "not removed"


class LastBit(nn.Module):
    """Wipes the corner, and writes the source into the last bit of every pixel beside it."""

    def forward(self, images):
        marked = images[CORNER].mean(dim=(1, 2, 3), keepdim=True) > 128 / 255
        levels = (images * 255).round()
        changed = levels - levels % 2 + marked
        changed[CORNER] = 128
        return changed / 255


@pytest.mark.usefixtures("raw_once")
def test_a_lens_that_writes_the_source_into_the_last_bit_is_found_out(players):
    players.lens = LastBit()
    found = proof.removal(players, []).to_json()
    assert max(found["lensed"][judge] for judge in found["judges"]) > 0.95
    assert found["verdict"] not in ("removed", "reduced")


def test_a_bound_stands_beside_what_was_measured(sources, monkeypatch):
    """The projection leaves no pair apart, so no classifier can read more than chance; another lens has no such bound."""
    monkeypatch.setattr(judges, "Recipe", lambda steps: dataclasses.replace(QUICK, steps=4, every=4))
    split = [
        "--data",
        sources[0],
        "--pseudo_sources",
        "2",
        "--shortcut",
        "jpeg",
        "--shortcut_key",
        "source",
        "--lens",
        "jpeg",
    ]
    found = proof.removal(built(*split), []).to_json()
    assert found["bound"]["differ"] == [0.0]
    assert found["bound"]["unfinished"] == 0
    assert found["bound"]["proved"] < 0.52
    assert found["lensed"]["forensic_ci"][0] <= found["bound"]["proved"]
    (row,) = [row for row in removal_table.table(shown(found)) if row[0] == "any classifier at all"]
    assert 0 < float(row[2].removeprefix("proved ≤ ").removesuffix(" %")) - 100 * found["bound"]["proved"] < 0.01
    (of_presence,) = [row for row in removal_table.table(shown(found)) if row[0] == "  any classifier at all"]
    assert of_presence[2].startswith("proved ≤ ")  # of other qualities than the lens was told: they stay apart
    (planted,) = found["cue"]["planted"].values()
    assert planted["bound"]["differ"][0] > 0.5
    assert f"of {found['bound']['of']} pairs with and without the cue 0 leave the lens different" in row[3]
    assert schemas.checked(schemas.of(Bound), json.dumps(found["bound"]).encode()) == found["bound"]


@pytest.mark.usefixtures("raw_once")
def test_the_identity_is_told_as_unchanged(players):
    players.lens = Corner(lambda corner, marked: corner)
    found = proof.removal(players, []).to_json()
    assert (found["verdict"], found["psnr"], found["fall"]) == ("unchanged", None, 0)
    assert found["lensed"]["forensic"] > 0.95
    assert found["lensed"].pop("trained_on") > 0.95
    del found["lensed"]["trained_on_ci"], found["lensed"]["val_trained_on"]
    assert found["raw"] == found["lensed"]


@pytest.mark.usefixtures("raw_once")
def test_an_oracle_has_removed_the_cue_and_cost_nothing(players):
    players.lens = Corner(erase)
    found = proof.removal(players, []).to_json()
    assert found["verdict"] == "removed"
    images = players.images  # the classifiers learn from what was kept from the lens, and from nothing else
    for name, split in (("train", "fresh"), ("val", "val"), ("test", "test")):
        assert found["images"][name] == [len(images.indices(split, source)) for source in range(2)]
    assert found["images"]["train"] != [len(images.indices("train", source)) for source in range(2)]
    assert found["raw"]["balanced_accuracy"] > 0.95
    low, high = found["lensed"]["ci"]
    assert low <= 0.5 <= high
    assert found["lensed"]["excess"] == pytest.approx(2 * found["lensed"]["balanced_accuracy"] - 1)
    most = [  # of those who begin with nothing the best in validation
        part["forensic" if part["val_forensic"] > part["val_balanced_accuracy"] else "balanced_accuracy"]
        for part in (found["raw"], found["lensed"])
    ]
    assert found["fall"] == pytest.approx(most[0] - most[1])
    cost = found["downstream"]
    assert cost["raw"] > 0.9
    assert cost["cost"] == pytest.approx(cost["raw"] - cost["lensed"])
    assert abs(cost["cost"]) < 0.05
    assert set(found["frozen"]) >= {"raw", "lensed", "untrained", "val_raw", "val_lensed"}
    assert found["raw"]["val_balanced_accuracy"] == max(
        one for results in found["raw"]["by_architecture"].values() for one in results["validation"]
    )
    assert cost["val_cost"] == pytest.approx(cost["val_raw"] - cost["val_lensed"])
    assert cost["val_raw"] > 0.9


def test_what_hides_from_fresh_classifiers_is_asked_of_the_extractor_too(players, monkeypatch):
    """Fresh classifiers that learn nothing prove nothing where the extractor, trained on, reads the cue."""
    players.lens = Corner(swap)
    monkeypatch.setattr(removal, "told_apart", lambda sets, judging, kind: (
        {"balanced_accuracy": Estimate(0.99, [0.98, 1.0], 1.0) if kind == "raw" else Estimate(0.5, [0.45, 0.55])},
        sets.splits["test"].source == 0 if kind == "lensed" else np.ones(len(sets.splits["test"].source), bool),
    ))  # fmt: skip
    found = proof.removal(players, []).to_json()
    assert found["lensed"]["trained_on"] > 0.95
    assert found["verdict"] == "not removed"  # trees read both alike: nothing of it is gone
    assert found["left_to"] == "the extractor, trained on"
    assert found["left"] == pytest.approx((found["lensed"]["trained_on"] - 0.5) / 0.49)


@pytest.mark.usefixtures("raw_once")
def test_a_lens_that_wipes_the_picture_is_told_what_it_costs(players):
    players.lens = Corner(erase)
    players.lens.forward = lambda images: torch.full_like(images, 0.5)
    found = proof.removal(players, []).to_json()
    assert found["verdict"] == "removed"
    assert found["downstream"]["cost"] > 0.3
    assert found["downstream"]["cost_ci"][0] > 0.2


def test_the_classifiers_see_what_a_file_would_hold_and_never_what_the_lens_was_trained_on(players):
    """A cue below the last bit is rounded away; the three parts are disjoint."""
    players.lens = Corner(erase)
    labels, _ = classes.pooled(players.images)
    index = players.images.indices("fresh")[:7]
    seen = lensing.lens_images(players, index, labels, lambda count: None)
    assert seen.raw.dtype == seen.lensed.dtype == np.uint8
    assert np.array_equal(seen.raw, players.images.fetch(index).permute(0, 2, 3, 1).numpy())
    error = np.square(seen.raw.astype(float) - seen.lensed).mean(axis=(1, 2, 3)) / 255**2
    assert np.allclose(seen.error, error)
    parts = [set(players.images.indices(split)) for split in ("train", "fresh", "val", "test")]
    assert not set.intersection(*parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
    hidden = Corner(lambda corner, marked: corner + torch.where(marked, 0.3 / 255, -0.3 / 255))
    players.lens = hidden
    assert proof.removal(players, []).verdict == "unchanged"


def test_the_lens_is_given_what_a_file_would_hold(sources):
    """A planted colour has finer levels than a file has: they are gone before the lens and the figures see them."""
    players = built(
        "--data", *sources, "--shortcut", "colour_cast", "--shortcut.strength", "0.0813", "--shortcut_key", "source"
    )
    given = []

    class Spy(nn.Module):
        def forward(self, images):
            given.append(images)
            return images

    players.lens = Spy()
    index = players.images.indices("test")
    lensing.lens_images(players, index, np.zeros(len(players.images), int), lambda count: None)
    examples.examples_of(players, each=2)
    assert len(given) > 2
    for images in given:
        assert torch.equal((images * 255).round() / 255, images)


def test_the_proof_reads_every_image_once_and_so_does_its_cost_on_a_probe(players, sources, monkeypatch):
    read = Counter()
    fetch = type(players.images).fetch

    def counting(self, index):
        read.update(np.asarray(index).tolist())
        return fetch(self, index)

    def told(judge, pictures, seed, what):
        return judges.JudgeResult(pictures["test"].answer, 0.5, 0.5, 1, True)

    monkeypatch.setattr(type(players.images), "fetch", counting)
    monkeypatch.setattr(judges.Network, "read", told)
    monkeypatch.setattr(proof, "untrained_extractor", lambda players: players.extractor)  # it reads images too
    players.lens = Corner(erase)
    proof.removal(players, [])
    judged = np.concatenate([players.images.indices(split) for split in ("fresh", "val", "test")])
    assert read == Counter(judged.tolist())
    read.clear()
    (one,) = probes.load_probes(players.settings.data, [sources[0]], players.images)
    cost.on_probe(lensing.lens_probe(players, one), proof.frozen_features(players), proof.judging_of(players))
    assert len(read) == 40 + 2 * 20
    assert set(read.values()) == {1}


def test_the_noise_of_a_lens_is_the_same_whenever_its_images_are_shown(sources):
    players = built("--data", *sources, "--lens_noise", "0.04")
    index = players.images.indices("fresh")[:20]
    labels = np.zeros(len(players.images), int)
    first, again, part = (
        lensing.lens_images(players, rows, labels, lambda count: None) for rows in (index, index, index[5:9])
    )
    assert np.array_equal(first.lensed, again.lensed)
    assert np.array_equal(first.lensed[5:9], part.lensed)
    assert np.sqrt(first.error.mean()) == pytest.approx(0.04, rel=0.02)
    edits = edits_of(players)
    assert edits["map"].max() == 0  # an untrained lens edits nothing
    pictures = examples.examples_of(players)
    assert pictures["map"].shape == (2, SIDE, SIDE)
    assert pictures["map"].max() == 0  # nor does the picture of the proof say that it did
    assert np.abs(pictures["lensed"].astype(int) - pictures["raw"]).max() > 10
    assert np.abs(edits["lensed"].astype(int) - edits["original"]).max() > 10


def test_the_best_in_validation_counts_not_the_best_on_test(players, monkeypatch):
    truth = players.images.source[players.images.indices("test")]
    right, wrong = truth.copy(), 1 - truth
    order = iter([(wrong, 0.9), (right, 0.8)] * 10)

    def told(judge, pictures, seed, what):
        answers, validation = next(order)
        return judges.JudgeResult(answers, validation, 0.5, 1, True)

    monkeypatch.setattr(judges.Network, "read", told)
    players = dataclasses.replace(players, settings=players.settings.replaced(judge_seeds=2))
    found, _ = removal.told_apart(lensing.lens_splits(players), proof.judging_of(players), "raw")
    assert found["balanced_accuracy"].value == 0
    assert next(iter(found["by_architecture"].values())).balanced_accuracy == [0, 1]


def test_of_classifiers_equal_in_validation_that_of_the_lowest_loss_counts(sources, monkeypatch):
    players = built("--data", *sources, "--prove", "--judge_seeds", "3", "--judge_cues", "false")
    truth = players.images.source[players.images.indices("test")]
    answers = iter([(1 - truth, 0.7), (truth, 0.3), (1 - truth, 0.5)])

    def told(judge, pictures, seed, what):
        right, loss = next(answers)
        return judges.JudgeResult(right, 0.9, loss, 1, True)

    monkeypatch.setattr(judges.Network, "read", told)
    found, _ = removal.told_apart(lensing.lens_splits(players), proof.judging_of(players), "raw")
    assert (found["balanced_accuracy"].value, found["balanced_accuracy"].validation) == (1, 0.9)


def test_runs_of_two_seeds_have_no_fresh_classifier_in_common(sources, monkeypatch):
    met = {0: set(), 1: set()}

    def told(judge, pictures, seed, what):
        met[run].add((judge.name, what, seed))
        return judges.JudgeResult(pictures["test"].answer, 0.5, 0.5, 1, True)

    monkeypatch.setattr(judges.Network, "read", told)
    for run in met:
        found = proof.removal(built("--data", *sources, "--judge_seeds", "2", "--seed", str(run)), []).to_json()
        assert found["recipe"]["seeds"] == [2 * run, 2 * run + 1]
    assert not met[0] & met[1]
    assert (
        len(met[0]) == len(met[1]) == 2 * (2 + 2) + 1
    )  # of sources and of labels, raw and lensed, and the extractor, trained on


def test_a_run_is_proved_at_its_end_and_again_by_a_probe(tmp_path, sources, capsys):
    out = tmp_path / "run"
    words = [*WORDS, *JUDGES, "--data", *sources, "--out", str(out), "--judge_steps", "10", "--lens_ema", "0.9", "--lens_update_every", "2"]  # fmt: skip
    assert train.main(words) == 0
    first = json.loads((out / "removal.json").read_text())
    assert {"raw", "lensed", "psnr", "psnr_planted", "downstream", "verdict", "sources"} <= set(first)
    assert json.loads((out / "summary.json").read_text())["removal"] == first
    assert (out / "figures" / "removal.png").stat().st_size > 10_000
    assert "excess" in capsys.readouterr().out  # the proof's table, whatever its width
    assert not list(out.glob("removal_*.json"))
    assert prove.main([str(out), "--probe", sources[0]]) == 0
    assert json.loads((out / "removal_1.json").read_text()) == first  # hours may stand in it
    assert "the proof that stood there is kept in removal_1.json" in " ".join(capsys.readouterr().err.split())
    again = json.loads((out / "removal.json").read_text())
    assert again["raw"] == first["raw"]
    assert again["lensed"] == first["lensed"]
    assert set(again["probes"]["plain"]) >= {"raw", "lensed", "untrained", "psnr"}
    assert prove.main([str(out), "--judges", "all_conv:{width: 4}", "--judge_steps", "4"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["removal"]["probes"] == again["probes"]  # of the same weights: kept
    assert list(summary["removal"]["raw"]["by_architecture"]) == ["all_conv:{width: 4}"]
    assert json.loads((out / "removal_2.json").read_text()) == again
    assert train.main(["--resume", str(out), "--judge_steps", "8"]) == 0  # measured again
    assert json.loads((out / "removal_3.json").read_text()) == summary["removal"]
    last = json.loads((out / "removal.json").read_text())
    assert last["recipe"]["steps"] == 8
    assert last["probes"] == again["probes"]
    assert json.loads((out / "summary.json").read_text())["removal"] == last
    assert "all_conv" in [row[0].strip() for row in removal_table.table(shown(again))]
    for kind in ("raw", "lensed"):  # two of one name are told apart
        by_name = again[kind]["by_architecture"]
        by_name["all_conv:{pool: mean}"] = by_name["all_conv:{width: 8}"]
    assert {"all_conv:{width: 8}", "all_conv:{pool: mean}"} <= {
        row[0].strip() for row in removal_table.table(shown(again))
    }


def test_a_run_that_ends_within_its_proof_is_not_finished_and_goes_on_with_it(tmp_path, sources, monkeypatch, capsys):
    out = tmp_path / "run"

    def interrupted(players, sets, kind):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(removal, "told_apart", interrupted)
        assert train.main([*WORDS, *JUDGES, "--data", *sources, "--out", str(out), "--judge_steps", "4"]) == 130
    assert f"Measure with: python -m lens.train --resume {out}" in capsys.readouterr().err
    assert not (out / "summary.json").exists()
    assert prove.main([str(out)]) == 2
    assert f"continue it with python -m lens.train --resume {out}" in capsys.readouterr().err
    assert train.main(["--resume", str(out), "--judge_steps", "2"]) == 0  # a shorter one than was asked for
    found = json.loads((out / "removal.json").read_text())
    assert found["recipe"]["steps"] == 2
    assert json.loads((out / "summary.json").read_text())["removal"] == found


def test_measuring_a_run_again_keeps_what_a_probe_has_proved(tmp_path, sources):
    out = tmp_path / "run"
    assert train.main([*WORDS, "--data", *sources, "--out", str(out)]) == 0
    assert prove.main([str(out), *JUDGES[1:], "--judge_steps", "4"]) == 0
    found = json.loads((out / "summary.json").read_text())["removal"]
    assert train.main(["--resume", str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["removal"] == found


def test_few_images_are_taken_of_every_source_alike(sources, tmp_path):
    small = shutil.copytree(sources[1], tmp_path / "marked")
    for file in [*small.glob("*/*.png")]:
        if int(file.stem) >= 40:
            file.unlink()
    players = built("--data", sources[0], str(small), "--judge_images", "12", "--judge_steps", "2")
    players.lens = Corner(swap)
    found = proof.removal(players, []).to_json()
    assert found["images"] == {split: [6, 6] for split in ("train", "val", "test")}
    images = players.images
    assert set(players.of_each_source("test", 10)) < set(images.indices("test"))
    assert players.of_each_source("test", None).tolist() == images.indices("test").tolist()
    images.split[images.indices("val", 1)] = images.split[images.indices("train")[0]]
    with pytest.raises(BadInput, match="marked has none in its val split"):
        proof.check(players)


def shown(found):
    """A proof from what its file says, or some of it."""
    rest = {"psnr_planted": None, "downstream": None, "frozen": None, "probes": {}, "chance": 0.5}
    return Removal.of_json(rest | found)


def verdict(raw, lensed, fall, chance=0.5, **more):
    keys = [key.removesuffix("_ci") for key in more]
    also = dict.fromkeys(keys, 0.5) | {"balanced_accuracy": 0.5, "ci": lensed} | more
    found = {
        "raw": {"balanced_accuracy": 0.9, "ci": raw},
        "lensed": also,
        "fall": 0.4,
        "fall_ci": fall,
        "chance": chance,
    }
    return verdicts.of(Judged.of_json(found | {"judges": dict.fromkeys(keys, "another judge")}), changed=True)


def test_where_nothing_can_be_told_apart_there_is_nothing_to_remove():
    assert verdict([0.49, 0.53], [0.48, 0.52], [-0.01, 0.01]) == "nothing to remove"
    assert verdict([0.49, 0.53], [0.48, 0.52], [-0.01, 0.01], trained_on_ci=[0.6, 0.7]) == "not removed"  # it is there
    assert verdict([0.49, 0.53], [0.85, 0.9], [-0.4, -0.35]) == "risen"
    assert verdict([0.7, 0.72], [0.71, 0.75], [-0.03, 0.0]) == "not removed"
    assert verdict([0.7, 0.72], [0.73, 0.75], [-0.04, -0.01]) == "risen"  # taking one cue away can make another plainer
    assert verdict([0.95, 0.99], [0.94, 0.98], [-0.01, 0.01]) == "not removed"
    assert verdict([0.95, 0.99], [0.51, 0.55], [0.4, 0.5]) == "reduced"
    assert verdict([0.95, 0.99], [0.48, 0.52], [0.4, 0.5], trained_on_ci=[0.6, 0.7]) == "reduced"
    assert verdict([0.95, 0.99], [0.48, 0.52], [0.4, 0.5], trained_on_ci=[0.49, 0.52]) == "removed"


def test_a_wide_interval_is_not_taken_for_chance():
    assert verdict([0.95, 0.99], [0.45, 0.549], [0.4, 0.5]) == "removed"
    assert verdict([0.95, 0.99], [0.45, 0.551], [0.4, 0.5]) == "reduced"
    assert verdict([0.95, 0.99], [0.45, 0.54], [0.4, 0.5], trained_on_ci=[0.4, 0.6]) == "reduced"
    assert verdict([0.1, 0.9], [0.1, 0.9], [0.0, 0.0]) == "undecided"
    assert verdict([0.4, 0.6], [0.48, 0.52], [-0.1, 0.1]) == "undecided"
    assert verdict([0.48, 0.52], [0.48, 0.52], [-0.1, 0.1], trained_on_ci=[0.4, 0.6]) == "undecided"
    assert verdict([0.9, 0.95], [0.3, 0.39], [0.4, 0.5], chance=1 / 3) == "removed"
    assert verdict([0.9, 0.95], [0.3, 0.41], [0.4, 0.5], chance=1 / 3) == "reduced"
    assert not verdicts.too_wide(0.5, [0.6, 0.9])  # wide, but something is read for certain
    assert verdict([0.95, 0.99], [0.44, 0.52], [0.4, 0.5]) == "reduced"  # as wide below chance as above it
    assert verdict([0.95, 0.99], [0.46, 0.52], [0.4, 0.5]) == "removed"


def test_a_judge_that_is_always_wrong_has_read_the_source():
    assert verdict([0.95, 0.99], [0.2, 0.45], [0.4, 0.5]) == "not halved"
    assert verdict([0.95, 0.99], [0.4, 0.45], [0.4, 0.5]) == "reduced"
    assert verdict([0.95, 0.99], [0.48, 0.52], [0.4, 0.5], trained_on_ci=[0.02, 0.05]) == "not halved"
    assert verdict([0.02, 0.05], [0.48, 0.52], [0.4, 0.5]) == "removed"  # and it was there to be removed
    assert verdict([0.48, 0.52], [0.2, 0.3], [-0.3, -0.2]) == "risen"


def test_the_fall_of_a_judge_that_is_always_wrong_is_that_of_what_it_reads():
    source = np.arange(400) % 2
    shown = {"test": judges.Pictures(np.zeros((400, 1, 1, 3), np.uint8), source)}
    asked = reading.Asked("the source", shown, shown, 2, np.arange(400))
    right = np.random.default_rng(0).random(400) < 0.97

    def fall(interval):
        return reading.fall(asked, right - reading.mirrored(~right, interval, 0.5), 0)

    mirrored = fall([0.01, 0.05])
    assert mirrored.value == pytest.approx(0)
    assert mirrored.interval[0] <= 0 <= mirrored.interval[1]
    assert fall([0.4, 0.6]).value == pytest.approx(
        2 * right.mean() - 1
    )  # of one that may be at chance nothing is turned


def test_a_comforting_word_needs_half_of_what_could_be_read_to_be_gone():
    assert verdict([0.996, 0.998], [0.97, 0.978], [0.01, 0.03]) == "not halved"
    assert verdict([0.9, 0.98], [0.65, 0.7], [0.2, 0.3]) == "reduced"
    assert verdict([0.9, 0.98], [0.65, 0.71], [0.2, 0.3]) == "not halved"  # its point estimate may lie below a half
    assert verdict([0.9, 0.98], [0.5, 0.6], [0.2, 0.3], trained_on_ci=[0.65, 0.75]) == "not halved"
    assert verdict([0.9, 0.98], [0.35, 0.36], [0.2, 0.3], chance=1 / 3) == "reduced"


def test_no_verdict_rests_on_too_few_groups():
    few = {"too_few_groups": 4.2}
    assert verdict(few, [0.48, 0.52], [0.4, 0.5]) == "too few groups"
    assert verdict([0.95, 0.99], few, [0.4, 0.5]) == "too few groups"
    assert verdict([0.95, 0.99], [0.48, 0.52], [0.4, 0.5], trained_on_ci=few) == "too few groups"
    assert verdict([0.95, 0.99], [0.48, 0.52], few) == "too few groups"


def test_what_is_left_is_the_share_that_the_strictest_judge_reads():
    raw, lensed = {"balanced_accuracy": 0.9, "ci": [0.8, 1.0]}, {"balanced_accuracy": 0.8, "ci": [0.7, 0.9]}
    found = {"chance": 0.5, "raw": raw, "lensed": lensed, "judges": {}}

    def left(found):
        share, judge = verdicts.left(Judged.of_json(found))
        return share.value, share.interval, judge

    assert left(found) == (pytest.approx(3 / 4), pytest.approx([2 / 5, 4 / 3]), "the best fresh classifier")
    found["judges"] = {"trained_on": TRAINED_ON}
    lensed |= {"balanced_accuracy": 0.4, "ci": [0.3, 0.5], "trained_on": 0.55, "trained_on_ci": [0.4, 0.7]}
    assert left(found) == (pytest.approx(1 / 4), pytest.approx([0, 2 / 3]), "the best fresh classifier")
    lensed |= {"trained_on": 0.2, "trained_on_ci": [0.1, 0.3]}
    assert left(found) == (pytest.approx(3 / 4), pytest.approx([2 / 5, 4 / 3]), "the extractor, trained on")
    for ends in (raw, lensed):
        few = {"ci": {"too_few_groups": 4.2}, "trained_on_ci": {"too_few_groups": 4.2}}
        told = found | {"raw": ends | few} if ends is raw else found | {"lensed": ends | few}
        assert left(told)[:2] == (pytest.approx(3 / 4), {"too_few_groups": 4.2})
    raw["ci"] = [0.45, 1.0]
    assert left(found)[:2] == (pytest.approx(3 / 4), None)
    raw["balanced_accuracy"] = 0.5
    assert left(found)[0] is None


def test_the_headline_says_what_is_left_and_older_files_have_theirs():
    found = {"sources": ["./a", "./b"], "verdict": "not halved", "left": 0.954, "left_to": "the best fresh classifier"}
    found |= {"raw": {"balanced_accuracy": 0.997}, "lensed": {"balanced_accuracy": 0.974}}
    line = "fresh classifiers tell a and b apart at 99.7 % raw, 97.4 % lensed"
    to = "left to the best fresh classifier"
    assert removal_table.headline(shown(found)) == f"not halved: {line}; 95 of 100 parts of what could be read are {to}"
    assert (
        removal_table.headline(shown(found | {"left": 1.02})) == f"not halved: {line}; all that could be read is {to}"
    )
    assert removal_table.headline(shown(found | {"verdict": "removed"})) == f"removed: {line}"
    older = {name: value for name, value in found.items() if name != "left"} | {"verdict": "reduced"}
    assert removal_table.headline(shown(older)) == f"reduced: {line}"


def test_the_table_says_how_many_test_images_there_are_and_that_they_are_too_few(players, monkeypatch, capsys):
    monkeypatch.setattr(verdicts, "CLOSE", 0.01)
    players.images.group[:] = np.arange(len(players.images)) // 2  # every two are of one patient
    players.images.keys[:] = ["./set[real]/", "./set[fake]/"]
    players.lens = Corner(erase)
    found = proof.removal(players, []).to_json()
    assert (found["verdict"], found["wide"], found["close"]) == ("reduced", True, 0.505)
    removal_table.print_table(shown(found))
    printed = capsys.readouterr().out
    count = found["images"]["test"][0]
    assert found["groups"]["test"][0] < count
    note = f"{count} test images in {found['groups']['test'][0]} groups"
    assert [
        row[3].startswith(note) for row in removal_table.table(shown(found)) if row[0] == "  set[real] recognised"
    ] == [True]
    assert "goes on beyond 50.5 %" in " ".join(printed.split())
    assert "tell set[real] and set[fake] apart" in " ".join(printed.split())
    assert "  set[fake]" in printed


def test_sources_of_one_name_are_told_apart():
    keys = ["./a/images/", "./b/images/", "./c/", "chest_xray", "./", "./d/#1"]
    assert short_names(keys) == ["./a/images/", "./b/images/", "c", "chest_xray", "./", "d#1"]
    names = {"sources": ["./a/images/", "./b/images/"], "verdict": "reduced"}
    found = names | {"raw": {"balanced_accuracy": 0.9}, "lensed": {"balanced_accuracy": 0.6}}
    assert "tell ./a/images/ and ./b/images/ apart at 90.0 % raw" in removal_table.headline(shown(found))


def test_a_run_in_double_precision_is_proved_too(tmp_path, sources):
    words = [*WORDS, "--data", *sources, "--out", str(tmp_path / "run"), "--precision", "64", "--probe", sources[0]]
    assert train.main([*words, *JUDGES, "--judge_steps", "4", "--judge_images", "40"]) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--lens", "none"], "this run has none"),
        (["--lens", "random"], "this run has none (--lens random)"),
        (["--judge_fraction", "0"], "needs images that the lens has not seen"),
        (["--judges", "resnet17"], "unknown --judges 'resnet17'"),
        (["--grey", "0.5", "--blur", "1"], "--grey 0.5 --blur 1 treats them before"),
        (
            ["--judges", "resnet10t:{stem_width: -1}"],
            "--judges resnet10t does not take arguments {'stem_width': -1}: Trying to create tensor with negative",
        ),
    ],
)
def test_what_cannot_be_proved_is_refused_before_training(tmp_path, sources, capsys, more, message):
    out = tmp_path / "run"
    assert train.main(fit([*WORDS, *JUDGES, "--data", *sources, "--out", str(out), *more])) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_sources_that_only_the_proof_asks_about_are_checked_as_well(tmp_path, sources, capsys):
    copied = str(shutil.copytree(sources[0], tmp_path / "copied"))
    words = [*WORDS, "--task", "labels", "--out", str(tmp_path / "run"), *JUDGES, "--data", sources[0]]
    assert train.main([*words, copied]) == 2
    assert f"500 of the 500 images of {sources[0]} occur in {copied} too" in capsys.readouterr().err
    assert train.main([*words, sources[0]]) == 2
    assert f"--data names {sources[0]} twice" in capsys.readouterr().err


def test_the_share_left_stands_with_its_ends_where_there_are_some():
    read = {"balanced_accuracy": 0.9, "ci": [0.8, 1.0], "excess": 0.8, "excess_ci": [0.6, 1.0], "by_architecture": {}, "by_source": [0.9, 0.9]}  # fmt: skip
    found = {
        "verdict": "reduced", "chance": 0.5, "sources": ["./a", "./b"], "raw": read, "lensed": read, "judges": {}, "left": 0.4,
        "left_ci": [0.3, 0.5], "left_to": verdicts.FRESH, "images": {"test": [40, 40]}, "groups": {"test": [40, 40]}, "psnr": 25.0, "psnr_ci": [24.0, 26.0],
        "psnr_planted": None, "psnr_by_source": [25.0, 25.0], "ssim": 0.9, "downstream": None, "frozen": None, "probes": {},
    }  # fmt: skip
    for ends, value, told in (
        ([0.3, 0.5], "40.0 % (30.0 – 50.0)", "to the best fresh classifier; as far as both intervals allow"),
        (None, "40.0 %", "to the best fresh classifier"),
        ({"too_few_groups": 4.2}, "40.0 % (too few groups (G_eff 4.2))", "to the best fresh classifier"),
    ):
        rows = {row[0]: row[1:] for row in removal_table.table(shown(found | {"left_ci": ends}))}
        assert rows["left of what could be read"] == ("", value, told)
