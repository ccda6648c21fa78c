"""Learning rates as functions of the epoch."""

from __future__ import annotations

import math
from collections.abc import Callable

from stgraph.errors import InputError

__all__ = ["flat_schedule", "one_cycle_schedule"]

# Share of the epochs in which the rate grows.
_RISE = 0.3


def one_cycle_schedule(
    epochs: int, init_lr: float = 1e-3, max_lr: float = 1e-2, final_lr: float = 1e-6
) -> Callable[[int], float]:
    r"""Return the learning rate that rises in the first 30 % of the epochs and falls to the end, in straight lines.

    In epoch :math:`e = 1 \ldots E` the rate is
    :math:`l_0 + (l_1 - l_0)\, e / (0.3 E)` while :math:`e < 0.3 E`, and
    :math:`l_1 - (l_1 - l_2) (e - 0.3 E) / (0.7 E)` from then on: exactly :math:`l_2` in the last epoch. It is a
    function of the index :math:`e - 1`, as :class:`torch.optim.lr_scheduler.LambdaLR` counts; use it with an optimizer
    whose own rate is 1. :class:`torch.optim.lr_scheduler.OneCycleLR` is another one: it changes with every step and
    cycles the momentum.

    Args:
        epochs: Number of epochs E.
        init_lr: Rate :math:`l_0` from which it rises.
        max_lr: Greatest rate :math:`l_1`.
        final_lr: Rate :math:`l_2` of the last epoch.

    Raises:
        InputError: If there is no epoch or a rate is negative or not finite.

    Examples:
        >>> rate = one_cycle_schedule(10, init_lr=0.0, max_lr=1.0, final_lr=0.25)
        >>> rate(2), rate(9)
        (1.0, 0.25)
    """
    if epochs < 1:
        raise InputError(f"epochs is {epochs}; expected at least 1")
    for name, value in (("init_lr", init_lr), ("max_lr", max_lr), ("final_lr", final_lr)):
        _check_rate(name, value)
    rise = _RISE * epochs

    def rate(index: int) -> float:
        # The scheduler asks for one more rate after the last epoch.
        epoch = min(index + 1, epochs)
        if epoch < rise:
            return init_lr + (max_lr - init_lr) * epoch / rise
        # As a weighted mean, so that both ends are met without rounding.
        share = (epoch - rise) / (epochs - rise)
        return max_lr * (1 - share) + final_lr * share

    return rate


def flat_schedule(learning_rate: float = 1e-3) -> Callable[[int], float]:
    """Return one learning rate for every epoch, for :class:`torch.optim.lr_scheduler.LambdaLR` and a rate of 1.

    Raises:
        InputError: If the rate is negative or not finite.

    Examples:
        >>> flat_schedule(0.5)(0), flat_schedule(0.5)(99)
        (0.5, 0.5)
    """
    _check_rate("learning_rate", learning_rate)
    return lambda _index: learning_rate


def _check_rate(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is {value}; expected a finite number, at least 0")
