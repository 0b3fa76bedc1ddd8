"""Draws are a function of (seed, epoch, index, view, name), and look uniform."""

import pytest
import torch

from lens.base.draws import Draws, generator


def draws(index, view=None, seed=0, epoch=0):
    index = torch.as_tensor(index)
    return Draws(seed, epoch, index, torch.zeros_like(index) if view is None else torch.as_tensor(view))


def test_a_row_draws_the_same_in_any_batch_and_order():
    whole = draws(range(100)).uniform("x", 3)
    order = torch.randperm(100, generator=generator(0, 0, "test"))
    assert torch.equal(draws(order).uniform("x", 3), whole[order])
    assert torch.equal(draws(range(40, 60)).uniform("x", 3), whole[40:60])


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"view": [1] * 100}])
def test_seed_epoch_and_view_change_the_draw(other):
    assert not torch.equal(draws(range(100)).uniform("x"), draws(range(100), **other).uniform("x"))


def test_the_name_changes_the_draw():
    assert not torch.equal(draws(range(100)).uniform("x"), draws(range(100)).uniform("y"))


def test_per_image_draws_ignore_epoch_and_view():
    one = draws(range(50), epoch=0).uniform("x", per_image=True)
    assert torch.equal(one, draws(range(50), epoch=7, view=[3] * 50).uniform("x", per_image=True))
    assert len(one.unique()) == 50


def test_draws_are_uniform_and_neighbours_are_independent():
    x = draws(range(100_000)).uniform("x", 2).double()
    assert x.min() >= 0
    assert x.max() < 1
    counts = torch.histc(x[:, 0], 64, 0, 1)
    chi_square = ((counts - 100_000 / 64) ** 2 / (100_000 / 64)).sum()
    assert chi_square < 120  # 63 degrees of freedom: the 99.99 % quantile is 116
    for pair in (x.T, torch.stack([x[:-1, 0], x[1:, 0]])):
        assert abs(torch.corrcoef(pair)[0, 1]) < 0.015


def test_normal_draws_are_finite_and_have_mean_0_deviation_1_and_normal_tails():
    x = draws(range(100_000)).normal("x", 2).double()
    assert torch.isfinite(x).all()
    assert abs(x.mean()) < 4 / 200_000**0.5
    assert abs(x.std() - 1) < 4 / (2 * 200_000) ** 0.5
    for z, share in ((1.0, 0.1587), (2.0, 0.02275), (3.0, 0.00135)):
        bound = 4 * (share * (1 - share) / 200_000) ** 0.5
        assert abs((x > z).double().mean() - share) < bound
        assert abs((x < -z).double().mean() - share) < bound


def test_normal_draws_are_finite_at_both_ends(monkeypatch):
    for value in (0.0, 1 - 2**-24):
        monkeypatch.setattr(
            Draws, "uniform", lambda self, name, *shape, value=value, **own: torch.full((2, *shape), value)
        )
        assert torch.isfinite(draws(range(2)).normal("x", 3)).all()


def test_integers_cover_their_range_evenly():
    values = draws(range(60_000)).integers("x", 3)
    assert values.unique().tolist() == [0, 1, 2]
    assert torch.allclose(values.bincount() / 60_000, torch.tensor(1 / 3), atol=0.01)


def test_repeat_counts_views_image_by_image():
    repeated = draws([7, 9]).repeat(3)
    assert repeated.index.tolist() == [7, 7, 7, 9, 9, 9]
    assert repeated.view.tolist() == [0, 1, 2, 0, 1, 2]
