"""Values near black and white brought to one level: where a shifted colour was clipped, it no longer shows."""

import pytest
import torch
from pictures import smooth
from tiny import TINY, draws

from lens.base.errors import BadInput
from lens.images.training_set import training_images
from lens.lenses.clamp import Clamp
from lens.lenses.colour import Colour
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.players.fixed import FixedLens
from lens.players.lens import LearnedLens
from lens.proving.lensing import lens_splits
from lens.settings.parsing import parse

DEPTH = TINY.index("--lens.depth")
QUICK = [*TINY[:DEPTH], *TINY[DEPTH + 2 :]]


@pytest.mark.parametrize("shift", [0.08, -0.08, 0.03])
def test_a_shift_that_was_clipped_leaves_no_trace_once_it_is_moved_back(shift):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))  # to the very ends of the range
    moved_back = (images + shift).clamp(0, 1) - shift
    assert (moved_back - images).abs().max() > 0.8 * abs(shift)
    assert torch.allclose(Clamp().apply(moved_back, draws(4)), Clamp().apply(images, draws(4)), atol=1e-6)
    less = Clamp(margin=abs(shift) / 2)  # than what was moved: the trace stays
    assert (less.apply(moved_back, draws(4)) - less.apply(images, draws(4))).abs().max() > 0.4 * abs(shift)


def test_what_lies_between_the_levels_stays_as_it_is():
    images = 0.2 + 0.6 * smooth(4)
    assert torch.equal(Clamp(margin=0.2).apply(images, draws(4)), images.clamp(0.2, 0.8))
    assert torch.equal(Clamp(margin=0.1).apply(images, draws(4)), images)


@pytest.mark.parametrize("margin", [0, -0.1, 0.5, float("nan")])
def test_a_margin_outside_its_range_is_one_line(margin):
    with pytest.raises(BadInput, match=r"--lens\.margin .* above 0 and below 0\.5"):
        Clamp(margin=margin)


def test_nobody_steers_it_alone():
    with pytest.raises(ValueError, match="nobody steers how far"):
        parse(["--lens", "clamp", "--target_psnr", "30"], "lens.train")


def test_the_lens_before_it_learns_through_it():
    torch.manual_seed(0)
    lens = LearnedLens(Colour(), after=[FixedLens(Clamp(margin=0.1))])
    wanted = 0.3 + 0.4 * smooth(16)
    optimizer = torch.optim.Adam(lens.parameters(), 0.01)
    errors = []
    for _ in range(60):
        error = (lens(wanted + 0.1, draws=lambda: draws(16)) - wanted).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < errors[0] / 10


def test_images_of_a_run_come_out_between_the_levels(photos):
    words = [*QUICK, "--data", str(photos), "--task", "dataset_classification", "--pseudo_sources", "2"]
    parsed = parse(
        [*words, "--lens", "colour+clamp", "--lens.clamp.margin", "0.2", "--lens_noise", "0.05"], "lens.train"
    )
    players = build(parsed, training_images(parsed.settings), make_fabric(parsed.settings.machine))
    test = lens_splits(players).splits["test"]
    assert test.raw.min() < 51
    assert (test.lensed.min(), test.lensed.max()) == (51, 204)
