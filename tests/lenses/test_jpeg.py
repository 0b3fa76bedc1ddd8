"""A lens that is told what to do: JPEG until nothing changes, straight through, trained with and measured like any other."""

import json

import pytest
import torch
from pictures import smooth
from tiny import TINY, draws

from lens import train
from lens.lenses.jpeg import JpegProjection
from lens.operations.jpeg import compressed, settled
from lens.players.fixed import FixedLens
from lens.protocols.lens import Lens
from lens.protocols.lookup import find
from lens.settings.parsing import parse
from lens.training.trainer import Trainer

DEPTH = TINY.index("--lens.depth")
QUICK = [*TINY[:DEPTH], *TINY[DEPTH + 2 :]]


def test_a_picture_and_its_compressed_one_come_to_rest_at_the_same_place():
    images = smooth()
    other = compressed(images, torch.full((6,), 40))
    assert not torch.equal(images, other)
    (first, rests), (second, _) = (settled(x, 40, 100) for x in (images, other))
    assert rests.all()
    assert torch.equal(first, second)
    assert torch.equal(compressed(first, torch.full((6,), 40)), first)
    assert not torch.equal(
        settled(other, 60, 100)[0], settled(images, 60, 100)[0]
    )  # another quality is no projection of this


def test_what_has_not_come_to_rest_is_told_image_by_image():
    noise = (torch.rand(4, 3, 32, 32) * 255).round() / 255
    rest = settled(smooth(4), 40, 100)[0]
    mixed = torch.cat([noise, rest])
    found, rests = settled(mixed, 40, 1)
    assert rests.tolist() == [False] * 4 + [True] * 4
    assert torch.equal(found[:4], compressed(noise, torch.full((4,), 40)))
    lens = JpegProjection(quality=40, passes=1)
    once = lens.apply(mixed, draws(8))
    moves = (compressed(once, torch.full((8,), 40)) != once).flatten(1).any(dim=1)
    assert moves.any()
    assert lens.unfinished(once).tolist() == moves.tolist()
    assert not JpegProjection(quality=40).unfinished(JpegProjection(quality=40).apply(mixed, draws(8))).any()


def test_gradients_pass_as_if_it_were_not_there():
    views = smooth(2).requires_grad_()
    lensed = FixedLens(JpegProjection())(views, draws(2))
    assert torch.allclose(lensed, settled(views.detach(), 40, 256)[0], atol=1e-6)
    (lensed * torch.arange(32.0)).sum().backward()
    assert torch.allclose(views.grad, torch.arange(32.0).expand_as(views))


def test_it_trains_is_measured_and_goes_on_like_any_lens(photos, tmp_path, monkeypatch):
    words = [*QUICK, "--data", str(photos), "--lens", "jpeg", "--lens.quality", "30", "--log_every", "2"]
    words += ["--val_every", "4", "--checkpoint_every", "2"]
    assert train.main([*words, "--steps", "4", "--out", str(tmp_path / "whole")]) == 0
    real = Trainer.train_step

    def stop_at_3(trainer, batch):
        if trainer.step == 3:
            raise KeyboardInterrupt
        return real(trainer, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop_at_3)
        assert train.main([*words, "--steps", "4", "--out", str(tmp_path / "parts")]) == 130
    assert train.main(["--resume", str(tmp_path / "parts")]) == 0
    whole, parts = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "parts"))
    assert whole["pretext"] == parts["pretext"]
    assert 20 < whole["reconstruction"]["psnr"] < 45
    assert (whole["lens"], whole["objective"], whole["recon_weight"], whole["match"]) == ("jpeg", None, None, None)
    assert (tmp_path / "whole" / "figures" / "edits.png").exists() or list((tmp_path / "whole" / "figures").iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--target_psnr", "30"], "nobody steers how far"),
        (["--lens_grey", "free"], "nobody steers how far"),
        (["--lens_noise", "0.1"], "no lens is given noise"),
        (["--match_mse", "0.01"], "--match_mse has no meaning with --lens jpeg"),
        (["--lens.quality", "0"], "lens.quality is 0"),
        (["--lens.passes", "0"], "lens.passes is 0"),
        (["--lens.depth", "3"], "no such setting"),
    ],
)
def test_what_has_no_meaning_for_it_is_refused(words, told):
    with pytest.raises(ValueError, match=told):
        parse(["--lens", "jpeg", *words], "lens.train")


def test_a_fixed_lens_of_ones_own_must_say_what_it_does(tmp_path):
    text = "import dataclasses\nfrom lens.protocols.lens import Lens\n\n@dataclasses.dataclass(frozen=True)\nclass Mine(Lens):\n"
    (tmp_path / "mine.py").write_text(text + "    learns = False\n    fixed = True\n")
    with pytest.raises(ValueError, match="Mine lacks apply"):
        find("lens", str(tmp_path / "mine.py"))
    (tmp_path / "own.py").write_text(
        text + "    learns = False\n    fixed = True\n\n    def apply(self, views, draws):\n        return views\n"
    )
    assert find("lens", str(tmp_path / "own.py")).fixed
    assert not any(find("lens", name).fixed for name in ("full_res", "fgsm", "none"))
    assert not Lens.fixed
