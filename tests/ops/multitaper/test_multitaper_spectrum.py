from __future__ import annotations

import importlib
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.signal.windows import dpss
from torch import Tensor

from stgraph.ops.multitaper import multitaper

Array = npt.NDArray[np.float64]


def noisy_sine(seed: int, num_points: int, frequency: float = 0.731) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 0.1 * num_points, num_points))
    return t, 2 * np.cos(2 * np.pi * frequency * (t - t[0]) + 0.4) + rng.normal(size=num_points)


def fields(spectrum: object) -> list[Tensor]:
    return [field for field in spectrum if field is not None]  # type: ignore[attr-defined]


@pytest.mark.parametrize("adaptive", [False, True])
def test_regular_times_give_the_fft_of_the_tapered_series(adaptive: bool) -> None:
    rng = np.random.default_rng(0)
    step, num_points = 0.02, 300
    x = rng.normal(size=num_points).cumsum()
    spectrum = multitaper(2455000.5 + step * np.arange(num_points), x, oversample=2, adaptive=adaptive)
    tapers, ratios = dpss(num_points, 4, 7, return_ratios=True)
    coefficients = np.fft.fft(tapers * (x - x.mean()), 1024)[:, :512]
    eigenspectra = step * np.abs(coefficients) ** 2
    expected = eigenspectra.mean(axis=0)
    if adaptive:
        expected = eigenspectra[:2].mean(axis=0)
        for _ in range(200):
            weights = (
                ratios[:, None]
                * (expected / (ratios[:, None] * expected + (1 - ratios[:, None]) * step * x.var())) ** 2
            )
            expected = (weights * eigenspectra).sum(axis=0) / weights.sum(axis=0)
    # Days since long ago have a step that is exact to 1e-7 only.
    assert np.abs(spectrum.psd.numpy() - expected).max() <= 1e-6 * expected.max()
    exact = multitaper(step * np.arange(num_points), x, adaptive=adaptive)
    assert np.abs(exact.psd.numpy() - expected).max() <= 1e-8 * expected.max()
    np.testing.assert_allclose(exact.frequency.numpy(), np.arange(512) / (1024 * step), rtol=1e-12)


def test_adaptive_density_is_that_of_nitime() -> None:
    spectral = pytest.importorskip("nitime.algorithms.spectral")
    rng = np.random.default_rng(1)
    x = np.convolve(rng.normal(size=300), [1, 0.8, 0.5], mode="valid")
    x -= x.mean()
    options = {"Fs": 2.0, "NW": 4, "adaptive": True, "low_bias": False, "NFFT": 512, "sides": "twosided"}
    frequency, expected, _ = spectral.multi_taper_psd(x, **options)
    ours = multitaper(0.5 * np.arange(x.size), x, K=8, freqs=frequency[:256])
    # Its iteration stops at 1e-10 of the squared change, and its variance is the integral of a spectrum.
    np.testing.assert_allclose(ours.psd.numpy(), expected[:256], rtol=0.01)


def test_the_sum_of_the_density_is_the_variance_of_the_tapered_series() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=256)
    spectrum = multitaper(0.25 * np.arange(256), x, adaptive=False)
    two_sided = 2 * spectrum.psd.sum() - spectrum.psd[0]
    centred = x - x.mean()
    nyquist = np.abs((dpss(256, 4, 7) * centred * (-1.0) ** np.arange(256)).sum(axis=1)) ** 2 * 0.25
    total = (two_sided + nyquist.mean()) * spectrum.frequency[1]
    expected = ((dpss(256, 4, 7) * centred) ** 2).sum(axis=1).mean()
    assert float(total) == pytest.approx(expected, rel=1e-8)
    assert expected == pytest.approx(x.var(), rel=0.1)


def test_one_sided_density_is_twice_the_two_sided_one() -> None:
    t, x = noisy_sine(0, 100)
    torch.testing.assert_close(multitaper(t, x, one_sided=True).psd, 2 * multitaper(t, x).psd)


@pytest.mark.parametrize("engine", ["finufft", "gridding", "direct"])
def test_engines_agree(engine: str) -> None:
    if engine == "finufft":
        pytest.importorskip("finufft")
    t, x = noisy_sine(1, 200)
    freqs = np.logspace(-1.5, 0.7, 150)
    expected, result = multitaper(t, x, freqs=freqs, engine="direct"), multitaper(t, x, freqs=freqs, engine=engine)
    for field, other in zip(fields(result), fields(expected), strict=True):
        torch.testing.assert_close(field, other, rtol=1e-5, atol=1e-7 * float(other.abs().max()))


@pytest.mark.parametrize("options", [{}, {"adaptive": False, "zero_odd": True}, {"jackknife": True, "one_sided": True}])
def test_a_padded_batch_is_its_curves(options: dict[str, bool]) -> None:
    lengths = [120, 80, 120, 9]
    curves = [noisy_sine(seed, length) for seed, length in enumerate(lengths)]
    mask = torch.arange(130) < torch.tensor(lengths).unsqueeze(-1)
    t = torch.full((4, 130), math.nan, dtype=torch.float64)
    x = torch.full((4, 130), math.nan, dtype=torch.float64)
    for row, (own_t, own_x) in enumerate(curves):
        t[row, : own_t.size], x[row, : own_x.size] = torch.tensor(own_t), torch.tensor(own_x)
    freqs = torch.linspace(0.1, 3, 40)
    whole = multitaper(t, x, freqs=freqs, mask=mask, **options)
    assert whole.psd.shape == (4, 40)
    for row, (own_t, own_x) in enumerate(curves):
        alone = multitaper(own_t, own_x, freqs=freqs, **options)
        for field, other in zip(fields(whole)[1:], fields(alone)[1:], strict=True):
            torch.testing.assert_close(field[row], other, rtol=1e-6, atol=1e-8)


def test_blocks_of_curves_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    t, x = (np.stack(parts) for parts in zip(*(noisy_sine(seed, 50) for seed in range(5)), strict=True))
    whole = multitaper(t, x)
    monkeypatch.setattr(importlib.import_module("stgraph.ops.multitaper.spectrum"), "_BLOCK", 7 * 64 * 2)
    for field, other in zip(multitaper(t, x), whole, strict=True):
        torch.testing.assert_close(field, other)


def test_gaps_of_a_shared_sampling_are_left_out_wherever_they_stand() -> None:
    t, x = noisy_sine(2, 100)
    kept = np.ones(100, dtype=bool)
    kept[[0, 40, 41, 42, 99]] = False
    values = np.stack([x, -3 * x])
    values[:, ~kept] = np.nan
    result = multitaper(t, values, freqs=np.linspace(0.1, 3, 30), mask=kept)
    expected = multitaper(t[kept], x[kept], freqs=np.linspace(0.1, 3, 30))
    torch.testing.assert_close(result.psd[0], expected.psd, rtol=1e-6, atol=0)
    torch.testing.assert_close(result.psd[1], 9 * expected.psd, rtol=1e-6, atol=0)
    assert result.fstat is not None
    torch.testing.assert_close(result.fstat[1], expected.fstat, rtol=1e-6, atol=1e-6)


def test_a_constant_series_has_no_power_and_no_line() -> None:
    t, x = noisy_sine(3, 60)
    result = multitaper(np.stack([t, t]), np.stack([x, np.full(60, 0.1)]), freqs=[0.0, 0.5, 1.0])
    assert result.fstat is not None
    assert result.pvalue is not None
    assert result.psd[1].tolist() == [0, 0, 0]
    assert result.fstat[1].tolist() == [0, 0, 0]
    assert result.pvalue[1].tolist() == [1, 1, 1]
    assert torch.isfinite(result.dof).all()
    assert (result.psd[0] > 0).all()


def test_default_frequencies_follow_each_curve_s_step() -> None:
    t = np.stack([np.arange(20) * 0.5, np.arange(20) * 0.1])
    frequency = multitaper(t, np.random.default_rng(0).normal(size=(2, 20)), oversample=4).frequency
    assert frequency.shape == (2, 64)
    np.testing.assert_allclose(frequency[:, 1].numpy(), [1 / (128 * 0.5), 1 / (128 * 0.1)])


def test_parts_that_are_not_asked_for_are_none() -> None:
    t, x = noisy_sine(4, 40)
    result = multitaper(t, x, K=1, NW=1, ftest=False)
    assert result.fstat is result.pvalue is result.line_amplitude is result.log_psd_std is None
    torch.testing.assert_close(result.dof, torch.full_like(result.psd, 2.0))
