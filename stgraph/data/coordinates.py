"""Positions of nodes: from given coordinates, from longitude and latitude, or from a grid's rows and columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.data.checks import as_finite_array
from stgraph.errors import InputError
from stgraph.ops.geodesy import local_plane, sphere_points

__all__ = ["Coordinates", "as_positions", "default_positions"]

Coordinates: TypeAlias = Literal["cartesian", "local_plane", "great_circle"]

_COORDINATES = ("cartesian", "local_plane", "great_circle")
_Array = npt.NDArray[np.float64]


def as_positions(
    coords: Any, num_nodes: int, grid: tuple[int, int] | None = None, coordinates: Coordinates = "cartesian"
) -> Tensor:
    """Positions [N, D] in float32 from what the user gave; see :func:`stgraph.data.from_array`.

    Raises:
        InputError: If the shape does not fit the nodes, an entry is NaN or infinite, or a latitude is outside -90..90.
        InputTypeError: If the coordinates are not numeric.

    Examples:
        >>> as_positions([[0.0, 1.0], [2.0, 3.0]], 2)
        tensor([[0., 1.],
                [2., 3.]])
        >>> as_positions(([50.0, 49.0], [7.0, 8.0]), 4, grid=(2, 2))[1]  # latitudes and longitudes of a grid
        tensor([ 8., 50.])
    """
    if coordinates not in _COORDINATES:
        raise InputError(f"coordinates must be one of {', '.join(_COORDINATES)}, got {coordinates!r}")
    points = _read_points(coords, num_nodes, grid)
    if coordinates == "cartesian":
        return torch.from_numpy(points).float()
    if points.shape[1] < 2:
        raise InputError(f"coordinates={coordinates!r} needs longitude and latitude, got {points.shape[1]} column")
    if coordinates == "great_circle" and points.shape[1] > 2:
        raise InputError(
            f"coordinates='great_circle' takes longitude and latitude alone, got {points.shape[1]} columns; leave out "
            "the others or use 'local_plane', which keeps them"
        )
    convert = local_plane if coordinates == "local_plane" else sphere_points
    return convert(torch.from_numpy(points)).float()


def default_positions(num_nodes: int, grid: tuple[int, int] | None) -> Tensor:
    """Positions [N, 2] where none are known: (row, column) of a grid, each in -1..1, or a line for nodes.

    Examples:
        >>> default_positions(4, (2, 2))
        tensor([[-1., -1.],
                [-1.,  1.],
                [ 1., -1.],
                [ 1.,  1.]])
    """
    if grid is not None:
        rows, columns = (_axis(length) for length in grid)
        return torch.cartesian_prod(rows, columns)
    warnings.warn(
        "no coordinates were given: the nodes are put on a line from -1 to 1 in the order of the data, so that all "
        "distances and neighbours are meaningless",
        stacklevel=3,
    )
    line = _axis(num_nodes)
    return torch.stack([line, torch.zeros_like(line)], dim=1)


def _axis(length: int) -> Tensor:
    return torch.linspace(-1.0, 1.0, length) if length > 1 else torch.zeros(1)


def _read_points(coords: Any, num_nodes: int, grid: tuple[int, int] | None) -> _Array:
    """Coordinates as a float64 array [N, D]."""
    if grid is not None and _is_pair_of_vectors(coords, grid):
        return _from_axes(as_finite_array(coords[0], "coords[0]"), as_finite_array(coords[1], "coords[1]"), grid)
    points = as_finite_array(coords, "coords")
    if points.ndim == 1:
        points = points[:, None]
    if grid is not None and points.ndim == 3 and points.shape[:2] == grid:
        points = points.reshape(num_nodes, points.shape[2])
    if points.ndim != 2 or points.shape[0] != num_nodes or points.shape[1] == 0:
        on_grid = "" if grid is None else f", ({grid[0]}, {grid[1]}, D) or a pair of vectors of {grid[0]} and {grid[1]}"
        raise InputError(f"coords must have the shape (N, D) = ({num_nodes}, D){on_grid}, got {np.shape(points)}")
    return points


def _is_pair_of_vectors(coords: Any, grid: tuple[int, int]) -> bool:
    if not (isinstance(coords, Sequence) and len(coords) == 2 and all(np.ndim(axis) == 1 for axis in coords)):
        return False
    # Two rows of numbers are also the plain coordinates of a grid of two cells.
    return grid[0] * grid[1] != 2 or tuple(len(axis) for axis in coords) == grid


def _from_axes(rows: _Array, columns: _Array, grid: tuple[int, int]) -> _Array:
    if (rows.size, columns.size) != grid:
        raise InputError(
            f"coords as a pair must hold one entry for each of the {grid[0]} rows, then one for each of the {grid[1]} "
            f"columns, got {rows.size} and {columns.size}"
        )
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)
