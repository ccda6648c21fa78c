"""Learning rates by epoch."""

from __future__ import annotations

import math

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.fusion import flat_schedule, one_cycle_schedule


@pytest.mark.parametrize("epochs", [1, 2, 7, 10, 300, 2500])
def test_end_points_are_exact(epochs: int) -> None:
    rate = one_cycle_schedule(epochs)
    assert rate(epochs - 1) == 1e-6
    assert rate(epochs) == 1e-6
    if (0.3 * epochs).is_integer():
        assert rate(round(0.3 * epochs) - 1) == 1e-2


def test_rates_are_the_formula() -> None:
    rate = one_cycle_schedule(2500, 1e-4, 1e-2, 1e-6)
    for epoch in range(1, 2501):
        if epoch < 750:
            expected = 1e-4 + (1e-2 - 1e-4) * epoch / 750
        else:
            expected = 1e-2 - (1e-2 - 1e-6) * (epoch - 750) / 1750
        assert rate(epoch - 1) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_torch_takes_the_rates() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rate = one_cycle_schedule(10)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    used = []
    for _ in range(10):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert used == [rate(index) for index in range(10)]


def test_flat_is_a_cycle_of_equal_rates() -> None:
    rate, cycle = flat_schedule(3e-3), one_cycle_schedule(20, 3e-3, 3e-3, 3e-3)
    assert all(rate(index) == pytest.approx(cycle(index), rel=1e-12) for index in range(20))


@pytest.mark.parametrize("value", [-1e-3, math.inf, math.nan])
def test_bad_rates(value: float) -> None:
    with pytest.raises(InputError, match="learning_rate is"):
        flat_schedule(value)
    with pytest.raises(InputError, match="max_lr is"):
        one_cycle_schedule(5, max_lr=value)


def test_no_epochs() -> None:
    with pytest.raises(InputError, match="epochs is 0"):
        one_cycle_schedule(0)
