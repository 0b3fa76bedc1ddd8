"""Steering λ: to the PSNR that was asked for, and no further than the adversary can answer."""

import math

import pytest
import torch

from lens.training.steering import GAINS, WINDUP, Steering
from lens.training.step import pull_of

OF_SUM, OF_LAST = GAINS["pi"]


def steered(mse, psnr, pull, first=100.0, steps=1):
    """λ's integral and λ after `steps` steps of this error."""
    steering = Steering(first, psnr)
    for _ in range(steps):
        steering.update(torch.tensor(mse), pull)
    return steering.integral.item(), steering.weight.item()


@pytest.mark.parametrize(("mse", "moves"), [(0.1, 1), (0.001, -1), (0.01, 0), (0.0, -1)])
def test_steering_raises_lambda_below_the_target_psnr_and_lowers_it_above(mse, moves):
    # 20 dB is a mean squared error of 0.01; an error of a decade counts as one e-fold.
    integral, weight = steered(mse, 20.0, 0.1)
    assert integral == pytest.approx(100 * math.exp(OF_SUM * moves))
    assert weight == pytest.approx(100 * math.exp((OF_SUM + OF_LAST) * moves))


def test_lambda_has_ends():
    assert steered(1.0, 60.0, 0.0, steps=1000)[0] == pytest.approx(1e7)
    assert steered(0.0, 5.0, 0.0, steps=1000)[0] == pytest.approx(1e-3)


def test_without_a_target_lambda_stays_what_it_is():
    assert steered(0.1, None, 0.1) == (100.0, 100.0)


@pytest.mark.parametrize(("mse", "moves"), [(0.1, 0), (0.001, -1)])
def test_a_lens_that_restores_already_is_pulled_no_harder_for_long_and_is_let_go_as_ever(mse, moves):
    assert steered(mse, 20.0, torch.tensor(WINDUP))[0] == pytest.approx(100 * math.exp(OF_SUM * moves))
    assert steered(0.1, 20.0, torch.tensor(0.99 * WINDUP))[0] > 100
    assert steered(0.1, 20.0, WINDUP, steps=1000)[1] == pytest.approx(100 * math.exp(OF_LAST))  # bounded


def test_a_lens_that_answers_late_is_brought_to_its_target_without_swinging():
    """log mse follows −2 log λ, twenty steps late; by the sum alone it swings about the target."""

    def ways(rule):
        steering, log_mse, seen = Steering(100.0, 25.0, rule), -12.0, []
        for _ in range(400):
            log_mse += (2.5 - 2 * steering.weight.log().item() - log_mse) / 20
            steering.update(torch.tensor(log_mse).exp(), 0.0)
            seen.append(-10 * log_mse / math.log(10))
        assert seen[-1] == pytest.approx(25, abs=0.05)
        return min(seen), max(seen[100:]) - min(seen[100:])

    lowest, swing = ways("pi")
    assert lowest > 22
    assert swing < 0.2
    lowest, swing = ways("integral")
    assert lowest < 21.5
    assert swing > 1


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_lens_whose_pixels_are_free_is_brought_to_its_target(noise):
    """At rest its pull is 1 whatever λ is: there λ must still rise. A linear adversary, with noise in its gradient."""
    generator = torch.Generator().manual_seed(0)
    change, steering = torch.zeros(3072, dtype=torch.float64), Steering(1.0, 25.5)
    wanted = 0.02 * torch.randn(3072, generator=generator, dtype=torch.float64)
    for _ in range(2000):
        weight = steering.weight.double()
        noisy = wanted + noise * 0.02 * torch.randn(3072, generator=generator, dtype=torch.float64)
        gradient = 2 * weight * change / change.numel() - noisy
        pull = pull_of(gradient, change, weight)
        change = change - 0.15 * change.numel() / weight * gradient
        steering.update(change.square().mean(), pull)
    assert -10 * change.square().mean().log10().item() == pytest.approx(25.5, abs=0.3)
