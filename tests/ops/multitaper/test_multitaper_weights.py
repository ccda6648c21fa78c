from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stgraph.ops.multitaper import multitaper
from stgraph.ops.multitaper.weights import adaptive_spectrum, jackknife_std, plain_spectrum

RATIOS = torch.tensor([[1.0, 0.9999, 0.99, 0.9], [1.0, 0.999, 0.98, 0.7]], dtype=torch.float64)


def eigenspectra(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    level = torch.logspace(3, -3, shape[-1], dtype=torch.float64)
    return level * torch.rand(shape, generator=generator, dtype=torch.float64) + 1e-6


def test_adaptive_density_solves_its_equation() -> None:
    spectra, noise = eigenspectra(2, 4, 50), torch.tensor([2.0, 0.5], dtype=torch.float64)
    result = adaptive_spectrum(spectra, RATIOS, noise)
    ratios = RATIOS.unsqueeze(-1)
    level = result.psd.unsqueeze(1)
    b = level / (ratios * level + (1 - ratios) * noise.reshape(2, 1, 1))
    expected = (ratios * b**2 * spectra).sum(dim=1) / (ratios * b**2).sum(dim=1)
    torch.testing.assert_close(result.psd, expected, rtol=1e-8, atol=0)
    torch.testing.assert_close(result.weights, ratios * b**2, rtol=1e-8, atol=0)
    dof = 2 * (ratios * b**2).sum(dim=1) ** 2 / ((ratios * b**2) ** 2).sum(dim=1)
    torch.testing.assert_close(result.dof, dof, rtol=1e-8, atol=0)


def test_each_frequency_is_solved_by_itself() -> None:
    spectra, noise = eigenspectra(2, 4, 30), torch.tensor([2.0, 0.5], dtype=torch.float64)
    whole = adaptive_spectrum(spectra, RATIOS, noise)
    for curve in range(2):
        for frequency in (0, 17):
            part = spectra[curve : curve + 1, :, frequency : frequency + 1]
            alone = adaptive_spectrum(part, RATIOS[curve : curve + 1], noise[curve : curve + 1])
            torch.testing.assert_close(alone.psd.squeeze(), whole.psd[curve, frequency], rtol=1e-12, atol=0)


def test_tapers_without_leakage_count_alike() -> None:
    spectra = eigenspectra(1, 4, 20)
    result = adaptive_spectrum(spectra, torch.ones(1, 4, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    plain = plain_spectrum(spectra)
    torch.testing.assert_close(result.psd, plain.psd)
    torch.testing.assert_close(result.dof, plain.dof)
    assert (plain.dof == 8).all()


def test_degrees_of_freedom_are_within_their_bounds() -> None:
    rng = np.random.default_rng(0)
    dof = multitaper(np.arange(300) * 0.1, rng.normal(size=300).cumsum()).dof
    assert float(dof.min()) >= 2
    assert float(dof.max()) <= 14
    assert float(dof[:20].mean()) > float(dof[-100:].mean()) + 1  # leaking tapers lose weight where the spectrum is low


def test_adaptive_weights_reveal_a_low_spectrum_that_the_mean_hides() -> None:
    t = np.arange(400) * 0.1
    x = np.cos(2 * np.pi * 1.0 * t) * 1e4 + np.random.default_rng(1).normal(size=400)
    freqs = np.linspace(2.5, 4.5, 50)
    adaptive, plain = (multitaper(t, x, freqs=freqs, adaptive=choice).psd for choice in (True, False))
    assert float(adaptive.mean()) == pytest.approx(0.1, rel=0.3)  # white noise of variance 1 in steps of 0.1
    assert float(plain.mean()) > 10 * float(adaptive.mean())


def test_jackknife_error_is_that_of_leaving_out_each_taper() -> None:
    spectra = eigenspectra(1, 5, 3)
    weights = eigenspectra(1, 5, 3).flip(1)
    logs = []
    for out in range(5):
        kept = [k for k in range(5) if k != out]
        logs.append(((weights * spectra)[0, kept].sum(0) / weights[0, kept].sum(0)).log())
    pseudo = torch.stack(logs)
    variance = 4 / 5 * ((pseudo - pseudo.mean(0)) ** 2).sum(0) * 4 / 4.5
    torch.testing.assert_close(jackknife_std(spectra, weights)[0], variance.sqrt())


def test_jackknife_error_is_the_scatter_of_white_noise() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 128))
    result = multitaper(np.arange(128.0), x, adaptive=False, jackknife=True, freqs=np.linspace(0.05, 0.45, 20))
    assert result.log_psd_std is not None
    scatter = float(result.psd.log().std())
    assert math.sqrt(float((result.log_psd_std**2).mean())) == pytest.approx(scatter, rel=0.15)
