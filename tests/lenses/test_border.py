"""A border that is replaced by what is just inside it: what stood there is gone for good, the inside stays as it is."""

import json

import pytest
import torch
from pictures import smooth
from tiny import TINY, draws

from lens import train
from lens.base.errors import BadInput
from lens.lenses.border import Border
from lens.settings.parsing import parse

DEPTH = TINY.index("--lens.depth")
QUICK = [*TINY[:DEPTH], *TINY[DEPTH + 2 :]]


def framed(images, width, value):
    """The same inside, another border."""
    other = images.clone()
    for edge in (other[..., :width, :], other[..., -width:, :], other[..., :width], other[..., -width:]):
        edge.fill_(value)
    return other


@pytest.mark.parametrize(("share", "width"), [(1 / 32, 1), (0.1, 4), (0.25, 8)])
def test_what_stands_in_the_border_makes_no_difference_and_the_inside_stays(share, width):
    images = smooth(4)
    lens = Border(share=share)
    plain = lens.apply(images, draws(4))
    assert torch.equal(lens.apply(framed(images, width, 0.9), draws(4)), plain)
    assert not torch.equal(lens.apply(framed(images, width + 1, 0.9), draws(4)), plain)
    inside = slice(width, -width)
    assert torch.equal(plain[..., inside, inside], images[..., inside, inside])
    assert torch.equal(plain[..., 0, 5 + width], images[..., width, 5 + width])  # the nearest pixel inside
    assert torch.equal(plain[..., -1, -1], images[..., -width - 1, -width - 1])


@pytest.mark.parametrize(("height", "width", "share", "kept"), [(30, 30, 0.1, 24), (17, 40, 0.05, 15), (3, 3, 0.25, 1), (2, 2, 0.1, 2)])  # fmt: skip
def test_other_sizes_keep_theirs_and_something_is_left(height, width, share, kept):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    lensed = Border(share=share).apply(images, draws(2))
    assert lensed.shape == images.shape
    taken = (height - kept) // 2
    assert torch.equal(
        lensed[..., : taken + 1, width // 2], images[..., taken, width // 2, None].expand(-1, -1, taken + 1)
    )
    assert torch.equal(lensed[..., taken : height - taken, width // 2], images[..., taken : height - taken, width // 2])


@pytest.mark.parametrize("share", [0, -0.1, 0.3, float("nan")])
def test_a_share_outside_its_range_is_one_line(share):
    with pytest.raises(BadInput, match=r"--lens\.share|lens\.share"):
        Border(share=share)


def test_nobody_steers_it():
    with pytest.raises(ValueError, match="nobody steers how far"):
        parse(["--lens", "border", "--target_psnr", "30"], "lens.train")


FRAME = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class Frame:
    plants = True

    def plant(self, images, theta, draws):
        side = images.shape[-1]
        darker = images * 0.5
        darker[..., 1 : side - 1, 1 : side - 1] = images[..., 1 : side - 1, 1 : side - 1]
        return darker
"""


@pytest.mark.parametrize("lens", ["border", "border+full_res"])
def test_a_frame_is_proved_gone_whatever_the_lens_after_it_does(photos, tmp_path, monkeypatch, lens):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frame.py").write_text(FRAME)
    words = [*QUICK, "--data", str(photos), "--task", "dataset_classification", "--pseudo_sources", "2"]
    words += ["--shortcut", "frame.py", "--shortcut_key", "source", "--lens", lens, "--prove"]
    words += ["--judges", "test_resnet", "--judge_seeds", "1", "--judge_steps", "2", "--judge_cues", "false"]
    assert train.main([*words, "--out", "run"]) == 0
    bound = json.loads((tmp_path / "run/removal.json").read_text())["bound"]
    assert bound["differ"] == [0.0]
    assert bound["at_best"] == 0.5
