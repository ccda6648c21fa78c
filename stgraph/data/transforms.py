"""Transforms that give a graph its edges; they compose with those of PyG.

Each replaces the edges of the graph and sets ``edge_index``, and with coordinates ``edge_attr`` as well: the
position of the target relative to the source, and their distance. Edge weights, where there are any, are in
``edge_weight``.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.geodesy import EARTH_RADIUS_KM, great_circle_distance, sphere_points
from stgraph.ops.neighbors import grid_stencil, knn_graph, radius_graph

__all__ = ["AdjacencyGraph", "DistanceKernelGraph", "GridStencilGraph", "KNNGraph", "RadiusGraph"]

Metric = Literal["euclidean", "great_circle"]


class KNNGraph(BaseTransform):
    r"""Connects each node to its :math:`k` nearest nodes by position (see :func:`stgraph.ops.neighbors.knn_graph`).

    Args:
        k: Number of neighbours.
        loop: Whether a node counts as a neighbour of itself.
        metric: ``"euclidean"``, or ``"great_circle"`` where ``pos`` is longitude and latitude in degrees or points on
            the globe in kilometres; distances in ``edge_attr`` are then along the globe, in kilometres, and relative
            longitudes go the short way round.

    Raises:
        InputError: If ``pos`` is missing, not finite or does not fit the metric, or ``k`` is not less than the number
            of nodes (more than it, with ``loop``).

    Example:
        >>> data = KNNGraph(k=1)(Data(pos=torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])))
        >>> data.edge_index.tolist()
        [[1, 2, 1], [0, 1, 2]]
        >>> data.edge_attr[0].tolist()
        [-3.0, -4.0, 5.0]
    """

    def __init__(self, k: int = 32, loop: bool = False, metric: Metric = "euclidean") -> None:
        self.k, self.loop, self.metric = k, loop, _check_metric(metric)

    def forward(self, data: Data) -> Data:
        """Return the graph with these edges."""
        pos = _positions(data)
        available = pos.shape[0] if self.loop else pos.shape[0] - 1
        if self.k > available:
            raise InputError(f"k is {self.k}, but a node of {pos.shape[0]} has only {available} to choose from")
        return _set_edges(data, knn_graph(_search_points(pos, self.metric), self.k, loop=self.loop), metric=self.metric)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, loop={self.loop}, metric={self.metric!r})"


class RadiusGraph(BaseTransform):
    r"""Connects nodes whose distance is at most :math:`r` (see :func:`stgraph.ops.neighbors.radius_graph`).

    Args:
        r: Largest distance; in kilometres along the globe for ``"great_circle"``.
        loop: Whether a node counts as a neighbour of itself.
        max_num_neighbors: Keep only so many neighbours of a node, the nearest ones.
        metric: As for :class:`KNNGraph`.

    Raises:
        InputError: If ``pos`` is missing, not finite or does not fit the metric.

    Example:
        >>> RadiusGraph(r=2.0)(Data(pos=torch.tensor([[0.0], [1.0], [5.0]]))).edge_index.tolist()
        [[1, 0], [0, 1]]
    """

    def __init__(
        self, r: float, loop: bool = False, max_num_neighbors: int | None = None, metric: Metric = "euclidean"
    ) -> None:
        self.r, self.loop, self.max_num_neighbors, self.metric = r, loop, max_num_neighbors, _check_metric(metric)

    def forward(self, data: Data) -> Data:
        """Return the graph with these edges."""
        points = _search_points(_positions(data), self.metric)
        r = self.r
        if self.metric == "great_circle":
            # The chord of an arc; no two points are further apart than half a turn.
            r = 2 * EARTH_RADIUS_KM * float(np.sin(min(self.r / (2 * EARTH_RADIUS_KM), np.pi / 2)))
        edges = radius_graph(points, r, loop=self.loop, max_num_neighbors=self.max_num_neighbors)
        return _set_edges(data, edges, metric=self.metric)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(r={self.r}, loop={self.loop}, metric={self.metric!r})"


class DistanceKernelGraph(BaseTransform):
    r"""Connects nodes by a thresholded Gaussian kernel of given distances, such as road distances.

    An edge weighs :math:`\exp(-(d / \sigma)^2)` and exists where that is at least the threshold. This is the
    graph of METR-LA and PEMS-BAY in `"Diffusion Convolutional Recurrent Neural Network" <https://arxiv.org/abs/1707.01926>`_.

    Args:
        distances: Distance from node to node: a matrix ``[N, N]`` with source rows and target columns, infinite or NaN
            where there is no connection; or a :class:`stgraph.data.DistanceTable`; or a pair of ``edge_index`` and
            distances.
        sigma: Width :math:`\sigma` of the kernel; by default the standard deviation of all distances there are, those
            of nodes to themselves included.
        threshold: Least weight of an edge.
        loop: Whether to keep edges from a node to itself.

    Raises:
        InputError: If distances are negative or do not fit the nodes, or ``sigma`` is not positive.

    Example:
        >>> inf = float("inf")
        >>> transform = DistanceKernelGraph([[0.0, 1.0], [inf, 0.0]], sigma=1.0)
        >>> data = transform(Data(num_nodes=2))
        >>> data.edge_index.tolist(), data.edge_weight
        ([[0], [1]], tensor([0.3679]))
    """

    def __init__(self, distances: Any, sigma: float | None = None, threshold: float = 0.1, loop: bool = False) -> None:
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold is {threshold}; expected 0 to 1")
        if sigma is not None and not (sigma > 0 and np.isfinite(sigma)):
            raise InputError(f"sigma is {sigma}; expected a positive number")
        self._given = _from_distances(distances)
        distance = self._given.value
        if distance is None or not bool((distance >= 0).all()):
            raise InputError("distances must be numbers that are not negative")
        if sigma is None:
            sigma = float(distance.std(correction=0)) if distance.numel() else 0.0
            if sigma == 0:
                raise InputError("distances are all alike and give no width of the kernel; pass sigma")
        self.sigma, self.threshold, self.loop = float(sigma), threshold, loop
        self._weight = (-(distance / self.sigma).square()).exp()

    def forward(self, data: Data) -> Data:
        """Return the graph with these edges."""
        self._given.check(data)
        source, target = self._given.edge_index
        keep = (self._weight > 0) & (self._weight >= self.threshold)
        if not self.loop:
            keep &= source != target
        return _set_edges(data, self._given.edge_index[:, keep], self._weight[keep])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sigma={self.sigma:g}, threshold={self.threshold}, loop={self.loop})"


class GridStencilGraph(BaseTransform):
    """Connects the cells of a grid to their neighbours (see :func:`stgraph.ops.neighbors.grid_stencil`).

    Args:
        neighbors: 4 or 8 for the adjoining cells, or another number for so many nearest cells.

    Raises:
        InputError: If the graph has no ``grid``, or fewer cells than asked for.

    Example:
        >>> GridStencilGraph(4)(Data(grid=(1, 3), num_nodes=3)).edge_index.tolist()
        [[1, 0, 2, 1], [0, 1, 1, 2]]
    """

    def __init__(self, neighbors: int = 8) -> None:
        self.neighbors = neighbors

    def forward(self, data: Data) -> Data:
        """Return the graph with these edges."""
        grid = data.get("grid")
        if grid is None:
            raise InputError("data has no grid; a grid stencil needs the (height, width) of a grid")
        height, width = (int(size) for size in grid)
        if height * width != data.num_nodes:
            raise InputError(f"data.grid is {height} x {width}, but there are {data.num_nodes} nodes")
        if self.neighbors not in (4, 8) and self.neighbors >= height * width:
            raise InputError(f"neighbors is {self.neighbors}; expected fewer than the {height * width} cells")
        return _set_edges(data, grid_stencil(height, width, self.neighbors))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(neighbors={self.neighbors})"


class AdjacencyGraph(BaseTransform):
    """Connects nodes by a given adjacency matrix or list of edges.

    Args:
        adjacency: A matrix ``[N, N]`` (NumPy, SciPy sparse, a dense or sparse tensor) whose entry ``[j, i]`` is the
            weight of the edge from source ``j`` to target ``i``, 0 where there is none.
        edge_index: The edges ``[2, E]`` instead of a matrix, row 0 the sources; their order is kept.
        edge_weight: Weights ``[E]`` of these edges.

    Raises:
        InputError: If the shape or a node number does not fit, or a weight is not finite.

    Example:
        >>> data = AdjacencyGraph([[0.0, 0.5], [0.0, 0.0]])(Data(num_nodes=2))
        >>> data.edge_index.tolist(), data.edge_weight.tolist()
        ([[0], [1]], [0.5])
    """

    def __init__(self, adjacency: Any = None, *, edge_index: Any = None, edge_weight: Any = None) -> None:
        if (adjacency is None) == (edge_index is None):
            raise InputError("give either adjacency or edge_index")
        if edge_index is None:
            self._given = _from_matrix(adjacency, "adjacency", absent="zero")
        else:
            self._given = _from_edges(edge_index, edge_weight, "edge_index")
        if self._given.value is not None and not bool(self._given.value.isfinite().all()):
            raise InputError(f"{self._given.name} has weights that are NaN or infinite; expected finite ones")

    def forward(self, data: Data) -> Data:
        """Return the graph with these edges."""
        self._given.check(data)
        return _set_edges(data, self._given.edge_index, self._given.value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._given.edge_index.shape[1]} edges)"


class _Given(NamedTuple):
    """Given edges, with a value each, and what is known about the nodes they are of."""

    name: str
    edge_index: Tensor
    value: Tensor | None
    num_nodes: int | None
    node_ids: list[str] | None

    def check(self, data: Data) -> None:
        """Raise an error where the edges are not of the nodes of this graph."""
        count = data.num_nodes
        if self.num_nodes is not None and self.num_nodes != count:
            raise InputError(f"{self.name} is of {self.num_nodes} nodes, but the graph has {count}")
        if self.edge_index.numel() and int(self.edge_index.max()) >= count:
            raise InputError(f"{self.name} names node {int(self.edge_index.max())}, but the graph has {count} nodes")
        names = data.get("node_names")
        if self.node_ids is not None and names is not None and list(map(str, names)) != self.node_ids:
            raise InputError(f"{self.name} has other nodes, or another order, than data.node_names; read it with those")


def _from_distances(given: Any) -> _Given:
    node_ids = getattr(given, "node_ids", None)
    if node_ids is not None:  # a DistanceTable
        table = _from_edges(given.edge_index, given.distance, "distances")
        return table._replace(num_nodes=len(node_ids), node_ids=[str(item) for item in node_ids])
    if isinstance(given, tuple) and len(given) == 2:
        return _from_edges(*given, "distances")
    return _from_matrix(given, "distances", absent="infinite")


def _from_edges(edge_index: Any, value: Any, name: str) -> _Given:
    edges = _tensor(edge_index, name)
    if edges.dim() != 2 or edges.shape[0] != 2 or edges.is_floating_point():
        raise InputError(f"{name} has edges {tuple(edges.shape)} of {edges.dtype}; expected [2, E] of integers")
    if edges.numel() and int(edges.min()) < 0:
        raise InputError(f"{name} names node {int(edges.min())}; expected numbers from 0")
    if value is not None:
        value = _tensor(value, name).to(torch.float64)
        if value.shape != edges.shape[1:]:
            raise InputError(f"{name} has {tuple(value.shape)} values for edges {tuple(edges.shape)}")
    return _Given(name, edges.to(torch.int64), value, None, None)


def _from_matrix(given: Any, name: str, absent: Literal["zero", "infinite"]) -> _Given:
    """List the entries of a matrix, sorted by target, then source."""
    if hasattr(given, "tocoo"):  # SciPy
        coo = given.tocoo()
        place = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
        given = torch.sparse_coo_tensor(place, torch.from_numpy(coo.data), coo.shape, check_invariants=False)
    matrix = _tensor(given, name)
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"{name} has shape {tuple(matrix.shape)}; expected a square matrix")
    if matrix.layout == torch.strided:
        edges = _exists(matrix, absent).t().nonzero().t().flip(0)
        return _Given(name, edges, matrix[edges[0], edges[1]].to(torch.float64), matrix.shape[0], None)
    entries = matrix.to_sparse_coo().coalesce()
    exists = _exists(entries.values(), absent)
    edges, value = entries.indices()[:, exists], entries.values()[exists]
    order = edges[1].argsort(stable=True)  # sources rise already
    return _Given(name, edges[:, order], value[order].to(torch.float64), matrix.shape[0], None)


def _exists(value: Tensor, absent: Literal["zero", "infinite"]) -> Tensor:
    return value != 0 if absent == "zero" else ~(value.isinf() | value.isnan())


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    array = np.array(value)  # a copy, which may be written to
    if array.dtype.kind not in "biuf":
        raise InputTypeError(f"{name} has dtype {array.dtype}; expected numbers")
    return torch.from_numpy(array)


def _check_metric(metric: Metric) -> Metric:
    if metric not in ("euclidean", "great_circle"):
        raise InputError(f"metric is {metric!r}; expected 'euclidean' or 'great_circle'")
    return metric


def _positions(data: Data) -> Tensor:
    pos = data.get("pos")
    if not isinstance(pos, Tensor):
        raise InputError("data has no pos; edges by distance need the coordinates of the nodes")
    return pos.unsqueeze(1) if pos.dim() == 1 else pos


def _search_points(pos: Tensor, metric: Metric) -> Tensor:
    """Return points whose Euclidean order of distances is that of the metric."""
    if metric == "euclidean" or _on_sphere(pos):
        return pos
    return sphere_points(pos.double())


def _on_sphere(pos: Tensor) -> bool:
    """Tell points on the globe from longitude and latitude; anything else has no great circles."""
    if pos.shape[1] == 3:
        radius = pos.double().norm(dim=1)
        if torch.allclose(radius, torch.full_like(radius, EARTH_RADIUS_KM), rtol=1e-4):
            return True
    if pos.shape[1] != 2:
        raise InputError(
            f"pos has shape {tuple(pos.shape)}; the great-circle metric expects longitude and latitude in degrees, or "
            f"points on the globe in kilometres (at {EARTH_RADIUS_KM} from the origin)"
        )
    return False


def _set_edges(data: Data, edge_index: Tensor, weight: Tensor | None = None, metric: Metric = "euclidean") -> Data:
    """Replace the edges of a graph and all that belonged to them."""
    for key in data.keys():  # noqa: SIM118 - not a dictionary
        if key.startswith("edge_"):
            del data[key]
    pos = data.get("pos")
    reference = next((data[key] for key in ("pos", "x") if data.get(key) is not None), edge_index)
    data.edge_index = edge_index.to(reference.device)
    if pos is not None:
        data.edge_attr = _edge_attr(_positions(data), data.edge_index, metric)
    if weight is not None:
        kind = reference.dtype if reference.is_floating_point() else torch.get_default_dtype()
        data.edge_weight = weight.to(reference.device, kind)
    return data


def _edge_attr(pos: Tensor, edge_index: Tensor, metric: Metric) -> Tensor:
    """Return the relative positions ``pos_i - pos_j`` and the distances of the edges j to i."""
    source, target = pos[edge_index[0]].double(), pos[edge_index[1]].double()
    relative = target - source
    if metric == "euclidean":
        distance = relative.norm(dim=1)
    elif _on_sphere(pos):
        chord = relative.norm(dim=1) / (2 * EARTH_RADIUS_KM)
        distance = 2 * EARTH_RADIUS_KM * chord.clamp(max=1).asin()
    else:
        distance = great_circle_distance(source, target)
        relative[:, 0] = torch.remainder(relative[:, 0] + 180, 360) - 180
    kind = pos.dtype if pos.is_floating_point() else torch.get_default_dtype()
    return torch.cat([relative, distance.unsqueeze(1)], dim=1).to(kind)
