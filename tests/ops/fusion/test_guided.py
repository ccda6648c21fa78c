"""Guided back-projection against the normal equations, solved densely."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.utils import get_laplacian, to_dense_adj

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import (
    BandEvidence,
    back_project,
    grid_laplacian,
    guided_back_projection,
    neighbor_similarity,
    observation_graph,
    observe,
)

# Steps to the neighbours right, down-left, down and down-right.
STEPS = ((0, 1), (1, -1), (1, 0), (1, 1))
NOISE = torch.tensor([0.05, 0.2, 0.1], dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel(size: int = 3) -> Tensor:
    values = uniform(size, size, seed=1)
    return values / values.sum()


def weights(height: int, width: int, seed: int = 2) -> Tensor:
    """Random similarities of neighbours, 0 where the neighbour is outside."""
    similarity = uniform(4, height, width, seed=seed)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    for weight, (down, right) in zip(similarity, STEPS, strict=True):
        weight *= (rows + down < height) & (columns + right >= 0) & (columns + right < width)
    return similarity


def edges(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """The similarities as weighted edges in both directions."""
    width = similarity.shape[2]
    kind, row, column = similarity.nonzero().T
    steps = torch.tensor(STEPS)[kind]
    here, there = row * width + column, (row + steps[:, 0]) * width + column + steps[:, 1]
    weight = similarity[kind, row, column]
    return torch.stack([torch.cat([here, there]), torch.cat([there, here])]), weight.repeat(2)


def laplacian(similarity: Tensor) -> Tensor:
    """The matrix that :func:`grid_laplacian` multiplies by, from unit images."""
    pixels = similarity[0].numel()
    return grid_laplacian(torch.eye(pixels).to(similarity).view(pixels, *similarity.shape[1:]), similarity).flatten(1).T


def evidence(height: int, width: int, components: int = 3, bands: int = 2) -> BandEvidence:
    response = uniform(bands, components, seed=3) - 0.5
    return BandEvidence(response, uniform(bands, height, width, seed=4) - 0.5, 0.1 + uniform(bands, seed=5))


def objective(
    correction: Tensor,
    missing: Tensor,
    similarity: Tensor,
    psf: Tensor,
    ratio: int,
    bands: BandEvidence | None,
    boundary: str,
) -> Tensor:
    """What is minimised, term by term as the documentation has it, for smoothness 10 and shrinkage 0.03."""
    noise = NOISE[: missing.shape[0]]
    power = missing.square().mean(dim=(1, 2))
    scale = torch.maximum(power - noise**2, 0.05 * noise**2)
    seen = observe(correction, psf, ratio, boundary)  # type: ignore[arg-type]
    total = ((seen - missing).square().sum(dim=(1, 2)) / noise**2).sum()
    if bands is not None:
        left = torch.einsum("bp,phw->bhw", bands.response, correction) - bands.missing
        total = total + (left.square().sum(dim=(1, 2)) / bands.noise**2).sum()
    graph = laplacian(similarity) / (2 * similarity.sum() / similarity[0].numel())
    flat = correction.flatten(1)
    smooth = torch.einsum("pn,nm,pm->p", flat, graph, flat)
    return total + ((10 * smooth + 0.03 * flat.square().sum(dim=1)) / scale).sum()


def dense_minimum(
    missing: Tensor, similarity: Tensor, psf: Tensor, ratio: int, bands: BandEvidence | None, boundary: str
) -> Tensor:
    """Solve the normal equations with all matrices written out."""
    components, (height, width) = missing.shape[0], similarity.shape[1:]
    noise, pixels = NOISE[:components], height * width
    edge_index, edge_weight = observation_graph(height, width, psf, ratio, boundary)  # type: ignore[arg-type]
    down = torch.zeros(missing[0].numel(), pixels, dtype=torch.float64)
    down[edge_index[1], edge_index[0]] = edge_weight
    graph_index, graph_weight = get_laplacian(*edges(similarity), num_nodes=pixels)
    graph = to_dense_adj(graph_index, edge_attr=graph_weight, max_num_nodes=pixels)[0]
    graph = graph / (2 * similarity.sum() / pixels)
    power = missing.square().mean(dim=(1, 2))
    scale = torch.maximum(power - noise**2, 0.05 * noise**2)
    matrix = torch.kron(torch.diag(1 / noise**2), down.T @ down)
    matrix += torch.kron(torch.diag(1 / scale), 10 * graph + 0.03 * torch.eye(pixels, dtype=torch.float64))
    right = ((missing.flatten(1) @ down) / noise[:, None] ** 2).flatten()
    if bands is not None:
        weight = (bands.response / bands.noise[:, None] ** 2).T
        matrix += torch.kron(weight @ bands.response, torch.eye(pixels, dtype=torch.float64))
        right += (weight @ bands.missing.flatten(1)).flatten()
    return torch.linalg.solve(matrix, right).view(components, height, width)


# Rows, columns, ratio and size of the kernel: multiples of the ratio, and sizes that are none.
CASES = [(8, 12, 4, 5), (7, 9, 2, 3), (5, 4, 1, 3)]


@pytest.mark.parametrize("boundary", ["reflect", "zero"])
@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("with_bands", [False, True])
@pytest.mark.parametrize(("height", "width", "ratio", "size"), CASES)
def test_it_solves_the_normal_equations(
    height: int, width: int, ratio: int, size: int, with_bands: bool, components: int, boundary: Any
) -> None:
    missing, similarity = uniform(components, height // ratio, width // ratio) - 0.5, weights(height, width)
    bands = evidence(height, width, components) if with_bands else None
    expected = dense_minimum(missing, similarity, kernel(size), ratio, bands, boundary)
    # Steps end where the residual is 1e-4 of the right side, so the error is solved for once more, and again.
    found = torch.zeros_like(expected)
    found = guided_back_projection(
        missing, NOISE[:components], kernel(size), ratio, similarity,
        bands=bands, boundary=boundary, iterations=2000,
    )  # fmt: skip
    torch.testing.assert_close(found, expected, atol=2e-3 * float(expected.abs().max()), rtol=0)


def test_more_precision_gives_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stgraph.ops.fusion.guided._PRECISION", 1e-10)
    missing, similarity, bands = uniform(3, 3, 4) - 0.5, weights(8, 9), evidence(8, 9)
    similarity = weights(6, 8)
    bands = evidence(6, 8)
    found = guided_back_projection(missing, NOISE, kernel(), 2, similarity, bands=bands, iterations=2000)
    expected = dense_minimum(missing, similarity, kernel(), 2, bands, "reflect")
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)
    # The matrices are those of the sum that is documented: its slope at the minimum is 0.
    lowest = found.clone().requires_grad_()
    total = objective(lowest, missing, similarity, kernel(), 2, bands, "reflect")
    (slope,) = torch.autograd.grad(total, lowest)
    (steep,) = torch.autograd.grad(
        objective(start := torch.zeros_like(found, requires_grad=True), missing, similarity, kernel(), 2, bands, "reflect"),
        start,
    )
    assert float(slope.abs().max()) < 1e-6 * float(steep.abs().max())
