"""Where times stand in the calendar, as models with tables by time of day and weekday need it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError

__all__ = ["DAY", "calendar_slots", "continue_time", "cycle", "forecast_time"]

#: A day in nanoseconds.
DAY = 86_400_000_000_000
_YEAR = 31_556_952_000_000_000  # 365.2425 days
_FIRST_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0


def cycle(step: float) -> int:
    """Return the cycle that time steps of a length are counted in, all in nanoseconds: a day, or for long steps a year.

    >>> cycle(DAY / 24) == DAY, cycle(DAY) == DAY
    (True, False)
    """
    return DAY if step < DAY else _YEAR


def calendar_slots(time: Tensor, steps_per_cycle: int, step: float) -> tuple[Tensor, Tensor]:
    """Return where times stand in their cycle, ``0 .. steps_per_cycle - 1``, and their weekdays, ``0 .. 6``.

    The cycle is the day, or the year where a step lasts a day or longer. Where it lasts a week or longer, all weekdays
    are 0.

    Args:
        time: Times in int64 nanoseconds since 1970.
        steps_per_cycle: Number of steps of the cycle.
        step: The time step in nanoseconds.

    Examples:
        >>> noon = torch.tensor([DAY // 2])  # of Thursday, 1 January 1970
        >>> [int(part) for part in calendar_slots(noon, 24, DAY / 24)]
        [12, 3]
    """
    period = cycle(step)
    place = torch.remainder(time, period).double() * (steps_per_cycle / period)
    slot = place.round().long() % steps_per_cycle
    weekday = (torch.div(time, DAY, rounding_mode="floor") + _FIRST_WEEKDAY) % 7
    return slot, weekday if step < 7 * DAY else torch.zeros_like(weekday)


def continue_time(past: Tensor, steps: int, time_step: Tensor) -> Tensor:
    """Return the times ``[B, steps]`` that follow the last of ``past`` ``[B, P]``, one ``time_step`` after the other.

    >>> continue_time(torch.tensor([[10, 20]]), 3, torch.tensor(10.0)).tolist()
    [[30, 40, 50]]
    """
    ahead = time_step * torch.arange(1, steps + 1, device=past.device)
    return past[:, -1:] + ahead.to(past.dtype)


def forecast_time(batch: Data, horizon: int, time_step: Tensor) -> Tensor:
    """Return the times of the Q forecast steps ``[B, Q]``: ``y_time``, or else ``x_time`` continued by ``time_step``.

    Raises:
        InputError: If the batch has neither, or they have another shape.

    Examples:
        >>> batch = Data(x=torch.zeros(1, 1, 2, 1), x_time=torch.tensor([[10, 20]]))
        >>> forecast_time(batch, 3, torch.tensor(10.0)).tolist()
        [[30, 40, 50]]
    """
    time: Tensor | None = batch.get("y_time")
    if time is None:
        past = batch.get("x_time")
        if past is None:
            raise InputError("the batch has neither y_time nor x_time; this forecast depends on the time")
        time = continue_time(past, horizon, time_step)
    if time.shape != (batch.x.shape[0], horizon):
        raise InputError(
            f"the times of the forecast have shape {tuple(time.shape)}; expected ({len(batch.x)}, {horizon})"
        )
    return time
