"""Measuring costs what it is worth: every image is fetched, lensed and read once, and the table says how many were."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pictures import write_folder
from tiny import SUMMARY, TINY

from lens import train
from lens.base.phases import Phases
from lens.base.ranks import Ranks
from lens.figures import summary_table
from lens.images.training_set import training_images
from lens.measuring import downstream, evaluate, features, pretext, reconstruction
from lens.measuring.edits import Edits, edits_of, squared_edits
from lens.measuring.probes import load_probes
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.results.figure import Estimate
from lens.results.summary import Summary
from lens.settings.parsing import parse
from lens.training.trainer import Trainer


def built(photos, *words):
    parsed = parse([*TINY, "--data", str(photos), *words], "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return build(parsed, training_images(parsed.settings), fabric, Ranks(fabric))


def painted(players):
    """Their lens with a last layer that is no longer zero: it edits."""
    with torch.no_grad():
        players.lens.unet.last.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    return players


@pytest.fixture
def players(photos):
    words = ("--extractor", "test_resnet", "--shortcut", "arrow", "--lens_noise", "0.02", "--target_psnr", "20")
    return painted(built(photos, *words))


def test_every_image_is_fetched_once_for_each_question_and_lensed_once(players, monkeypatch):
    fetched, lensed = Counter(), Counter()
    fetch, edit = type(players.images).fetch, players.lens.unet.forward

    def counting(self, index):
        fetched.update(np.asarray(index).tolist())
        return fetch(self, index)

    def editing(views):
        lensed["views"] += len(views)
        return edit(views)

    monkeypatch.setattr(type(players.images), "fetch", counting)
    monkeypatch.setattr(players.lens.unet, "forward", editing)
    monkeypatch.setattr(downstream, "untrained_extractor", lambda players: players.extractor)  # it reads images too
    test = players.images.indices("test").tolist()
    edits = Edits(players, players.held_out("test"))
    probes = load_probes(players.settings.data, [], players.images)
    evaluate.everything(players, probes, layer=["all"], edits=edits)
    assert lensed["views"] == 4 * len(test)
    assert {fetched[image] for image in test} == {2}  # for the task, and for the features
    assert {fetched[image] for image in players.images.indices("train").tolist()} == {1}


def test_the_sum_of_squared_edits_keeps_what_is_small_beside_what_is_large():
    images = torch.zeros(1001, 3, 2, 2)
    lensed = images.clone()
    lensed[0], lensed[1:] = 1.0, 1e-4
    assert squared_edits(images, lensed).numpy() == pytest.approx(np.full((2, 2), 1 + 1000 * 1e-8), rel=1e-10)


def test_the_edits_collected_on_the_way_are_those_that_the_lens_makes_of_first_views(players):
    collected = Edits(players, players.held_out("test"))
    pretext.measured(players, players.held_out("test"), edits=collected)
    found, alone = collected.arrays(), edits_of(players)
    assert found.keys() == alone.keys()
    for name in found:
        assert np.array_equal(found[name], alone[name]) or np.allclose(found[name], alone[name], atol=1e-6), name
    # Slowly, from their definition: the upright planted picture, edited without noise, at 8 bits.
    index = players.images.indices("test")
    total = 0
    for image in index:
        (batch,) = players.batches(np.array([image]), 1)
        views, _, _ = players.views(batch, training=False)
        with torch.no_grad():
            edited = (players.lens(views[:1]).clamp(0, 1) * 255).round() / 255
        total = total + (edited - views[:1]).square().mean(dim=1)[0].double()
    assert np.allclose(found["map"], (total / len(index)).numpy(), atol=1e-8)
    assert found["map"].max() > 1e-5
    assert np.abs(found["lensed"].astype(int) - found["original"]).std() > 3  # the pictures have the noise


def test_the_psnr_is_over_every_view_and_the_planted_one_over_those_with_the_cue(photos, tmp_path):
    """Slowly, from their definitions, where half of the sources carry the cue; and without any, or in all of them."""
    many = write_folder(tmp_path / "photos", 120)  # of fewer than ten with the cue there is no interval
    words = ("--shortcut", "arrow", "--pseudo_sources", "2", "--shortcut_key")
    players = painted(built(many, *words, "source"))
    index = players.held_out("test")
    found = reconstruction.summary(pretext.measured(players, index), 0)
    errors, carries = [], []
    for image in index:
        (batch,) = players.batches(np.array([image]), 1)
        views, question, carried = players.views(batch, training=False)
        with torch.no_grad():
            lensed = (players.lensed(views, question, players.draws(batch)) * 255).round() / 255
        errors += (lensed - views).square().mean(dim=(1, 2, 3)).double().tolist()
        carries += carried.tolist()
    errors, carries = np.array(errors), np.array(carries)
    assert 0 < carries.sum() < len(carries)
    for which, mse in (("", errors.mean()), ("_planted", errors[carries].mean())):
        assert getattr(found, f"mse{which}").value == pytest.approx(mse)
        psnr = getattr(found, f"psnr{which}")
        assert psnr.value == pytest.approx(-10 * np.log10(mse))
        low, high = psnr.interval
        assert low <= psnr.value <= high
    assert found.psnr.value != pytest.approx(found.psnr_planted.value, abs=1e-3)
    everywhere = painted(built(photos, "--shortcut", "arrow"))
    every = reconstruction.summary(pretext.measured(everywhere, everywhere.held_out("test")), 0)
    assert every.psnr == every.psnr_planted
    plain = painted(built(photos))
    none = reconstruction.summary(pretext.measured(plain, plain.held_out("test")), 0)
    assert none.psnr.value > 0
    assert none.psnr_planted == none.mse_planted == Estimate(None)


def test_the_last_validation_says_what_the_lens_changed_as_the_test_does(tmp_path):
    """Every figure of a lens has its twin to choose by; of steps before the last one the costly ones are left out."""
    many = write_folder(tmp_path / "photos", 120)
    players = painted(built(many, "--shortcut", "arrow", "--pseudo_sources", "2", "--shortcut_key", "source"))
    lines = []
    run = SimpleNamespace(log=lines.append, folder=lambda name: tmp_path)
    trainer = Trainer(players, 2)
    for trainer.step in (1, 2):
        trainer.evaluate(run)
    assert not {"ssim", "psnr_planted"} & lines[0].keys()
    index = players.held_out("val")
    wanted = reconstruction.summary(pretext.measured(players, index), 0)
    found = pretext.validation(players, lines, 2)
    for name in ("psnr", "psnr_planted", "ssim"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name).value), name
    assert found.psnr != pytest.approx(found.psnr_planted, abs=1e-3)


def test_a_table_shows_the_planted_psnr_where_it_is_another():
    changed = {"psnr": 25.0, "psnr_ci": [24.0, 26.0], "psnr_planted": 22.0, "psnr_planted_ci": [21.0, 23.0]}

    def table(found):
        return summary_table.table(Summary.of_json(SUMMARY | {"reconstruction": found}))

    rows = {row[0]: row[1] for row in table(changed)}
    assert (rows["PSNR of the lens"], rows["PSNR of the lens, planted"]) == ("25.00 dB", "22.00 dB")
    alike = changed | {"psnr_planted": 25.0}
    assert "PSNR of the lens, planted" not in {row[0] for row in table(alike)}


def test_readers_of_one_pass_read_what_each_alone_would(players):
    index = players.images.indices("train")
    other = downstream.untrained_extractor(players)
    readers = {"a": features.of_extractor(players, players.extractor), "b": features.of_extractor(players, other)}
    together = features.read(players, readers | {"pixels": features.pixels}, players.images, index)
    for name, reader in readers.items():
        alone = features.read(players, {"": reader}, players.images, index)[""]
        assert np.array_equal(together[name], alone)
    assert not np.array_equal(together["a"], together["b"])
    assert together["pixels"].shape == (len(index), 432)


def test_with_lensed_images_only_the_other_statistics_are_asked_in_the_same_pass(photos):
    players = painted(built(photos, "--feed", "lensed", "--shortcut", "arrow"))
    index = players.held_out("test")
    with torch.no_grad():  # two sets that differ
        for norm in players.extractor.lensed_statistics:
            norm.running_var.mul_(3)
            norm.running_mean.add_(0.1)
    found = pretext.measured(players, index, other_statistics=True)
    summary = pretext.summary(found, 0)
    assert set(summary.loss) == {"raw", "lensed", "clean"}
    with players.extractor.statistics(True):
        slow = pretext.measured(players, index)
    for kind in ("raw", "clean"):
        assert np.array_equal(found.score[kind + pretext.OTHER], slow.score[kind])
        assert np.allclose(found.loss[kind + pretext.OTHER], slow.loss[kind])
        assert getattr(summary.lensed_statistics, kind).value == slow.mean(slow.score[kind], slow.count)
    assert not np.allclose(found.loss["raw"], found.loss["raw" + pretext.OTHER])
    readers = {own: features.of_extractor(players, players.extractor, own) for own in (False, True)}
    both = features.read(players, readers, players.images, index)
    with players.extractor.statistics(True):
        swapped = features.read(players, {"": readers[False]}, players.images, index)[""]
    assert np.array_equal(both[True], swapped)
    assert not np.allclose(both[False], both[True])


def test_the_summary_holds_the_seconds_of_every_phase_and_the_table_says_of_how_many_images(photos, tmp_path, capsys):
    words = ["--data", str(photos), "--test_images", "4", "--probe_images", "12", "--probe_test_images", "6"]
    assert train.main([*TINY, *words, "--out", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    told = {
        "starting",
        "reading images",
        "building",
        "training",
        "validating",
        "saving",
        "asking the task",
        "features",
        "probes",
        "drawing",
    }
    assert set(summary["phases"]) == told
    assert all(seconds >= 0 for seconds in summary["phases"].values())
    assert summary["phases"]["training"] == pytest.approx(summary["seconds"], abs=0.01)
    (probe,) = summary["downstream"].values()
    assert (probe["n_train"], probe["n_test"], summary["pretext"]["images"]) == (12, 6, 4)
    cells = " ".join(cell for row in summary_table.table(Summary.of_json(summary)) for cell in row)
    assert f"4 of {summary['pretext']['of_images']} images" in cells
    assert f"12 of {probe['n_train_of']} train, 6 of {probe['n_test_of']} test" in cells
    shown = capsys.readouterr()
    assert "seconds in all" in shown.out
    for title in ("training 6/6", "asking the task 4/4", "features 24/24", "fitting probes 6/6"):
        assert title in shown.err


@pytest.mark.parametrize("theirs", ["free", "keep"])
def test_a_lens_that_was_trained_to_do_otherwise_with_grey_is_told(photos, tmp_path, capsys, theirs):
    assert (
        train.main([*TINY, "--steps", "1", "--lens_grey", theirs, "--data", str(photos), "--out", str(tmp_path / "r")])
        == 0
    )
    capsys.readouterr()
    built(photos, "--lens_weights", str(tmp_path / "r" / "lens.safetensors"))
    assert ("was trained with --lens_grey free and this run has keep" in capsys.readouterr().err) == (theirs == "free")


def test_phases_add_up_and_keep_their_order():
    phases = Phases()
    with pytest.raises(ValueError, match="broken"), phases.timed("first"):
        raise ValueError("broken")
    with phases.timed("second"):
        pass
    before = dict(phases.seconds)
    with phases.timed("first"):
        pass
    assert list(phases.seconds) == ["first", "second"]
    assert phases.seconds["first"] > before["first"]
