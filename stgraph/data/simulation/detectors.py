"""Detectors: where they are, how far it is from one to another, and what they see and miss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from stgraph.data.simulation.cells import Cells

__all__ = ["choose_cells", "draw_outages", "measure", "road_distances", "with_noise"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

KM_PER_MILE = 1.609344
_VEHICLE_KM = 0.0065  # length of a vehicle and of the loop, over which a loop is occupied
_OUTAGE_INTERVALS = 60.0  # mean length of an outage: 5 hours
_SINGLE_SHARE = 0.2  # of what is missing, missing alone


def choose_cells(candidates: _Ints, number: int, generator: np.random.Generator) -> _Ints:
    """Choose cells for detectors, one at random out of each of as many equal stretches."""
    edges = np.arange(number + 1) * candidates.size // number
    return candidates[generator.integers(edges[:-1], edges[1:])]


def road_distances(cells: Cells, chosen: _Ints) -> _Floats:
    """Length of the shortest way by car from each chosen cell (row) to each other (column), in km; inf if none."""
    source = np.concatenate([cells.series[0], cells.merges[0], cells.merges[1], cells.diverges[0], cells.diverges[0]])
    target = np.concatenate([cells.series[1], cells.merges[2], cells.merges[2], cells.diverges[1], cells.diverges[2]])
    inside = (source < cells.num_cells) & (target < cells.num_cells)
    source, target = source[inside], target[inside]
    gap = (cells.length[source] + cells.length[target]) / 2
    graph = csr_array((gap, (source, target)), shape=(cells.num_cells, cells.num_cells))
    distance: _Floats = dijkstra(graph, indices=chosen)[:, chosen]
    return distance


def measure(
    cells: Cells, chosen: _Ints, lanes: _Ints, passed: _Floats, vehicles: _Floats, hours: float
) -> tuple[_Floats, _Floats, _Floats]:
    """What ideal detectors see in an interval.

    Args:
        cells: The cells.
        chosen: Those with a detector.
        lanes: Lanes at each detector.
        passed: Vehicles that left each of these cells in the interval.
        vehicles: Mean number of vehicles in each of these cells.
        hours: Length of the interval.

    Returns:
        Speed in miles per hour, which is flow by density (that of free flow on an empty road), vehicles in the
        interval, and the share of time for which a loop in a lane is occupied.
    """
    free = cells.free_speed[chosen]
    density = vehicles / cells.length[chosen]
    empty = density < 1e-9
    speed = np.where(empty, free, passed / hours / np.where(empty, 1.0, density))
    return speed / KM_PER_MILE, passed, density / lanes * _VEHICLE_KM


def with_noise(
    speed: _Floats, flow: _Floats, occupancy: _Floats, scale: float, generator: np.random.Generator
) -> tuple[_Floats, _Floats, _Floats]:
    """What real detectors report: a speed off by a mile per hour or two, whole vehicles, a rounded occupancy.

    Every detector has an error of its own that stays, and one that is new each time; that of counts grows with their
    square root.

    Args:
        speed: Speed ``[T, N]``.
        flow: Vehicles per interval ``[T, N]``.
        occupancy: Occupancy ``[T, N]``.
        scale: Multiple of the usual noise; 0 returns what came in.
        generator: Source of the random numbers.
    """
    if scale == 0:
        return speed, flow, occupancy
    nodes = speed.shape[1]
    stays = scale * generator.normal(0, [[[0.015]], [[0.02]], [[0.05]]], (3, 1, nodes))
    fresh = scale * generator.normal(size=(3, *speed.shape))
    # The fewer vehicles, the less is known of their mean speed.
    seen = (speed * (1 + stays[0]) + fresh[0] * (1.0 + 4.0 / np.sqrt(1 + flow))).clip(1.0, None)
    counted = np.rint(flow * (1 + stays[1]) + 0.5 * fresh[1] * np.sqrt(flow)).clip(0, None)
    occupied = (occupancy * (1 + stays[2] + 0.03 * fresh[2])).clip(0, 1)
    return seen, counted, occupied.round(4)


def draw_outages(steps: int, detectors: int, rate: float, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw when detectors work, ``[steps, detectors]``: False in outages of hours and in single intervals.

    Args:
        steps: Number of intervals.
        detectors: Number of detectors.
        rate: Expected share that is missing.
        generator: Source of the random numbers.
    """
    lasting, single = (1 - _SINGLE_SHARE) * rate, _SINGLE_SHARE * rate / (1 - (1 - _SINGLE_SHARE) * rate)
    # Outages begin at random; as many as leave the wanted share of the time free of all of them.
    expected = -np.log1p(-lasting) / _OUTAGE_INTERVALS * (steps + 10 * _OUTAGE_INTERVALS) * detectors
    number = generator.poisson(expected)
    begin = generator.integers(-int(10 * _OUTAGE_INTERVALS), steps, number)
    end = begin + generator.geometric(1 / _OUTAGE_INTERVALS, number)
    detector = generator.integers(0, detectors, number)
    change = np.zeros((steps + 1, detectors), dtype=np.int64)
    np.add.at(change, (begin.clip(0, steps), detector), 1)
    np.add.at(change, (end.clip(0, steps), detector), -1)
    broken = change[:-1].cumsum(axis=0) > 0
    return ~broken & (generator.random((steps, detectors)) >= single)
