from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.signal.windows import dpss

from stgraph.ops.multitaper.tapers import sample_tapers, slepian_sequences


@pytest.mark.parametrize("num_points", [200, 600, 1000])
def test_eigenvalues_are_the_published_ones(num_points: int) -> None:
    _, ratios = slepian_sequences(num_points, 4.0, 7)
    assert_allclose(ratios, [1.0, 1.0, 1.0, 0.99997, 0.9994, 0.9925, 0.937], atol=5e-4)
    assert (np.diff(ratios) < 0).all()


def test_eigenvalues_are_the_energy_within_the_band() -> None:
    sequences, ratios = slepian_sequences(64, 3.0, 5)
    spectra = np.abs(np.fft.fft(sequences, 1 << 16)) ** 2
    within = np.abs(np.fft.fftfreq(1 << 16)) <= 3.0 / 64
    assert_allclose(spectra[:, within].sum(axis=1) / spectra.sum(axis=1), ratios, atol=1e-3)


def test_regular_times_give_the_sequences_themselves() -> None:
    t = torch.linspace(3.0, 40.0, 100, dtype=torch.float64).expand(2, -1)
    tapers = sample_tapers(t, torch.tensor([100, 100]), 4.0, 7)
    assert_allclose(tapers.values[1].numpy(), dpss(100, 4.0, 7), atol=1e-10)


def test_irregular_times_have_unit_energy_and_padding_has_none() -> None:
    rng = np.random.default_rng(0)
    length = torch.tensor([90, 50, 90])
    t = torch.from_numpy(np.sort(rng.uniform(0, 30, (3, 90)), axis=1))
    tapers = sample_tapers(t, length, 4.0, 7)
    torch.testing.assert_close((tapers.values**2).sum(dim=-1), torch.ones(3, 7, dtype=torch.float64))
    assert (tapers.values[1, :, 50:] == 0).all()
    alone = sample_tapers(t[1:2, :50], length[1:2], 4.0, 7)
    torch.testing.assert_close(tapers.values[1, :, :50], alone.values[0])
    torch.testing.assert_close(tapers.eigenvalues[1], alone.eigenvalues[0])


def test_tapers_are_values_of_smooth_functions() -> None:
    # Tapers of more points are samples of nearly the same functions of time.
    fine = dpss(4001, 4.0, 3)
    t = np.sort(np.random.default_rng(1).uniform(0, 1, 400))
    t[0], t[-1] = 0, 1
    expected = np.stack([np.interp(t, np.linspace(0, 1, 4001), taper) for taper in fine])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    values = sample_tapers(torch.from_numpy(t).unsqueeze(0), torch.tensor([400]), 4.0, 3).values[0]
    assert_allclose(values.numpy(), expected, atol=2e-3)


def test_cached_sequences_cannot_be_changed() -> None:
    sequences, _ = slepian_sequences(50, 2.0, 3)
    with pytest.raises(ValueError, match="read-only"):
        sequences[0, 0] = 1.0
    assert slepian_sequences(50, 2, 3)[0] is sequences


def test_a_band_of_all_frequencies_still_has_tapers() -> None:
    sequences, ratios = slepian_sequences(10, 20.0, 4)
    assert_allclose(sequences @ sequences.T, np.eye(4), atol=1e-9)
    assert_allclose(ratios, 1.0, atol=1e-6)
