from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.bounded_horizon import BoundedHorizonLoss, draw_horizon, gaussian_horizon_loss


def draws(distribution: str, steps: int, most: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.tensor([draw_horizon(steps, most, distribution, generator=generator) for _ in range(4000)])


def test_uniform_horizons() -> None:
    count = draws("uniform", 100, 8).bincount(minlength=9)
    assert count[0] == 0
    assert len(count) == 9
    # 4000 / 8 with a standard deviation of 21
    assert ((count[1:] - 500).abs() < 100).all()


def test_log_uniform_horizons() -> None:
    count = draws("log_uniform", 100, 8).bincount(minlength=9)
    share = (torch.arange(2.0, 10) / torch.arange(1.0, 9)).log() / math.log(9)
    assert len(count) == 9
    assert ((count[1:] - 4000 * share).abs() < 130).all()


def test_horizons_fit_short_series() -> None:
    assert draws("uniform", 12, 128).max() == 5
    assert draws("log_uniform", 13, 128).max() == 5
    with pytest.raises(InputError, match="3 steps; expected at least 4"):
        draw_horizon(3)


def test_equals_the_normal_density() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_variance, target, error = torch.randn(4, 2, 7, 1, dtype=torch.float64, generator=generator)
    error = error.abs()
    loss = gaussian_horizon_loss(mean, log_variance, target, torch.ones_like(target).bool(), 2, error)
    normal = torch.distributions.Normal(mean, (log_variance.exp() + error**2).sqrt())
    torch.testing.assert_close(loss, -normal.log_prob(target)[:, 2:-2].mean())


def test_only_observed_points_with_observed_sources_count() -> None:
    observed = torch.ones(1, 9, 1, dtype=torch.bool)
    observed[0, [3, 8]] = False
    target = torch.where(observed, 0.0, torch.nan)
    mean = torch.zeros(1, 9, 1, requires_grad=True)
    loss = gaussian_horizon_loss(mean, torch.zeros_like(mean), target + 1, observed, 2, error=target)
    (gradient,) = torch.autograd.grad(loss, mean)
    # Of 2 ... 6, point 3 is missing, and so are the sources of 5 (point 3) and 6 (point 8).
    torch.testing.assert_close(gradient.flatten(), -torch.tensor([0, 0, 1, 0, 1, 0, 0, 0, 0]) / 2)
    nothing = gaussian_horizon_loss(mean, mean, target, torch.zeros_like(observed), 1)
    assert nothing == 0


def test_training_draws_and_evaluation_does_not() -> None:
    asked: list[int] = []

    def predict(horizon: int) -> tuple[Tensor, Tensor]:
        asked.append(horizon)
        return torch.full((1, 12, 1), float(horizon)), torch.zeros(1, 12, 1)

    target, observed = torch.zeros(1, 12, 1), torch.ones(1, 12, 1).bool()
    loss = BoundedHorizonLoss()
    generator = torch.Generator()
    for seed in (3, 3, 4):
        loss(predict, target, observed, generator=generator.manual_seed(seed))
    assert asked[0] == asked[1]
    assert set(asked) <= set(range(1, 6))
    asked.clear()
    losses = loss.evaluate(predict, target, observed)
    assert asked == [1, 2, 4]  # with 8, no point of 12 has two sources
    entropy = 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(torch.stack(list(losses.values())), entropy + torch.tensor([0.5, 2.0, 8.0]))
    torch.testing.assert_close(loss.eval()(predict, target, observed), torch.tensor(entropy + 3.5))


def test_bad_input() -> None:
    zero = torch.zeros(5, 1)
    with pytest.raises(InputError, match="distribution is 'normal'"):
        BoundedHorizonLoss(distribution="normal")
    with pytest.raises(InputError, match="max_horizon is 0"):
        BoundedHorizonLoss(max_horizon=0)
    with pytest.raises(InputError, match="evaluation_horizons is"):
        BoundedHorizonLoss(evaluation_horizons=(2, 4))
    with pytest.raises(InputError, match=r"mean has shape \(5,\); expected that of target, \(5, 1\)"):
        gaussian_horizon_loss(zero[:, 0], zero, zero, zero.bool(), 1)
    with pytest.raises(InputError, match="horizon is 0"):
        gaussian_horizon_loss(zero, zero, zero, zero.bool(), 0)
