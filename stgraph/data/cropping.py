"""Cut a smaller grid out of a grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.data.coordinates import default_positions
from stgraph.data.graph import series_of
from stgraph.data.selection import take_nodes
from stgraph.errors import InputError, InputTypeError

__all__ = ["CropMode", "crop"]

CropMode: TypeAlias = Literal["none", "center", "top_left", "bottom_right", "random", "box"]

_MODES = ("none", "center", "top_left", "bottom_right", "random", "box")
_logger = logging.getLogger("stgraph")


def crop(
    data: Data,
    mode: CropMode,
    size: int | tuple[int, int] | None = None,
    box: Sequence[int] | None = None,
    seed: int = 0,
) -> Data:
    r"""Keep a rectangle of a grid: its values, mask, positions and properties, and the edges within it.

    Positions that are the rows and columns of the whole grid in -1..1 become those of the rectangle in -1..1.

    Node data are returned untouched, with a notice through the logger ``stgraph``. A crop that is higher or wider than
    the grid takes all its rows or columns, so that a crop larger than the grid leaves it whole.

    Args:
        data: Graph of a series on a grid.
        mode: ``"none"``, ``"center"``, ``"top_left"``, ``"bottom_right"``, ``"random"`` or ``"box"``.
        size: Rows and columns to keep, or one number for both; for all modes except ``"none"`` and ``"box"``.
        box: Rows h0 to h1 and columns w0 to w1, the ends excluded: ``(h0, h1, w0, w1)``; for mode ``"box"``.
        seed: Seed of mode ``"random"``.

    Raises:
        InputError: If the mode is unknown, its size or box is missing, or nothing would be left.
        InputTypeError: If size or box are not integers.

    Examples:
        >>> data = Data(x=torch.arange(6.0).view(6, 1, 1), grid=(2, 3))
        >>> crop(data, "box", box=(0, 2, 1, 3)).x.flatten()
        tensor([1., 2., 4., 5.])
    """
    if mode not in _MODES:
        raise InputError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
    if mode == "none":
        return data
    num_nodes = series_of(data).size(0)
    wanted = _read_box(box) if mode == "box" else _read_size(size, mode)
    if data.get("grid") is None:
        _logger.info("crop (%s) skipped: the data are nodes, not a grid", mode)
        return data
    height, width = data.grid
    if len(wanted) == 4:
        top, bottom, left, right = wanted[0], min(wanted[1], height), wanted[2], min(wanted[3], width)
        if top >= bottom or left >= right:
            raise InputError(f"box {tuple(wanted)} (h0, h1, w0, w1) holds no cell of the {height} x {width} grid")
    else:
        rows, columns = min(wanted[0], height), min(wanted[1], width)
        top, left = _corner(mode, height - rows, width - columns, seed)
        bottom, right = top + rows, left + columns
    if (bottom - top, right - left) == (height, width):
        return data
    cells = torch.arange(num_nodes).view(height, width)[top:bottom, left:right].flatten()
    result = take_nodes(data, cells, grid=(bottom - top, right - left))
    if _has_default_positions(data):
        _rescale_positions(result)
    return result


def _has_default_positions(data: Data) -> bool:
    pos = data.get("pos")
    return pos is not None and pos.size(1) == 2 and torch.equal(pos, default_positions(pos.size(0), data.grid).to(pos))


def _rescale_positions(data: Data) -> None:
    data.pos = default_positions(data.pos.size(0), data.grid).to(data.pos)
    attr = data.get("edge_attr")
    if attr is not None and attr.dim() == 2 and attr.size(1) == 3:
        relative = data.pos[data.edge_index[1]] - data.pos[data.edge_index[0]]
        data.edge_attr = torch.cat([relative, relative.norm(dim=1, keepdim=True)], dim=1)


def _corner(mode: str, spare_rows: int, spare_columns: int, seed: int) -> tuple[int, int]:
    if mode == "top_left":
        return 0, 0
    if mode == "bottom_right":
        return spare_rows, spare_columns
    if mode == "center":
        return spare_rows // 2, spare_columns // 2
    top, left = np.random.default_rng(seed).integers(0, [spare_rows, spare_columns], endpoint=True)
    return int(top), int(left)


def _read_size(size: int | tuple[int, int] | None, mode: str) -> list[int]:
    if size is None:
        raise InputError(f"crop mode {mode!r} needs size, the rows and columns to keep")
    sides = _integers([size, size] if isinstance(size, int) else size, "size", 2)
    if min(sides) < 1:
        raise InputError(f"size must be at least 1, got {size}")
    return sides


def _read_box(box: Sequence[int] | None) -> list[int]:
    if box is None:
        raise InputError("crop mode 'box' needs box=(h0, h1, w0, w1)")
    edges = _integers(box, "box", 4)
    if min(edges) < 0 or edges[0] >= edges[1] or edges[2] >= edges[3]:
        raise InputError(f"box must be (h0, h1, w0, w1) with 0 <= h0 < h1 and 0 <= w0 < w1, got {tuple(edges)}")
    return edges


def _integers(values: Sequence[int], name: str, length: int) -> list[int]:
    items = list(values)
    if len(items) != length:
        raise InputError(f"{name} must hold {length} integers, got {len(items)}")
    if not all(isinstance(item, (int, np.integer)) and not isinstance(item, bool) for item in items):
        raise InputTypeError(f"{name} must hold integers, got {items}")
    return [int(item) for item in items]
