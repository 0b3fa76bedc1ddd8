"""Every task in whole runs: each way of training, stops and resumes, the controls."""

import json
import math

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny import TINY, fit

from lens import probe, train
from lens.protocols.lookup import names
from lens.training.trainer import _of_others

QUICK = [*TINY, "--steps", "2", "--test_images", "10", "--probe_images", "20", "--probe_test_images", "5"]
SMALL = {
    "relative_patch": ["--task.embedding", "8", "--task.hidden", "8"],
    "jigsaw": ["--task.embedding", "8", "--task.hidden", "8"],
    "exemplar": ["--task.embedding", "8"],
    "dataset_classification": ["--pseudo_sources", "2", "--judge_fraction", "0"],
}
TASKS = [[name, *SMALL.get(name, [])] for name in names("task") if name != "rotation"]
TASKS.append(["colorization", "--task.target", "bins"])
MODES = [["--batch_norm", "joint"], ["--feed", "lensed"], ["--lens", "fgsm"]]
BY_TASK = [(task, MODES[i % 3]) for i, task in enumerate(TASKS)]
BY_TASK += [(task, ["--batch_norm", "joint", "--grad_accum_steps", "2"]) for task in TASKS if task[0] == "jigsaw"]


def summary(run):
    return json.loads((run / "summary.json").read_text())


@pytest.mark.parametrize(("task", "mode"), BY_TASK, ids=lambda words: "-".join(w.strip("-") for w in words[:2]))
@pytest.mark.pictures
def test_every_task_trains_and_is_measured(tmp_path, photos, task, mode):
    out = tmp_path / "r"
    assert train.main(fit([*QUICK, "--task", *task, *mode, "--data", str(photos), "--out", str(out)])) == 0
    found = summary(out)
    assert found["task"] == task[0]
    assert found["pretext"]["metric"] == "accuracy"
    assert 0 < found["pretext"]["chance"] < 1
    assert set(found["pretext"]["loss"]) == {"raw", "lensed", "clean"}
    for kind in ("raw", "lensed", "gap"):
        ends = found["pretext"][f"{kind}_ci"]
        if task[0] == "dataset_classification":  # at most five test images of each source
            assert 0 < ends["too_few_groups"] <= 5
        else:
            assert ends[0] <= found["pretext"][kind] <= ends[1]
    assert (found["downstream"]["photos"]["n_train"], found["downstream"]["photos"]["n_test"]) == (20, 5)
    settings = yaml.safe_load((out / "settings.yaml").read_text())
    assert (settings["objective"] is None) == (settings["lens"] == "fgsm")


def test_a_stopped_jigsaw_goes_on_to_the_same_weights(tmp_path, photos):
    argv = [*QUICK, "--task", *TASKS[names("task").index("jigsaw")], "--data", str(photos), "--checkpoint_every", "1"]
    assert train.main([*argv, "--steps", "4", "--out", str(tmp_path / "whole")]) == 0
    assert train.main([*argv, "--steps", "4", "--out", str(tmp_path / "parts")]) == 0
    run = tmp_path / "parts"
    for file in run.glob("checkpoint/step-00000004/*"):
        file.unlink()
    (run / "checkpoint" / "step-00000004").rmdir()
    (run / "summary.json").unlink()
    assert train.main(["--resume", str(run)]) == 0
    whole, parts = (load_file(tmp_path / name / "head.safetensors") for name in ("whole", "parts"))
    assert all((whole[key] == parts[key]).all() for key in whole)


def test_shuffled_answers_are_no_answers(tmp_path, photos):
    accuracy = {}
    for shuffled in ("false", "true"):
        out = tmp_path / shuffled
        argv = fit([*TINY, "--task", "labels", "--lens", "none", "--steps", "60", "--lr", "3e-3", "--batch_size", "16"])
        argv += ["--val_every", "60", "--checkpoint_every", "60", "--shuffle_labels", shuffled, "--augment", "none"]
        assert train.main([*argv, "--data", str(photos), "--out", str(out)]) == 0
        accuracy[shuffled] = summary(out)["pretext"]["raw"]
    chance, spread = 7 / 12, math.sqrt(7 / 12 * 5 / 12 / 12)
    assert accuracy["false"] > 0.9
    assert accuracy["true"] < chance + 2.5 * spread


def test_an_answer_of_another_image_knows_nothing_of_its_own():
    torch.manual_seed(0)
    target = torch.arange(5).repeat_interleave(3) * 10 + torch.arange(3).repeat(5)
    drawn = torch.stack([_of_others(target, 5) for _ in range(2000)])
    assert (drawn // 10 != target // 10).all()
    share = torch.stack([(drawn == value).float().mean(dim=0) for value in target.tolist()])
    off = target[:, None] // 10 != target[None] // 10
    assert (share[off] - 1 / 12).abs().max() < 0.03


def test_removal_by_hand_is_part_of_a_run_and_of_its_probe(tmp_path, photos):
    out = tmp_path / "r"
    hand = ["--grey", "0.5", "--colour_jitter", "0.4", "--blur", "1", "--standardise", "true"]
    assert train.main([*QUICK, *hand, "--data", str(photos), "--out", str(out)]) == 0
    before = summary(out)["pretext"]
    assert probe.main([str(out)]) == 0
    assert summary(out)["pretext"] == before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--task", "exemplar", "--objective", "uniform"], "has no least likely answer"),
        (["--task", "exemplar", "--grad_accum_steps", "2"], "--grad_accum_steps 2 and --batch_size 4 do not work"),
        (["--shuffle_labels", "--batch_size", "1"], "--batch_size is 1"),
        (["--task", "jigsaw", "--task.permutations", "600"], "--task.permutations is 600"),
        (["--task", "jigsaw", "--task.gap", "0.9"], "4 px are the least"),
        (["--task", "inpainting", "--task.size", "0.2"], "the hidden square is only 3 px wide"),
        (["--task", "rotation", "--jigsaw.gap", "0.1"], "jigsaw is not selected"),
        (["--task", "rotation", "--task.gap", "0.1"], "--task.gap: what --task names has no such setting and no other"),
        (["--extractor_stem", "stride1", "--extractor", "vit_tiny_patch16_224"], "no root convolution of stride 2"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(tmp_path, photos, capsys, argv, words):
    out = tmp_path / "r"
    assert train.main([*TINY, *argv, "--data", str(photos), "--out", str(out)]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lens: error:")]
    assert len(error) == 1
    assert words in error[0]
    assert not out.exists()
