"""A random map: junctions, the roads between them, and where roads leave the region."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, Delaunay

__all__ = ["RoadMap", "draw_road_map"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_CANDIDATES = 20  # points drawn for each junction, of which the one farthest from all others is taken
_OUTWARD = 1.35  # how much farther from the centre than its junction the end of a road out of the region lies


class RoadMap(NamedTuple):
    """Junctions ``points`` [J, 2] in km around the centre (0, 0), and one-way roads ``roads`` [2, R] between them.

    The roads r and r + R / 2 are the two directions of one. A junction with a single road is where it leaves the map.
    """

    points: _Floats
    roads: _Ints

    @property
    def lengths(self) -> _Floats:
        """Length of each road in km."""
        start, end = self.points[self.roads]
        lengths: _Floats = np.hypot(*(end - start).T)
        return lengths

    @property
    def reverse(self) -> _Ints:
        """The road of the other direction for each road."""
        return np.roll(np.arange(self.roads.shape[1]), self.roads.shape[1] // 2)


def draw_road_map(num_junctions: int, total_length: float, generator: np.random.Generator) -> RoadMap:
    """Draw junctions well apart from each other and join neighbours; roads lead out at the rim.

    Two junctions are joined if the circle between them holds no third one (the Gabriel graph), which makes a planar
    and connected map.

    Args:
        num_junctions: Number of junctions inside the region, at least 3.
        total_length: Length of all one-way roads together in km, to which the map is scaled.
        generator: Source of the random numbers.
    """
    points = _spread_points(num_junctions, generator)
    points -= points.mean(axis=0)
    joined = _gabriel_edges(points)
    rim = ConvexHull(points).vertices
    turn = generator.uniform(-0.15, 0.15, rim.size)
    outward = points[rim] * _OUTWARD + turn[:, None] * points[rim][:, ::-1] * [-1, 1]
    ends = num_junctions + np.arange(rim.size)
    edges = np.concatenate([joined, [rim, ends]], axis=1).astype(np.int64)
    raw = RoadMap(np.concatenate([points, outward]), np.concatenate([edges, edges[::-1]], axis=1))
    return raw._replace(points=raw.points * (total_length / raw.lengths.sum()))


def _spread_points(number: int, generator: np.random.Generator) -> _Floats:
    points = generator.random((1, 2))
    for _ in range(number - 1):
        candidates = generator.random((_CANDIDATES, 2))
        nearest = np.hypot(*(candidates[:, None] - points).transpose(2, 0, 1)).min(axis=1)
        points = np.concatenate([points, candidates[[nearest.argmax()]]])
    return points


def _gabriel_edges(points: _Floats) -> _Ints:
    corners = Delaunay(points).simplices
    pairs = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    middle, radius = points[pairs].mean(axis=1), np.hypot(*np.diff(points[pairs], axis=1)[:, 0].T) / 2
    distance = np.hypot(*(middle[:, None] - points).transpose(2, 0, 1))
    np.put_along_axis(distance, pairs, np.inf, axis=1)
    kept: _Ints = pairs[distance.min(axis=1) >= radius].T
    return kept
