"""Dataset classification in whole runs: what is trained on, measured, kept apart, recorded and probed."""

import gzip
import json

import numpy as np
import pytest
import torch
import yaml
from pictures import flat, picture, two, write_folder
from tiny import TINY, fit

import lens.players.players
from lens import probe, train
from lens.base.errors import BadInput
from lens.base.ranks import Ranks
from lens.images import batching, data
from lens.images.training_set import training_images
from lens.measuring import pretext, proportions
from lens.measuring.probes import load_probes
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.protocols.lookup import find
from lens.settings.parsing import parse
from lens.settings.stored import of_this_version

QUICK = [*TINY, "--task", "dataset_classification", "--probe_images", "20", "--probe_test_images", "5"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A large and a small folder of two classes; the second is darker below."""
    place = tmp_path_factory.mktemp("sources")
    large, small = write_folder(place / "large", 100), place / "small"
    rng = np.random.default_rng(7)
    for label in range(2):
        (small / f"class{label}").mkdir(parents=True)
        for i in range(30):
            image = picture(rng, label)
            image.paste((0, 0, 0), (0, 30, 48, 40))
            image.save(small / f"class{label}" / f"{i:03d}.png")
    return [str(large), str(small)]


def built(words):
    parsed = parse(words, "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return build(parsed, training_images(parsed.settings), fabric, Ranks(fabric))


def test_a_run_records_who_was_asked_and_what_was_kept_apart(tmp_path, sources):
    out = tmp_path / "r"
    assert train.main([*QUICK, "--data", *sources, "--out", str(out)]) == 0
    settings = yaml.safe_load((out / "settings.yaml").read_text())
    assert (settings["objective"], settings["judge_fraction"], settings["pseudo_sources"]) == ("uniform", None, None)
    lines = [json.loads(line) for line in gzip.decompress((out / "splits.jsonl.gz").read_bytes()).splitlines()]
    kept = [line["split"] for line in lines].count("fresh") / sum(line["split"] in ("train", "fresh") for line in lines)
    assert kept == pytest.approx(0.5, abs=0.12)
    assert json.loads((out / "duplicates.json").read_text()) == []
    found = json.loads((out / "summary.json").read_text())
    assert found["pretext"]["chance"] == 0.5
    assert found["pretext"]["images"] == sum(line["split"] == "test" for line in lines)
    assert set(found["downstream"]) == {"large", "small"}
    assert probe.main([str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["pretext"] == found["pretext"]
    assert train.main(["--resume", str(out), "--steps", "8"]) == 0


def test_other_tasks_seek_no_copies_and_keep_nothing_fresh(tmp_path, sources):
    out = tmp_path / "r"
    assert train.main([*TINY, "--steps", "1", "--test_images", "4", "--data", *sources, "--out", str(out)]) == 0
    assert not (out / "duplicates.json").exists()
    assert "fresh" not in gzip.decompress((out / "splits.jsonl.gz").read_bytes()).decode()


def test_copies_are_listed_in_the_run(tmp_path, capsys):
    out = tmp_path / "r"
    keys = [str(folder) for folder in two(tmp_path)]
    assert train.main([*QUICK, "--steps", "1", "--data", *keys, "--out", str(out)]) == 0
    listed = json.loads((out / "duplicates.json").read_text())
    assert [pair["first"]["name"] for pair in listed] == [f"{i:03d}.png" for i in range(4)]
    assert "4 pairs of near-duplicates across sources ('000.png' of" in capsys.readouterr().err


def test_measurements_are_means_over_the_sources(sources):
    players = built([*QUICK, "--data", *sources, "--val_images", "9"])
    index = players.held_out("test")
    assert index.tolist() == players.images.indices("test").tolist()
    result = pretext.measured(players, index, with_ssim=False)
    source = players.images.source[index]
    sizes = np.bincount(source)
    assert sizes[0] > 2 * sizes[1]
    # An untrained network answers alike for all: give it answers that differ by source.
    rng = np.random.default_rng(0)
    result.score = {"raw": (rng.random(len(index)) < np.where(source, 0.9, 0.2)).astype(float)}
    result.score |= {"lensed": (rng.random(len(index)) < 0.5).astype(float), "clean": result.score["raw"]}
    result.loss = {kind: rng.random(len(index)) + source for kind in result.loss}
    found = pretext.summary(result, 0)
    mean = {kind: sum(result.score[kind][source == k].mean() for k in (0, 1)) / 2 for kind in result.score}
    assert found.raw.value == pytest.approx(mean["raw"])
    assert found.raw.value != pytest.approx(result.score["raw"].mean(), abs=0.02)
    assert found.gap.value == pytest.approx(mean["raw"] - mean["lensed"])
    assert found.loss["raw"] == pytest.approx(sum(result.loss["raw"][source == k].mean() for k in (0, 1)) / 2)
    # Each image weighted by n / (K · n_k), as one would by hand.
    weight = len(index) / (2 * sizes[source])
    assert found.raw.value == pytest.approx((weight * result.score["raw"]).sum() / weight.sum())
    assert (
        found.raw.interval
        == proportions.balanced_accuracy(result.score["raw"], np.ones(len(index)), source, result.group)[1]
    )
    low, high = found.gap.interval
    assert low < found.gap.value < high
    assert found.chance == 0.5


def test_a_validation_sees_equal_parts_of_all_sources(sources):
    for limit, each in ((9, 4), (1, 1), (2, 1)):
        players = built([*QUICK, "--data", *sources, "--val_images", str(limit)])
        index = players.held_out("val")
        assert np.bincount(players.images.source[index]).tolist() == [each, each]
        assert (players.images.split[index] == "val").all()
        assert index.tolist() == players.held_out("val").tolist() == sorted(set(index.tolist()))
    rotation = built([*TINY, "--data", *sources, "--val_images", "9"])
    assert rotation.held_out("val").tolist() == data.sample_of(rotation.images.indices("val"), 9, 0, "val").tolist()


def test_statistics_are_re_estimated_on_equal_parts(sources, monkeypatch):
    monkeypatch.setattr(lens.players.players, "STATISTICS_BATCHES", 1)
    players = built([*QUICK, "--data", *sources, "--feed", "lensed"])
    seen = []
    gather = batching.gather
    monkeypatch.setattr(
        batching, "gather", lambda images, index, *rest: seen.append(index) or gather(images, index, *rest)
    )
    players.reestimate_statistics(players.extractor)
    count = np.bincount(players.images.source[np.concatenate(seen)])
    assert count.sum() == 64
    assert abs(count[0] - count[1]) < 20  # the sources are 10 to 3


def test_training_is_in_equal_parts(tmp_path, sources, monkeypatch):
    asked = []
    real = batching.training_batches

    def spy(*args, **how):
        for batch in real(*args, **how):
            asked.append(batch.source)
            yield batch

    monkeypatch.setattr(batching, "training_batches", spy)
    argv = fit([*QUICK, "--data", *sources, "--batch_size", "16", "--steps", "15", "--lens", "none"])
    assert train.main([*argv, "--out", str(tmp_path / "r")]) == 0
    share = torch.cat(asked).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.06)


def test_the_sources_are_learnt(tmp_path, sources):
    argv = fit([*QUICK, "--data", *sources, "--lens", "none", "--steps", "40", "--lr", "3e-3", "--batch_size", "16"])
    assert train.main([*argv, "--val_every", "40", "--augment", "none", "--out", str(tmp_path / "r")]) == 0
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["pretext"]["raw"] > 0.9


# --- pseudo-sources --------------------------------------------------------------------------------------------------


def test_pseudo_sources_are_asked_about_and_the_one_source_is_probed(tmp_path, sources):
    out = tmp_path / "r"
    argv = [
        *QUICK,
        "--data",
        sources[0],
        "--pseudo_sources",
        "3",
        "--shortcut",
        "colour_cast",
        "--shortcut_key",
        "source",
    ]
    assert train.main([*argv, "--probe_images", "30", "--out", str(out)]) == 0
    found = json.loads((out / "summary.json").read_text())
    assert found["pretext"]["chance"] == pytest.approx(1 / 3)
    assert list(found["downstream"]) == ["large"]
    assert found["downstream"]["large"]["n_train"] == 30
    assert found["downstream"]["large"]["source"] == sources[0]
    assert not (out / "duplicates.json").exists()
    assert yaml.safe_load((out / "settings.yaml").read_text())["objective"] == "least_likely"
    assert probe.main([str(out)]) == 0


def test_a_probe_of_a_source_that_is_cut_is_about_all_of_it(sources):
    settings = parse([*QUICK, "--data", sources[0], "--pseudo_sources", "2"], "lens.train").settings
    images = training_images(settings)
    for keys in ([], [sources[0]]):
        (one,) = load_probes(settings.data, keys, images)
        assert (one.key, one.source) == (sources[0], 0)
        assert one.images.indices("test", 0).tolist() == images.indices("test").tolist()
        assert one.images.indices("train", 0).tolist() == images.indices("train").tolist()
        assert set(images.split[one.images.indices("train", 0)]) == {"train"}


def test_the_cue_of_a_pseudo_source_is_its_own(sources):
    words = [
        *QUICK,
        "--data",
        sources[0],
        "--pseudo_sources",
        "3",
        "--shortcut",
        "colour_cast",
        "--shortcut_key",
        "source",
    ]
    players = built(words)
    images = players.images
    index = np.concatenate([images.indices("test", source)[:4] for source in range(3)])
    batch = batching.gather(images, index, -1)
    clean, _, _ = players.views(batch, training=False, planted=False)
    planted, question, carriers = players.views(batch, training=False)
    assert question["target"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert carriers.tolist() == [False] * 4 + [True] * 8
    change = (planted - clean).mean(dim=(2, 3))
    assert change[:4].abs().max() == 0
    assert (change[4:8] - change[8:]).abs().max() > 0.02


@pytest.mark.parametrize(
    ("words", "adversary"),
    [
        (["--pseudo_sources", "2"], "uniform"),
        (["--pseudo_sources", "3"], "least_likely"),
        (["--pseudo_sources", "2", "--task", "rotation"], "least_likely"),
    ],
)
def test_two_pseudo_sources_are_two_sources_to_the_lens(words, adversary):
    assert parse(["--task", "dataset_classification", *words], "lens.train").settings.game.objective == adversary


def test_one_source_is_no_question():
    with pytest.raises(
        BadInput, match=r"--data names one, chest_xray: give two or more, or cut it with --pseudo_sources 2"
    ):
        parse(["--task", "dataset_classification"], "lens.train")


def test_a_run_of_an_earlier_version_has_neither_parts(tmp_path):
    stored = parse(["--task", "dataset_classification", "--pseudo_sources", "2"], "lens.train").plain
    assert of_this_version(dict(stored), "0.2.0", tmp_path) == stored
    stored = parse(["--task", "dataset_classification", "--data", "./a", "./b"], "lens.train").plain
    for key in ("pseudo_sources", "judge_fraction", "group_by", "lens_noise", "lens_update_every", "judges"):
        del stored[key]
    read = of_this_version(dict(stored), "0.2.0", tmp_path)
    assert read["pseudo_sources"] is None
    # What the task prefers today is not what a run did that knew nothing of it.
    assert (read["lens_noise"], read["lens_update_every"], read["judges"]) == (0, 1, [])
    assert read["extractor"] == "all_conv"


def test_groups_count_as_one_draw_and_probes_of_other_data_need_no_match(tmp_path, sources, capsys):
    words = [*TINY, "--data", *sources, "--group_by", r"0(?=\d\d\.png)|^a"]
    settings = parse(words, "lens.train").settings
    images = training_images(settings)
    assert images.grouped == 260
    other = flat(tmp_path / "p" / "class0", [picture(np.random.default_rng(i), 0) for i in range(30)]).parent
    flat(other / "class1", [picture(np.random.default_rng(i), 1) for i in range(30)])
    for file in other.rglob("0*.png"):
        file.rename(file.with_name("x" + file.name.lstrip("0")))
    (found,) = load_probes(settings.data, [str(other)], images)
    assert found.images.grouped == 0


def test_the_task_is_told_by_its_file_too(tmp_path, sources):
    file = tmp_path / "whose.py"
    file.write_text(
        "import dataclasses\nfrom lens.tasks._classes import OfData\n"
        "@dataclasses.dataclass(frozen=True)\nclass Whose(OfData):\n    answer = 'source'\n"
    )
    settings = parse([*TINY, "--task", str(file), "--data", *sources], "lens.train").settings
    assert settings.game.objective == "uniform"
    assert len(training_images(settings).indices("fresh")) > 0
    assert find("task", str(file)).answer == "source"
