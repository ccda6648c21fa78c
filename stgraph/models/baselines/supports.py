"""Adjacency matrices of a batch's graph, as graph convolutions of the literature take them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError

__all__ = ["GraphCache", "both_random_walks", "edge_weights", "laplacian", "propagate", "random_walk"]

MakeMatrices = Callable[[Data], list[Tensor]]

_DENSE_NODES = 2048  # up to here a dense product is the fastest and its matrix small (16 MiB)


def edge_weights(batch: Data) -> tuple[Tensor, Tensor]:
    """Return ``edge_index`` ``[2, E]`` and a weight of each edge ``[E]``.

    Weights are ``edge_weight`` where the graph has it; else a Gaussian kernel of the distance, the last column of
    ``edge_attr``, whose width is the standard deviation of the distances; else 1.

    Raises:
        InputError: If the graph has no edges.
    """
    edge_index = batch.get("edge_index")
    if edge_index is None:
        raise InputError("the batch has no edge_index, and this model needs a graph; connect the nodes first")
    weight, attributes = batch.get("edge_weight"), batch.get("edge_attr")
    if weight is not None:
        return edge_index, weight.to(batch.x.dtype)
    if attributes is None or edge_index.shape[1] == 0:
        return edge_index, torch.ones(edge_index.shape[1], dtype=batch.x.dtype, device=edge_index.device)
    distance = attributes[:, -1].to(batch.x.dtype)
    width = distance.std(correction=0)
    width = torch.where(width > 0, width, distance.mean().clamp(min=torch.finfo(distance.dtype).tiny))
    return edge_index, torch.exp(-((distance / width) ** 2))


def random_walk(edge_index: Tensor, weight: Tensor, num_nodes: int, *, reverse: bool = False) -> Tensor:
    r"""Return the transition matrix of a random walk along the edges, :math:`D_O^{-1} W`, or against them.

    :math:`W_{ij}` is the weight of the edge from i to j; a node without edges keeps a row of zeros.

    Returns:
        Tensor: ``[N, N]``, dense for small graphs and sparse (CSR) for large ones.

    Examples:
        >>> random_walk(torch.tensor([[0, 0], [1, 2]]), torch.tensor([1.0, 3.0]), 3)[0].tolist()
        [0.0, 0.25, 0.75]
    """
    row, column = edge_index.flip(0) if reverse else edge_index
    degree = weight.new_zeros(num_nodes).index_add(0, row, weight)
    return _matrix(row, column, weight / torch.where(degree > 0, degree, 1.0)[row], num_nodes)


def both_random_walks(batch: Data) -> list[Tensor]:
    """Return the transition matrices of the random walks along the edges of a batch's graph and against them."""
    edge_index, weight = edge_weights(batch)
    return [random_walk(edge_index, weight, batch.x.shape[1], reverse=reverse) for reverse in (False, True)]


def laplacian(edge_index: Tensor, weight: Tensor, num_nodes: int) -> Tensor:
    r"""Return the scaled symmetric Laplacian :math:`2 L / \lambda_{\max} - I` with :math:`L = I - D^{-1/2} W D^{-1/2}`.

    :math:`W` is made symmetric by the maximum of both directions, and :math:`\lambda_{\max} = 2` as its upper bound.

    Returns:
        Tensor: ``[N, N]``, dense for small graphs and sparse (CSR) for large ones.
    """
    row, column = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    key, place = torch.unique(row * num_nodes + column, return_inverse=True)
    value = weight.new_zeros(key.shape[0]).scatter_reduce(0, place, weight.repeat(2), "amax", include_self=False)
    row, column = key // num_nodes, key % num_nodes
    degree = weight.new_zeros(num_nodes).index_add(0, row, value)
    scale = torch.where(degree > 0, degree, 1.0).rsqrt()
    # 2 L / 2 - I leaves the normalised adjacency with the opposite sign; a node without edges has L = I, hence 0.
    return _matrix(row, column, -value * scale[row] * scale[column], num_nodes)


def propagate(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply features ``[..., N, F]`` by a matrix ``[N, N]`` along their nodes, dense or sparse.

    Examples:
        >>> propagate(torch.eye(3), torch.ones(2, 3, 4)).shape
        torch.Size([2, 3, 4])
    """
    if matrix.layout == torch.strided:
        return matrix @ x
    columns = x.movedim(-2, 0)
    with torch.autocast(x.device.type, enabled=False):  # sparse products take no half precision
        product: Tensor = torch.sparse.mm(matrix, columns.reshape(x.shape[-2], -1).to(matrix.dtype))
    return product.to(x.dtype).view(columns.shape).movedim(0, -2)


class GraphCache:
    """Keep what is computed from the graph of a batch as long as batches share that graph.

    Examples:
        >>> cache = GraphCache()
        >>> batch = Data(x=torch.zeros(1, 2, 3, 1), edge_index=torch.tensor([[0], [1]]))
        >>> make = lambda batch: [random_walk(*edge_weights(batch), 2)]
        >>> cache(batch, make) is cache(batch, make)
        True
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._value: list[Tensor] = []

    def __call__(self, batch: Data, make: MakeMatrices) -> list[Tensor]:
        """Return ``make(batch)``, or what it returned for the same edges, weights, data type and device."""
        parts = [batch.get(name) for name in ("edge_index", "edge_weight", "edge_attr")]
        key = (*parts, batch.x.dtype, batch.x.device, batch.x.shape[1])
        # The tensors themselves are kept: as long as they live, no other tensor can have their identity.
        if len(key) != len(self._key) or not all(map(_same, key, self._key)):
            self._key, self._value = key, make(batch)
        return self._value

    def __deepcopy__(self, memo: dict[int, object]) -> GraphCache:
        return GraphCache()

    def __reduce__(self) -> tuple[type[GraphCache], tuple[()]]:
        return GraphCache, ()


def _same(a: object, b: object) -> bool:
    return a is b if isinstance(a, Tensor) or isinstance(b, Tensor) else a == b


def _matrix(row: Tensor, column: Tensor, value: Tensor, num_nodes: int) -> Tensor:
    indices = torch.stack([row, column])
    sparse = torch.sparse_coo_tensor(indices, value, (num_nodes, num_nodes), check_invariants=False).coalesce()
    if num_nodes <= _DENSE_NODES:
        return sparse.to_dense()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return sparse.to_sparse_csr()
