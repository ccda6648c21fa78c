"""Diffusion along the edges of a graph and against them, as a power series of random walks."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch_geometric.data import Data

from stgraph.models.baselines.supports import both_random_walks

__all__ = ["diffuse", "walk_powers"]

_DENSITY = 1 / 16  # up to here sparse products one after the other beat one dense product on a CPU


def walk_powers(batch: Data, steps: int) -> list[Tensor]:
    r"""Return what :func:`diffuse` needs of a batch's graph.

    Returns:
        list: For most graphs one tensor ``[2 * steps * N, N]`` with the powers :math:`1, \dots, K` of
        :math:`D_O^{-1} W`, then those of :math:`D_I^{-1} W^\top`, one below the other. For a large graph, and for one
        with few edges on a CPU, the two sparse matrices, each followed by its transpose; their powers have many more
        entries.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        walks = both_random_walks(batch)
        few = walks[0].device.type == "cpu" and batch.edge_index.shape[1] <= _DENSITY * walks[0].numel()
        if few or walks[0].layout != torch.strided:
            entries = [walk.to_sparse_coo() for walk in walks]
            return [matrix.coalesce().to_sparse_csr() for walk in entries for matrix in (walk, walk.t())]
    with torch.autocast(batch.x.device.type, enabled=False):  # what is kept must not depend on the precision of now
        return [torch.cat([torch.linalg.matrix_power(walk, k) for walk in walks for k in range(1, steps + 1)])]


def diffuse(powers: list[Tensor], x: Tensor, steps: int) -> Tensor:
    """Return features beside what each power of each walk makes of them.

    Args:
        powers: Result of :func:`walk_powers` for the same ``steps``.
        x: Features ``[N, B, F]``, nodes first so that one matrix product serves all windows.
        steps: Largest power K.

    Returns:
        Tensor: ``[N, B, 1 + 2 K, F]``, the features themselves first.

    Examples:
        >>> batch = Data(x=torch.zeros(1, 2, 1, 1), edge_index=torch.tensor([[0], [1]]))
        >>> diffuse(walk_powers(batch, 1), torch.tensor([[[2.0]], [[3.0]]]), 1).flatten(1).tolist()
        [[2.0, 3.0, 0.0], [3.0, 0.0, 2.0]]
    """
    columns = x.flatten(1)
    if len(powers) == 1:
        reached = (powers[0] @ columns).view(-1, *x.shape).movedim(0, -2)
        return torch.cat([x.unsqueeze(-2), reached], dim=-2)
    found = [x]
    for walk, transposed in (powers[:2], powers[2:]):
        now = columns
        for _ in range(steps):
            now = _SparseProduct.apply(now, walk, transposed)  # type: ignore[no-untyped-call]
            found.append(now.view(x.shape))
    return torch.stack(found, dim=-2)


class _SparseProduct(torch.autograd.Function):
    """A sparse matrix times columns; torch would transpose the matrix anew in every backward pass."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.transposed = transposed
        return _product(matrix, columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _product(ctx.transposed, gradient), None, None


def _product(matrix: Tensor, columns: Tensor) -> Tensor:
    with torch.autocast(columns.device.type, enabled=False):  # sparse products take no half precision
        product: Tensor = torch.sparse.mm(matrix, columns.to(matrix.dtype))
    return product.to(columns.dtype)
