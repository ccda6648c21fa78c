"""The graph Fourier basis: eigenvectors of a graph's Laplacian."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["laplacian_modes"]

# Up to this size all eigenvectors by a dense solver cost less than Lanczos iterations.
_DENSE_NODES = 512


def laplacian_modes(
    edge_index: Tensor, num_nodes: int, num_modes: int, edge_weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Eigenvalues and eigenvectors of the smoothest modes of a graph.

    The Laplacian is the symmetric normalised one, :math:`I - D^{-1/2} A D^{-1/2}`, of the graph with its directions
    dropped (:math:`A` is the mean of the weights both ways). Large graphs use Lanczos iterations (ARPACK).

    Args:
        edge_index: Edges ``[2, E]``.
        num_nodes: Number of nodes N.
        num_modes: Number of modes K; at most N are returned.
        edge_weight: Positive weights ``[E]``; 1 if absent.

    Returns:
        tuple[Tensor, Tensor]: Eigenvalues ``[K]`` in [0, 2], increasing, and orthonormal eigenvectors ``[N, K]``.

    Examples:
        >>> import torch
        >>> triangle = torch.tensor([[0, 1, 2, 1, 2, 0], [1, 2, 0, 0, 1, 2]])
        >>> laplacian_modes(triangle, num_nodes=3, num_modes=3)[0].round(decimals=3).abs().tolist()
        [0.0, 1.5, 1.5]
    """
    if num_modes < 1:
        raise InputError(f"num_modes is {num_modes}; expected at least 1")
    laplacian = _normalized_laplacian(edge_index, num_nodes, edge_weight)
    wanted = min(num_modes, num_nodes)
    if num_nodes <= _DENSE_NODES or wanted > num_nodes // 2:
        values, vectors = np.linalg.eigh(laplacian.toarray())
        values, vectors = values[:wanted], vectors[:, :wanted]
    else:
        values, vectors = _lanczos(laplacian, wanted)
    # The sign of an eigenvector is arbitrary; fixing it makes runs repeatable.
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(wanted)] < 0, -1.0, 1.0)
    device = edge_index.device
    return (
        torch.from_numpy(values.clip(0, 2)).to(device, torch.float32),
        torch.from_numpy(vectors).to(device, torch.float32),
    )


def _normalized_laplacian(edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None) -> scipy.sparse.csr_array:
    source, target = edge_index.cpu().numpy()
    weight = np.ones(source.size) if edge_weight is None else edge_weight.detach().cpu().double().numpy()
    adjacency = scipy.sparse.coo_array((weight, (source, target)), shape=(num_nodes, num_nodes)).tocsr()
    adjacency = (adjacency + adjacency.T) / 2
    degree = adjacency.sum(axis=1)
    root = np.where(degree > 0, degree, 1.0) ** -0.5
    scaled = scipy.sparse.diags_array(root) @ adjacency @ scipy.sparse.diags_array(root)
    return scipy.sparse.csr_array(scipy.sparse.eye_array(num_nodes) - scaled)


def _lanczos(laplacian: scipy.sparse.csr_array, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    # The largest eigenvalues of 2 I - L converge much faster than the smallest of L and need no factorisation.
    size = laplacian.shape[0]
    start = np.random.default_rng(0).standard_normal(size)
    shifted = 2 * scipy.sparse.eye_array(size) - laplacian
    values, vectors = scipy.sparse.linalg.eigsh(shifted, k=wanted, which="LA", v0=start)
    order = np.argsort(-values)
    return 2 - values[order], vectors[:, order]
