"""A random road network as cells: motorways with ramps, and interchanges where they meet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stgraph.data.simulation.road_map import RoadMap

__all__ = ["CONNECTOR", "Layout", "build_layout"]

_Floats = npt.NDArray[np.float64]

#: The road of cells that are lanes of an interchange.
CONNECTOR = -1
_SIDE = 0.03  # km from the middle of a road to the middle of one direction
_EXIT_SHARES = (0.15, 0.30)  # of the vehicles that pass an exit
_STRAIGHTNESS = 1.5  # how much more go straight on than turn


@dataclass
class Layout:
    """Cells and their connections while they are put together; see :class:`stgraph.data.simulation.Cells`.

    Origins are numbered -2, -3, ... and the sink is -1, until the number of cells is known.
    """

    length: list[float] = field(default_factory=list)
    road: list[int] = field(default_factory=list)
    speed: list[float] = field(default_factory=list)
    position: list[tuple[float, float]] = field(default_factory=list)
    series: list[tuple[int, int]] = field(default_factory=list)
    merges: list[tuple[int, int, int]] = field(default_factory=list)
    diverges: list[tuple[int, int, int]] = field(default_factory=list)
    share: list[float] = field(default_factory=list)  # of the first way of each diverge
    is_exit: list[bool] = field(default_factory=list)  # whether the second way of each diverge ends the trip
    origin_cell: list[int] = field(default_factory=list)
    origin_is_gate: list[bool] = field(default_factory=list)

    def add_cell(self, length: float, road: int, speed: float, position: _Floats) -> int:
        """Add a cell and return its number."""
        self.length.append(length)
        self.road.append(road)
        self.speed.append(speed)
        self.position.append((float(position[0]), float(position[1])))
        return len(self.length) - 1

    def add_origin(self, cell: int, gate: bool) -> int:
        """Add an origin that leads into a cell, and return its number."""
        self.origin_cell.append(cell)
        self.origin_is_gate.append(gate)
        return -1 - len(self.origin_cell)

    def add_diverge(self, cell: int, first: int, second: int, share: float) -> None:
        """Let the given share go the first way."""
        self.diverges.append((cell, first, second))
        self.share.append(share)
        self.is_exit.append(second == -1)


def build_layout(road_map: RoadMap, step: float, generator: np.random.Generator) -> Layout:
    """Cut the roads of a map into cells, put ramps along them, and join them at the junctions.

    Args:
        road_map: The map.
        step: Time step in hours: cells are as long as a vehicle goes in it, or up to twice as long.
        generator: Source of the random numbers.
    """
    layout = Layout()
    ends = [_add_road(layout, road_map, road, step, generator) for road in range(road_map.roads.shape[1])]
    for junction in range(len(road_map.points)):
        arriving = np.flatnonzero(road_map.roads[1] == junction)
        leaving = np.flatnonzero(road_map.roads[0] == junction)
        if arriving.size == 1:
            layout.series.append((ends[arriving[0]][1], -1))
            first = ends[leaving[0]][0]
            layout.series.append((layout.add_origin(first, gate=True), first))
        else:
            _add_interchange(layout, road_map, arriving, leaving, ends, step, generator)
    return layout


def _add_road(
    layout: Layout, road_map: RoadMap, road: int, step: float, generator: np.random.Generator
) -> tuple[int, int]:
    """Add the cells and ramps of a road; return its first and last cell."""
    start, end = road_map.points[road_map.roads[:, road]]
    speed = generator.uniform(96.0, 110.0)
    shortest = speed * step
    length = max(float(road_map.lengths[road]), 4 * shortest)  # short ones bend
    number = int(length / shortest)
    along = (end - start) / np.hypot(*(end - start))
    right = np.array([along[1], -along[0]]) * _SIDE
    cells = [
        layout.add_cell(length / number, road, speed, start + right + (end - start) * (i + 0.5) / number)
        for i in range(number)
    ]
    # Exits and entries take turns, every second to fourth cell.
    is_exit, following = True, int(generator.integers(1, 3))
    for i, (cell, after) in enumerate(pairwise(cells)):
        if i < following:
            layout.series.append((cell, after))
            continue
        if is_exit:
            layout.add_diverge(cell, after, -1, 1 - generator.uniform(*_EXIT_SHARES))
        else:
            layout.merges.append((cell, layout.add_origin(after, gate=False), after))
        following = i + (1 if is_exit else int(generator.integers(2, 5)))
        is_exit = not is_exit
    return cells[0], cells[-1]


def _add_interchange(
    layout: Layout,
    road_map: RoadMap,
    arriving: npt.NDArray[np.int64],
    leaving: npt.NDArray[np.int64],
    ends: list[tuple[int, int]],
    step: float,
    generator: np.random.Generator,
) -> None:
    """Lead every arriving road to every leaving one but its own opposite, by ways that fork and merge in twos."""
    point = road_map.points[road_map.roads[1, arriving[0]]]
    speed = 80.0
    direction = np.diff(road_map.points[road_map.roads.T], axis=1)[:, 0]
    direction /= np.hypot(*direction.T)[:, None]

    def connector() -> int:
        return layout.add_cell(1.05 * speed * step, CONNECTOR, speed, point)

    joining: dict[int, list[int]] = defaultdict(list)
    for road in arriving:
        ways = leaving[leaving != road_map.reverse[road]]
        weight = np.exp(_STRAIGHTNESS * direction[ways] @ direction[road] + generator.normal(0, 0.4, ways.size))
        rest = ends[road][1]
        for i, way in enumerate(ways[:-1]):
            to_way, onward = connector(), connector()
            layout.add_diverge(rest, to_way, onward, float(weight[i] / weight[i:].sum()))
            joining[int(way)].append(to_way)
            rest = onward
        joining[int(ways[-1])].append(rest)
    for way, (joined, *others) in joining.items():
        target = ends[way][0]
        for other in others[:-1]:
            merged = connector()
            layout.merges.append((joined, other, merged))
            joined = merged
        layout.merges.append((joined, others[-1], target)) if others else layout.series.append((joined, target))
