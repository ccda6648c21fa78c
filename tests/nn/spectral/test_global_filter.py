from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral import AdaptiveGlobalFilter, GlobalFilterMixing, GlobalFilterMixing2D

KINDS = [GlobalFilterMixing, GlobalFilterMixing2D, AdaptiveGlobalFilter]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def set_response(layer: GlobalFilterMixing, response: Tensor) -> GlobalFilterMixing:
    """Give a layer with activation "identity" a response."""
    with torch.no_grad():
        layer.double().filter_real.copy_(response.real)
        layer.filter_imag.copy_(response.imag)
    return layer


@pytest.mark.parametrize("size", [1, 2, 7, 31, 64])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "identity"])
def test_equals_the_complex_formula(size: int, activation: str) -> None:
    x = random(3, size, 5)
    along = GlobalFilterMixing(5, size, activation, filter_init_std=1.0).double()
    expected = np.fft.ifft(along.get_filter_response().detach().numpy() * np.fft.fft(x.numpy(), axis=1), axis=1)
    np.testing.assert_allclose(along(x).detach().numpy(), expected.real, atol=1e-12)
    plane = GlobalFilterMixing2D(5, size, activation, filter_init_std=1.0).double()
    expected = np.fft.ifft2(plane.get_filter_response().detach().numpy() * np.fft.fft2(x.numpy()))
    np.testing.assert_allclose(plane(x).detach().numpy(), expected.real, atol=1e-12)


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward", None])
def test_norm_has_no_influence(norm: str | None) -> None:
    layer = GlobalFilterMixing(4, 9).double()
    other = GlobalFilterMixing(4, 9, fft_norm=norm).double()
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(random(2, 9, 4)), layer(random(2, 9, 4)))


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("shift", [0, 1, 5])
def test_a_linear_phase_is_a_circular_shift(size: int, shift: int) -> None:
    k = torch.arange(size, dtype=torch.float64)
    phase = torch.polar(torch.ones(size, dtype=torch.float64), -2 * torch.pi * k * shift / size)
    layer = set_response(GlobalFilterMixing(3, size, "identity"), phase.unsqueeze(1).expand(size, 3))
    x = random(2, size, 3)
    torch.testing.assert_close(layer(x), x.roll(shift, dims=1))


@pytest.mark.parametrize("size", [16, 17])
@pytest.mark.parametrize("other", [8, 15, 24, 32, 33, 64])
def test_a_low_pass_keeps_its_cutoff_at_other_lengths(size: int, other: int) -> None:
    cutoff = 0.25
    f = torch.fft.fftfreq(size, dtype=torch.float64).abs()
    response = (f < cutoff).to(torch.complex128)
    layer = set_response(GlobalFilterMixing(1, size, "identity"), response.unsqueeze(1))
    plane = set_response(GlobalFilterMixing2D(1, size, "identity"), response.unsqueeze(1))
    n = torch.arange(other, dtype=torch.float64)
    bin_width = 1 / size
    for k in range(other // 2 + 1):
        wave = torch.cos(2 * torch.pi * k * n / other).view(1, -1, 1)
        passed = torch.where(wave.abs() > 0.5, layer(wave) / wave, 0).abs().max()
        torch.testing.assert_close(plane(wave), layer(wave))
        if k / other <= cutoff - bin_width:
            torch.testing.assert_close(layer(wave), wave)
        elif k / other >= cutoff + bin_width:
            assert passed < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_effective_response_at_another_length_is_that_of_a_real_filter(kind: type[GlobalFilterMixing]) -> None:
    layer = kind(6, 8, "identity", filter_init_std=1.0).double()
    for size in (5, 8, 11, 16):
        impulse = torch.zeros(1, size, 6, dtype=torch.float64)
        impulse[0, 0, 0] = 1
        shifted = layer(impulse.roll(2, dims=1))
        torch.testing.assert_close(shifted, layer(impulse).roll(2, dims=1))


@pytest.mark.parametrize("width", [4, 5, 9])
def test_plane_at_another_size_keeps_a_response_of_frequency_alone(width: int) -> None:
    # A response that is linear in |f| up to the last bin is its own interpolation inside the band.
    height = 8
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64).abs() for n in (height, 6))
    layer = set_response(GlobalFilterMixing2D(6, height, "identity"), (fy.unsqueeze(1) + fx + 0j))
    y, x = torch.arange(16, dtype=torch.float64), torch.arange(width, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * y * 3 / 16).unsqueeze(1) * torch.ones_like(x)
    torch.testing.assert_close(layer(wave), 3 / 16 * wave)
    wave = torch.ones_like(y).unsqueeze(1) * torch.cos(2 * torch.pi * x / width)
    torch.testing.assert_close(layer(wave), 1 / width * wave)


def test_grid_equals_each_channel_alone() -> None:
    layer = GlobalFilterMixing2D(6, 4, filter_init_std=1.0).double()
    x = random(2, 24, 3)
    out = layer(x, grid=(4, 6))
    for channel in range(3):
        alone = layer(x[..., channel].unflatten(-1, (4, 6))).flatten(-2)
        torch.testing.assert_close(out[..., channel], alone)


def test_fixed_filters_do_not_train() -> None:
    for kind in KINDS:
        layer = kind(4, 8, learnable_filters=False)
        assert list(layer.parameters()) == []
        assert set(layer.state_dict()) == set(kind(4, 8).state_dict()) == {"filter_real", "filter_imag"}
        assert not layer.get_spectral_properties()["learnable_filters"]


def test_starts_close_to_half_of_the_identity() -> None:
    x = random(2, 64, 8)
    ratio = (GlobalFilterMixing(8, 64).double()(x) / x).median()
    assert abs(ratio - 0.5) < 0.01


def test_properties() -> None:
    properties = GlobalFilterMixing2D(4, 8, "tanh").get_spectral_properties()
    assert properties["activation"] == "tanh"
    assert properties["parameter_count"] == 2 * 4 * 8
    assert properties["two_dimensional"]
    properties = AdaptiveGlobalFilter(4, 8, spectral_dropout_p=0.1).get_spectral_properties()
    assert (properties["adaptive_initialization"], properties["regularization"]) == (True, False)
    assert properties["spectral_dropout"]


def test_adaptive_start_and_penalty() -> None:
    torch.manual_seed(0)
    layer = AdaptiveGlobalFilter(4000, 8, filter_init_std=0.5, filter_regularization=0.1)
    f = torch.fft.fftfreq(8).abs()
    weight = 1 / (f + 0.1)
    torch.testing.assert_close(layer.filter_real.std(1), 0.5 * weight / weight.mean(), rtol=0.1, atol=0)
    plain = AdaptiveGlobalFilter(4000, 8, filter_init_std=0.5, adaptive_initialization=False)
    torch.testing.assert_close(plain.filter_imag.std(1), torch.full((8,), 0.5), rtol=0.1, atol=0)
    expected = 0.1 * (layer.filter_real.square().sum() + layer.filter_imag.square().sum())
    torch.testing.assert_close(layer.get_regularization_loss(), expected)
    assert plain.get_regularization_loss().shape == ()
    assert plain.get_regularization_loss() == 0


def test_spectral_dropout_drops_whole_frequencies_in_training_only() -> None:
    torch.manual_seed(0)
    layer = AdaptiveGlobalFilter(3, 32, spectral_dropout_p=0.5).double()
    x = random(2, 32, 3)
    kept = torch.fft.rfft(layer(x), dim=1).abs().amax(dim=(0, 2)) > 1e-9
    assert 3 < kept.sum() < 14
    full = torch.fft.rfft(layer.eval()(x), dim=1)
    assert bool((full.abs() > 1e-9).all())
    layer.train()
    twice = torch.fft.rfft(layer(x), dim=1)
    kept = twice.abs().amax(dim=(0, 2)) > 1e-9
    torch.testing.assert_close(twice[:, kept], 2 * full[:, kept])


def test_bad_input() -> None:
    with pytest.raises(InputError, match="activation is 'gelu'; expected one of"):
        GlobalFilterMixing(4, 8, "gelu")
    with pytest.raises(InputError, match="sequence_length is 0"):
        GlobalFilterMixing(4, 0)
    with pytest.raises(InputError, match="filter_init_std is -1"):
        GlobalFilterMixing2D(4, 8, filter_init_std=-1)
    with pytest.raises(InputError, match=r"spectral_dropout_p is 1\.5"):
        AdaptiveGlobalFilter(4, 8, spectral_dropout_p=1.5)
    with pytest.raises(InputError, match="so 3 channels"):
        GlobalFilterMixing(4, 8)(torch.zeros(2, 8, 3))
    with pytest.raises(InputTypeError, match=r"torch\.int64"):
        GlobalFilterMixing2D(4, 8)(torch.zeros(2, 8, 4, dtype=torch.long))
    with pytest.raises(InputError, match="both batch and grid"):
        GlobalFilterMixing2D(4, 8)(torch.zeros(32, 1), batch=torch.zeros(32, dtype=torch.long), grid=(8, 4))
