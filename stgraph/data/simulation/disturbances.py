"""What takes capacity away for a while: incidents at a place, rain everywhere, and drivers who are not alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Disturbances", "draw_disturbances", "next_fluctuation"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_MEDIAN_INTERVALS, _SPREAD = 7.0, 0.6  # an incident lasts 35 minutes in the middle, log-normally
_TWO_LANES = 0.3  # share of the incidents that close two lanes
_LOOKING = 0.85  # what drivers who look at the incident leave of the other lanes' capacity
_FLUCTUATION, _KEPT = 0.06, float(np.exp(-5 / 40))  # relative; forgotten in 40 minutes, of which 5 pass in an interval
_RAIN_PER_DAY, _RAIN_INTERVALS = 0.2, 40.0


@dataclass(frozen=True, eq=False)
class Disturbances:
    """Incidents by their cell, first interval, end and what they leave of the capacity; and the weather.

    Shapes:
        - **cell**, **begin**, **end**, **left:** :math:`(incidents)`, **weather:** :math:`(T)`
    """

    cell: _Ints
    begin: _Ints
    end: _Ints
    left: _Floats
    weather: _Floats

    def capacity_factor(self, interval: int, num_cells: int) -> _Floats:
        """What is left of the capacity of each cell in an interval."""
        factor = np.full(num_cells, self.weather[interval])
        active = (self.begin <= interval) & (interval < self.end)
        np.minimum.at(factor, self.cell[active], self.left[active] * self.weather[interval])
        return factor


def draw_disturbances(
    lanes: _Ints, cells: _Ints, expected: float, traffic: _Floats, generator: np.random.Generator
) -> Disturbances:
    """Draw incidents and weather.

    Args:
        lanes: Lanes of all cells.
        cells: The cells in which incidents happen.
        expected: Expected number of incidents.
        traffic: Demand in each interval, to which the chance of an incident is proportional.
        generator: Source of the random numbers.
    """
    number = generator.poisson(expected)
    cell = generator.choice(cells, number)
    begin = generator.choice(traffic.size, number, p=traffic / traffic.sum())
    lasts = np.ceil(_MEDIAN_INTERVALS * generator.lognormal(0, _SPREAD, number)).astype(np.int64)
    closed = np.minimum(1 + (generator.random(number) < _TWO_LANES), lanes[cell] - 1)
    left = (1 - closed / lanes[cell]) * _LOOKING
    return Disturbances(cell, begin, begin + lasts, left, _draw_weather(traffic.size, generator))


def next_fluctuation(fluctuation: _Floats, generator: np.random.Generator) -> _Floats:
    """Deviations of an interval from those of the interval before, of which a cell loses ``1 - exp(-abs(deviation))``.

    They make the outflow of a bottleneck waver, so that waves of slower and faster traffic run through its queue.
    """
    fresh = generator.normal(0, _FLUCTUATION * np.sqrt(1 - _KEPT**2), fluctuation.size)
    following: _Floats = _KEPT * fluctuation + fresh
    return following


def _draw_weather(intervals: int, generator: np.random.Generator) -> _Floats:
    number = generator.poisson(_RAIN_PER_DAY * intervals / 288)
    begin = generator.integers(0, intervals, number)
    end = begin + np.ceil(generator.exponential(_RAIN_INTERVALS, number)).astype(np.int64)
    left = generator.uniform(0.84, 0.95, number)
    now = np.arange(intervals)[:, None]
    factor: _Floats = np.where((begin <= now) & (now < end), left, 1.0).min(axis=1, initial=1.0)
    return factor
