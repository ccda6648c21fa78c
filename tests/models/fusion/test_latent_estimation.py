"""The network that estimates the mixture of each pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError, InputTypeError
from stgraph.models.fusion import LatentEstimationNetwork


def small_network(constraint: str | None = None, seed: int = 0) -> LatentEstimationNetwork:
    generator = torch.Generator().manual_seed(seed)
    endmembers = torch.rand(3, 5, generator=generator, dtype=torch.float64)
    network = LatentEstimationNetwork(2, endmembers, hidden=8, constraint=constraint)
    network.reset_parameters(generator)
    return network


@pytest.mark.parametrize(
    ("in_channels", "count", "expected"), [(4, 9, 14_345), (1 + 102, 9, 115_721), (4, 7, 12_295), (4, 13, 18_445)]
)
def test_numbers_of_parameters_are_the_published_ones(in_channels: int, count: int, expected: int) -> None:
    network = LatentEstimationNetwork(in_channels, torch.rand(count, 102))
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_weights_are_glorot_uniform_and_biases_zero() -> None:
    network = LatentEstimationNetwork(4, torch.rand(9, 20))
    for layer in (network.lin_hidden, network.lin_latent):
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert float(layer.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert not layer.bias.any()


def test_the_parameters_have_the_dtype_of_the_endmembers() -> None:
    network = LatentEstimationNetwork(4, torch.rand(9, 20, dtype=torch.float64))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}


def test_the_output_is_the_formula() -> None:
    network = small_network()
    x = torch.randn(7, 2, dtype=torch.float64)
    hidden = (x @ network.lin_hidden.weight.T + network.lin_hidden.bias).clamp(min=0)
    latent = hidden @ network.lin_latent.weight.T + network.lin_latent.bias
    spectrum, found = network(x)
    assert torch.allclose(found, latent)
    assert torch.allclose(spectrum, latent @ network.endmembers)
    assert (latent < 0).any()


def test_constraints() -> None:
    x = torch.randn(50, 2, dtype=torch.float64)
    free = small_network()(x)[1]
    assert torch.equal(small_network("nonnegative")(x)[1], free.clamp(min=0))
    simplex = small_network("simplex")(x)[1]
    assert torch.allclose(simplex.sum(dim=1), torch.ones(50, dtype=torch.float64))
    assert torch.allclose(simplex, free.exp() / free.exp().sum(dim=1, keepdim=True))


@pytest.mark.parametrize("constraint", [None, "nonnegative", "simplex"])
def test_gradients(constraint: str | None) -> None:
    network = small_network(constraint)
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (x,))


def test_endmembers_are_saved_and_not_trained() -> None:
    network = small_network()
    network(torch.ones(1, 2, dtype=torch.float64))[0].sum().backward()
    assert network.endmembers.grad is None
    assert "endmembers" in network.state_dict()
    assert "endmembers" not in dict(network.named_parameters())


def test_pixels_of_a_graph_in_any_order() -> None:
    # A pixel's bands are its series along the wavelength.
    pixels = Data(x=torch.rand(12, 2, 1, dtype=torch.float64), grid=(3, 4))
    network = small_network()
    assert pixels.x is not None
    spectrum, latent = network(pixels.x.squeeze(-1))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = network(pixels.x[order].squeeze(-1))
    assert torch.allclose(shuffled[0], spectrum[order], atol=1e-14)
    assert torch.allclose(shuffled[1], latent[order], atol=1e-14)
    image = network(pixels.x.view(3, 4, 2))
    assert torch.allclose(image[0].flatten(0, 1), spectrum, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes(dtype: torch.dtype) -> None:
    network = small_network().to(dtype)
    spectrum, latent = network(torch.ones(4, 2, dtype=dtype))
    assert spectrum.dtype == latent.dtype == dtype
    exact = small_network()(torch.ones(4, 2, dtype=torch.float64))[0]
    assert torch.allclose(spectrum.double(), exact, atol=0.03)


def test_no_pixels() -> None:
    spectrum, latent = small_network()(torch.zeros(0, 2, dtype=torch.float64))
    assert spectrum.shape == (0, 5)
    assert latent.shape == (0, 3)


def test_equal_generators_give_equal_weights() -> None:
    first, second, other = (small_network(seed=seed).lin_hidden.weight for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_bad_input() -> None:
    endmembers = torch.rand(3, 5)
    with pytest.raises(InputError, match="in_channels is 0"):
        LatentEstimationNetwork(0, endmembers)
    with pytest.raises(InputError, match="hidden is 0"):
        LatentEstimationNetwork(2, endmembers, hidden=0)
    with pytest.raises(InputError, match="constraint is 'positive'"):
        LatentEstimationNetwork(2, endmembers, constraint="positive")
    with pytest.raises(InputError, match="expected finite values of shape"):
        LatentEstimationNetwork(2, endmembers * torch.inf)
    with pytest.raises(InputTypeError, match=r"torch\.int64"):
        LatentEstimationNetwork(2, torch.ones(3, 5, dtype=torch.long))
    with pytest.raises(InputError, match=r"expected \(\.\.\., 2\)"):
        small_network()(torch.zeros(4, 3, dtype=torch.float64))
