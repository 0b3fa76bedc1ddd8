"""Removal by hand: each switch does what it says, for every task, and draws anew for each view."""

import copy
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lens.base.draws import Draws, generator
from lens.base.errors import BadInput
from lens.base.ranks import Ranks
from lens.images.removal import ByHand, Removal, by_hand
from lens.protocols.lookup import find, names
from lens.settings.run_settings import Settings
from lens.training.coupled import Coupled

NOTHING = {"grey": 0.0, "colour_jitter": 0.0, "blur": 0.0, "standardise": False}


def images(count=6, side=16):
    return torch.rand(count, 3, side, side, generator=generator(0, 0, "images"))


def draws(index):
    return Draws(0, 0, index, torch.zeros_like(index))


def treated(count=6, index=None, **switches):
    index = torch.arange(count) if index is None else index
    return Removal(**NOTHING | switches).before(images(count)[index], draws(index))


def test_grey_is_the_luminance_in_as_many_views_as_asked():
    assert torch.equal(treated(grey=0.0), images())
    every = treated(grey=1.0)
    luminance = torch.einsum("vchw,c->vhw", images(), torch.tensor([0.299, 0.587, 0.114]))
    assert torch.allclose(every, luminance[:, None].expand(-1, 3, -1, -1), atol=1e-5)
    many = torch.arange(2000)
    pictures = torch.rand(2000, 3, 2, 2, generator=generator(0, 0, "many"))
    shown = Removal(**NOTHING | {"grey": 0.66}).before(pictures, draws(many))
    share = (shown[:, 0] == shown[:, 1]).all(dim=2).all(dim=1).float().mean().item()
    assert abs(share - 0.66) < 4 * math.sqrt(0.66 * 0.34 / 2000)


def test_standardised_input_has_mean_0_and_deviation_1_in_each_row():
    inputs = torch.rand(5, 3, 8, 8, generator=generator(0, 0, "x")) * 2 - 1
    inputs[4] = 0.25  # a flat patch has no deviation to divide by
    got = Removal(**NOTHING | {"standardise": True}).after(inputs)
    for row, expected in zip(got[:4].numpy(), inputs[:4].numpy(), strict=True):
        assert np.allclose(row, (expected - expected.mean()) / expected.std(), atol=1e-4)
    assert torch.equal(got[4], torch.zeros_like(got[4]))
    assert torch.equal(Removal(**NOTHING).after(inputs), inputs)


def test_blur_keeps_the_mean_and_takes_away_detail():
    noise = images(8, 32)
    shown = Removal(**NOTHING | {"blur": 3.0}).before(noise, draws(torch.arange(8)))
    assert torch.allclose(shown.mean(dim=(1, 2, 3)), noise.mean(dim=(1, 2, 3)), atol=0.02)
    deviation = shown.std(dim=(1, 2, 3)) / noise.std(dim=(1, 2, 3))
    assert deviation.max() <= 1
    assert deviation.min() < 0.3
    assert deviation.max() - deviation.min() > 0.1  # each view has its own


def test_colour_jitter_changes_every_view_otherwise_and_stays_in_range():
    shown = treated(colour_jitter=0.8)
    assert 0 <= shown.min() <= shown.max() <= 1
    change = (shown - images()).mean(dim=(2, 3))
    assert change.abs().amax(dim=1).min() > 1e-3
    assert len({tuple(row) for row in change.round(decimals=4).tolist()}) == len(change)


@pytest.mark.parametrize("switch", [{"grey": 0.5}, {"colour_jitter": 0.5}, {"blur": 2.0}, {"grey": 0.5, "blur": 1.0}])
def test_an_image_is_treated_the_same_in_any_batch(switch):
    order = torch.tensor([4, 1, 5])
    assert torch.allclose(treated(index=order, **switch), treated(**switch)[order], atol=1e-6)


@pytest.mark.parametrize("name", names("task"))
def test_every_task_takes_every_switch(name):
    task = find("task", name)()
    switched = by_hand(task, 1.0, 0.4, 1.0, True)
    assert isinstance(switched, ByHand)
    index = torch.arange(2)
    rows = draws(index).repeat(task.views)
    views, question = switched.pose(images(2, 32).repeat_interleave(task.views, dim=0), rows)
    assert torch.allclose(views[:, 0], views[:, 1], atol=1e-4)  # grey
    inputs = switched.present(views, question)
    assert inputs.mean(dim=(1, 2, 3)).abs().max() < 1e-4
    assert switched.prepare(images(2, 32)).mean(dim=(1, 2, 3)).abs().max() < 1e-4
    assert (switched.classes, switched.views) == (task.classes, task.views)


def test_a_protocol_prescribes_what_nobody_switches():
    patches = by_hand(find("task", "relative_patch")(), None, 0.0, 0.0, None)
    assert patches.removal == Removal(0.66, 0.0, 0.0, True)
    assert not isinstance(by_hand(find("task", "relative_patch")(), 0.0, 0.0, 0.0, False), ByHand)
    assert not isinstance(by_hand(find("task", "rotation")(), None, 0.0, 0.0, None), ByHand)


@pytest.mark.parametrize("setting", [{"grey": 1.5}, {"colour_jitter": -1.0}, {"blur": 90.0}])
def test_values_out_of_range_are_refused(setting):
    with pytest.raises(BadInput, match=f"--{next(iter(setting))} is"):
        Settings.of(setting)


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))])
@pytest.mark.parametrize("kind", ["by hand", "coupled"])
def test_a_task_around_another_is_copied_whole(kind, twin):
    """`copy` and `pickle` ask a bare object for more before it has the task that it would ask."""
    inner = find("task", "rotation")()
    alone = Ranks(SimpleNamespace(global_rank=0, world_size=1, local_rank=0))
    task = ByHand(inner, Removal(1.0, 0.0, 0.0, True)) if kind == "by hand" else Coupled(inner, alone)
    other = twin(task)
    assert type(other) is type(task)
    assert other is not task
    assert other.task == inner
    assert other.views == inner.views
    own = "removal" if kind == "by hand" else "ranks"
    assert own in vars(other)
    with pytest.raises(AttributeError, match="nothing_of_it"):
        _ = other.nothing_of_it
