from __future__ import annotations

import inspect

import numpy as np
import pytest
import scipy.signal
import torch

from benchmarks.periodic_signals import Kind, pad, periodic_curves
from stgraph.errors import InputError
from stgraph.ops.multitaper import multitaper
from stgraph.ops.multitaper.periodogram import lomb_scargle, lomb_scargle_multitaper, lomb_scargle_period


@pytest.mark.skipif(
    "floating_mean" not in inspect.signature(scipy.signal.lombscargle).parameters,
    reason="this SciPy has no floating mean",
)
def test_equals_scipy() -> None:
    curves = [periodic_curves(Kind(sampling, 27, 80, 1), 1)[0] for sampling in ("regular", "gaps", "uniform")]
    t, x, mask = pad(curves)
    freqs = np.linspace(0.01, 1.4, 150)
    power = lomb_scargle(t, 7 + x, freqs, mask)
    for curve, ours in zip(curves, power, strict=True):
        centred = curve.flux - curve.flux.mean()
        theirs = scipy.signal.lombscargle(curve.time, centred, 2 * np.pi * freqs, floating_mean=True, normalize=True)
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


def test_power_is_the_explained_variance() -> None:
    rng = np.random.default_rng(0)
    t, f = np.sort(rng.uniform(0, 10, 60)), 0.63
    x = rng.normal(size=60) + 3
    columns = np.stack([np.ones(60), np.cos(2 * np.pi * f * t), np.sin(2 * np.pi * f * t)], axis=1)
    residual = x - columns @ np.linalg.lstsq(columns, x, rcond=None)[0]
    power = lomb_scargle(t, x, np.array([f]))
    assert power.shape == (1,)
    assert float(power[0]) == pytest.approx(1 - residual.var() / x.var(), abs=1e-6)


def test_times_that_see_one_phase_only() -> None:
    t = torch.arange(40, dtype=torch.float64)
    x = torch.where(t % 2 == 0, 1.0, -1.0)
    assert lomb_scargle(t, x, torch.tensor([0.5, 1.0])).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_period_in_batches_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = periodic_curves(Kind("gaps", 27, 300, 3), 4) + periodic_curves(Kind("seasons", 450, 200, 3), 4)
    t, x, mask = pad(curves)
    monkeypatch.setattr("stgraph.ops.multitaper.periodogram.CHUNK", 5000)
    found = lomb_scargle_period(t, x, mask=mask)
    truth = torch.tensor([curve.period for curve in curves], dtype=torch.float64)
    torch.testing.assert_close(found.period, truth, rtol=0.02, atol=0)
    for row, curve in enumerate(curves):
        alone = lomb_scargle_period(curve.time, curve.flux)
        assert alone.period.shape == ()
        torch.testing.assert_close(found.period[row], alone.period, rtol=1e-6, atol=0)
        torch.testing.assert_close(found.power[row], alone.power, rtol=1e-6, atol=0)
    assert (found.power > 0.6).all()


def test_period_keeps_to_limits() -> None:
    t = torch.linspace(0, 27, 300, dtype=torch.float64)
    x = 2 * torch.sin(2 * torch.pi * t / 4.1) + torch.sin(2 * torch.pi * t / 1.3)
    assert float(lomb_scargle_period(t, x).period) == pytest.approx(4.1, rel=5e-3)
    assert float(lomb_scargle_period(t, x, f_min=0.5).period) == pytest.approx(1.3, rel=5e-3)
    with pytest.raises(InputError, match="f_min = 2 is not below f_max = 1"):
        lomb_scargle_period(t, x, f_min=2.0, f_max=1.0)


@pytest.mark.parametrize("adaptive", [True, False])
def test_multitaper_equals_fourier_at_equally_spaced_times(adaptive: bool) -> None:
    t = 0.5 * torch.arange(64, dtype=torch.float64)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 64))) + torch.sin(t)
    freqs = torch.arange(1, 32) / 32.0  # there the mean squares of cosine and sine are equal
    ours = lomb_scargle_multitaper(t.expand(2, -1), x, freqs, adaptive=adaptive)
    torch.testing.assert_close(ours, multitaper(t, x, freqs=freqs, adaptive=adaptive).psd, rtol=1e-5, atol=0)


def test_multitaper_level_of_white_noise() -> None:
    rng = np.random.default_rng(2)
    t = np.sort(rng.uniform(0, 50, (20, 200)), axis=1)
    psd = lomb_scargle_multitaper(t, 2 * rng.normal(size=t.shape), np.linspace(0.1, 1.9, 100))
    step = (t[:, -1] - t[:, 0]) / 199
    assert float((psd.numpy() / (4 * step[:, None])).mean()) == pytest.approx(1, abs=0.05)


def test_multitaper_has_no_line_test() -> None:
    t = torch.linspace(0, 10, 50)
    with pytest.raises(InputError, match="ftest is True, but Lomb-Scargle eigenspectra have no phase"):
        lomb_scargle_multitaper(t, torch.sin(t), torch.tensor([0.5]), ftest=True)
    with pytest.raises(InputError, match="K is 0"):
        lomb_scargle_multitaper(t, torch.sin(t), torch.tensor([0.5]), K=0)
    with pytest.raises(InputError, match=r"freqs is of shape \(\)"):
        lomb_scargle(t, torch.sin(t), torch.tensor(0.5))


def test_constant_curves() -> None:
    t, freqs = torch.linspace(0, 10, 50), torch.tensor([0.5, 1.0])
    for search in (lambda x: lomb_scargle(t, x, freqs), lambda x: lomb_scargle_period(t, x)):
        with pytest.raises(InputError, match="x of curve 0 is constant"):
            search(torch.ones(50))
    assert lomb_scargle_multitaper(t, torch.ones(50), freqs).tolist() == [0.0, 0.0]
