from __future__ import annotations

import math

import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import add_noise, noise_deviation


@pytest.mark.parametrize("snr_db", [10.0, 35.0])
def test_power_within_two_percent(snr_db: float) -> None:
    ramp = torch.linspace(0.0, 3.0, 1000, dtype=torch.float64)
    image = torch.stack([ramp.expand(1000, -1), torch.full((1000, 1000), 0.2, dtype=torch.float64)])
    noise = add_noise(image, snr_db, torch.Generator().manual_seed(0)) - image
    measured = 10 * torch.log10(image.square().mean(dim=(1, 2)) / noise.square().mean(dim=(1, 2)))
    assert torch.allclose(10 ** ((snr_db - measured) / 10), torch.ones(2, dtype=torch.float64), atol=0.02)
    assert float(noise.mean().abs()) < 1e-3


def test_signal_power_is_the_mean_square_of_each_band() -> None:
    image = torch.tensor([[[3.0, 1.0]], [[5.0, 5.0]]])
    expected = torch.tensor([math.sqrt(5.0 / 1000), math.sqrt(25.0 / 1000)])
    torch.testing.assert_close(noise_deviation(image, 30.0).flatten(), expected)


def test_nothing_is_clipped() -> None:
    assert float(add_noise(torch.ones(1, 50, 50), 0.0, torch.Generator().manual_seed(0)).min()) < 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_seed_gives_the_same_bits(dtype: torch.dtype) -> None:
    image = torch.ones(2, 9, 9, dtype=dtype)
    first, second, other = (add_noise(image, 20.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.dtype == dtype
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_deviation_scales_unit_noise() -> None:
    image = torch.full((1, 4, 4), 2.0)
    unit = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(3))
    noisy = add_noise(image, 20.0, torch.Generator().manual_seed(3))
    torch.testing.assert_close(noisy, 2.0 + 0.2 * unit)


def test_without_noise_the_generator_moves_on_all_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.ones(1, 8, 8)
    assert torch.equal(add_noise(image, math.inf, generator), image)
    after = add_noise(image, 10.0, generator)
    assert not torch.equal(after, add_noise(image, 10.0, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("snr_db", [math.nan, -math.inf])
def test_bad_ratio(snr_db: float) -> None:
    with pytest.raises(InputError, match="snr_db must be a number of decibels"):
        add_noise(torch.ones(1, 2, 2), snr_db, torch.Generator())


def test_bad_types() -> None:
    with pytest.raises(InputTypeError, match="snr_db must be a number of decibels or infinity, got NoneType"):
        add_noise(torch.ones(1, 2, 2), None, torch.Generator())  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="image must be a tensor"):
        add_noise(torch.ones(1, 2, 2, dtype=torch.int64), 3.0, torch.Generator())
