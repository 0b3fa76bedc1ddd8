"""Rivals of the lens: what they change, that the change is matched, and that only the extractor learns."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from tiny import TINY, fit
from torch.nn import functional

from lens import probe, train
from lens.base.draws import Draws, generator
from lens.players.building import build_extractor
from lens.players.rivals import Rival
from lens.protocols.lookup import find

SIDE = 32
TASK = find("task", "rotation")()


def views(count=4):
    images = torch.rand(count, 3, SIDE, SIDE, generator=generator(0, 0, "images"))
    index = torch.arange(count)
    draws = Draws(0, 0, index, torch.zeros_like(index)).repeat(4)
    return *TASK.pose(images.repeat_interleave(4, dim=0), draws), draws


def random_rival(target_mse):
    return Rival(find("lens", "random")(), target_mse, lambda x, q: x.sum())


def extractor():
    torch.manual_seed(0)
    return build_extractor(TASK, "test_resnet", SIDE, "small", {}, False, False).eval()


def test_fgsm_moves_each_pixel_by_the_sign_of_the_losss_gradient():
    net = extractor()
    posed, question, draws = views()
    changed = Rival(find("lens", "fgsm")(), 1e-3, lambda x, q: TASK.loss(net(TASK.present(x, q)), q).sum())(
        posed, question, draws
    )
    for i in range(len(posed)):  # image by image, from the formula
        x = posed[i : i + 1].clone().requires_grad_()
        functional.cross_entropy(net(x * 2 - 1), question["target"][i : i + 1]).backward()
        expected = (posed[i] + 1e-3**0.5 * x.grad[0].sign()).clamp(0, 1)
        assert ((changed[i] - expected).abs() > 1e-6).float().mean() < 0.002  # a sign may turn where the gradient is 0
    loss = TASK.loss(net(posed * 2 - 1), question).mean()
    assert TASK.loss(net(changed * 2 - 1), question).mean() > loss
    assert not changed.requires_grad


def test_random_augmentation_has_mean_square_one_and_is_drawn_per_view_and_epoch():
    rival = random_rival(4e-3)
    posed, question, draws = views()
    delta = rival.direction(posed, question, draws)
    assert torch.allclose(delta.square().mean(dim=(1, 2, 3)), torch.ones(16), atol=1e-4)
    order = torch.tensor([9, 2, 14])
    some = Draws(0, 0, draws.index[order], draws.view[order])
    assert torch.allclose(rival.direction(posed[order], question, some), delta[order], atol=1e-5)
    later = rival.direction(posed, question, Draws(0, 1, draws.index, draws.view))
    assert (delta * later).mean(dim=(1, 2, 3)).abs().max() < 0.99
    grey = torch.full_like(posed, 0.5)  # no contrast, nothing to blur
    assert torch.isfinite(rival(grey, question, draws)).all()


def test_the_strength_is_steered_to_the_target_in_spite_of_clamping():
    rival = random_rival(0.02)
    posed, question, draws = views(16)
    posed = (posed * 2 - 0.5).clamp(0, 1)  # half of the pixels are black or white
    for _ in range(12):
        mse = (rival(posed, question, draws) - posed).square().mean()
        rival.steer(mse)
    assert mse.item() == pytest.approx(0.02, rel=0.01)


def test_the_attack_leaves_gradients_and_statistics_alone(photos, tmp_path):
    from lens.images import batching
    from lens.images.training_set import training_images
    from lens.players.build import build
    from lens.players.fabric import make_fabric
    from lens.settings.parsing import parse

    parsed = parse(fit([*TINY, "--data", f"{photos}", "--lens", "fgsm"]), "lens.train")
    images = training_images(parsed.settings)
    players = build(parsed, images, make_fabric(parsed.settings.machine))
    players.extractor.train()
    before = {name: value.clone() for name, value in players.extractor.state_dict().items()}
    batch = batching.gather(images, images.indices("train")[:4], 0)
    posed, question, _ = players.views(batch, training=True)
    players.lens(posed, question, players.draws(batch))
    assert players.extractor.training
    assert all(p.grad is None for p in players.extractor.parameters())
    assert all(torch.equal(value, before[name]) for name, value in players.extractor.state_dict().items())


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paired(tmp_path_factory, photos):
    """A lens run that rivals are matched to."""
    out = tmp_path_factory.mktemp("rivals") / "lens"
    words = ["--steps", "12", "--target_psnr", "20", "--lens_lr", "1e-2"]
    assert train.main([*TINY, "--data", f"{photos}", "--out", f"{out}", *words]) == 0
    return out


def run(out, photos, *more):
    return train.main(fit([*TINY, "--data", f"{photos}", "--out", f"{out}", "--steps", "12", *more]))


@pytest.mark.parametrize("adversary", ["fgsm", "random"])
def test_a_rivals_change_meets_a_paired_lens_runs_within_5_percent_on_validation(adversary, paired, photos, tmp_path):
    out = tmp_path / "rival"
    assert run(out, photos, "--lens", adversary, "--match_mse", f"{paired}") == 0
    last = [json.loads(line) for line in (paired / "metrics.jsonl").read_text().splitlines()]
    target = [line["mse"] for line in last if line["kind"] == "val"][-1]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["match"]["target_mse"] == pytest.approx(target)
    assert summary["match"]["ratio"] == pytest.approx(1, abs=0.05)
    # At 8 bits FGSM moves by whole levels, so its error there may be off; random augmentation's is not.
    assert summary["reconstruction"]["mse"] == pytest.approx(target, rel=0.3 if adversary == "fgsm" else 0.1)
    assert summary["recon_weight"] is None
    assert summary["pretext"]["lensed"] is not None
    assert (out / "figures" / "edits.png").exists()
    # What is kept of a rival is its strength: a probe measures the same again.
    assert load_file(out / "lens.safetensors")["strength"].item() == pytest.approx(summary["match"]["strength"])
    hidden = paired.rename(paired.with_name("hidden"))  # the paired run may be gone by then
    try:
        assert probe.main([f"{out}"]) == 0
    finally:
        hidden.rename(paired)
    assert json.loads((out / "summary.json").read_text())["pretext"] == summary["pretext"]


@pytest.mark.parametrize("mode", [["--feed", "lensed"], ["--batch_norm", "joint"], ["--grad_accum_steps", "2"]])
@pytest.mark.parametrize("adversary", ["fgsm", "random"])
def test_a_rival_trains_in_every_mode(adversary, mode, photos, tmp_path):
    assert run(tmp_path / "r", photos, "--lens", adversary, "--match_mse", "0.004", *mode) == 0


def test_a_resumed_rival_ends_as_an_uninterrupted_one(photos, tmp_path):
    from lens.training.trainer import Trainer

    original = Trainer.train_step
    lens = tmp_path / "lens"
    assert run(lens, photos, "--target_psnr", "24") == 0
    more = ("--lens", "fgsm", "--match_mse", f"{lens}")
    assert run(tmp_path / "whole", photos, *more) == 0
    first = fit([*TINY, "--data", f"{photos}", "--out", f"{tmp_path / 'parts'}", "--steps", "12", *more])

    def stop_at_7(self, batch):
        if self.step == 7:
            raise KeyboardInterrupt
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop_at_7)
        assert train.main(first) == 130
    lens.rename(tmp_path / "gone")
    assert train.main(["--resume", f"{tmp_path / 'parts'}"]) == 0
    for name in ("extractor", "head", "lens"):
        a, b = (load_file(tmp_path / part / f"{name}.safetensors") for part in ("whole", "parts"))
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--match_mse", "0.01"], "no meaning with --lens full_res"),
        (["--lens", "fgsm", "--match_mse", "nowhere"], "no run directory"),
        (["--lens", "fgsm", "--match_mse", "-1"], "--match_mse is -1"),
        (["--lens", "fgsm", "--match_mse", "0.01", "--target_psnr", "20"], "contradict"),
        (["--lens", "random", "--recon_weight", "3"], "--match_mse"),
        (
            ["--lens", "random", "--lens_weights", "x.safetensors"],
            "--lens_weights would be ignored: with --lens random",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(argv, message, photos, tmp_path, capsys):
    assert run(tmp_path / "r", photos, *argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_rival_held_to_a_psnr_is_probed(photos, tmp_path):
    assert run(tmp_path / "r", photos, "--lens", "random", "--target_psnr", "22") == 0
    assert probe.main([f"{tmp_path / 'r'}"]) == 0


def test_a_run_that_is_no_pair_is_refused(paired, photos, tmp_path, capsys):
    assert run(tmp_path / "a", photos, "--lens", "random", "--match_mse", f"{paired}", "--seed", "1") == 2
    assert "its seed is 0 and here it is 1" in capsys.readouterr().err
    table = shutil.copytree(paired, tmp_path / "table")  # a lens run on another column of images
    text = (table / "settings.yaml").read_text()
    (table / "settings.yaml").write_text(text.replace("image_column: null", "image_column: masked"))
    assert run(tmp_path / "c", photos, "--lens", "fgsm", "--match_mse", f"{table}") == 2
    assert "its image_column is 'masked' and here it is None" in capsys.readouterr().err
    assert run(tmp_path / "none", photos, "--lens", "none") == 0
    capsys.readouterr()
    assert run(tmp_path / "g", photos, "--lens", "random", "--match_mse", f"{paired}", "--grey", "1") == 2
    assert "its grey is None and here it is 1.0" in capsys.readouterr().err
    assert run(tmp_path / "b", photos, "--lens", "random", "--match_mse", f"{tmp_path / 'none'}") == 2
    assert "has no lens" in capsys.readouterr().err
