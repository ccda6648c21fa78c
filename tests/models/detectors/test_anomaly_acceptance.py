"""The default detector on mock galaxies and on real spectra, and the training of the documented autoencoder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torchmetrics.functional.classification import binary_auroc, binary_f1_score

from stgraph.data.simulation.anomalies import analytic_galaxies, eigenspectrum_galaxies, inject
from stgraph.data.spectra import from_spectra, join_arms, read_object_spectra, to_rest_frame
from stgraph.models.autoencoders import SpectralCNNAutoencoder
from stgraph.models.detectors import GraphResidualDetector
from stgraph.nn.spectral_loss import SpectralLoss

FOLDER = os.environ.get("STGRAPH_DATA")


def folder(name: str) -> Path:
    if FOLDER is None or not Path(FOLDER, name).is_dir():
        pytest.skip(f"needs {name} in the folder STGRAPH_DATA")
    return Path(FOLDER, name)


def galaxies(n: int, seed: int) -> Data:
    fits = pytest.importorskip("astropy.io.fits")
    with fits.open(folder("sdss_eigenspectra") / "spEigenGal-55740.fits") as hdus:
        flux, header = hdus[0].data.astype(np.float64), hdus[0].header
    wavelength = 10 ** (header["COEFF0"] + header["COEFF1"] * np.arange(flux.shape[1]))
    return eigenspectrum_galaxies(flux, wavelength, n, seed=seed)


def joined(*parts: Data) -> Data:
    return Data(**{name: torch.cat([part[name] for part in parts]) for name in ("x", "mask", "flux_error")})


def test_anomalies_among_galaxies_of_real_components_are_found() -> None:
    clean = galaxies(600, seed=0)
    data = to_rest_frame(inject(clean, fraction=0.1, seed=0))
    assert int(data.anomalous.sum()) == 60
    found = GraphResidualDetector().fit_detect(data)
    assert binary_auroc(found.score, data.anomalous.int()) >= 0.88
    assert binary_f1_score(found.anomalous.int(), data.anomalous.int()) >= 0.75
    assert found.anomalous[~data.anomalous].double().mean() <= 0.01
    # Where a spectrum is rightly flagged, so is a part of the anomaly.
    both = found.anomalous & data.anomalous
    assert (found.regions & data.anomaly_mask[..., 0])[both].any(dim=1).double().mean() >= 0.95


def test_galaxies_without_anomalies_are_left_alone() -> None:
    found = GraphResidualDetector().fit_detect(to_rest_frame(galaxies(600, seed=0)))
    assert found.anomalous.double().mean() <= 0.01


def test_empty_fibres_are_no_data() -> None:
    stored = np.load(folder("desi_coadds") / "desi_coadds.npz")
    parts: list[Any] = []
    for name in ("cumulative", "sv3"):
        arms: list[list[Any]] = [
            [stored[f"{name}_{arm}_{kind}"] for arm in "BRZ"] for kind in ("wave", "flux", "ivar", "mask")
        ]
        parts.append(join_arms(arms[0], arms[1], arms[2], [flags == 0 for flags in arms[3]]))
    data = from_spectra(parts[0][0], np.concatenate([p[1] for p in parts]), ivar=np.concatenate([p[2] for p in parts]))
    found = GraphResidualDetector().fit_detect(data)
    empty = [0, 1, 2, 3, 5, 6, 8]
    assert found.no_data.nonzero()[:, 0].tolist() == empty
    assert not found.anomalous[empty].any()
    assert found.score[empty].isnan().all()
    assert found.score[[4, 7, 9]].isfinite().all()


def test_a_broad_line_quasar_scores_highest_among_galaxies() -> None:
    files = ("spec-0266-51602-0013.fits", "spec-0266-51602-0107.fits", "spec-0332-52367-0639.fits")
    pytest.importorskip("astropy")
    observed = read_object_spectra([folder("sdss_spectra") / file for file in files])
    assert observed.metadata["class"].tolist() == ["GALAXY", "GALAXY", "QSO"]
    grid = torch.linspace(np.log(3500.0), np.log(7000.0), 900, dtype=torch.float64).exp()
    data = joined(*(to_rest_frame(each, grid) for each in (observed, galaxies(200, seed=0))))
    found = GraphResidualDetector().fit_detect(data)
    assert int(found.score.argmax()) == 2
    assert found.anomalous[2]
    # Most of all for its broad lines of hydrogen, at 6565 and 4863 angstrom.
    best = max(found.metadata[2], key=lambda record: record["trigger_value"])
    assert grid[best["range_start"]] < 6564.6 < grid[best["range_end"] - 1]
    assert found.anomalous[3:].double().mean() <= 0.01


def test_bad_points_of_single_epochs_are_masked_and_not_flagged() -> None:
    stored = np.load(folder("sdss_rm017_epochs") / "sdss_rm017_epochs.npz")
    wavelength, flux, good = 10 ** stored["loglam"], stored["flux"], stored["ivar"] > 0
    data = from_spectra(wavelength, flux, ivar=stored["ivar"])
    assert (~data.mask[..., 0].numpy() == ~good).all()
    found = GraphResidualDetector().fit_detect(data)
    assert found.deviation is not None
    assert not found.deviation[torch.from_numpy(~good)].any()
    assert not found.anomalous.any()
    # Higher spikes at bad points change nothing.
    spiked = from_spectra(wavelength, np.where(good, flux, 1e4), ivar=stored["ivar"])
    again = GraphResidualDetector().fit_detect(spiked)
    assert again.score.equal(found.score)
    assert again.regions.equal(found.regions)


@pytest.mark.slow
def test_the_documented_autoencoder_learns_clean_spectra() -> None:
    torch.manual_seed(0)
    flux = analytic_galaxies(600, length=1001).x
    low, high = flux.amin(dim=1, keepdim=True), flux.amax(dim=1, keepdim=True)
    scaled = (flux - low) / (high - low)
    network = SpectralCNNAutoencoder.from_preset("documented")
    assert sum(parameter.numel() for parameter in network.parameters()) == 15_953
    loss, optimizer = SpectralLoss(), torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(50):
        for batch in scaled[torch.randperm(600)].split(32):
            optimizer.zero_grad()
            loss(network(batch)["reconstructed"], batch, torch.ones_like(batch, dtype=torch.bool)).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    with torch.no_grad():
        rest = network.eval()(scaled)["reconstructed"] - scaled
    assert rest.square().mean().sqrt() <= 0.01
