from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stgraph.ops.multitaper import multitaper
from stgraph.ops.multitaper.harmonic import line_test


def irregular_times(seed: int, num_points: int = 300, duration: float = 30.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 2459000.0 + np.sort(rng.uniform(0, duration, num_points))


@pytest.mark.parametrize("decorrelate", [True, False])
@pytest.mark.parametrize("regular", [True, False])
def test_a_sinusoid_is_found_with_its_frequency_amplitude_and_phase(regular: bool, decorrelate: bool) -> None:
    t = 2459000.0 + np.arange(300) * 0.1 if regular else irregular_times(0)
    frequency, amplitude, phase = 0.737, 1.7, 0.9
    x = amplitude * np.cos(2 * np.pi * frequency * (t - t[0]) + phase)
    x += 5 + 0.01 * np.random.default_rng(1).normal(size=t.size)
    grid = np.arange(0.3, 2, 1 / (16 * 30.0))
    result = multitaper(t, x, freqs=np.append(grid, frequency), decorrelate=decorrelate)
    assert result.fstat is not None
    assert result.pvalue is not None
    assert result.line_amplitude is not None
    line = complex(result.line_amplitude[-1])
    limit = 0.01 if regular else 0.1  # at random times a sinusoid is not orthogonal to the constant and to itself
    assert 2 * abs(line) == pytest.approx(amplitude, rel=limit)
    assert math.atan2(line.imag, line.real) == pytest.approx(phase, abs=limit)
    assert float(result.pvalue[-1]) < 1e-6
    assert grid[int(result.fstat[:-1].argmax())] == pytest.approx(frequency, abs=1 / 30)
    best = int(result.line_amplitude[:-1].abs().argmax())
    assert grid[best] == pytest.approx(frequency, abs=1 / (8 * 30))


def test_odd_tapers_and_their_overlap_do_not_matter_at_regular_times() -> None:
    x = np.random.default_rng(2).normal(size=200) + np.cos(np.arange(200.0))
    results = [
        multitaper(np.arange(200.0), x, **options) for options in ({}, {"zero_odd": True}, {"decorrelate": False})
    ]
    for other in results[1:]:
        for field in ("fstat", "pvalue", "line_amplitude"):
            torch.testing.assert_close(getattr(other, field), getattr(results[0], field), rtol=1e-6, atol=1e-9)


def test_odd_tapers_and_their_overlap_matter_elsewhere() -> None:
    t = irregular_times(3)
    x = np.random.default_rng(3).normal(size=t.size)
    first, second, third = (
        multitaper(t, x, **options).fstat for options in ({}, {"zero_odd": True}, {"decorrelate": False})
    )
    assert first is not None
    assert second is not None
    assert third is not None
    assert not torch.allclose(first, second, rtol=1e-3)
    assert not torch.allclose(first, third, rtol=1e-3)
    assert not torch.allclose(second, third, rtol=1e-3)


@pytest.mark.parametrize("zero_odd", [True, False])
def test_statistic_is_thomson_s_formula(zero_odd: bool) -> None:
    rng = np.random.default_rng(4)
    tapers = rng.normal(size=(3, 10)) + 1
    J = rng.normal(size=(3, 5)) + 1j * rng.normal(size=(3, 5))
    H = tapers.sum(axis=1) * ([1, 0, 1] if zero_odd else [1, 1, 1])
    mu = (H[:, None] * J).sum(axis=0) / (H**2).sum()
    fstat = 2 * np.abs(mu) ** 2 * (H**2).sum() / (np.abs(J - mu * H[:, None]) ** 2).sum(axis=0)
    result = line_test(torch.from_numpy(J)[None], torch.from_numpy(tapers)[None], zero_odd=zero_odd, decorrelate=False)
    np.testing.assert_allclose(result.amplitude[0].numpy(), mu)
    np.testing.assert_allclose(result.fstat[0].numpy(), fstat)
    np.testing.assert_allclose(result.pvalue[0].numpy(), (1 + fstat / 2) ** -2.0)


def test_decorrelated_statistic_depends_only_on_what_the_tapers_span() -> None:
    # Any invertible mixture of the tapers asks the same question.
    rng = np.random.default_rng(5)
    tapers, mixture = rng.normal(size=(4, 20)) + 1, rng.normal(size=(4, 4))
    J = rng.normal(size=(4, 6)) + 1j * rng.normal(size=(4, 6))
    one, other = (
        line_test(torch.from_numpy(m @ J)[None], torch.from_numpy(m @ tapers)[None], zero_odd=False, decorrelate=True)
        for m in (np.eye(4), mixture)
    )
    torch.testing.assert_close(one, other)


def test_a_pure_line_of_the_tapers_is_infinitely_significant() -> None:
    tapers = torch.eye(3, 8, dtype=torch.float64)[None]
    J = torch.full((1, 3, 1), 2 + 1j, dtype=torch.complex128)
    result = line_test(J, tapers, zero_odd=False, decorrelate=False)
    assert float(result.fstat) == math.inf
    assert float(result.pvalue) == 0
    assert complex(result.amplitude) == 2 + 1j
