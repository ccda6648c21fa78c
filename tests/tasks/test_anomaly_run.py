"""Anomaly runs from options to the files of their folder."""

from __future__ import annotations

import csv
import json
import logging

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from torch_geometric.data import Data

from stgraph.errors import CheckpointError, InputError, OutputExistsError
from stgraph.nn.spectral_loss import SpectralLoss
from stgraph.tasks.anomaly import Anomaly
from stgraph.tasks.anomaly_data import AnomalyParts, SpectraModule
from stgraph.tasks.anomaly_inference import LoadedAnomaly
from stgraph.tasks.anomaly_input import anomaly_kind_of
from stgraph.tasks.anomaly_options import AnomalyOptions
from stgraph.tasks.anomaly_records import load_sampling_info
from stgraph.tasks.anomaly_run import load_spectral_autoencoder, prepare_run, train_anomaly
from stgraph.tasks.checkpoints import read_checkpoint
from stgraph.tasks.folder import RunFolder, read_options
from stgraph.tasks.reproduce import reproduce_run
from tests.tasks.small_anomalies import (
    anomaly_options,
    autoencoder_options,
    make_spectra,
    tensors_equal,
    write_network,
    write_spectra,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with spectra, a network and a grid."""
    folder = tmp_path_factory.mktemp("anomalies")
    write_spectra(folder)
    write_network(folder)
    write_network(folder, nodes=12, grid=(3, 4))
    return folder


@pytest.fixture(scope="module")
def spectra_run(folder):
    return folder / "spectra_run", train_anomaly(anomaly_options(folder, folder / "spectra.h5", "spectra_run"))


@pytest.fixture(scope="module")
def autoencoder_run(folder):
    options = autoencoder_options(folder, folder / "spectra.h5", output="autoencoder_run")
    return folder / "autoencoder_run", train_anomaly(options)


def scores_of(path):
    with (path / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_holds_all_about_a_run_on_spectra(spectra_run):
    path, results = spectra_run
    assert {p.name for p in path.iterdir()} == {
        *("config.yaml", "environment.json", "detector.pt", "results.json", "anomalies.npz", "scores.csv"),
        "sampling_info_1.json",
    }
    stored = read_options(path / "config.yaml", AnomalyOptions)
    assert (stored.data.kind, stored.detector.name, stored.data.rest_frame) == ("spectra", "graph_residual", True)
    assert json.loads((path / "results.json").read_text())["anomalous"] == results["anomalous"]
    assert results["no_data"] == 1
    rows = scores_of(path)
    assert len(rows) == results["judged"] == 32
    assert rows[-1]["no_data"] == "True"
    assert rows[-1]["anomalous"] == "False"
    with np.load(path / "anomalies.npz") as arrays:
        assert arrays["regions"].shape == arrays["expected"].shape == (32, results["points"])
        assert arrays["anomalous"].sum() == results["anomalous"]
        assert [str(name) for name in arrays["name"]] == [row["name"] for row in rows]
    record = load_sampling_info(path / "sampling_info_1.json")
    assert set(record["anomalous_spectra"]) == {row["name"] for row in rows if row["anomalous"] == "True"}


def test_labels_in_the_data_are_compared_with_what_was_found(spectra_run):
    _, results = spectra_run
    detection = results["detection"]
    assert detection["labelled"] == int(make_spectra().anomalous.sum())
    assert detection["auroc"] > 0.8
    assert set(detection["by_kind"]) == {"step"}


def test_the_same_options_give_the_same_bits(folder, autoencoder_run):
    path, results = autoencoder_run
    again = train_anomaly(autoencoder_options(folder, folder / "spectra.h5", output="again"))
    first, second = (read_checkpoint(p / "detector.pt")["state"] for p in (path, folder / "again"))
    assert tensors_equal(first, second)
    assert again["thresholds"] == results["thresholds"]
    assert (path / "scores.csv").read_bytes() == (folder / "again" / "scores.csv").read_bytes()
    assert (path / "metrics.csv").read_bytes() == (folder / "again" / "metrics.csv").read_bytes()


def test_the_best_epoch_of_the_autoencoder_is_that_of_the_lowest_validation_error(autoencoder_run):
    path, results = autoencoder_run
    with (path / "metrics.csv").open(newline="") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]
    assert len(losses) == 2
    assert results["best_epoch"] == int(np.argmin(losses))
    network = load_spectral_autoencoder(path)
    state = read_checkpoint(path / "detector.pt")["state"]
    assert tensors_equal(
        network.state_dict(),
        {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")},
    )


@pytest.mark.parametrize(("preset", "rule"), [("documented", "percentile"), ("later", "fixed")])
def test_the_published_forms_train_and_detect(folder, preset, rule):
    options = autoencoder_options(folder, folder / "spectra.h5", preset, f"{preset}_run")
    options.trainer.max_epochs = 1
    results = train_anomaly(options)
    assert results["rule"] == rule
    assert {"abs_residual_threshold", "rel_residual_threshold"} <= set(results["thresholds"])
    stored = read_options(folder / f"{preset}_run" / "config.yaml", AnomalyOptions)
    assert stored.data.rest_frame is False
    assert stored.data.min_wavelength == (4000 if preset == "later" else None)
    other = LoadedAnomaly(folder / f"{preset}_run").detect(make_spectra(4, seed=5, labelled=False))
    assert other.found.abs_residual_threshold == results["thresholds"]["abs_residual_threshold"]


def test_each_epoch_is_told_in_one_line(folder, tmp_path, caplog):
    options = autoencoder_options(tmp_path, folder / "spectra.h5")
    with caplog.at_level(logging.INFO, logger="stgraph"):
        train_anomaly(options)
    lines = [line for line in caplog.messages if line.startswith("Epoch ")]
    assert len(lines) == 2
    assert lines[0].startswith("Epoch 1/2: loss ")
    assert ", validation " in lines[0]


class StopError(Exception):
    pass


def stop(*_):
    raise StopError


def test_an_interrupted_training_goes_on_to_the_same_bits(folder, autoencoder_run, tmp_path):
    path, _ = autoencoder_run
    options = autoencoder_options(tmp_path, folder / "spectra.h5")
    # The third batch of the second epoch.
    halt = LambdaCallback(on_train_batch_end=lambda trainer, *_: stop() if trainer.global_step == 6 else None)
    options.trainer.checkpoint_every_n_steps = 1
    with pytest.raises(StopError):
        train_anomaly(options, [halt])
    with pytest.raises(InputError, match="not finished"):
        LoadedAnomaly(tmp_path / "run")
    options.resume = True
    train_anomaly(options)
    first, second = (read_checkpoint(p / "detector.pt")["state"] for p in (path, tmp_path / "run"))
    assert tensors_equal(first, second)
    options.model.arguments = {"widths": [4]}
    with pytest.raises(InputError, match="cannot resume with model"):
        train_anomaly(options)


def test_a_run_is_replaced_only_when_asked_and_kept_when_its_successor_fails(folder, tmp_path, monkeypatch):
    options = anomaly_options(tmp_path, folder / "spectra.h5")
    train_anomaly(options)
    before = (tmp_path / "run" / "scores.csv").read_bytes()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        train_anomaly(options)
    failing = anomaly_options(tmp_path, folder / "spectra.h5", overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr("stgraph.tasks.anomaly_run.judge", stop)
        with pytest.raises(StopError):
            train_anomaly(failing)
    assert (tmp_path / "run" / "scores.csv").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    train_anomaly(failing)


def test_a_network_is_judged_with_and_without_calibration(folder, caplog):
    caplog.set_level(logging.INFO, logger="stgraph")
    results = train_anomaly(anomaly_options(folder, folder / "network.npy", "network_run"))
    assert (results["detector"], results["kind"], results["judged"]) == ("series_residual", "series", 8)
    rows = scores_of(folder / "network_run")
    assert max(rows, key=lambda row: float(row["score"]))["name"] == "3"
    options = anomaly_options(folder, folder / "network.npy", "calibrated_run")
    options.data.calibration = 0.25
    results = train_anomaly(options)
    said = [line.strip() for line in caplog.messages if "nodes of 160 steps" in line]
    assert said == [f"8 nodes of 160 steps, of which {steps} steps are judged" for steps in (160, 120)]
    assert (results["calibration"], results["points"]) == (40, 160)
    other = LoadedAnomaly(folder / "calibrated_run").detect(folder / "network.npy")
    assert other.found.p_value is not None
    with pytest.raises(CheckpointError, match="12 nodes and 1 channels; the run was trained on 8"):
        LoadedAnomaly(folder / "calibrated_run").detect(Data(x=torch.zeros(12, 160, 1)))
    with pytest.raises(InputError, match="holds spectra; the run was trained on series"):
        LoadedAnomaly(folder / "calibrated_run").detect(folder / "spectra.h5")


def test_a_grid_is_judged(folder):
    results = train_anomaly(anomaly_options(folder, folder / "grid.npy", "grid_run"))
    assert results["nodes"] == 12
    assert LoadedAnomaly(folder / "grid_run").detect().data.grid == (3, 4)


def test_a_bound_on_false_alarms_takes_p_values_from_the_calibration_share(folder):
    options = anomaly_options(folder, folder / "spectra.h5", "bounded")
    options.detector.false_alarm_rate, options.data.calibration = 0.2, 0.3
    results = train_anomaly(options)
    assert results["calibration"] == 9
    assert results["judged"] == 23
    found = LoadedAnomaly(folder / "bounded").detect(folder / "spectra.h5").found
    assert found.p_value.min() >= 1 / 10
    assert not found.anomalous[found.no_data].any()
    assert (found.regions.any(dim=1) == found.anomalous).all()
    few = anomaly_options(folder, folder / "spectra.h5", "few")
    few.detector.false_alarm_rate = 0.01
    with pytest.raises(InputError, match="calibration scores; expected at least 99"):
        train_anomaly(few)
    assert not (folder / "few").exists()


def test_few_calibration_spectra_are_told_of(folder, caplog):
    options = anomaly_options(folder, folder / "spectra.h5")
    options.detector.false_alarm_rate, options.data.calibration = 0.2, 0.3
    options, data = prepare_run(options)
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        AnomalyParts(data, options)
    # 22 with data are judged, and the smallest p-value is 1/10: 22 / (10 * 0.2) = 11.
    assert [line for line in caplog.messages if "at least 11 together" in line]


def test_runs_are_repeated_bit_for_bit(spectra_run):
    path, _ = spectra_run
    (found,) = reproduce_run(path)
    assert found.equal
    assert found.environment == ()


def test_parts_are_disjoint_and_spectra_without_data_never_calibrate(folder):
    options = anomaly_options(folder, folder / "spectra.h5")
    options.data.calibration = 0.5
    options, data = prepare_run(options)
    parts = AnomalyParts(data, options)
    assert parts.calibration is not None
    names = {*parts.judged.node_names} | {*parts.calibration.node_names}
    assert len(names) == 32
    assert parts.calibration.x.shape[0] == round(0.5 * 31)
    assert data.node_names[-1] in parts.judged.node_names
    module = SpectraModule(parts.judged, options)
    assert not set(module.nodes["val"].tolist()) & set(module.nodes["train"].tolist())


def test_bad_points_have_no_influence_on_the_loss(folder):
    data = make_spectra(6, 33, labelled=False)
    options = autoencoder_options(folder, folder / "spectra.h5").resolved()
    batch = next(iter(SpectraModule(data, options).loader("train")))
    task = Anomaly(load_small(), SpectralLoss("mse"))
    batch.mask[0, 3:6] = False
    first = task._batch_loss(batch)
    batch.x[0, 3:6] = 1e6
    assert torch.equal(first, task._batch_loss(batch))
    batch.x[0, 10] += 1
    assert task._batch_loss(batch) != first


def load_small():
    from stgraph.models.autoencoders import SpectralCNNAutoencoder

    torch.manual_seed(0)
    return SpectralCNNAutoencoder(widths=(4,))


def test_kinds_of_files_are_told_apart(folder):
    assert anomaly_kind_of(str(folder / "spectra.h5")) == "spectra"
    assert anomaly_kind_of(str(folder / "network.npy")) == "series"
    assert anomaly_kind_of("germany_pm10") == "series"
    assert RunFolder(folder).is_anomaly is False
