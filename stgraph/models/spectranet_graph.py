"""Where the nodes of SpecTra-Net are and what joins them, computed once per graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from stgraph.errors import InputError
from stgraph.nn.mgat import MGAT, EdgeGeometry
from stgraph.nn.same import same_inputs
from stgraph.ops.neighbors import grid_stencil, knn_graph

__all__ = ["Geometry", "GraphGeometry", "grid_positions"]


class Geometry(NamedTuple):
    """Coordinates ``[N, D]``, prepared edges and, where the nodes are a grid, its size."""

    pos: Tensor
    edges: EdgeGeometry | None
    grid: tuple[int, int] | None

    def total_variation(self, node: Tensor, graph: bool) -> Tensor:
        """Mean absolute difference of ``node`` [B, N] between neighbours, on the grid or, if ``graph``, along edges."""
        total = node.new_zeros(())
        if self.grid is not None and min(self.grid) > 1:
            image: Tensor = node.unflatten(-1, self.grid)
            return total + image.diff(dim=-2).abs().mean() + image.diff(dim=-1).abs().mean()
        if not graph or self.edges is None or self.edges.structure.num_edges == 0:
            return total
        structure = self.edges.structure
        return torch.mean((node[:, structure.row] - node[:, structure.col]).abs())


class GraphGeometry(nn.Module):
    """Bring the coordinates and edges of a batch into the form that the spatial layers take.

    Args:
        num_neighbors: Neighbours of each node where the batch has no edges; all others if there are fewer.
        normalize: Centre the coordinates and divide them by the largest component, as found by :meth:`fit` or, before
            that, in the batch at hand.
        both_directions: Whether to add the reverse of every edge that the batch has.
    """

    center: Tensor
    scale: Tensor
    default_pos: Tensor | None

    def __init__(self, num_neighbors: int, normalize: bool, both_directions: bool = False) -> None:
        super().__init__()
        self.num_neighbors, self.normalize, self.both_directions = num_neighbors, normalize, both_directions
        self.register_buffer("center", torch.tensor(torch.nan))
        self.register_buffer("scale", torch.tensor(torch.nan))
        self.register_buffer("default_pos", None, persistent=False)
        self.default_grid: tuple[int, int] | None = None
        self._kept: tuple[tuple[object, ...], Geometry] | None = None

    @torch.no_grad()
    def fit(self, pos: Tensor) -> None:
        """Take the scale of the coordinates from those of the training data."""
        self.center, self.scale = _center_and_scale(pos)
        self._kept = None

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        # The centre has as many entries as the coordinates of the training data.
        if prefix + "center" in state_dict:
            self.center = torch.empty_like(state_dict[prefix + "center"], device=self.center.device)
        self._kept = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, batch: Data, mgat: MGAT | None) -> Geometry:
        """Return the geometry of a batch; that of the last graph is kept."""
        pos, edge_index, edge_attr = (getattr(batch, name, None) for name in ("pos", "edge_index", "edge_attr"))
        grid = getattr(batch, "grid", None)
        key = (pos, edge_index, edge_attr, None if grid is None else tuple(grid), batch.x.shape[1], mgat is None)
        if self._kept is None or not same_inputs(self._kept[0], key):
            with torch.no_grad():
                self._kept = (key, self._build(batch.x, pos, edge_index, edge_attr, key[3], mgat))
        return self._kept[1]

    def _build(
        self,
        x: Tensor,
        pos: Tensor | None,
        edge_index: Tensor | None,
        edge_attr: Tensor | None,
        grid: tuple[int, int] | None,
        mgat: MGAT | None,
    ) -> Geometry:
        nodes = x.shape[1]
        given = pos if pos is not None else self.default_pos
        if given is None and grid is None:
            grid = self.default_grid if self.default_grid is not None else (1, nodes)
        if grid is not None and grid[0] * grid[1] != nodes:
            raise InputError(f"grid is {grid}; expected a grid of {nodes} cells")
        plain = grid_positions(*grid).to(x) if grid is not None else None
        on_grid = plain is not None and (given is None or _close(given.to(x), plain))
        place = self.place(plain if plain is not None and on_grid else given, nodes)
        if mgat is None:
            return Geometry(place, None, grid)
        if place.shape[1] != mgat.pos_dim:
            raise InputError(f"pos has {place.shape[1]} dimensions; the model was made for pos_dim = {mgat.pos_dim}")
        if edge_index is None:
            edge_index = self._neighbors(given, grid if on_grid else None, nodes).to(x.device)
        elif self.both_directions:
            edge_index = to_undirected(edge_index, num_nodes=nodes)
        attributes = self._edge_attributes(place, edge_index, per_axis=not on_grid)
        return Geometry(place, mgat.prepare(edge_index, attributes, nodes), grid)

    def place(self, pos: Tensor | None, nodes: int) -> Tensor:
        """Coordinates as the layers take them."""
        if pos is None or pos.dim() != 2 or pos.shape[0] != nodes:
            raise InputError(f"pos has shape {None if pos is None else tuple(pos.shape)}; expected ({nodes}, D)")
        if not self.normalize:
            return pos
        if bool(self.scale.isnan()):
            center, scale = _center_and_scale(pos)
        else:
            center, scale = self.center.to(pos), self.scale.to(pos)
        return (pos - center) / scale

    def _neighbors(self, pos: Tensor | None, grid: tuple[int, int] | None, nodes: int) -> Tensor:
        k = min(self.num_neighbors, nodes - 1)
        if k < 1:
            return torch.empty(2, 0, dtype=torch.long)
        if grid is not None:
            return grid_stencil(*grid, k)
        assert pos is not None
        return knn_graph(pos, k)

    def _edge_attributes(self, pos: Tensor, edge_index: Tensor, per_axis: bool) -> Tensor:
        """Relative position, scaled to [-1, 1] over all edges unless the grid has done so, and length."""
        rel = pos[edge_index[1]] - pos[edge_index[0]]
        length = rel.norm(dim=-1, keepdim=True)
        if per_axis and rel.numel():
            largest = rel.abs().amax(dim=0)
            rel = rel / torch.where(largest > 0, largest, 1.0)
        return torch.cat([rel, length], dim=-1)


def grid_positions(height: int, width: int) -> Tensor:
    """Row and column of each cell of a grid, row-major, each scaled to [-1, 1]: ``[H W, 2]``.

    >>> grid_positions(2, 2).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    return torch.cartesian_prod(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width))


def _center_and_scale(pos: Tensor) -> tuple[Tensor, Tensor]:
    center = (pos.amax(dim=0) + pos.amin(dim=0)) / 2
    return center, (pos - center).abs().max().clamp(min=1e-12)


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-6)
