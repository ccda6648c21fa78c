"""Which series are expected from which."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.ops.anomaly.neighbor_regression import NeighborTable, neighbor_table
from stgraph.ops.neighbors import knn_graph
from stgraph.ops.stencil import grid_stencil

__all__ = ["Edges", "series_neighbors"]

Edges = Literal["auto", "own", "position", "correlation"]

_STENCIL = 8
_FAR = 5.0  # standard deviations that a value counts at most in a correlation


def series_neighbors(data: Data, values: Tensor, edges: Edges, limit: int) -> NeighborTable:
    r"""Neighbours of each series, the same channel of the neighbours of its node.

    Shapes:
        - **values:** :math:`(N C, T)`, standardised, 0 where missing; **output:** :math:`(N C, k)`

    Raises:
        InputError: If the data lack what neighbours shall come from.
    """
    nodes, channels = data.x.shape[0], data.x.shape[2]
    if edges == "auto":
        edges = "position" if data.get("grid") is not None else "correlation"
    if edges == "own":
        if data.get("edge_index") is None:
            raise InputError("data have no edge_index; expected one for edges='own'")
        table = neighbor_table(data.edge_index, nodes, limit, data.get("edge_weight"))
    elif edges == "position":
        table = neighbor_table(_near(data, nodes, limit), nodes, limit)
    else:
        table = neighbor_table(_correlated(values.view(nodes, -1), limit), nodes, limit)
    channel = torch.arange(channels, device=table.source.device)
    index = table.source[:, None] * channels + channel[:, None]
    return NeighborTable(index.flatten(0, 1), table.exists.repeat_interleave(channels, dim=0))


def _near(data: Data, nodes: int, limit: int) -> Tensor:
    if data.get("grid") is not None:
        height, width = data.grid
        return grid_stencil(height, width, min(_STENCIL, limit))
    if data.get("pos") is None:
        raise InputError("data have neither grid nor pos; expected one of them for edges='position'")
    return knn_graph(data.pos, limit) if nodes > 1 else data.pos.new_zeros(2, 0, dtype=torch.long)


def _correlated(values: Tensor, limit: int) -> Tensor:
    """Edges from the series of the largest correlation, which must be positive: a sensor without data has none."""
    away = values.clamp(-_FAR, _FAR)
    away = away - away.mean(dim=1, keepdim=True)
    away = away / away.norm(dim=1, keepdim=True).clamp(min=1e-6)
    correlation = (away @ away.T).fill_diagonal_(-1.0)
    strength, near = correlation.topk(min(limit, len(values) - 1), dim=1)
    node = torch.arange(len(values), device=near.device)[:, None].expand_as(near)
    edges: Tensor = torch.stack([near[strength > 0], node[strength > 0]])
    return edges
