from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral import (
    AFNOMixing,
    AttentionLayer,
    FilterMixingLayer,
    FourierMixing,
    GlobalFilterMixing,
    MixingLayer,
    RealFourierMixing,
    SpectralComponent,
    UnitaryMixingLayer,
    WaveletMixing,
    WaveletMixing2D,
    config,
)


class Filter(FilterMixingLayer):
    def __init__(self, response: Tensor) -> None:
        super().__init__(response.shape[1], response.shape[0])
        self.response = response

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.ifft(self.response * torch.fft.fft(x, dim=-2), dim=-2).real

    def get_filter_response(self) -> Tensor:
        return self.response


class Unitary(UnitaryMixingLayer):
    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (SpectralComponent, ()),
        (AttentionLayer, (4,)),
        (MixingLayer, (4,)),
        (UnitaryMixingLayer, (4,)),
        (FilterMixingLayer, (4, 8)),
    ],
)
def test_base_classes_are_abstract(kind: type, arguments: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="abstract"):
        kind(*arguments)


def test_spectral_norm_is_the_largest_singular_value_and_differentiable() -> None:
    x = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).transpose(0, 1)
    layer = Unitary(5)
    torch.testing.assert_close(layer.compute_spectral_norm(x), torch.linalg.svdvals(x.reshape(12, 5))[0])
    assert torch.autograd.gradcheck(layer.compute_spectral_norm, x.clone().requires_grad_())


def test_unitary_checks() -> None:
    layer = Unitary(4)
    assert set(layer.get_spectral_properties().values()) == {True}
    x = torch.randn(3, 6, 4)
    assert layer.verify_shape_consistency(x, x.clone())
    assert layer.verify_shape_consistency(x[0, 0], x[0, 0])
    assert not layer.verify_shape_consistency(x, x[:2])
    assert layer.verify_energy_preservation(x, x.flip(1))
    assert not layer.verify_energy_preservation(x, x.flip(1), dim=-1)
    assert not layer.verify_energy_preservation(x, x.flip(0))
    assert layer.verify_energy_preservation(x, torch.fft.fft(x, dim=1, norm="ortho"))
    q = torch.linalg.qr(torch.randn(2, 5, 3))[0]
    assert layer.verify_orthogonality(q.mT)
    assert not layer.verify_orthogonality(q)
    assert layer.verify_orthogonality(torch.fft.fft(torch.eye(4), norm="ortho"))


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_frequency_response_of_a_shift(shift: int) -> None:
    size = 16
    k = torch.arange(size, dtype=torch.float64)
    response = torch.polar(torch.ones(size, dtype=torch.float64), -2 * torch.pi * k * shift / size)
    found = Filter(response.unsqueeze(1).expand(size, 2)).analyze_frequency_response()
    torch.testing.assert_close(found["group_delay"], torch.full((size, 2), float(shift), dtype=torch.float64))
    torch.testing.assert_close(found["total_energy"], torch.full((1, 2), 16.0, dtype=torch.float64))
    assert found["magnitude"].shape == found["phase"].shape == (size, 2)


@pytest.mark.parametrize("size", [1, 7, 16, 33])
def test_band_energies(size: int) -> None:
    f = torch.fft.fftfreq(size, dtype=torch.float64).abs().unsqueeze(1)
    weight = torch.rand(size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    found = Filter(weight.to(torch.complex128)).analyze_frequency_response()
    energy = weight.square()
    for i, band in enumerate(found["passband_energy"]):
        inside = (f >= i / 8) & ((f < (i + 1) / 8) | (i == 3))
        torch.testing.assert_close(band, (energy * inside).sum(0) / energy.sum(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["passband_energy"].sum(0), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-4)
    torch.testing.assert_close(found["low_freq_energy"], found["passband_energy"][:1])
    torch.testing.assert_close(found["high_freq_energy"], found["passband_energy"][3:])


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        (FourierMixing, config.FourierMixingConfig(8, fft_norm="forward", keep_complex=True)),
        (RealFourierMixing, config.FourierMixingConfig(8, dropout=0.2)),
        (GlobalFilterMixing, config.GlobalFilterMixingConfig(8, 12, activation="tanh", learnable_filters=False)),
        (AFNOMixing, config.AFNOMixingConfig(8, 12, modes_seq=3, activation="relu")),
        (WaveletMixing, config.WaveletMixingConfig(8, wavelet="haar", levels=2, mixing_mode="channel")),
        (WaveletMixing2D, config.WaveletMixing2DConfig(4, mixing_mode="attention")),
    ],
)
def test_from_config(layer: Any, options: Any) -> None:
    given = dataclasses.asdict(options)
    for made in (layer.from_config(options), layer.from_config(given)):
        for name, value in given.items():
            if hasattr(made, name) and name != "dropout" and value is not None:
                assert getattr(made, name) == value, name
        assert repr(made) == repr(layer.from_config(options))


def test_from_config_of_something_else() -> None:
    with pytest.raises(InputTypeError, match="config is int"):
        FourierMixing.from_config(3)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (config.FourierMixingConfig, {"hidden_dim": 0}, "hidden_dim is 0"),
        (config.FourierMixingConfig, {"hidden_dim": 4, "norm_eps": 0.0}, "norm_eps is 0"),
        (config.FourierMixingConfig, {"hidden_dim": 4, "fft_norm": "unit"}, "fft_norm is 'unit'; expected one of"),
        (config.GlobalFilterMixingConfig, {"hidden_dim": 4, "sequence_length": 0}, "sequence_length is 0"),
        (config.GlobalFilterMixingConfig, {"hidden_dim": 4, "sequence_length": 4, "activation": "gelu"}, "activation"),
        (config.GlobalFilterMixingConfig, {"hidden_dim": 4, "sequence_length": 4, "dropout": 1.5}, "dropout is 1.5"),
        (
            config.GlobalFilterMixingConfig,
            {"hidden_dim": 4, "sequence_length": 4, "filter_init_std": -1.0},
            "filter_init_std",
        ),
        (config.AFNOMixingConfig, {"hidden_dim": 4, "max_sequence_length": 4, "modes_seq": 0}, "modes_seq is 0"),
        (config.WaveletMixingConfig, {"hidden_dim": 4, "levels": 7}, "levels is 7; expected 1 to 6"),
        (config.WaveletMixingConfig, {"hidden_dim": 4, "wavelet": "db99"}, "Unsupported wavelet"),
        (config.WaveletMixing2DConfig, {"channels": 4, "mixing_mode": "channel"}, "mixing_mode is 'channel'"),
    ],
)
def test_configurations_are_checked(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**arguments)
