"""What cannot train is refused before there is a run, and trying it leaves no trace in the players."""

import copy

import pytest
import torch
from tiny import LAYERED, fit

from lens import train
from lens.base.errors import BadInput
from lens.images import batching
from lens.images.training_set import training_images
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.settings.parsing import parse
from lens.training.rehearsal import rehearse
from lens.training.trainer import Trainer


def players(photos, *words):
    parsed = parse(fit([*LAYERED, "--data", str(photos), *words]), "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return build(parsed, training_images(parsed.settings), fabric)


LABELS = ("--task", "labels", "--lens", "full_res")
AT_ONE_PIXEL = ("--extractor", "resnet18")
"""Of 32 px its last layers see one."""


def test_a_batch_of_one_is_one_line_and_leaves_no_directory(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*LABELS, *AT_ONE_PIXEL, "--batch_size", "1", "--out", "run"]
    assert train.main([*LAYERED, "--data", str(photos), *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        "lens: error: --batch_size 1 shows the extractor 1 picture at a time, and at --image_size 32 one of its norms has a "
        "single value a channel then: give --batch_size 2 or more, or a larger --image_size"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--batch_size", "4", "--grad_accum_steps", "4"], r"--batch_size 4 among --grad_accum_steps 4 shows .* give --batch_size 8"),
        (["--batch_size", "1", "--lens", "none"], r"shows the extractor 1 picture .* give --batch_size 2"),
        (["--batch_size", "1", "--lens", "random"], r"shows the extractor 1 picture"),
        (["--batch_size", "1", "--feed", "lensed"], r"shows the extractor 1 picture"),
        (["--batch_size", "1", "--extractor", "all_conv", "--lens.depth", "5",
          "--lens", "unet", "--lens.encoder", "tu-tf_mobilenetv3_small_minimal_100"], r"shows the lens 1 picture"),
    ],
)  # fmt: skip
def test_every_way_to_a_single_value_is_refused(photos, words, expected):
    with pytest.raises(BadInput, match=expected):
        rehearse(players(photos, *LABELS, *AT_ONE_PIXEL, *words))


@pytest.mark.parametrize(
    "words",
    [
        [*LABELS, *AT_ONE_PIXEL, "--batch_size", "2"],
        [*LABELS, *AT_ONE_PIXEL, "--batch_size", "1", "--batch_norm", "joint"],  # raw and lensed together are two
        [*LABELS, *AT_ONE_PIXEL, "--batch_size", "1", "--image_size", "64", "--cache_image_size", "64"],
        ["--task", "rotation", "--batch_size", "1"],  # four views
        [*LABELS, *AT_ONE_PIXEL, "--batch_size", "4", "--grad_accum_steps", "2"],
    ],
)
def test_what_can_train_is_let_pass(photos, words):
    rehearse(players(photos, *words))


@pytest.mark.parametrize("lens", ["full_res", "fgsm", "none"])
def test_the_players_and_the_random_numbers_stay_as_they_are(photos, lens):
    made = players(photos, "--lens", lens)
    parts = [made.extractor, *([made.lens] if isinstance(made.lens, torch.nn.Module) else [])]
    before = copy.deepcopy([part.state_dict() for part in parts])
    modes = [[module.training for module in part.modules()] for part in parts]
    state = torch.get_rng_state()
    rehearse(made)
    assert (torch.get_rng_state() == state).all()
    assert modes == [[module.training for module in part.modules()] for part in parts]
    for part, then in zip(parts, before, strict=True):
        assert all((value == then[name]).all() for name, value in part.state_dict().items())
        assert all(parameter.grad is None for parameter in part.parameters())


def test_other_failures_keep_their_traceback(photos, monkeypatch):
    made = players(photos)
    monkeypatch.setattr(type(made.task), "present", lambda *given: (_ for _ in ()).throw(ValueError("a fault of ours")))
    with pytest.raises(ValueError, match="a fault of ours") as found:
        rehearse(made)
    assert not isinstance(found.value, BadInput)


def test_shuffled_answers_need_another_image_in_each_process(photos):
    made = players(photos, "--shuffle_labels", "--batch_size", "2")
    made.ranks.world = 2
    with pytest.raises(BadInput, match=r"each of 2 processes has 1: give --batch_size 4 or more"):
        rehearse(made)


def test_a_step_is_the_same_to_the_last_bit(photos):
    found = []
    for rehearsed in (True, False):
        made = players(photos)
        if rehearsed:
            rehearse(made)
        (batch,) = batching.training_batches(made.images, 4, 0, 0, 1, 0)
        trainer = Trainer(made, 2)
        losses = trainer.train_step(batch).parts()
        weights = [*made.extractor.state_dict().values(), *made.lens.state_dict().values()]
        found.append([*losses.values(), *weights])
    assert all((one == other).all() for one, other in zip(*found, strict=True))
