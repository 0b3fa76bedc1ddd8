"""Steering λ: to the PSNR that was asked for, and no further than the adversary can answer."""

import pytest
import torch

from lens.training.steering import WINDUP, steer
from lens.training.step import pull_of


@pytest.mark.parametrize(("mse", "moves"), [(0.1, 1), (0.001, -1)])
def test_steering_raises_lambda_below_the_target_psnr_and_lowers_it_above(mse, moves):
    weight = torch.tensor(100.0)
    after = steer(weight, torch.tensor(mse), 20.0, 0.1)  # 20 dB is a mean squared error of 0.01
    assert (after - weight).sign() == moves
    assert steer(weight, torch.tensor(0.01), 20.0, 0.1).item() == pytest.approx(100.0)


@pytest.mark.parametrize(("mse", "moves"), [(0.1, 0), (0.001, -1)])
def test_a_lens_that_restores_already_is_pulled_no_harder_and_is_let_go_as_ever(mse, moves):
    weight = torch.tensor(100.0)
    after = steer(weight, torch.tensor(mse), 20.0, torch.tensor(WINDUP))
    assert (after - weight).sign() == moves
    assert (steer(weight, torch.tensor(0.1), 20.0, torch.tensor(0.99 * WINDUP)) - weight).sign() == 1


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_lens_whose_pixels_are_free_is_brought_to_its_target(noise):
    """At rest its pull is 1 whatever λ is: there λ must still rise. A linear adversary, with noise in its gradient."""
    generator = torch.Generator().manual_seed(0)
    change, weight = torch.zeros(3072, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    wanted = 0.02 * torch.randn(3072, generator=generator, dtype=torch.float64)
    for _ in range(2000):
        noisy = wanted + noise * 0.02 * torch.randn(3072, generator=generator, dtype=torch.float64)
        gradient = 2 * weight * change / change.numel() - noisy
        pull = pull_of(gradient, change, weight)
        change = change - 0.15 * change.numel() / weight * gradient
        weight = steer(weight, change.square().mean(), 25.5, pull)
    assert -10 * change.square().mean().log10().item() == pytest.approx(25.5, abs=0.3)
