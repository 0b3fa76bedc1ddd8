"""How the two players keep pace: who moves when, at which rate, and which lens is kept."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from tiny import TINY

from lens import train
from lens.base.ranks import Ranks
from lens.images import batching
from lens.images.training_set import training_images
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.record.run import Run
from lens.settings.parsing import parse
from lens.training import checkpoint
from lens.training.learner import rate_share
from lens.training.trainer import Trainer

PACED = [
    "--feed",
    "lensed",
    "--lens_update_every",
    "2",
    "--lens_ema",
    "0.8",
    "--lr_schedule",
    "constant",
    "--adam_beta1",
    "0.5",
]


def trainer(photos, *words, steps=6):
    parsed = parse([*TINY, "--data", str(photos), *words], "lens.train")
    settings = parsed.settings
    fabric = make_fabric(settings.machine)
    images = training_images(settings)
    made = Trainer(build(parsed, images, fabric, Ranks(fabric)), steps)
    return made, batching.training_batches(
        images, settings.optimisation.batch_size, settings.optimisation.seed, 0, steps, 0
    )


def copied(module):
    return {name: value.clone() for name, value in module.named_parameters()}


def moved(before, module):
    return any(not torch.equal(before[name], value) for name, value in module.named_parameters())


@pytest.mark.parametrize(
    "words", [["--lens_update_every", "3"], ["--lens_update_every", "3", "--lens_ema", "0.9", "--feed", "lensed"]]
)
def test_the_lens_moves_at_every_third_step_and_the_extractor_at_each(photos, words):
    made, batches = trainer(photos, *words)
    for step, batch in enumerate(batches):
        lens, extractor, weight = copied(made.moving), copied(made.players.extractor), made.steering.weight.clone()
        losses = made.train_step(batch)
        assert moved(extractor, made.players.extractor)
        assert moved(lens, made.moving) == (step % 3 == 2), step
        assert (losses.lens is not None) == (step % 3 == 2)
        assert torch.equal(weight, made.steering.weight) != (step % 3 == 2)


@pytest.mark.parametrize("words", [[], ["--lens_ema", "0.9"]])
def test_a_checkpoint_keeps_the_size_that_the_lens_is_trained_at(photos, tmp_path, words):
    """The file that it began with may be another by the time that the run goes on."""
    made, again = (trainer(photos, *words)[0] for _ in range(2))
    made.players.lens.side = made.moving.side = 24
    run = Run(tmp_path / "run")
    run.create({"task": "rotation"}, "a command")
    checkpoint.save(made, run)
    checkpoint.restore(again, run)
    run.release()
    assert (again.players.lens.side, again.moving.side) == (24, 24)
    views = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        for one in (made, again):
            one.players.lens.unet.last.bias.fill_(0.1)
        assert torch.equal(made.players.lens.eval()(views), again.players.lens.eval()(views))


def test_the_extractor_learns_from_lensed_images_while_the_lens_rests(photos, monkeypatch):
    made, batches = trainer(photos, "--lens_update_every", "2", "--feed", "lensed")
    with torch.no_grad():
        made.players.lens.unet.last.bias.fill_(0.3)
    losses = made.train_step(next(batches))
    assert losses.clamped_mse.item() > 1e-3


def test_both_players_train_on_the_noise_of_the_lens(photos):
    """An untrained lens changes nothing else: σ² is the squared change, whether it moves or rests, in parts or not."""
    for words in (["--lens_update_every", "2"], ["--grad_accum_steps", "2"]):
        made, batches = trainer(photos, "--lens_noise", "0.1", "--target_psnr", "15", *words)
        losses = made.train_step(next(batches))
        assert losses.clamped_mse.item() == pytest.approx(0.01, rel=0.1)


def test_the_lens_that_is_kept_is_the_running_average_of_the_one_that_moves(photos):
    made, batches = trainer(photos, *PACED)
    first = copied(made.moving)
    expected = {name: value.double() for name, value in first.items()}
    moves = 0
    for step, batch in enumerate(batches):
        made.train_step(batch)
        if step % 2:
            moves += 1
            decay = min(0.8, moves / (moves + 9))
            for name, value in made.moving.named_parameters():
                expected[name] = decay * expected[name] + (1 - decay) * value.detach().double()
    kept = dict(made.players.lens.named_parameters())
    for name, value in expected.items():
        assert torch.allclose(kept[name].double(), value, atol=1e-6), name
    assert moved(copied(made.moving), made.players.lens)


def test_a_resumed_run_with_an_average_and_noise_equals_an_uninterrupted_one(tmp_path, photos):
    whole = tmp_path / "whole"
    words = [*PACED, "--lens_noise", "0.02", "--shortcut", "arrow"]
    assert train.main([*TINY, "--data", str(photos), "--out", str(whole), *words]) == 0
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if line["kind"] == "train"]
    assert all("lens" in line for line in training if line["step"] != 3)  # the line of step 3 alone: the lens rested
    assert "lens" not in next(line for line in training if line["step"] == 3)
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoint" / "step-00000006")
    (cut / "summary.json").unlink()
    (cut / "lens.safetensors").unlink()
    assert train.main(["--resume", str(cut)]) == 0
    first, second = (load_file(place / "lens.safetensors") for place in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_constant_rate_rises_and_stays():
    shares = [rate_share(step, 100, 0.1, falls=False) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert set(shares[9:]) == {1.0}


def test_only_the_extractors_rate_is_constant(photos):
    made, batches = trainer(photos, "--lr_schedule", "constant", "--warmup_fraction", "0")
    for batch in batches:
        made.train_step(batch)
    assert made.extractor.rate == made.settings.optimisation.lr
    assert made.lens.rate < 0.3 * made.settings.optimisation.lens_lr
    assert made.lens.optimizer.param_groups[0]["betas"][0] == 0.9


def test_the_momentum_is_both_players(photos):
    made, _ = trainer(photos, "--adam_beta1", "0.5")
    for optimizer in (made.extractor.optimizer, made.lens.optimizer):
        assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)
