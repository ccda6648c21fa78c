from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from stgraph.errors import InputError
from stgraph.nn.spectral.convolution import SpectralConv1d
from stgraph.nn.spectral.fno import FNOBlock, FourierNeuralOperator
from stgraph.nn.spectral.sequence import SEQUENCE_LAYERS, sequence_layer
from stgraph.nn.spectral.temporal import SpectralTemporal
from stgraph.testing import LayerCase, parametrize_with_checks


@pytest.mark.parametrize("name", sorted(SEQUENCE_LAYERS))
@pytest.mark.parametrize(("channels", "steps"), [(8, 6), (6, 1), (7, 5)])
def test_every_layer_takes_the_time_axis(name: str, channels: int, steps: int) -> None:
    torch.manual_seed(0)
    layer = SpectralTemporal(sequence_layer(name, channels, steps)).eval()
    x = torch.randn(2, 3, steps, channels, requires_grad=True)
    out = layer(x)
    assert out.shape == x.shape
    torch.testing.assert_close(layer(x[1, 2:3]), out[1, 2:3], rtol=1e-4, atol=1e-5)
    gradient = torch.autograd.grad((out[1, 2] + 1).square().sum(), x)[0]
    assert gradient[1, 2].abs().sum() > 0
    gradient[1, 2] = 0
    assert gradient.abs().max() == 0, "series do not influence each other"
    again = SpectralTemporal(sequence_layer(name, channels, steps)).eval()
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), out)


@pytest.mark.parametrize("name", sorted(SEQUENCE_LAYERS))
def test_every_layer_takes_a_mask(name: str) -> None:
    torch.manual_seed(0)
    layer = SpectralTemporal(sequence_layer(name, 8, 6)).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)  # wavelets, for example, start from the identity
    x, other = torch.randn(2, 2, 3, 6, 8)
    mask = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(0)) < 0.6
    other[mask] = x[mask]
    torch.testing.assert_close(layer(x, mask)[mask], layer(other, mask)[mask])
    assert not torch.allclose(layer(x)[mask], layer(x, mask)[mask])
    torch.testing.assert_close(layer(x, torch.ones(6)), layer(x), rtol=1e-4, atol=1e-5)


def test_heads_divide_the_channels_and_modes_fit() -> None:
    assert sequence_layer("dct_attention", 12, 5).num_heads == 6
    assert sequence_layer("performer", 64, 5).num_heads == 8
    assert sequence_layer("performer", 7, 5).num_heads == 7
    assert sequence_layer("performer", 11, 5).num_heads == 1
    assert sequence_layer("spectral_conv", 4, 5).modes == 3
    assert sequence_layer("fno", 4, 500).modes == 16


def test_unknown_name() -> None:
    with pytest.raises(InputError, match=r"unknown sequence layer 'afmo'; expected one of \['adaptive_global_filter'"):
        sequence_layer("afmo", 4, 5)


def test_layers_of_users() -> None:
    gru = nn.GRU(4, 3, batch_first=True)
    x = torch.randn(2, 5, 6, 4)
    torch.testing.assert_close(SpectralTemporal(gru)(x), gru(x.flatten(0, 1))[0].unflatten(0, (2, 5)))
    assert SpectralTemporal(nn.Linear(4, 3))(x[:0]).shape == (0, 5, 6, 3)
    with pytest.raises(InputError, match="a mask is given, but GRU takes none"):
        SpectralTemporal(gru)(x, torch.ones(2, 5, 6))
    with pytest.raises(InputError, match="mask has shape"):
        SpectralTemporal(FNOBlock(4))(x, torch.ones(2, 6, 5))
    with pytest.raises(InputError, match=r"expected \(..., N, T, C\)"):
        SpectralTemporal(gru)(x[0, 0])


def test_channels_first_layer() -> None:
    layer = SpectralConv1d(4, 3, 2)
    x = torch.randn(2, 5, 6, 4)
    torch.testing.assert_close(SpectralTemporal(layer)(x), layer(x.mT).mT)


def test_reset_parameters() -> None:
    layer = SpectralTemporal(FourierNeuralOperator(4, 2))
    before = copy.deepcopy(layer.state_dict())
    layer.reset_parameters()
    assert not torch.equal(layer.layer.linear.weight, before["layer.linear.weight"])
    SpectralTemporal(nn.Identity()).reset_parameters()


@parametrize_with_checks(
    [
        LayerCase(
            "SpectralTemporal",
            lambda: SpectralTemporal(FNOBlock(4, 3)),
            lambda g: (torch.randn(2, 3, 6, 4, generator=g),),
            permutation_equivariant=False,
            token_axis=-3,
            any_dtype=True,
        )
    ]
)
def test_contract(case, check) -> None:
    check(case)
