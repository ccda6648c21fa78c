"""Neighbours on a regular grid, by arithmetic."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["grid_stencil"]

_BLOCK = 1 << 22  # flags held at once


def grid_stencil(height: int, width: int, neighbors: int) -> Tensor:
    r"""Connect each cell of a grid to its neighbours.

    With 4 or 8 neighbours these are the adjoining cells without or with the diagonal ones, so cells at the border have
    fewer. Any other number :math:`k` gives the :math:`k` nearest cells, at the border too, exactly as
    :func:`stgraph.ops.neighbors.knn_graph` finds them from integer coordinates, with ties broken by index.

    Args:
        height: Number of rows H.
        width: Number of columns W.
        neighbors: 4, 8 or the number :math:`k` of nearest cells.

    Shapes:
        - **output:** :math:`(2, E)`, int64: row 0 the source :math:`j`, row 1 the target :math:`i`, cells numbered row
          by row; sorted by target, then by distance, then by source

    Raises:
        InputError: If an argument is less than 1.

    Example:
        >>> grid_stencil(2, 2, 4)
        tensor([[1, 2, 0, 3, 0, 3, 1, 2],
                [0, 0, 1, 1, 2, 2, 3, 3]])
        >>> grid_stencil(2, 3, 2)
        tensor([[1, 3, 0, 2, 1, 5, 0, 4, 1, 3, 2, 4],
                [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]])
    """
    for name, value in (("height", height), ("width", width), ("neighbors", neighbors)):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    if neighbors in (4, 8):
        offset_y, offset_x = _offsets(height, width, limit=neighbors // 4)
        count = neighbors
    else:
        count = min(neighbors, height * width - 1)
        offset_y, offset_x = _offsets(height, width, _farthest_needed(height, width, count))
    table, exists = _class_table(height, width, offset_y, offset_x, count)
    # One row of the table per cell, and the cell's own number added.
    cells = torch.arange(height * width).view(height, width, 1)
    row_class, column_class = (_classes(n, off)[1] for n, off in ((height, offset_y), (width, offset_x)))
    place = (row_class.unsqueeze(1), column_class.unsqueeze(0))
    source, exists = table[place] + cells, exists[place]
    return torch.stack([source[exists], cells.expand_as(source)[exists]])


def _farthest_needed(height: int, width: int, count: int) -> int:
    """Bound the squared distance within which every cell has ``count`` others.

    The corner has the fewest: along each axis, a cell with room on both sides sees at least as many steps within a
    distance as one with all the room on one side.
    """
    side = 2 * math.ceil(math.sqrt(count + 1))
    rows = min(height, side)
    columns = min(width, max(side, -(-2 * (count + 1) // rows)))
    rows = min(height, max(side, -(-2 * (count + 1) // columns)))
    squared = torch.arange(rows).square().unsqueeze(1) + torch.arange(columns).square()
    return int(squared.flatten().kthvalue(count + 1).values)


def _offsets(height: int, width: int, limit: int) -> tuple[Tensor, Tensor]:
    """Return the steps in rows and columns to all cells within a squared distance, by distance, then by index."""
    reach = math.isqrt(limit)
    rows, columns = min(reach, height - 1), min(reach, width - 1)
    y, x = torch.meshgrid(torch.arange(-rows, rows + 1), torch.arange(-columns, columns + 1), indexing="ij")
    squared = y.square() + x.square()
    inside = (squared > 0) & (squared <= limit)
    order = squared[inside].argsort(stable=True)
    return y[inside][order], x[inside][order]


def _classes(length: int, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Group the positions along an axis: far from both ends all are alike.

    Returns:
        A position for each class, and the class of each position.
    """
    reach = int(offsets.abs().max()) if offsets.numel() else 0
    position = torch.arange(length)
    if length <= 2 * reach + 1:
        return position, position
    members = torch.cat([position[: reach + 1], position[length - reach :]])
    return members, position.clamp(max=reach) + (position - (length - 1 - reach)).clamp(min=0)


def _class_table(height: int, width: int, offset_y: Tensor, offset_x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return, for each class of rows and columns, the first ``count`` steps that stay in the grid, and which exist."""
    rows, columns = _classes(height, offset_y)[0], _classes(width, offset_x)[0]
    fits_x = _stays(columns, offset_x, width)
    count = min(count, offset_y.numel())
    table = torch.zeros(len(rows), len(columns), count, dtype=torch.int64)
    exists = torch.zeros_like(table, dtype=torch.bool)
    step = offset_y * width + offset_x
    size = max(1, _BLOCK // max(1, fits_x.numel()))
    for first in range(0, len(rows), size):
        fits = _stays(rows[first : first + size], offset_y, height).unsqueeze(1) & fits_x
        slot = fits.cumsum(dim=-1) - 1
        row, column, offset = (fits & (slot < count)).nonzero(as_tuple=True)
        place = (row + first, column, slot[row, column, offset])
        table[place], exists[place] = step[offset], True
    return table, exists


def _stays(position: Tensor, offset: Tensor, length: int) -> Tensor:
    moved = position.unsqueeze(1) + offset
    return (moved >= 0) & (moved < length)
