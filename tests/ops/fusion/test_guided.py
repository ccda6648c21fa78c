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


@pytest.fixture
def precise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps go on until the residual is 1e-12 of what it was."""
    monkeypatch.setattr("stgraph.ops.fusion.guided._PRECISION", 1e-12)


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


@pytest.mark.usefixtures("precise")
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
    found = guided_back_projection(
        missing, NOISE[:components], kernel(size), ratio, similarity, bands=bands, boundary=boundary, iterations=2000
    )
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)


@pytest.mark.usefixtures("precise")
def test_the_result_is_the_minimum_of_the_documented_sum() -> None:
    missing, similarity, bands = uniform(3, 3, 4) - 0.5, weights(6, 8), evidence(6, 8)
    found = guided_back_projection(missing, NOISE, kernel(), 2, similarity, bands=bands, iterations=2000)
    slopes = []
    for start in (torch.zeros_like(found), found):
        start.requires_grad_()
        total = objective(start, missing, similarity, kernel(), 2, bands, "reflect")
        slopes.append(float(torch.autograd.grad(total, start)[0].abs().max()))
    assert slopes[1] < 1e-9 * slopes[0]


def test_the_usual_number_of_steps_is_near_the_minimum() -> None:
    missing, similarity = uniform(3, 3, 4) - 0.5, weights(6, 8)
    expected = dense_minimum(missing, similarity, kernel(), 2, None, "reflect")
    found = guided_back_projection(missing, NOISE, kernel(), 2, similarity)
    assert float((found - expected).norm()) < 1e-3 * float(expected.norm())
    one = guided_back_projection(missing, NOISE, kernel(), 2, similarity, iterations=1)
    assert float((one - expected).norm()) > 1e-2 * float(expected.norm())


def test_smoothness_and_shrinkage_act_as_they_say() -> None:
    missing, similarity = uniform(1, 3, 4) - 0.5, weights(6, 8)

    def found(**options: float) -> Tensor:
        return guided_back_projection(missing, NOISE[:1], kernel(), 2, similarity, iterations=500, **options)  # type: ignore[arg-type]

    graph = laplacian(similarity)
    rough = [float(d.flatten() @ graph @ d.flatten()) for d in (found(smoothness=0), found(), found(smoothness=1e3))]
    assert rough[0] > 2 * rough[1] > 4 * rough[2]
    assert float(found(shrinkage=1e6).abs().max()) < 1e-3 * float(found().abs().max())


def test_corrections_stay_on_their_side_of_an_edge() -> None:
    image = torch.zeros(2, 8, 8, dtype=torch.float64)
    image[:, :, 4:] = 1
    similarity = neighbor_similarity(image, torch.full((2,), 0.01))
    missing = torch.zeros(1, 2, 2, dtype=torch.float64)
    missing[:, :, 0] = 1
    found = guided_back_projection(missing, torch.tensor([0.01]), torch.ones(1, 1), 4, similarity, iterations=500)
    torch.testing.assert_close(found[0, :, :4], torch.ones(8, 4, dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[0, :, 4:], torch.zeros(8, 4, dtype=torch.float64), atol=1e-3, rtol=0)


def test_bands_decide_where_the_coarse_image_cannot() -> None:
    # What is missing is in the pixel of the block that a band shows.
    truth = torch.zeros(1, 4, 4, dtype=torch.float64)
    truth[0, 1, 2] = 1
    bands = BandEvidence(torch.ones(1, 1), truth, torch.tensor([0.01]))
    missing = observe(truth, torch.ones(1, 1).double(), 4)
    similarity = neighbor_similarity(torch.zeros_like(truth), torch.ones(1))
    noise = torch.tensor([0.001])
    blind = guided_back_projection(missing, noise, torch.ones(1, 1), 4, similarity)
    torch.testing.assert_close(blind, torch.full_like(blind, 1 / 16), atol=1e-3, rtol=0)
    found = guided_back_projection(missing, noise, torch.ones(1, 1), 4, similarity, bands=bands, iterations=200)
    assert int(found.argmax()) == 6
    assert float((found - truth).norm()) < 0.5 * float((blind - truth).norm())


@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("with_bands", [False, True])
def test_transposed_images_give_the_transposed_correction(with_bands: bool) -> None:
    missing, similarity = uniform(2, 3, 4) - 0.5, weights(6, 8)
    bands = evidence(6, 8, 2) if with_bands else None
    found = guided_back_projection(missing, NOISE[:2], kernel(), 2, similarity, bands=bands, iterations=500)
    turned = torch.zeros(4, 8, 6, dtype=torch.float64)
    # Right becomes down; down-left of a pixel becomes up-right, which is down-left of the other pixel.
    turned[0], turned[2], turned[3] = similarity[2].T, similarity[0].T, similarity[3].T
    turned[1, :-1, 1:] = similarity[1].T[1:, :-1]
    other = None if bands is None else bands._replace(missing=bands.missing.mT)
    again = guided_back_projection(missing.mT, NOISE[:2], kernel().T, 2, turned, bands=other, iterations=500)
    torch.testing.assert_close(again.mT, found, atol=1e-9, rtol=0)


@pytest.mark.usefixtures("precise")
def test_components_are_apart_without_bands_and_in_any_order_with_them() -> None:
    missing, similarity, bands = uniform(3, 3, 4) - 0.5, weights(6, 8), evidence(6, 8)
    apart = guided_back_projection(missing, NOISE, kernel(), 2, similarity, iterations=500)
    one = guided_back_projection(missing[1:2], NOISE[1:2], kernel(), 2, similarity, iterations=500)
    torch.testing.assert_close(apart[1:2], one, atol=1e-9, rtol=0)
    together = guided_back_projection(missing, NOISE, kernel(), 2, similarity, bands=bands, iterations=500)
    order = torch.tensor([2, 0, 1])
    moved = bands._replace(response=bands.response[:, order])
    again = guided_back_projection(missing[order], NOISE[order], kernel(), 2, similarity, bands=moved, iterations=500)
    torch.testing.assert_close(again, together[order], atol=1e-9, rtol=0)


@pytest.mark.usefixtures("precise")
def test_units_do_not_matter() -> None:
    missing, similarity, bands = uniform(3, 3, 4) - 0.5, weights(6, 8), evidence(6, 8)
    found = guided_back_projection(missing, NOISE, kernel(), 2, similarity, bands=bands, iterations=500)
    scaled = BandEvidence(bands.response, 1e4 * bands.missing, 1e4 * bands.noise)
    again = guided_back_projection(
        1e4 * missing, 1e4 * NOISE, kernel(), 2, 1e-8 * similarity, bands=scaled, iterations=500
    )
    torch.testing.assert_close(again / 1e4, found, atol=1e-9, rtol=0)


def test_single_precision_is_near_and_layout_and_repeat_are_equal() -> None:
    missing, similarity, bands = uniform(3, 3, 4) - 0.5, weights(6, 8), evidence(6, 8)
    exact = guided_back_projection(missing, NOISE, kernel(), 2, similarity, bands=bands)
    single = BandEvidence(*(value.float() for value in bands))
    arguments = (missing.float(), NOISE, kernel(), 2, similarity.float())
    found = guided_back_projection(*arguments, bands=single)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, atol=2e-4, rtol=0)
    assert torch.equal(guided_back_projection(*arguments, bands=single), found)
    columns_first = missing.float().mT.contiguous().mT, similarity.float().mT.contiguous().mT
    assert not columns_first[0].is_contiguous()
    again = guided_back_projection(columns_first[0], NOISE, kernel(), 2, columns_first[1], bands=single)
    torch.testing.assert_close(again, found, atol=1e-5, rtol=0)


def test_inputs_stay_and_no_gradient_flows() -> None:
    missing, similarity, bands = uniform(3, 3, 4) - 0.5, weights(6, 8), evidence(6, 8)
    before = [value.clone() for value in (missing, similarity, *bands)]
    found = guided_back_projection(missing.requires_grad_(), NOISE, kernel(), 2, similarity, bands=bands)
    assert not found.requires_grad
    for value, old in zip((missing, similarity, *bands), before, strict=True):
        assert torch.equal(value, old)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_noise_no_likeness_and_nothing_missing(dtype: torch.dtype) -> None:
    missing, similarity = (uniform(2, 3, 4) - 0.5).to(dtype), weights(6, 8).to(dtype)
    noise, psf = torch.zeros(2), torch.ones(1, 1)
    exact = guided_back_projection(missing, noise, psf, 2, similarity, iterations=500)
    torch.testing.assert_close(observe(exact, psf.to(dtype), 2), missing, atol=1e-3, rtol=0)
    alone = guided_back_projection(missing, NOISE[:2], psf, 2, torch.zeros_like(similarity), iterations=500)
    plain = back_project(torch.zeros(2, 6, 8, dtype=dtype), missing, psf.to(dtype), 2, upsample="adjoint")
    # Without likeness it is a ridge regression of each block, of which a coarse pixel sees four quarters.
    variance = NOISE[:2].square()
    signal = torch.maximum(missing.double().square().mean(dim=(1, 2)) - variance, 0.05 * variance) / variance / 4
    expected = plain * (signal / (signal + 0.03))[:, None, None]
    torch.testing.assert_close(alone, expected.to(dtype), atol=1e-4, rtol=0)
    bands = BandEvidence(torch.eye(2), observe(plain, psf.to(dtype), 1), torch.zeros(2))
    both = guided_back_projection(missing, noise, psf, 2, similarity, bands=bands, iterations=500)
    torch.testing.assert_close(both, plain, atol=1e-3, rtol=0)
    nothing = guided_back_projection(torch.zeros_like(missing), noise, psf, 2, similarity)
    assert not nothing.any()


@pytest.mark.parametrize(("height", "width"), [(4, 5), (1, 6), (6, 1), (1, 1)])
def test_the_laplacian_is_that_of_the_weighted_edges(height: int, width: int) -> None:
    similarity = weights(height, width)
    edge_index, edge_weight = edges(similarity)
    expected_index, expected_weight = get_laplacian(edge_index, edge_weight, num_nodes=height * width)
    expected = to_dense_adj(expected_index, edge_attr=expected_weight, max_num_nodes=height * width)[0]
    matrix = laplacian(similarity)
    torch.testing.assert_close(matrix, expected, atol=1e-12, rtol=0)
    assert torch.equal(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-12
    assert float(grid_laplacian(torch.ones(2, height, width).double(), similarity).abs().max()) < 1e-12


def test_the_laplacian_takes_the_degree() -> None:
    similarity, image = weights(4, 5), uniform(2, 4, 5)
    degree = laplacian(similarity).diagonal().view(4, 5)
    torch.testing.assert_close(grid_laplacian(image, similarity, degree), grid_laplacian(image, similarity))
    torch.testing.assert_close(grid_laplacian(image, similarity, degree + 1), grid_laplacian(image, similarity) + image)


BAD = [
    ({"missing": torch.zeros(2, 3, 4, dtype=torch.float16)}, InputTypeError, "missing and similarity must both be"),
    ({"similarity": torch.zeros(4, 6, 8)}, InputTypeError, "missing and similarity must both be"),
    ({"missing": uniform(3, 4)}, InputError, r"missing must be \(components, rows, columns\)"),
    ({"missing": uniform(0, 3, 4)}, InputError, "none empty"),
    ({"missing": torch.full((2, 3, 4), torch.nan).double()}, InputError, "missing must be finite"),
    ({"noise": torch.ones(3)}, InputError, "noise must be one value per component"),
    ({"noise": torch.tensor([0.1, -0.1])}, InputError, r"noise must be 0 or more, got -0\.1"),
    ({"noise": torch.tensor([0.1, torch.inf])}, InputError, "noise must be finite"),
    ({"psf": torch.ones(2, 2)}, InputError, "psf must have an odd size"),
    ({"ratio": 3}, InputError, "missing must have 2 x 2 pixels"),
    ({"similarity": uniform(2, 6, 8)}, InputError, r"similarity must be \(4, rows, columns\)"),
    ({"similarity": -weights(6, 8)}, InputError, "similarity must be 0 or more"),
    ({"smoothness": -1.0}, InputError, "smoothness must be 0 or more"),
    ({"shrinkage": 0.0}, InputError, "shrinkage above 0"),
    ({"iterations": 0}, InputError, "iterations must be a whole number of 1 or more, got 0"),
    ({"iterations": 2.0}, InputError, "iterations must be a whole number"),
    ({"boundary": "wrap"}, InputError, "boundary must be one of"),
    ({"bands": evidence(6, 8, 3)}, InputError, "bands must have response, missing and noise of the shapes"),
    ({"bands": BandEvidence(*(v.float() for v in evidence(6, 8, 2)))}, InputTypeError, r"bands\.missing must be"),
    ({"bands": evidence(6, 8, 2)._replace(noise=-torch.ones(2))}, InputError, r"bands\.noise must be 0 or more"),
    ({"bands": evidence(6, 8, 2)._replace(response=torch.full((2, 2), torch.nan))}, InputError, r"bands\.response"),
]


@pytest.mark.parametrize(("change", "error", "text"), BAD)
def test_bad_input(change: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {
        "missing": uniform(2, 3, 4), "noise": torch.ones(2), "psf": kernel(), "ratio": 2, "similarity": weights(6, 8)
    }  # fmt: skip
    with pytest.raises(error, match=text):
        guided_back_projection(**{**arguments, **change})
