"""Positions of detectors of which only the road graph is published."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, shortest_path

__all__ = ["road_layout"]

_Array = npt.NDArray[np.float64]
_TINY = np.finfo(np.float64).tiny
_MARGIN = 1.25  # width of the square of a component, in units of the largest of all


def road_layout(num_nodes: int, edge_index: npt.NDArray[np.int64], length: npt.NDArray[Any]) -> _Array:
    r"""Positions whose distances are, as nearly as two dimensions allow, the distances along the roads.

    Each connected part of the graph is laid out by classical multidimensional scaling (Torgerson, 1952, Psychometrika
    17, 401-419) of its shortest paths, every link taken both ways; of the two signs of each axis that is taken which
    makes its largest entry positive. The parts, in the order of their first nodes, are put side by side on a square, so
    that distances from one part to another mean nothing. The positions are centred and scaled to a root mean square
    of 1.

    Args:
        num_nodes: Number of nodes N.
        edge_index: The links.
        length: Their lengths, in any unit.

    Shapes:
        - **edge_index:** :math:`(2, E)`, **length:** :math:`(E)`
        - **output:** :math:`(N, 2)`

    Examples:
        >>> road_layout(3, np.array([[0, 1], [1, 2]]), np.array([1.0, 1.0]))[:, 0].round(3).tolist()
        [1.225, 0.0, -1.225]
    """
    # A link of length 0 would be no link.
    links = csr_array((np.maximum(length, _TINY), tuple(edge_index)), shape=(num_nodes, num_nodes))
    count, part = connected_components(links, directed=False)
    distance = shortest_path(links, directed=False)
    width = _MARGIN * distance[np.isfinite(distance)].max()
    side = math.ceil(math.sqrt(count))
    positions = width * np.stack([part % side, part // side], axis=1).astype(np.float64)
    for number in range(count):
        nodes = np.flatnonzero(part == number)
        positions[nodes] += _scale(distance[np.ix_(nodes, nodes)])
    positions -= positions.mean(0)
    scaled: _Array = positions / max(np.sqrt((positions**2).sum(1).mean()), _TINY)
    return scaled


def _scale(distance: _Array) -> _Array:
    """Positions [n, 2] of points at these distances [n, n]."""
    squared = distance**2
    gram = -0.5 * (squared - squared.mean(0) - squared.mean(1, keepdims=True) + squared.mean())
    value, vector = np.linalg.eigh(gram)
    axes = np.zeros((len(distance), 2))
    found = vector[:, :-3:-1] * np.sqrt(np.maximum(value[:-3:-1], 0))
    axes[:, : found.shape[1]] = found  # a single point has one axis only
    size = np.abs(axes)
    largest = (size >= size.max(0) * (1 - 1e-9)).argmax(0)  # the first of several, whatever rounding says
    signed: _Array = axes * np.where(axes[largest, np.arange(2)] < 0, -1.0, 1.0)
    return signed
