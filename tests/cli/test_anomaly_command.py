"""``stgraph anomaly``: from mock spectra to labels, a run, its scores, pictures and report."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

from stgraph.cli.main import main
from stgraph.data.spectra import read_object_spectra
from tests.tasks.small_anomalies import write_network

QUIET = ["--trainer.accelerator=cpu", "--trainer.tensorboard=false", "--trainer.progress_bar=false"]
SMALL = ["--detector.arguments={k: 6, components: 3}", *QUIET]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with labelled spectra and a run on them, made by the commands."""
    folder = tmp_path_factory.mktemp("anomaly")
    galaxies, labelled = str(folder / "galaxies.h5"), str(folder / "labelled.h5")
    assert main(["anomaly", "mock", galaxies, "--n", "30", "--length", "90"]) == 0
    assert main(["anomaly", "inject", galaxies, labelled, "--kinds", "step,gap", "--fraction", "0.1"]) == 0
    assert main(["anomaly", "train", labelled, "--output", str(folder / "run"), *SMALL]) == 0
    return folder


def test_mock_spectra_and_labels_are_written_once(folder, capsys):
    data = read_object_spectra(folder / "labelled.h5")
    assert int(data.anomalous.sum()) == 3
    assert set(data.metadata["anomaly_kind"]) == {"", "step", "gap"}
    assert main(["anomaly", "mock", str(folder / "galaxies.h5")]) == 2
    assert main(["anomaly", "inject", str(folder / "galaxies.h5"), str(folder / "labelled.h5")]) == 2
    assert capsys.readouterr().err.count("exists; use --overwrite") == 2


def test_training_prints_what_was_found_and_writes_a_report(folder, capsys):
    words = ["anomaly", "train", str(folder / "labelled.h5"), "--output", str(folder / "run"), *SMALL]
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\d+ of 30 spectra are anomalous", printed)
    assert all(word in printed for word in ("precision", "auprc", "region_iou"))
    report = (folder / "run" / "report.html").read_text()
    assert "Anomalies of labelled.h5" in report
    assert "AUPRC" in report


def test_detection_prints_scores_and_never_overwrites(folder, capsys):
    run = str(folder / "run")
    before = {p.name for p in (folder / "run").iterdir()}
    assert main(["anomaly", "detect", run, str(folder / "labelled.h5"), "--rows", "4"]) == 0
    printed = capsys.readouterr().out
    assert "regions (observed angstrom)" in printed
    assert "Against the labels of the data" in printed
    assert main(["anomaly", "detect", run, str(folder / "galaxies.h5")]) == 0
    assert "labels" not in capsys.readouterr().out
    made = {p.name for p in (folder / "run").iterdir()} - before
    assert made == {"detections_1", "detections_2"}
    names = {p.name for p in (folder / "run" / "detections_1").iterdir()}
    assert names == {"anomalies.npz", "scores.csv", "sampling_info_1.json", "detection.json"}
    assert json.loads((folder / "run" / "detections_1" / "detection.json").read_text())["labelled"] == 3
    with (folder / "run" / "detections_2" / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 30
    assert main(["anomaly", "detect", run, "--output", str(folder / "run" / "detections_1")]) == 2
    assert "not empty" in capsys.readouterr().err


def test_options_that_would_do_nothing_are_refused(folder, capsys):
    run = str(folder / "run")
    before = {p.name for p in (folder / "run").iterdir()}
    for words, message in (
        (["--catalog", "objects.csv"], "catalog is for another file of spectra"),
        (["--block", "4"], "block is for runs of stgraph lightcurve train"),
    ):
        assert main(["anomaly", "detect", run, *words]) == 2
        assert message in capsys.readouterr().err
    assert main(["anomaly", "plot", run, "--catalog", "objects.csv"]) == 2
    assert "catalog is for another file of spectra" in capsys.readouterr().err
    assert {p.name for p in (folder / "run").iterdir()} == before


def test_figures_get_names_of_their_own(folder, tmp_path, capsys):
    words = ["anomaly", "plot", str(folder / "run"), "--output", str(tmp_path), "--max_samples", "2", "--seed", "1"]
    assert main(words) == 0
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert set(first) == {
        *("scores_1.png", "spectra_reconstruction_1.png", "sampling_info_1.json"),
        *("mean_reconstruction_error_linear_1.png", "mean_reconstruction_error_log_1.png"),
    }
    assert len(json.loads(first["sampling_info_1.json"])["plotted"]) == 2
    assert json.loads(first["sampling_info_1.json"])["Seed"] == 1
    assert "spectra_reconstruction_1.png" in capsys.readouterr().out
    assert main([*words, "--only_anomalous"]) == 0
    assert all((tmp_path / name).read_bytes() == content for name, content in first.items())


def test_spectra_with_one_score_are_drawn(folder):
    run = str(folder / "latent")
    words = ["anomaly", "train", str(folder / "labelled.h5"), "--output", run, "--detector.name=latent"]
    assert main([*words, *QUIET]) == 0
    assert main(["anomaly", "plot", run, "--max_samples", "1", "--seed", "0"]) == 0
    assert (folder / "latent" / "figures" / "spectra_reconstruction_1.png").is_file()


def test_figures_are_part_of_the_report(folder, capsys):
    assert main(["anomaly", "plot", str(folder / "run"), "--max_samples", "1", "--seed", "0"]) == 0
    assert main(["anomaly", "report", str(folder / "run")]) == 0
    assert (folder / "run" / "report.html").read_text().count("<img") == 4


def test_an_autoencoder_is_trained_and_described_and_repeated(folder, capsys):
    run = str(folder / "autoencoder")
    words = ["anomaly", "train", str(folder / "labelled.h5"), "--output", run, "--detector.name=autoencoder"]
    small = ["--model.arguments={widths: [4], latent_dim: 3}", "--trainer.max_epochs=1", "--data.val=0.2"]
    assert main([*words, *small, *SMALL]) == 0
    assert "Epoch 1/1: loss " in capsys.readouterr().out
    assert main(["info", run]) == 0
    described = capsys.readouterr().out
    assert "anomaly run of autoencoder on" in described
    assert "1 epochs" in described
    assert main([*words, "--resume"]) == 0  # the stored options, and nothing left to train
    assert main(["reproduce", run]) == 0
    assert re.search(r"autoencoder\s+yes\s+yes\s+yes", capsys.readouterr().out)


def test_spectra_are_described(folder, capsys):
    assert main(["info", str(folder / "labelled.h5")]) == 0
    printed = capsys.readouterr().out
    assert "3600 to 9800 angstrom, the same for all" in printed
    assert "3 spectra are anomalous" in printed


def test_grids_are_judged_and_drawn(tmp_path, capsys):
    path = write_network(tmp_path, nodes=12, grid=(3, 4))
    run = str(tmp_path / "run")
    options = ["--detector.arguments={long_widths: [8, 16]}", *QUIET]
    assert main(["anomaly", "train", str(path), "--output", run, *options]) == 0
    assert "of 12 nodes are anomalous" in capsys.readouterr().out
    assert main(["anomaly", "plot", run, "--max_samples", "2"]) == 0
    assert {p.name for p in (tmp_path / "run" / "figures").iterdir()} == {
        *("scores_1.png", "series_1.png", "flagged_share_1.png"),
    }
    assert main(["anomaly", "detect", run]) == 0
    assert "regions" in capsys.readouterr().out
    assert main(["anomaly", "plot", run, "--image_provider", "sdss"]) == 2
    assert "image_provider is for spectra" in capsys.readouterr().err
    assert main(["anomaly", "plot", run, "--seed", "3"]) == 2
    assert "seed is for spectra" in capsys.readouterr().err


def test_several_channels_are_drawn_one_by_one(tmp_path):
    values = np.load(write_network(tmp_path))
    np.save(tmp_path / "two.npy", np.stack([values, values[:, ::-1]], axis=2))
    run = str(tmp_path / "run")
    arguments = f"--data.arguments={{coords: {tmp_path / 'coords.npy'}}}"
    options = ["--detector.arguments={long_widths: [8, 16]}", arguments, *QUIET]
    assert main(["anomaly", "train", str(tmp_path / "two.npy"), "--output", run, *options]) == 0
    assert main(["anomaly", "plot", run, "--output", str(tmp_path / "figures"), "--max_samples", "2"]) == 0
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        *("scores_1.png", "series_channel_0_1.png", "series_channel_1_1.png"),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["anomaly", "dance"], "unknown command 'anomaly dance'"),
        (["anomaly", "mock"], "name an output file"),
        (["anomaly", "mock", "galaxies.txt", "--n", "1000000"], "ends in .h5, .npz or .csv"),
        (
            ["anomaly", "train", "x.h5", "--model.preset", "documented"],
            "model.preset is for detector.name 'autoencoder'",
        ),
        (["anomaly", "inject"], "name a file of spectra"),
        (["anomaly", "inject", "nothing.h5"], "name an output file"),
        (["anomaly", "inject", "nothing.h5", "out.csv"], "ends in .h5 or .npz"),
        (["anomaly", "inject", "nothing.h5", "out.h5"], "nothing.h5"),
        (["anomaly", "train"], "no data"),
        (["anomaly", "train", "nothing.h5"], "nothing.h5"),
        (["anomaly", "train", "x.h5", "--rule.percentile_threshold", "101"], "expected 0 to 100"),
        (["anomaly", "detect"], "name the folder of a run"),
        (["anomaly", "detect", "nowhere"], "not the folder of a run"),
        (["anomaly", "detect", "nowhere", "--rows", "0"], "rows is 0"),
        (["anomaly", "plot", "nowhere", "--max_samples", "99"], "max_samples is 99"),
        (["anomaly", "plot", "nowhere", "--image_cache", "images"], "image_cache keeps images"),
        (["anomaly", "report", "nowhere"], "not the folder of a finished run"),
    ],
)
def test_bad_words_give_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_group_has_help(capsys):
    assert main(["anomaly"]) == 0
    assert "find anomalies in other data by a run" in capsys.readouterr().out
