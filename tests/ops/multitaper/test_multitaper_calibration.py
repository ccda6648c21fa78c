from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import f as f_distribution
from scipy.stats import kstest

from stgraph.ops.multitaper import multitaper

CURVES, POINTS, DURATION = 60, 600, 27.0

SAMPLINGS = ["regular", "gaps", "uniform", "variable", "seasons"]


def sample_times(rng: np.random.Generator, sampling: str) -> np.ndarray:
    """Times of one star on [0, DURATION]."""
    regular = np.linspace(0, DURATION, POINTS)
    if sampling == "regular":
        return regular
    if sampling == "uniform":
        return np.sort(rng.uniform(0, DURATION, POINTS))
    if sampling == "gaps":
        kept = np.ones(POINTS, dtype=bool)
        for _ in range(int(POINTS * rng.uniform(0.1, 0.3) / 20)):
            start = rng.integers(1, POINTS - 30)
            kept[start : start + rng.integers(5, 30)] = False
        return regular[kept]
    if sampling == "seasons":  # two of them, with half of the duration in between
        return regular[(regular < 0.24 * DURATION) | (regular > 0.76 * DURATION)]
    borders = np.sort(np.concatenate([[0, DURATION], rng.uniform(0, DURATION, rng.integers(2, 5))]))
    shares = np.diff(borders) / DURATION
    parts = [
        np.linspace(low, high, max(10, int(POINTS * share * rng.uniform(0.5, 2))))
        for low, high, share in zip(borders[:-1], borders[1:], shares, strict=True)
    ]
    return np.unique(np.concatenate(parts))


@pytest.fixture(scope="module", params=SAMPLINGS)
def noise(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor]:
    """F-statistics and p-values of white noise at frequencies [B, F], and the density over its level."""
    rng = np.random.default_rng(42)
    times = [sample_times(rng, request.param) for _ in range(CURVES)]
    length = torch.tensor([t.size for t in times])
    t = torch.zeros(CURVES, int(length.max()), dtype=torch.float64)
    for row, own in enumerate(times):
        t[row, : own.size] = torch.from_numpy(own)
    x = torch.from_numpy(rng.normal(size=t.shape)) * 3 + 10
    step = DURATION / (length - 1)
    # Away from frequency 0 and from half the sampling rate, where the series and its conjugate overlap.
    freqs = torch.linspace(0.5, 10.5, 542, dtype=torch.float64)
    result = multitaper(t, x, freqs=freqs, mask=torch.arange(t.shape[1]) < length.unsqueeze(-1), adaptive=True)
    assert result.pvalue is not None
    return result.pvalue, result.psd / (9 * step.unsqueeze(-1))


def test_level_and_false_alarms_of_white_noise(noise: tuple[torch.Tensor, torch.Tensor]) -> None:
    pvalue, level = noise
    assert float(level.mean()) == pytest.approx(1, abs=0.03)
    assert float((pvalue < 0.01).double().mean()) == pytest.approx(0.01, rel=0.3)
    assert float((pvalue < 0.1).double().mean()) == pytest.approx(0.1, rel=0.1)


def test_p_values_of_separate_frequencies_are_uniform(noise: tuple[torch.Tensor, torch.Tensor]) -> None:
    separate = noise[0][:, ::16]  # by 2 NW / T, where the tapers' bands no longer overlap
    assert kstest(separate.flatten().numpy(), "uniform").pvalue > 0.01


def test_p_value_is_the_survival_function_of_the_f_distribution() -> None:
    rng = np.random.default_rng(0)
    result = multitaper(np.arange(50.0), rng.normal(size=50), K=5)
    assert result.fstat is not None
    assert result.pvalue is not None
    np.testing.assert_allclose(result.pvalue.numpy(), f_distribution.sf(result.fstat.numpy(), 2, 8), rtol=1e-10)
