from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.ops.graph_fourier import laplacian_modes


def ring(nodes: int) -> torch.Tensor:
    index = torch.arange(nodes)
    return torch.stack([index, (index + 1) % nodes])  # one direction is enough: directions are dropped


@pytest.mark.parametrize(("nodes", "modes"), [(8, 8), (60, 7), (700, 5)])
def test_ring_has_the_closed_form(nodes: int, modes: int) -> None:
    """Eigenvalues 1 - cos(2 pi k / N); the largest case runs Lanczos iterations."""
    values, vectors = laplacian_modes(ring(nodes), nodes, modes)
    order = np.sort(1 - np.cos(2 * np.pi * np.arange(nodes) / nodes))[:modes]
    np.testing.assert_allclose(values, order, atol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(modes), atol=1e-4)
    # Eigenvectors: (I - A / 2) v = lambda v for a ring.
    applied = vectors - (vectors.roll(1, 0) + vectors.roll(-1, 0)) / 2
    np.testing.assert_allclose(applied, values * vectors, atol=1e-4)


def test_weights_isolated_nodes_and_repeatability() -> None:
    edge_index, weight = torch.tensor([[0, 1], [1, 2]]), torch.tensor([1.0, 3.0])
    values, _ = laplacian_modes(edge_index, 4, 4, weight)
    adjacency = np.zeros((4, 4))
    adjacency[0, 1] = adjacency[1, 0] = 0.5
    adjacency[1, 2] = adjacency[2, 1] = 1.5
    degree = np.where(adjacency.sum(1) > 0, adjacency.sum(1), 1)
    laplacian = np.eye(4) - adjacency / np.sqrt(np.outer(degree, degree))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(laplacian), atol=1e-6)
    first, second = (laplacian_modes(ring(700), 700, 4)[1] for _ in range(2))
    assert torch.equal(first, second)
    assert laplacian_modes(ring(3), 3, 10)[0].shape == (3,)
    with pytest.raises(InputError, match="num_modes is 0"):
        laplacian_modes(ring(3), 3, 0)
