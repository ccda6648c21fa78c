"""Options of anomaly runs, and data, that are refused before anything is written."""

from __future__ import annotations

import pytest
import torch

from stgraph.data.spectra import write_object_spectra
from stgraph.errors import InputError
from stgraph.tasks.anomaly_run import prepare_run, train_anomaly
from tests.tasks.small_anomalies import (
    anomaly_options,
    autoencoder_options,
    make_spectra,
    write_network,
    write_spectra,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with spectra and a network."""
    folder = tmp_path_factory.mktemp("anomalies")
    write_spectra(folder)
    write_network(folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": {"percentile_threshold": 101.0}}, "expected 0 to 100"),
        ({"rule": {"window_size": 1}}, "at least 2"),
        ({"rule": {"percentile_threshold": 90.0, "abs_residual_threshold": 0.1}}, "two rules"),
        ({"rule": {"name": "fixed", "percentile_threshold": 90.0}}, "thresholds for rule.name 'percentile'"),
        ({"rule": {"range_mismatch_factor": 0.0}}, "more than 0"),
        ({"rule": {"overall_anomaly_threshold": 3.0}}, "expected 0 to 2"),
        ({"data": {"val": 0.7, "calibration": 0.4}}, "leave something to train on"),
        ({"data": {"batch_size": 0}}, "data.batch_size is 0"),
        ({"data": {"min_wavelength": -1.0}}, "more than 0 angstrom"),
        ({"data": {"min_wavelength": 20000.0}}, "spectra end at 9800"),
        ({"data": {"calibration": 0.0}, "detector": {"false_alarm_rate": 0.1}}, "needs a calibration share"),
        ({"detector": {"false_alarm_rate": 1.5}}, "between 0 and 1"),
        ({"detector": {"name": "graph_residul"}}, "did you mean"),
        ({"detector": {"name": "series_residual"}}, "is for series"),
        ({"detector": {"arguments": {"neighbours": 3}}}, "detector.arguments: got an unexpected keyword"),
        ({"detector": {"arguments": {"widths": [8, 4000]}}}, "detector.arguments: widths has a window of 4000 points"),
        ({"model": {"preset": "documented"}}, "model.preset is for detector.name 'autoencoder'"),
        ({"model": {"preset": "documentd"}}, "model.preset is 'documentd'; expected one of documented"),
        ({"rule": {"window_size": 20}}, "rule.window_size is for detector.name 'autoencoder'"),
        ({"loss": {"kind": "mse"}}, "loss.kind is for detector.name 'autoencoder'"),
        ({"optimizer": {"learning_rate": 0.1}}, "optimizer.learning_rate is for detector.name 'autoencoder'"),
        ({"data": {"batch_size": 16}}, "data.batch_size is for detector.name 'autoencoder'"),
        ({"data": {"scaling": "minmax"}}, "data.scaling is for detector.name 'autoencoder'"),
        ({"rule": {"abs_residual_threshold": -0.1}}, "rule.abs_residual_threshold is -0.1; expected at least 0"),
        ({"data": {"arguments": {"key": "x"}}}, "is for series"),
        ({"data": {"path": None}}, "no data"),
        ({"optimizer": {"learning_rate": 0.0}}, "more than 0"),
        ({"trainer": {"devices": 2}}, "use one device"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(folder, tmp_path, changes, message):
    options = anomaly_options(tmp_path, folder / "spectra.h5")
    for group, values in changes.items():
        for name, value in values.items():
            setattr(getattr(options, group), name, value)
    with pytest.raises(InputError, match=message):
        train_anomaly(options)
    assert list(tmp_path.iterdir()) == []


def test_bad_autoencoders_are_refused_before_anything_is_written(folder, tmp_path):
    options = autoencoder_options(tmp_path, folder / "spectra.h5", "documented")
    options.rule.window_size = 500
    with pytest.raises(InputError, match=r"rule\.window_size has a window of 500 points; expected 2 to 96"):
        train_anomaly(options)
    options = autoencoder_options(tmp_path, folder / "spectra.h5")
    options.model.arguments = {"depth": 3}
    with pytest.raises(InputError, match="'depth'"):
        train_anomaly(options)
    options = autoencoder_options(tmp_path, folder / "network.npy")
    options.detector.arguments = None
    options.data.arguments = None
    with pytest.raises(InputError, match="'autoencoder' is for spectra"):
        train_anomaly(options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("bottleneck", {"rule": {"window_size": 10}}, r"rule\.window_size is for rule.name 'percentile' or 'fixed'"),
        ("bottleneck", {"rule": {"coverage": "double"}}, r"rule\.coverage is for rule.name"),
        ("documented", {"detector": {"arguments": {"k": 6}}}, "has 'k', which is for rule.name 'graph_residual'"),
        ("bottleneck", {"detector": {"arguments": {"rule": "fixed"}}}, "has 'rule'; expected it in rule.name"),
        (
            "bottleneck",
            {"detector": {"arguments": {"network": {}}}},
            "has 'network'; expected it in the options of model",
        ),
        ("bottleneck", {"loss": {"weight_factor": 2.0}}, "is for loss.kind 'gradient', and the loss is 'huber'"),
        ("documented", {"loss": {"huber_delta": 2.0}}, "is for loss.kind 'huber', and the loss is 'gradient'"),
    ],
)
def test_options_without_effect_on_an_autoencoder_are_refused(folder, tmp_path, preset, changes, message):
    options = autoencoder_options(tmp_path, folder / "spectra.h5", preset)
    for group, values in changes.items():
        for name, value in values.items():
            setattr(getattr(options, group), name, value)
    with pytest.raises(InputError, match=message):
        options.check()


def test_the_rest_frame_needs_redshifts(tmp_path, folder):
    data = make_spectra(8, labelled=False)
    data.redshift = torch.full_like(data.redshift, torch.nan)
    write_object_spectra(tmp_path / "unknown.npz", data)
    options = anomaly_options(tmp_path, tmp_path / "unknown.npz")
    options.data.rest_frame = True
    with pytest.raises(InputError, match="needs redshifts, and none is known"):
        train_anomaly(options)
    options.data.rest_frame = None
    assert prepare_run(options)[0].data.rest_frame is False


def test_spectra_without_any_good_point_are_refused(tmp_path):
    data = make_spectra(4, labelled=False)
    data.mask[:] = False
    write_object_spectra(tmp_path / "empty.npz", data)
    options = anomaly_options(tmp_path, tmp_path / "empty.npz")
    options.data.rest_frame = False
    with pytest.raises(InputError, match="no good point"):
        train_anomaly(options)
