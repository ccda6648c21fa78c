"""Traffic at the detectors of a random road network, from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.simulation.calibration import RoadNetwork, draw_network
from stgraph.data.simulation.cells import CellTransmission
from stgraph.data.simulation.demand import INTERVALS_PER_DAY, draw_demand, draw_shares
from stgraph.data.simulation.detectors import choose_cells, draw_outages, measure, road_distances, with_noise
from stgraph.data.simulation.disturbances import Disturbances, draw_disturbances, next_fluctuation
from stgraph.errors import InputError, InputTypeError

__all__ = ["TrafficSimulation", "simulate_traffic"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_STEPS = 20  # of 15 seconds in an interval of 5 minutes
_HOURS = 24 / INTERVALS_PER_DAY
_WARM_UP = 24  # intervals before the first, so that the roads are not empty at its beginning


@dataclass(frozen=True, eq=False)
class TrafficSimulation:
    r"""What detectors on a simulated road network reported, and where they are.

    Shapes:
        - **time:** :math:`(T)`, beginning of each interval in UTC
        - **speed** (miles per hour), **flow** (vehicles in 5 minutes, all lanes), **occupancy** (share of time, 0 to
          1), **mask** (False in outages, in which the others are NaN): :math:`(T, N)`
        - **position:** :math:`(N, 2)` in km, **road_distance:** :math:`(N, N)` in km from row to column in the
          direction of travel, infinite where no way leads
        - **cell:** :math:`(N)`, the cells of :obj:`network` with a detector
    """

    time: npt.NDArray[np.datetime64]
    speed: _Floats
    flow: _Floats
    occupancy: _Floats
    mask: npt.NDArray[np.bool_]
    position: _Floats
    road_distance: _Floats
    cell: _Ints
    network: RoadNetwork
    disturbances: Disturbances


def simulate_traffic(
    num_detectors: int = 207,
    num_days: int = 28,
    *,
    start: str = "2024-01-01",
    seed: int = 0,
    demand: float = 1.0,
    incidents_per_day: float = 5.0,
    noise: float = 1.0,
    missing_rate: float = 0.05,
) -> TrafficSimulation:
    r"""Simulate traffic on a random network of motorways, as detectors see it every 5 minutes.

    Vehicles move by the cell transmission model (:class:`~stgraph.data.simulation.CellTransmission`) in steps of 15
    seconds. They enter at ramps and at the rim, with a morning and an evening peak on working days; where they exceed
    what a road, a junction or the scene of an incident lets through, congestion moves upstream.

    Args:
        num_detectors: Number of detectors N, at least 4; the network grows with it.
        num_days: Number of days.
        start: First day, as a date.
        seed: Seed of all random numbers.
        demand: Demand as a multiple of the usual one, in which about a tenth of the roads is overloaded in the peaks.
        incidents_per_day: Expected number of incidents a day for each 100 km of road.
        noise: Noise of the detectors as a multiple of the usual one; 0 for none.
        missing_rate: Expected share of values that are missing because a detector is out of order.

    Raises:
        InputError: If a number is out of range or :obj:`start` is no date.
        InputTypeError: If a count or the seed is not an integer.

    Examples:
        >>> traffic = simulate_traffic(num_detectors=8, num_days=1)
        >>> traffic.speed.shape, traffic.road_distance.shape
        ((288, 8), (8, 8))
        >>> night, morning = np.nanmean(traffic.flow[:48]), np.nanmean(traffic.flow[84:108])
        >>> bool(morning > 3 * night)
        True
    """
    weekdays, time = _calendar(num_days, start)
    _check(num_detectors, seed, demand=demand, incidents_per_day=incidents_per_day, noise=noise)
    if not 0 <= missing_rate < 1:
        raise InputError(f"missing_rate must be in 0 to 1, 1 excluded, got {missing_rate}")
    # Each part has random numbers of its own, so that a change of one argument leaves the other parts as they are.
    roads, travel, accidents, sensors = (np.random.default_rng([seed, part]) for part in range(4))
    network = draw_network(num_detectors, _HOURS / _STEPS, demand, roads)
    cell = choose_cells(network.road_cells, num_detectors, roads)
    arrivals = draw_demand(network.peak_demand, weekdays, travel)
    shares = draw_shares(network.peak_shares, weekdays, travel)
    length = network.cells.length[network.road_cells].sum()
    expected = incidents_per_day * num_days * length / 100
    disturbances = draw_disturbances(network.lanes, network.road_cells, expected, arrivals.sum(axis=1), accidents)
    ideal = _run(network, cell, arrivals, shares, disturbances, accidents)
    values = with_noise(*ideal, noise, sensors)
    mask = draw_outages(time.size, num_detectors, missing_rate, sensors)
    speed, flow, occupancy = (np.where(mask, value, np.nan) for value in values)
    distance = road_distances(network.cells, cell)
    position = network.position[cell]
    return TrafficSimulation(time, speed, flow, occupancy, mask, position, distance, cell, network, disturbances)


def _run(
    network: RoadNetwork,
    cell: _Ints,
    demand: _Floats,
    shares: _Floats,
    disturbances: Disturbances,
    generator: np.random.Generator,
) -> tuple[_Floats, _Floats, _Floats]:
    """Let the traffic run, and return speed, flow and occupancy ``[T, N]`` at the given cells."""
    cells = network.cells
    model = CellTransmission(cells, _HOURS / _STEPS)
    for _ in range(_WARM_UP):
        model.advance(_STEPS, demand[0], shares[0])
    passed = np.empty((len(demand), cell.size))
    vehicles = np.empty_like(passed)
    fluctuation = np.zeros(cells.num_cells)
    for interval in range(len(demand)):
        fluctuation = next_fluctuation(fluctuation, generator)
        factor = disturbances.capacity_factor(interval, cells.num_cells) * np.exp(-np.abs(fluctuation))
        left, stayed = model.advance(_STEPS, demand[interval], shares[interval], factor)
        passed[interval], vehicles[interval] = left[cell], stayed[cell]
    return measure(cells, cell, network.lanes[cell], passed, vehicles, _HOURS)


def _calendar(num_days: int, start: str) -> tuple[_Ints, npt.NDArray[np.datetime64]]:
    _check_integer(num_days, "num_days", 1)
    try:
        first = np.datetime64(start, "D")
    except (TypeError, ValueError) as error:
        raise InputError(f"start must be a date such as '2024-01-01', got {start!r}") from error
    days = first + np.arange(num_days)
    time = first.astype("datetime64[ns]") + np.timedelta64(5, "m") * np.arange(num_days * INTERVALS_PER_DAY)
    weekdays: _Ints = (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    return weekdays, time


def _check(num_detectors: int, seed: int, **numbers: float) -> None:
    _check_integer(num_detectors, "num_detectors", 4)
    _check_integer(seed, "seed", 0)
    for name, value in numbers.items():
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a number that is not negative, got {value}")
    if numbers["demand"] == 0:
        raise InputError("demand must be positive, got 0")


def _check_integer(value: Any, name: str, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputTypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise InputError(f"{name} must be at least {least}, got {value}")
