from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral import FourierMixing, FourierMixing1D, RealFourierMixing, SeparableFourierMixing

SIZES = [1, 2, 7, 31, 64, 100, 129]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tokens", SIZES)
@pytest.mark.parametrize("channels", [1, 5, 6])
def test_equal_numpy(tokens: int, channels: int) -> None:
    x = random(2, tokens, channels)
    both = np.fft.fft2(x.numpy(), norm="ortho")
    along = np.fft.fft(x.numpy(), axis=1, norm="ortho")
    expected = {
        FourierMixing(channels): both.real,
        FourierMixing(channels, keep_complex=True): both,
        FourierMixing1D(channels): along.real,
        FourierMixing1D(channels, keep_complex=True): along,
        RealFourierMixing(channels): both.real - both.imag,
        RealFourierMixing(channels, use_real_fft=False): both.real,
        SeparableFourierMixing(channels): both.real,
        SeparableFourierMixing(channels, mix_features=False): along.real,
        SeparableFourierMixing(channels, mix_sequence=False): np.fft.fft(x.numpy(), norm="ortho").real,
        SeparableFourierMixing(channels, intermediate_real=True): np.fft.fft(along.real, norm="ortho").real,
    }
    for layer, values in expected.items():
        np.testing.assert_allclose(layer(x).numpy(), values, atol=1e-12)


@pytest.mark.parametrize("tokens", SIZES)
def test_energy_and_involution(tokens: int) -> None:
    x = random(3, tokens, 5)
    hartley, complex_layer, real = RealFourierMixing(5), FourierMixing(5, keep_complex=True), FourierMixing(5)
    torch.testing.assert_close(hartley(hartley(x)), x)
    assert hartley.verify_energy_preservation(x, hartley(x))
    assert complex_layer.verify_energy_preservation(x, complex_layer(x))
    # Of the real part: half of the energy, and half of what the input shares with its reversal.
    reversed_ = x.flip((1, 2)).roll((1, 1), (1, 2))
    expected = 0.5 * (x.square().sum((1, 2)) + (x * reversed_).sum((1, 2)))
    torch.testing.assert_close(real(x).square().sum((1, 2)), expected)


def test_only_the_magnitude_of_the_spectrum_is_shift_invariant() -> None:
    x, layer = random(1, 12, 4), FourierMixing(4, keep_complex=True)
    assert layer.get_spectral_properties()["magnitude_shift_invariant"]
    torch.testing.assert_close(layer(x.roll(3, dims=1)).abs(), layer(x).abs())
    assert (layer(x.roll(3, dims=1)) - layer(x)).norm() > 0.5 * layer(x).norm()


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
def test_properties_are_true(norm: str) -> None:
    x = random(2, 9, 4)
    layers = [
        *(kind(4, fft_norm=norm, keep_complex=keep) for kind in (FourierMixing, FourierMixing1D) for keep in (0, 1)),
        *(RealFourierMixing(4, fft_norm=norm, use_real_fft=real) for real in (True, False)),
        SeparableFourierMixing(4, fft_norm=norm),
        SeparableFourierMixing(4, fft_norm=norm, mix_features=False),
    ]
    for layer in layers:
        properties, y = layer.get_spectral_properties(), layer(x)
        assert properties["energy_preserving"] == layer.verify_energy_preservation(x, y), layer
        assert properties["real_output"] == (not y.is_complex()), layer
        assert properties["learnable_parameters"] == bool(list(layer.parameters())), layer
    assert not layers[-1].get_spectral_properties()["feature_mixing"]


def test_dropout_takes_both_parts_of_a_complex_number() -> None:
    torch.manual_seed(0)
    layer = FourierMixing(8, dropout=0.5, keep_complex=True)
    y = layer(random(4, 16, 8))
    dropped = (y == 0).double().mean()
    assert 0.4 < dropped < 0.6
    assert bool((y[y.real == 0] == 0).all())


def test_bad_input() -> None:
    with pytest.raises(InputError, match="both False"):
        SeparableFourierMixing(4, mix_features=False, mix_sequence=False)
    with pytest.raises(InputError, match="norm is 'unit'"):
        FourierMixing(4, fft_norm="unit")
    with pytest.raises(InputError, match=r"so 3 channels; expected .* hidden_dim is 4"):
        FourierMixing(4)(torch.zeros(2, 5, 3))
    for dtype in (torch.int64, torch.complex64):
        with pytest.raises(InputTypeError, match=str(dtype)):
            RealFourierMixing(4)(torch.zeros(2, 5, 4, dtype=dtype))
    with pytest.raises(InputError, match="both mask and batch"):
        FourierMixing(4)(torch.zeros(5, 4), mask=torch.ones(5), batch=torch.zeros(5, dtype=torch.long))
    for mask in (torch.ones(4), torch.ones(3, 5), torch.ones(2, 2, 5), torch.ones(())):
        with pytest.raises(InputError, match="mask has shape"):
            FourierMixing(4)(torch.zeros(2, 5, 4), mask=mask)
