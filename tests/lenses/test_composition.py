"""Several lenses one after the other: in their order, one of them learning, its gradient through what stands after it."""

import functools
import json
from pathlib import Path

import pytest
import torch
import yaml
from pictures import smooth
from tiny import TINY, draws

from lens import train
from lens.base.errors import BadInput
from lens.lenses.border import Border
from lens.lenses.clamp import Clamp
from lens.lenses.downsample import Downsample
from lens.lenses.full_res import FullResolution
from lens.lenses.jpeg import JpegProjection
from lens.operations import quality
from lens.operations.jpeg import settled
from lens.players.fixed import FixedLens
from lens.players.lens import LearnedLens
from lens.protocols.lookup import find, key_name, settings_of
from lens.settings.parsing import parse
from lens.tasks.rotation import Rotation
from lens.training.step import Game, Player, Rules, adversarial_step

DEPTH = TINY.index("--lens.depth")
QUICK = [*TINY[:DEPTH], *TINY[DEPTH + 2 :], "--log_every", "2", "--val_every", "2", "--checkpoint_every", "2"]
BOTH = ["--lens", "jpeg+full_res", "--lens.jpeg.quality", "30", "--lens.full_res.depth", "3"]


def test_the_settings_of_a_stage_are_called_by_it():
    parsed = parse(BOTH, "lens.train")
    assert {key: value for key, value in parsed.plain.items() if key.startswith("lens.")} == {
        "lens.jpeg.quality": 30,
        "lens.jpeg.passes": 256,
        "lens.full_res.depth": 3,
    }
    assert parsed.plugins["lens"].stages == [JpegProjection(quality=30), FullResolution(depth=3)]
    assert settings_of(find("lens", "jpeg+full_res")) == ["jpeg.quality", "jpeg.passes", "full_res.depth"]
    assert parsed.settings.game.objective == "least_likely"


def test_a_default_of_the_task_reaches_the_stage_that_has_the_setting():
    words = ["--task", "dataset_classification", "--data", "a", "b"]
    alone = parse([*words, "--lens", "full_res"], "lens.train").plain["lens.depth"]
    assert alone == find("task", "dataset_classification").defaults["lens.depth"] != FullResolution().depth
    parsed = parse([*words, "--lens", "noise+full_res"], "lens.train")
    assert parsed.plain["lens.full_res.depth"] == alone
    assert parsed.plugins["lens"].stages[1] == FullResolution(depth=alone)
    said = parse([*words, "--lens", "noise+full_res", "--lens.full_res.depth", "5"], "lens.train")
    assert said.plain["lens.full_res.depth"] == 5


def test_a_file_of_settings_says_the_same(tmp_path):
    for text in (
        "lens.jpeg.quality: 30\nlens.full_res.depth: 3\n",
        "lens.jpeg: {quality: 30}\nlens.full_res: {depth: 3}\n",
    ):
        (tmp_path / "c.yaml").write_text(f"lens: jpeg+full_res\n{text}")
        assert parse(["--config", str(tmp_path / "c.yaml")], "lens.train").plugins == parse(BOTH, "lens.train").plugins
    plain = parse(BOTH, "lens.train").plain
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump({k: v for k, v in plain.items() if v is not None}))
    assert parse(["--config", str(tmp_path / "whole.yaml")], "lens.train").plain == plain


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--lens", "unet+full_res"], "one of several lenses may learn, and full_res is the second"),
        (["--lens", "jpeg+fgsm"], "fgsm is no lens that can stand beside another"),
        (["--lens", "none+jpeg"], "none is no lens that can stand beside another"),
        (["--lens", "jpeg+jpeg"], "jpeg stands twice"),
        (["--lens", "jpeg+"], "a + stands between two names"),
        ([*BOTH[:2], "--lens.jpeg.quality", "0"], "--lens.jpeg.quality is 0"),
        ([*BOTH[:2], "--lens.full_res.depth", "9"], "--lens.full_res.depth is 9"),
        ([*BOTH[:2], "--lens.quality", "9"], "no such setting: did you mean 'lens.jpeg.quality'"),
        ([*BOTH[:2], "--lens.jpeg.quality", "1:30"], "--lens.jpeg.quality is '1:30': it must be a whole number"),
        ([*BOTH[:2], "--lens.jpeg", "other.yaml"], "no such setting"),
        ([*BOTH[:2], "--lens_settings.jpeg__of__quality", "3"], "unknown setting 'lens_settings'"),
    ],
)
def test_what_makes_no_composition_is_one_line(words, told):
    with pytest.raises(BadInput) as caught:
        parse(words, "lens.train")
    assert told in str(caught.value)
    assert "__of__" not in str(caught.value).replace(" ".join(words), "")


def test_a_stage_before_is_what_the_lens_sees_and_one_after_changes_what_it_gives():
    images = smooth(4)
    before = LearnedLens(FullResolution(depth=3), before=[FixedLens(JpegProjection())]).eval()
    after = LearnedLens(FullResolution(depth=3), after=[FixedLens(JpegProjection())]).eval()
    plain = LearnedLens(FullResolution(depth=3)).eval()
    with torch.no_grad():  # a lens that brightens by a tenth
        for lens in (before, after):
            lens.unet.last.bias.fill_(0.1)
        plain.load_state_dict(before.state_dict())
        rest = settled(images, 40, 256)[0]
        assert torch.equal(before(images, None, lambda: draws(4)), plain(rest))
        assert torch.equal(after(images, None, lambda: draws(4)), settled(plain(images).clamp(0, 1), 40, 256)[0])
    after(images, None, lambda: draws(4)).sum().backward()
    assert after.unet.last.bias.grad.abs().min() > 0.9 * images[0, 0].numel()  # straight through the stage


@pytest.mark.parametrize("stage", [Border(share=1 / 16), Downsample()])
def test_noise_tells_nothing_of_what_a_stage_before_has_taken_away(stage):
    """A colour at the border, or finer than the blocks: what is left is grey in both, and so is the noise."""
    grey = quality.to_8_bits(0.25 + smooth(3)[:, :1].expand(-1, 3, -1, -1) / 2)
    marked = grey.clone()
    marked[:, 0, 0, 0::2] += 8 / 255
    marked[:, 0, 0, 1::2] -= 8 / 255
    lens = LearnedLens(FullResolution(depth=3), noise=0.03, before=[FixedLens(stage)]).eval()
    with torch.no_grad():
        first, second = (lens(x, lens.noise_for(x, draws(3)), lambda: draws(3)) for x in (grey, marked))
    assert torch.equal(first, second)
    assert (first - first[:, :1]).abs().max() == 0


def test_in_a_step_a_later_stage_gives_what_is_measured_and_the_reconstruction_sees_what_left_the_range():
    """A white picture that the lens makes whiter still: were it clamped, nothing would bring the lens back."""
    white = torch.ones(2, 3, 16, 16)
    lens = LearnedLens(FullResolution(depth=3), after=[FixedLens(Clamp(margin=0.08))])
    with torch.no_grad():
        lens.unet.last.bias.fill_(3)
        measured = lens(white, None, lambda: draws(2))
    assert torch.allclose(measured, torch.tensor(0.92))
    changed, outside = lens(white, None, lambda: draws(2), in_step=True)
    assert torch.allclose(changed, measured, atol=1e-6)
    assert torch.allclose(outside, torch.tensor(3.0))

    class Watched(Rotation):
        def present(self, views, question):
            seen.append(views.detach())
            return super().present(views, question)

    seen, head = [], torch.nn.Linear(3, 4)
    game = Game(
        Watched(),
        Rules("full", "lensed", "separate"),
        lambda loss, inputs, keep: loss.backward(inputs=inputs, retain_graph=keep),
    )
    extractor = Player(lambda x, question, lensed: head(x.mean(dim=(2, 3))), list(head.parameters()))
    step = functools.partial(lens, draws=lambda: draws(2), in_step=True)
    parameters = [p for p in lens.parameters() if p.requires_grad]
    losses = adversarial_step(
        game, Player(step, parameters), extractor, white, {"target": torch.zeros(2, dtype=torch.int64)}, 1.0
    )
    assert all(x.amax() <= 0.92 + 1e-6 for x in seen)  # what the extractor learns from is what it is asked about
    assert losses.clamped_mse.item() == pytest.approx(0.08**2, rel=1e-4)
    assert losses.reconstruction.item() == pytest.approx((0.92 + 3 - 1) ** 2, rel=1e-4)
    assert losses.pull.isfinite()


def test_it_trains_steers_the_whole_and_is_measured(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        train.main([*QUICK, "--data", str(photos), *BOTH, "--lens_noise", "0.02", "--steps", "4", "--out", "run"]) == 0
    )
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["lens"] == "jpeg+full_res"
    assert 20 < summary["reconstruction"]["psnr"] < 40
    assert train.main([*QUICK, "--data", str(photos), "--lens", "full_res+jpeg", "--lens_noise", "0.02", "--steps", "2", "--out", "b"]) == 0  # fmt: skip


OWN = """import dataclasses
from lens.protocols.lens import Lens

@dataclasses.dataclass(frozen=True)
class Brighter(Lens):
    learns = False
    fixed = True
    by: float = 0.1

    def apply(self, views, draws):
        return (views + self.by).clamp(0, 1)
"""


def test_a_file_can_be_a_stage_and_is_trusted_and_held_to_as_any_plugin(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)
    key = "./mine.py+jpeg"
    assert key_name(key) == "mine+jpeg"
    assert (
        train.main(
            [*QUICK, "--data", str(photos), "--lens", key, "--lens.mine.by", "0.2", "--steps", "2", "--out", "run"]
        )
        == 0
    )
    capsys.readouterr()
    Path("c.yaml").write_text(f"lens: {key}\n")
    assert train.main([*QUICK, "--data", str(photos), "--config", "c.yaml", "--out", "other"]) == 2
    assert f"if you trust that file, say so with --lens {key}" in capsys.readouterr().err
    assert train.main(["--resume", "run", "--steps", "4"]) == 2
    assert f"--lens {key}" in capsys.readouterr().err
    Path("mine.py").write_text(OWN.replace("0.1", "0.3"))
    assert train.main(["--resume", "run", "--steps", "4", "--lens", key]) == 2
    assert "./mine.py has changed since run was started with it" in capsys.readouterr().err
