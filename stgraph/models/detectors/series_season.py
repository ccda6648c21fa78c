"""Sines and cosines of the day and the year."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["season_features", "season_used"]

_DAY = 86_400_000_000_000  # nanoseconds
_YEAR = 31_556_952_000_000_000
_FIRST_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0
_DAY_HARMONICS = 7
_YEAR_HARMONICS = 3


def season_features(time: Tensor | None, num_steps: int, period: float | None) -> Tensor:
    r"""Constant, and sines and cosines of the day (on weekends apart as well) and the year, or of a period.

    Shapes:
        - **time:** :math:`(T)`, **output:** :math:`(T, 36)`, the columns of what is not known 0
    """
    blank = torch.zeros(num_steps, 2 * _DAY_HARMONICS)
    day, weekend, year = blank, torch.zeros(num_steps, 1), blank[:, : 2 * _YEAR_HARMONICS]
    if time is not None and not time.is_floating_point():
        day = _waves(torch.remainder(time, _DAY).double() / _DAY, _DAY_HARMONICS)
        year = _waves(torch.remainder(time, _YEAR).double() / _YEAR, _YEAR_HARMONICS)
        weekday = (torch.div(time, _DAY, rounding_mode="floor") + _FIRST_WEEKDAY) % 7
        weekend = (weekday >= 5).float()[:, None]
    elif time is not None and period is not None:
        day = _waves(torch.remainder(time.double(), period) / period, _DAY_HARMONICS)
    return torch.cat([torch.ones(num_steps, 1), day, year, weekend, day * weekend], dim=-1)


def season_used(time: Tensor | None) -> Tensor:
    """Which columns of the season a period is long enough to tell: weekends from 20 days, years from one.

    Shapes:
        - **output:** :math:`(36)`
    """
    day, week, year = True, False, False
    if time is not None and not time.is_floating_point():
        span = float(time[-1] - time[0])
        step = span / max(1, len(time) - 1)
        day, week, year = step < _DAY / 2, span >= 20 * _DAY and step <= _DAY, span >= 0.99 * _YEAR
    parts = [(1, True), (2 * _DAY_HARMONICS, day), (2 * _YEAR_HARMONICS, year), (1, week)]
    parts.append((2 * _DAY_HARMONICS, week and day))
    return torch.cat([torch.full((size,), float(used)) for size, used in parts])


def _waves(phase: Tensor, harmonics: int) -> Tensor:
    angle = 2 * torch.pi * phase[:, None] * torch.arange(1, harmonics + 1)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).float()
