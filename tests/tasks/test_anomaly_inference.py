"""What anomaly runs that were read back find in their own and in other data."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from stgraph.errors import CheckpointError, InputError
from stgraph.tasks.anomaly_inference import LoadedAnomaly
from stgraph.tasks.anomaly_run import train_anomaly
from stgraph.tasks.checkpoints import read_checkpoint, write_tensors
from tests.tasks.small_anomalies import anomaly_options, make_spectra, write_network, write_spectra


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with spectra and a network."""
    folder = tmp_path_factory.mktemp("anomalies")
    write_spectra(folder)
    write_network(folder)
    return folder


@pytest.fixture(scope="module")
def spectra_run(folder):
    return folder / "spectra_run", train_anomaly(anomaly_options(folder, folder / "spectra.h5", "spectra_run"))


def test_a_loaded_run_finds_the_same_in_its_own_data_and_judges_other_spectra(folder, spectra_run):
    path, _ = spectra_run
    own = LoadedAnomaly(path).detect()
    with np.load(path / "anomalies.npz") as arrays:
        assert np.array_equal(own.found.score.numpy(), arrays["score"], equal_nan=True)
    other = make_spectra(5, seed=3, labelled=False)
    by_data = LoadedAnomaly(path).detect(other)
    write_spectra(folder, "other.h5", count=5, seed=3, labelled=False)
    by_file = LoadedAnomaly(path).detect(folder / "other.h5")
    assert by_file.names == by_data.names == list(other.node_names)
    assert torch.equal(by_file.found.score.nan_to_num(-1), by_data.found.score.nan_to_num(-1))
    assert by_data.data.x.shape[1] == own.data.x.shape[1]  # the grid of the run
    one = LoadedAnomaly(path).detect(make_spectra(5, seed=3, labelled=False).subgraph(torch.tensor([0])))
    assert one.found.score[0] == pytest.approx(float(by_data.found.score[0]), rel=1e-4)


def test_the_file_of_the_fit_is_judged_with_a_warning(folder, spectra_run, caplog):
    run = LoadedAnomaly(spectra_run[0])
    write_spectra(folder, "third.h5", count=5, seed=4, labelled=False)
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        run.detect()
        run.detect(folder / "third.h5")
        assert not [line for line in caplog.messages if "fitted to" in line]
        run.detect(folder / "spectra.h5")
    assert len([line for line in caplog.messages if "is what the detector was fitted to" in line]) == 1


def test_a_run_needs_the_same_kind_of_data(spectra_run, folder):
    path, _ = spectra_run
    run = LoadedAnomaly(path)
    with pytest.raises(InputError, match="holds series; the run was trained on spectra"):
        run.detect(folder / "network.npy")
    with pytest.raises(FileNotFoundError):
        run.detect(folder / "nothing.h5")
    data = make_spectra(3, labelled=False)
    del data["redshift"]
    with pytest.raises(InputError, match="redshift"):
        run.detect(data)


def test_folders_of_other_kinds_and_damaged_detectors_are_refused(tmp_path, spectra_run):
    with pytest.raises(InputError, match="not the folder of a run"):
        LoadedAnomaly(tmp_path)
    (tmp_path / "config.yaml").write_text("masking: {}\n")
    with pytest.raises(InputError, match="another kind of run"):
        LoadedAnomaly(tmp_path)
    path, _ = spectra_run
    (tmp_path / "config.yaml").write_bytes((path / "config.yaml").read_bytes())
    write_tensors(tmp_path / "detector.pt", {"state": {}})
    with pytest.raises(CheckpointError, match="holds no detector"):
        LoadedAnomaly(tmp_path)
    content = read_checkpoint(path / "detector.pt")
    write_tensors(tmp_path / "detector.pt", {**content, "state": {}})
    with pytest.raises(CheckpointError, match="does not fit"):
        LoadedAnomaly(tmp_path)
