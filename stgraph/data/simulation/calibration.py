"""Lanes and demand that fit each other, so that roads are congested in the peaks and flow otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import spsolve

from stgraph.data.simulation.cells import Cells
from stgraph.data.simulation.network import CONNECTOR, Layout, build_layout
from stgraph.data.simulation.road_map import draw_road_map

__all__ = ["RoadNetwork", "draw_network", "stationary_flow"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_KM_PER_DETECTOR = 0.95  # METR-LA and PEMS-BAY have a detector every half a mile to a mile
_DETECTORS_PER_JUNCTION = 16
_LANE_CAPACITY, _CONNECTOR_CAPACITY, _RAMP_CAPACITY = 2000.0, 1700.0, 1500.0  # vehicles per hour
_WAVE_SPEED = 18.0  # km/h
_GATE_WEIGHT = 5.0  # a road from outside brings as much as five ramps
_EXIT_TILT = 0.6
_TILT = 0.7  # how much more of the morning's trips start at the rim than in the centre
_TYPICAL_LANES = 3.0
_NARROW_SHARE, _NARROW_CAPACITY = 0.08, (0.80, 0.95)  # bends, slopes, weaving: bottlenecks that are always there
# Ramp meters let so little into a standing road that the exits upstream free more of it than the entries fill: with a
# larger share, the jams of roads in a ring feed each other until nothing moves any more.
_METERED_SHARE = 0.10
_BUSY_SHARE = 0.28  # of the road has, in the peak of a typical day, more demand than capacity


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """Roads with their demand in the peaks of a typical weekday.

    Args:
        cells: The cells.
        road: Road of each cell, :data:`~stgraph.data.simulation.network.CONNECTOR` within interchanges.
        lanes: Lanes of each cell.
        position: Place of each cell's middle in km.
        peak_demand: Vehicles per hour at each origin, in the morning and in the evening.
        peak_shares: Share of the first way of each diverge, in the morning and in the evening.

    Shapes:
        - **road**, **lanes:** :math:`(M)`, **position:** :math:`(M, 2)`, **peak_demand:** :math:`(2, O)`,
          **peak_shares:** :math:`(2, D)`
    """

    cells: Cells
    road: _Ints
    lanes: _Ints
    position: _Floats
    peak_demand: _Floats
    peak_shares: _Floats

    @property
    def road_cells(self) -> _Ints:
        """The cells that are not part of an interchange, road by road in the direction of travel."""
        return np.flatnonzero(self.road != CONNECTOR)


def draw_network(num_detectors: int, step: float, demand: float, generator: np.random.Generator) -> RoadNetwork:
    """Draw a network of a size that suits a number of detectors.

    Args:
        num_detectors: Number of detectors; there are about twice as many cells to put them in.
        step: Time step in hours.
        demand: Demand as a multiple of what congests a tenth of the roads in the peaks.
        generator: Source of the random numbers.
    """
    junctions = max(3, round(num_detectors / _DETECTORS_PER_JUNCTION))
    road_map = draw_road_map(junctions, num_detectors * _KM_PER_DETECTOR, generator)
    layout = build_layout(road_map, step, generator)
    weights, shares = _directions(layout, generator)
    series, merges, diverges = _numbered(layout)
    road, num_cells = np.array(layout.road), len(layout.length)
    flow = np.stack(
        [stationary_flow(num_cells, series, merges, diverges, *peak) for peak in zip(weights, shares, strict=True)]
    )[:, :num_cells]
    lanes, scale = _lanes(road, flow, generator)
    peak_demand = weights * (scale * demand)[:, None]
    flow = (flow * (scale * demand)[:, None]).max(axis=0)
    lane_capacity = np.where(road == CONNECTOR, _CONNECTOR_CAPACITY, _LANE_CAPACITY)
    needed = np.ceil(flow / (0.95 * _CONNECTOR_CAPACITY)).clip(1, None)
    lanes = np.where(road == CONNECTOR, needed, lanes)
    narrow = (road != CONNECTOR) & (generator.random(num_cells) < _NARROW_SHARE)
    capacity = lanes * lane_capacity * np.where(narrow, generator.uniform(*_NARROW_CAPACITY, num_cells), 1.0)
    ramp_lanes = np.ceil(peak_demand.max(axis=0) / (0.8 * _RAMP_CAPACITY)).clip(1, None)
    upstream = np.concatenate([capacity, ramp_lanes * _RAMP_CAPACITY])
    by_capacity = upstream[merges[0]] / (upstream[merges[0]] + upstream[merges[1]])
    cells = Cells(
        length=np.array(layout.length),
        free_speed=np.array(layout.speed),
        wave_speed=np.full(num_cells, _WAVE_SPEED),
        capacity=capacity,
        series=series,
        merges=merges,
        priority=np.where(merges[1] < num_cells, by_capacity, 1 - _METERED_SHARE),
        diverges=diverges,
        origin_capacity=ramp_lanes * _RAMP_CAPACITY,
    )
    return RoadNetwork(cells, road, lanes.astype(np.int64), np.array(layout.position), peak_demand, shares)


def stationary_flow(
    num_cells: int, series: _Ints, merges: _Ints, diverges: _Ints, demand: _Floats, shares: _Floats
) -> _Floats:
    """Flow through all cells and origins if nothing is ever congested."""
    size = num_cells + demand.size
    source = np.concatenate([series[0], merges[0], merges[1], diverges[0], diverges[0]])
    target = np.concatenate([series[1], merges[2], merges[2], diverges[1], diverges[2]])
    one = np.ones(series.shape[1] + 2 * merges.shape[1])
    share = np.concatenate([one, shares, 1 - shares])
    inside = target < size
    passed_on = coo_array((share[inside], (target[inside], source[inside])), shape=(size, size))
    flow: _Floats = spsolve((eye_array(size) - passed_on).tocsc(), np.concatenate([np.zeros(num_cells), demand]))
    return flow


def _directions(layout: Layout, generator: np.random.Generator) -> tuple[_Floats, _Floats]:
    """Relative demand of the origins and shares of the diverges, in the morning and in the evening.

    In the morning, trips rather start at the rim and end in the centre; in the evening the other way round.
    """
    distance = np.hypot(*np.array(layout.position).T)
    outer = distance.argsort().argsort() / (distance.size - 1) * 2 - 1  # -1 in the centre, 1 at the rim
    direction = np.array([[_TILT], [-_TILT]])
    gate = np.where(layout.origin_is_gate, _GATE_WEIGHT, 1.0)
    weight = gate * generator.lognormal(0, 0.4, gate.size)
    weights = weight * (1 + direction * outer[layout.origin_cell])
    forks = np.array([cell for cell, _, _ in layout.diverges], dtype=np.int64)
    share, is_exit = np.array(layout.share), np.array(layout.is_exit, dtype=np.bool_)
    shares = np.where(is_exit, 1 - (1 - share) * (1 - _EXIT_TILT * direction * outer[forks]), share)
    return weights, shares.clip(0.02, 0.98)


def _numbered(layout: Layout) -> tuple[_Ints, _Ints, _Ints]:
    """Connections with origins after the cells and the sink last."""
    num_cells, num_origins = len(layout.length), len(layout.origin_cell)

    def number(entries: list[tuple[int, ...]], rows: int) -> _Ints:
        places = np.array(entries, dtype=np.int64).reshape(-1, rows).T
        return np.where(places == -1, num_cells + num_origins, np.where(places < 0, num_cells - 2 - places, places))

    return number([*layout.series], 2), number([*layout.merges], 3), number([*layout.diverges], 3)


def _lanes(road: _Ints, flow: _Floats, generator: np.random.Generator) -> tuple[_Floats, _Floats]:
    """Lanes of each cell, and the number that the demand of each peak is to be multiplied with."""
    inside = road != CONNECTOR
    level = flow / flow[:, inside].mean(axis=1, keepdims=True)
    busiest = np.array([np.quantile(level[:, road == number].max(axis=0), 0.8) for number in range(road.max() + 1)])
    needed = busiest * (_TYPICAL_LANES / np.median(busiest))
    lanes_of_cells: _Floats = np.rint(needed + generator.normal(0, 0.4, needed.size)).clip(2, 6)[road]
    load = flow[:, inside] / (lanes_of_cells[inside] * _LANE_CAPACITY)
    return lanes_of_cells, 1 / np.quantile(load, 1 - _BUSY_SHARE, axis=1)
