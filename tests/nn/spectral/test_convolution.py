from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral.convolution import SpectralConv1d, SpectralConv2d
from stgraph.testing import LayerCase, parametrize_with_checks

SIZES = [1, 2, 7, 31, 64, 100, 129]


def numpy_conv1d(x: Tensor, layer: SpectralConv1d) -> np.ndarray:
    """The definition, mode by mode."""
    spectrum = np.fft.rfft(x.double().numpy())
    weights = layer.weights_complex.detach().numpy().astype(complex)
    out = np.zeros((*x.shape[:-2], layer.out_channels, spectrum.shape[-1]), complex)
    for k in range(min(layer.modes, spectrum.shape[-1])):
        out[..., k] = spectrum[..., k] @ weights[:, :, k]
    return np.fft.irfft(out, n=x.shape[-1])


def numpy_conv2d(x: Tensor, layer: SpectralConv2d) -> np.ndarray:
    """The definition, frequency by frequency, as a sum over all points."""
    spectrum = np.fft.rfft2(x.double().numpy())
    height, columns = spectrum.shape[-2:]
    positive = torch.view_as_complex(layer.weights.detach()).numpy()
    negative = torch.view_as_complex(layer.weights_neg.detach()).numpy()
    out = np.zeros((*x.shape[:-3], layer.out_channels, height, columns), complex)
    for row in range(height):
        for column in range(min(layer.modes2, columns)):
            if row < layer.modes1 and row <= height // 2:
                matrix = positive[:, :, row, column]
            elif row >= height - layer.modes1:
                matrix = negative[:, :, layer.modes1 - (height - row), column]
            else:
                continue
            out[..., row, column] = spectrum[..., row, column] @ matrix
    return np.fft.irfft2(out, s=x.shape[-2:])


@pytest.mark.parametrize("modes", [1, 4, 40])
@pytest.mark.parametrize("size", SIZES)
def test_conv1d_is_its_definition(size: int, modes: int) -> None:
    torch.manual_seed(size)
    layer, x = SpectralConv1d(3, 5, modes).double(), torch.randn(2, 3, size, dtype=torch.float64)
    np.testing.assert_allclose(layer(x).detach(), numpy_conv1d(x, layer), atol=1e-10)
    torch.testing.assert_close(layer.convolve_tokens(x.mT).mT, layer(x))


@pytest.mark.parametrize("modes", [(1, 1), (2, 5), (5, 2), (20, 20)])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 1), (4, 6), (7, 5), (9, 16)])
def test_conv2d_is_its_definition(size: tuple[int, int], modes: tuple[int, int]) -> None:
    torch.manual_seed(sum(size))
    layer, x = SpectralConv2d(3, 2, modes).double(), torch.randn(2, 3, *size, dtype=torch.float64)
    expected = torch.from_numpy(numpy_conv2d(x, layer))
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.convolve_tokens(x.movedim(1, -1)).movedim(-1, 1), expected)


def test_resolution_transfer() -> None:
    """The same function at N and 2N points gives the same function."""
    torch.manual_seed(0)
    coarse, fine = (torch.arange(n) / n * 2 * torch.pi for n in (40, 80))
    phases = torch.rand(3, 6, 1) * 6

    def function(t: Tensor) -> Tensor:
        return (torch.arange(6).view(6, 1) * t + phases).cos().sum(1).unsqueeze(0)

    layer = SpectralConv1d(3, 4, modes=8)
    torch.testing.assert_close(layer(function(fine))[..., ::2], layer(function(coarse)), rtol=1e-5, atol=1e-5)
    images = [function(t).unsqueeze(-1) * function(t).flip(1).unsqueeze(-2) for t in (coarse, fine)]
    plane = SpectralConv2d(3, 4, modes=(8, 8))
    assert torch.allclose(plane(images[1])[..., ::2, ::2], plane(images[0]), atol=1e-4)


def wave(vertical: int, horizontal: int, size: int = 16) -> Tensor:
    h, w = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (2 * torch.pi * (vertical * h + horizontal * w) / size).cos().view(1, 1, size, size)


def test_waves_of_both_directions_pass() -> None:
    both, one = SpectralConv2d(1, 1, (4, 4)), SpectralConv2d(1, 1, (4, 4), two_sided=False)
    for weights in (both.weights, both.weights_neg, one.weights):
        weights.data[:] = torch.tensor([1.0, 0.0])
    assert one.weights_neg is None
    for kept in (wave(2, 3), wave(-2, 3), wave(2, 0), wave(0, 0), wave(-3, 1)):
        torch.testing.assert_close(both(kept), kept, atol=1e-5, rtol=1e-5)
    for left_out in (wave(5, 3), wave(-5, 3), wave(1, 4)):
        assert both(left_out).abs().max() < 1e-5
    torch.testing.assert_close(one(wave(2, 3)), wave(2, 3), atol=1e-5, rtol=1e-5)
    assert one(wave(-2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(one(wave(2, 0)), wave(2, 0) / 2, atol=1e-5, rtol=1e-5)


def test_first_weights_keep_the_variance_of_the_kept_modes() -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 64, 64)
    assert SpectralConv1d(64, 64, modes=33)(x).std().item() == pytest.approx(1, abs=0.05)
    assert SpectralConv1d(64, 64, modes=8, init_scale=0.5).weights.std().item() == pytest.approx(0.5, rel=0.05)
    layer = SpectralConv2d(16, 16, (4, 4), init_scale=0.5)
    before = layer.weights_neg.clone()
    layer.reset_parameters()
    assert not torch.equal(before, layer.weights_neg)
    assert layer.weights.std().item() == pytest.approx(0.5, rel=0.1)


def test_grids_of_nodes_are_images() -> None:
    layer = SpectralConv2d(3, 2, (2, 2))
    images = [torch.randn(2, 3, 4, 5), torch.randn(2, 3, 3, 3), torch.randn(2, 3, 4, 5)]
    nodes = torch.cat([image.flatten(-2).mT for image in images], dim=-2)
    expected = torch.cat([layer(image).flatten(-2).mT for image in images], dim=-2)
    torch.testing.assert_close(layer(nodes, grid=[(4, 5), (3, 3), (4, 5)]), expected)
    one = Data(x=images[0].flatten(-2).mT, grid=(4, 5), num_nodes=20)
    torch.testing.assert_close(layer(one.x, grid=one), expected[:, :20])
    with pytest.raises(InputError, match="has no attribute grid, and SpectralConv2d needs nodes on a regular grid"):
        layer(one.x, grid=Data(num_nodes=20))


@pytest.mark.parametrize("layer", [SpectralConv1d(3, 2, 3), SpectralConv2d(3, 2, (2, 2))])
def test_half_precision_is_computed_in_single(layer) -> None:
    x = torch.randn(2, 3, 3, 8)
    expected = layer(x.bfloat16().float())
    out = layer(x.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer(x), copy.deepcopy(layer).float()(x), rtol=0, atol=0)
    assert layer(x.double()).dtype == torch.float64
    assert layer.weights.dtype == torch.float32


def test_weights_complex_is_a_view() -> None:
    layer = SpectralConv1d(2, 3, 4)
    with torch.no_grad():
        layer.weights_complex[1, 2, 3] = 2 + 5j
    assert layer.weights[1, 2, 3].tolist() == [2, 5]
    assert SpectralConv2d(2, 3, (4, 5)).weights_complex.shape == (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralConv1d(0, 1, 1), "in_channels is 0"),
        (lambda: SpectralConv1d(1, 1, 0), "modes is 0"),
        (lambda: SpectralConv2d(1, 1, (1,)), r"modes is \(1,\); expected two"),
        (lambda: SpectralConv2d(1, 1, 3), "modes is 3; expected two"),
        (lambda: SpectralConv2d(1, 1, (2, 0)), "modes2 is 0"),
        (lambda: SpectralConv1d(3, 1, 2)(torch.zeros(2, 4, 9)), r"\(2, 4, 9\); expected \(..., 3, N\)"),
        (lambda: SpectralConv2d(3, 1, (2, 2))(torch.zeros(3, 9)), r"expected \(..., 3, H, W\)"),
    ],
)
def test_bad_input(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("layer", [SpectralConv1d(1, 1, 1), SpectralConv2d(1, 1, (1, 1))])
def test_integers_are_refused(layer) -> None:
    with pytest.raises(InputTypeError, match="floating"):
        layer(torch.zeros(2, 1, 4, 4, dtype=torch.long))


def shape_with_two(inputs: tuple[Tensor, ...]) -> tuple[int, ...]:
    x = inputs[0]
    return (x.shape[0], 2, *x.shape[2:])


@parametrize_with_checks(
    [
        LayerCase(
            "SpectralConv1d",
            lambda: SpectralConv1d(4, 2, 3),
            lambda g: (torch.randn(2, 4, 7, generator=g),),
            shape=shape_with_two,
            token_axis=None,
            any_dtype=True,
        ),
        LayerCase(
            "SpectralConv2d",
            lambda: SpectralConv2d(3, 2, (2, 2)),
            lambda g: (torch.randn(2, 3, 4, 5, generator=g),),
            shape=shape_with_two,
            token_axis=None,
            any_dtype=True,
        ),
    ]
)
def test_contract(case, check) -> None:
    check(case)


def test_sequences_with_a_mask_or_of_several_lengths() -> None:
    layer = SpectralConv1d(3, 2, 3).double()
    x = torch.randn(2, 3, 9, dtype=torch.float64)
    batch = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2])
    alone = torch.cat([layer(x[..., batch == graph]) for graph in range(3)], dim=-1)
    torch.testing.assert_close(layer(x, batch=batch), alone)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    out = layer(torch.where(mask.unsqueeze(1), x, torch.nan), mask)
    torch.testing.assert_close(out[0], layer(x)[0])
    torch.testing.assert_close(out[1, :, :4], layer(torch.where(mask.unsqueeze(1), x, 0))[1, :, :4])
    assert bool((out[1, :, 4:] == 0).all())
