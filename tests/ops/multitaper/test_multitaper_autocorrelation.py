from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.ops.multitaper import autocorrelation, autocorrelation_timescale, multitaper


def test_covariance_is_the_sum_over_both_signs_of_the_frequency() -> None:
    frequency = torch.arange(50, dtype=torch.float64) * 0.02
    psd = torch.rand(3, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lags = torch.linspace(0, 20, 11, dtype=torch.float64)
    both = torch.cat([-frequency[1:].flip(0), frequency])
    mirrored = torch.cat([psd[:, 1:].flip(-1), psd], dim=-1)
    expected = (mirrored.unsqueeze(-2) * torch.cos(2 * math.pi * lags.unsqueeze(-1) * both)).sum(-1) * 0.02
    covariance = autocorrelation(frequency, psd, lags, normalise=False)
    torch.testing.assert_close(covariance, expected, rtol=1e-7, atol=1e-9)
    correlation = autocorrelation(frequency, psd, lags)
    torch.testing.assert_close(correlation, expected / expected[:, :1], rtol=1e-7, atol=1e-9)
    doubled = torch.where(frequency == 0, 1.0, 2.0) * psd
    torch.testing.assert_close(autocorrelation(frequency, doubled, lags, normalise=False, one_sided=True), covariance)


def test_white_noise_has_its_variance_at_lag_zero_and_nothing_elsewhere() -> None:
    x = 3 * np.random.default_rng(0).normal(size=(40, 256))
    spectrum = multitaper(np.arange(256) * 0.5, x)
    covariance = autocorrelation(spectrum.frequency, spectrum.psd, [0.0, 5.0, 20.0], normalise=False).mean(dim=0)
    assert float(covariance[0]) == pytest.approx(9, rel=0.05)
    assert covariance[1:].abs().max() < 0.5


def test_autocorrelation_of_an_exponential_process_decays_in_its_time() -> None:
    rng = np.random.default_rng(1)
    step, tau, num_points = 0.5, 6.0, 2000
    decay = math.exp(-step / tau)
    x = np.zeros((8, num_points))
    x[:, 0] = rng.normal(size=8)
    for i in range(1, num_points):
        x[:, i] = decay * x[:, i - 1] + math.sqrt(1 - decay**2) * rng.normal(size=8)
    spectrum = multitaper(np.arange(num_points) * step, x)
    lags = torch.linspace(0, 50, 201)
    acf = autocorrelation(spectrum.frequency, spectrum.psd, lags)
    assert acf.shape == (8, 201)
    torch.testing.assert_close(acf[:, 0], torch.ones(8, dtype=torch.float64))
    assert float(autocorrelation_timescale(lags, acf).mean()) == pytest.approx(tau, rel=0.2)


def test_a_batch_may_have_its_own_frequencies_and_lags() -> None:
    t = np.stack([np.arange(64) * 0.5, np.arange(64) * 0.1])
    x = np.random.default_rng(2).normal(size=(2, 64))
    spectrum = multitaper(t, x)
    lags = torch.tensor([[0.0, 4.0, 8.0], [0.0, 1.0, 2.0]])
    whole = autocorrelation(spectrum.frequency, spectrum.psd, lags)
    for row in range(2):
        alone = autocorrelation(spectrum.frequency[row], spectrum.psd[row], lags[row])
        torch.testing.assert_close(whole[row], alone)


def test_nothing_correlates_with_nothing() -> None:
    assert autocorrelation(torch.arange(5), torch.zeros(5), [0.0, 0.1]).isnan().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.logspace(-2, 0, 20), torch.ones(20), [0.0, 1.0]), "not equally spaced"),
        ((torch.arange(20).flip(0), torch.ones(20), [0.0]), "not increasing"),
        ((torch.arange(20) - 3, torch.ones(20), [0.0]), "not increasing from 0"),
        ((torch.arange(20) * 0.1, torch.ones(20), [0.0, 6.0]), "lags reach 6 days with a frequency step of 0.1"),
        ((torch.arange(20), torch.ones(19), [0.0]), "psd and frequency are of shapes"),
        ((torch.arange(3).expand(2, 3), torch.ones(2, 3), torch.zeros(4, 1)), "leading dimensions"),
        ((torch.ones(1), torch.ones(1), [0.0]), "at least two frequencies"),
        ((torch.arange(3), torch.ones(3), []), "there must be a lag"),
        ((torch.arange(3), torch.tensor([1.0, math.nan, 1.0]), [0.0]), "psd holds NaN"),
    ],
)
def test_wrong_spectra_are_named(arguments: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        autocorrelation(*arguments)


def test_timescale_is_the_first_crossing() -> None:
    lags = torch.arange(5, dtype=torch.float64)
    acf = torch.tensor(
        [
            [1.0, 0.8, 0.4, 0.9, 0.0],  # falls, rises and falls again
            [1.0, 0.9, 0.8, 0.7, 0.6],  # never
            [0.5, 0.4, 0.3, 0.2, 0.1],  # there from the start
            [1.0, 0.75, 0.5, 0.4, 0.3],  # on a lag
            [math.nan] * 5,
        ]
    )
    expected = torch.tensor([1.75, math.nan, 0.0, 2.0, math.nan], dtype=torch.float64)
    torch.testing.assert_close(autocorrelation_timescale(lags, acf, level=0.5), expected, equal_nan=True)
    rows = autocorrelation_timescale(lags.expand(5, 5) * 2, acf, level=0.5)
    torch.testing.assert_close(rows, 2 * expected, equal_nan=True)


def test_timescale_of_an_exponential() -> None:
    lags = torch.linspace(0, 10, 1001, dtype=torch.float64)
    assert float(autocorrelation_timescale(lags, torch.exp(-lags / 2.5))) == pytest.approx(2.5, abs=1e-4)
    assert float(autocorrelation_timescale(lags, torch.cos(lags), level=0)) == pytest.approx(math.pi / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("lags", "acf", "message"),
    [
        (torch.tensor([0.0, 0.0]), torch.ones(2), "lags are not strictly increasing"),
        (torch.arange(3), torch.ones(2), "lags and acf are of shapes"),
    ],
)
def test_wrong_lags_are_named(lags: torch.Tensor, acf: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        autocorrelation_timescale(lags, acf)
