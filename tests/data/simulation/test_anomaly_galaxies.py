"""Mock galaxies: lines where the redshift puts them, noise as stated, and each galaxy on its own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from stgraph.data.simulation.anomalies import analytic_galaxies, eigenspectrum_galaxies
from stgraph.errors import InputError

STORE = os.environ.get("STGRAPH_DATA")


def components() -> tuple[np.ndarray, np.ndarray]:
    wavelength = np.linspace(2000, 10500, 900)
    wave = 2 * np.pi * wavelength / 3000
    return np.stack([100 + wavelength / 100, np.sin(wave), np.cos(wave), np.sin(2 * wave)]), wavelength


def test_attributes() -> None:
    data = analytic_galaxies(5, length=120)
    assert data.x.shape == data.mask.shape == data.flux_error.shape == (5, 120, 1)
    assert data.x.dtype == data.flux_error.dtype == torch.float32
    assert data.wavelength.dtype == data.redshift.dtype == torch.float64
    assert (data.wavelength[0], data.wavelength[-1]) == (3600, 9800)
    assert data.pos.norm(dim=1).allclose(torch.ones(5))
    assert data.mask.all()
    assert not data.no_data.any()
    assert len(set(data.node_names)) == 5


def test_a_galaxy_depends_on_its_number_alone() -> None:
    few, many = analytic_galaxies(3, length=60, seed=1), analytic_galaxies(140, length=60, seed=1)
    assert few.x.equal(many.x[:3])
    assert few.redshift.equal(many.redshift[:3])
    assert not analytic_galaxies(3, length=60, seed=2).x.equal(few.x)


def test_h_alpha_is_where_the_redshift_puts_it() -> None:
    data = analytic_galaxies(40, length=2001)
    strong = int(np.argmax(data.metadata["emission"]))
    line = 6564.61 * (1 + data.redshift[strong])
    around = (data.wavelength - line).abs() < 150
    highest = data.wavelength[around][data.x[strong, around, 0].argmax()]
    assert abs(highest - line) < 5


def test_noise_is_the_stated_share_of_the_median() -> None:
    data = analytic_galaxies(20, length=4001)
    changes = data.x[..., 0].diff(dim=1)
    measured = 1.4826 * changes.abs().median(dim=1).values / 2**0.5
    assert measured.allclose(data.flux_error[:, 0, 0], rtol=0.15)
    share = data.flux_error[:, 0, 0] / data.x[..., 0].median(dim=1).values
    assert share.double().allclose(torch.from_numpy(data.metadata["noise"]), rtol=0.02)


def test_combinations_are_positive_before_the_noise() -> None:
    data = eigenspectrum_galaxies(*components(), 30, length=200)
    assert (data.x + 5 * data.flux_error > 0).all()
    assert (data.redshift >= 0.01).all()
    assert (data.redshift <= 0.3).all()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda e, w: (e[:3], w), r"shape \(3, 900\)"),
        (lambda e, w: (e, w[::-1]), "does not increase"),
        (lambda e, w: (e[:, 300:], w[300:]), "need"),
        (lambda e, w: (-e, w), "not positive"),
    ],
)
def test_eigenspectra_that_cannot_be_used(wrong, match: str) -> None:
    with pytest.raises(InputError, match=match):
        eigenspectrum_galaxies(*wrong(*components()), 3, length=50)


@pytest.mark.skipif(not STORE, reason="STGRAPH_DATA does not name the folder of real data")
def test_real_eigenspectra() -> None:
    fits = pytest.importorskip("astropy.io.fits")
    (path,) = (Path(str(STORE)) / "sdss_eigenspectra").glob("spEigenGal-*.fits")
    spectra, header = fits.getdata(path), fits.getheader(path)
    wavelength = 10 ** (header["COEFF0"] + header["COEFF1"] * np.arange(spectra.shape[1]))
    data = eigenspectrum_galaxies(spectra, wavelength, 10, length=300)
    # Most of the light of galaxies is redder than the break at 4000 angstrom.
    assert (data.x[:, 150:].mean(dim=1) > data.x[:, :30].mean(dim=1)).all()
