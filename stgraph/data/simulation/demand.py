"""How many vehicles want to travel when: days, weeks, and what differs from day to day."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

__all__ = ["INTERVALS_PER_DAY", "draw_demand", "draw_shares"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

INTERVALS_PER_DAY = 288
_HOURS = 24 / INTERVALS_PER_DAY
_MORNING, _MORNING_WIDTH = 7.7, 1.1  # hours of the day; standard deviation in hours
_EVENING, _EVENING_WIDTH = 17.2, 1.4
_WEEKEND, _WEEKEND_WIDTH = 14.0, 3.6


def draw_demand(peak_demand: _Floats, weekdays: _Ints, generator: np.random.Generator) -> _Floats:
    """Draw the vehicles per hour that come to each origin in each interval of 5 minutes.

    A working day has a morning and an evening peak over what travels during the day, a weekend one low hump. Days
    differ in their level and in the hour of the peaks, origins in their level of the day, and noise that lasts from
    half an hour to an hour comes on top, part of it common to all origins.

    Args:
        peak_demand: Vehicles per hour in the morning and evening peaks of a typical working day.
        weekdays: Day of the week of each day, 0 for Monday.
        generator: Source of the random numbers.

    Shapes:
        - **peak_demand:** :math:`(2, O)`, **weekdays:** :math:`(days)`, **output:** :math:`(288 days, O)`
    """
    days, origins = weekdays.size, peak_demand.shape[1]
    hour = np.arange(INTERVALS_PER_DAY)[:, None] * _HOURS + _HOURS / 2
    shift = generator.normal(0, 0.2, (days, 1, 1)) + generator.normal(0, 0.2, origins)
    local = hour - shift  # [days, intervals, origins]
    morning, evening = peak_demand
    typical = (morning + evening) / 2
    day = _day(local)
    peaks = (
        (morning - 0.45 * typical) * _bump(local, _MORNING, _MORNING_WIDTH)
        + (evening - 0.45 * typical) * _bump(local, _EVENING, _EVENING_WIDTH)
        + 0.5 * typical * day
    )
    weekend = typical * (0.12 * day + 0.5 * _bump(local, _WEEKEND, _WEEKEND_WIDTH))
    demand = np.where((weekdays < 5)[:, None, None], peaks, weekend) + 0.04 * typical
    friday = np.where(weekdays == 4, 1.04, 1.0)[:, None, None]
    level = np.exp(generator.normal(0, 0.05, (days, 1, 1)) + generator.normal(0, 0.1, (days, 1, origins)))
    demand = (demand.clip(0) * friday * level).reshape(days * INTERVALS_PER_DAY, origins)
    noise = _lasting_noise(demand.shape[0], 1, 1.0, 0.05, generator)
    noise = noise + _lasting_noise(demand.shape[0], origins, 0.5, 0.12, generator)
    noisy: _Floats = demand * np.exp(noise)
    return noisy


def draw_shares(peak_shares: _Floats, weekdays: _Ints, generator: np.random.Generator) -> _Floats:
    """Draw the share of the first way of each diverge in each interval: that of the peaks in the peaks, else between.

    Shapes:
        - **peak_shares:** :math:`(2, D)`, **weekdays:** :math:`(days)`, **output:** :math:`(288 days, D)`
    """
    hour = np.array((np.arange(INTERVALS_PER_DAY) + 0.5) * _HOURS, dtype=np.float64)
    half = (peak_shares[0] - peak_shares[1]) / 2
    tilt = _bump(hour, _MORNING, 1.5 * _MORNING_WIDTH) - _bump(hour, _EVENING, 1.5 * _EVENING_WIDTH)
    works = (weekdays < 5).repeat(INTERVALS_PER_DAY)
    shares = peak_shares.mean(axis=0) + (np.tile(tilt, weekdays.size) * works)[:, None] * half
    odds = np.log(shares / (1 - shares)) + _lasting_noise(len(shares), shares.shape[1], 2.0, 0.1, generator)
    drawn: _Floats = 1 / (1 + np.exp(-odds))
    return drawn


def _bump(hour: _Floats, centre: float, width: float) -> _Floats:
    bump: _Floats = np.exp(-0.5 * ((hour - centre) / width) ** 2)
    return bump


def _day(hour: _Floats) -> _Floats:
    """1 by day, 0 by night."""
    day: _Floats = 1 / (1 + np.exp(-(hour - 6) / 0.5)) / (1 + np.exp((hour - 20.5) / 1.0))
    return day


def _lasting_noise(steps: int, series: int, hours: float, deviation: float, generator: np.random.Generator) -> _Floats:
    """Stationary autoregressive noise that is forgotten in so many hours, ``[steps, series]``."""
    keep = np.exp(-_HOURS / hours)
    shocks = generator.normal(0, deviation * np.sqrt(1 - keep**2), (steps, series))
    shocks[0] /= np.sqrt(1 - keep**2)
    noise: _Floats = lfilter([1.0], [1.0, -keep], shocks, axis=0)
    return noise
