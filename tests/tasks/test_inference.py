from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest

from stgraph.errors import CheckpointError, InputError
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.inference import LoadedRun, evaluate_run, predict_run, write_forecasts
from stgraph.tasks.run import train
from tests.tasks.small_runs import small_options, write_series


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("inference")
    write_series(path, missing=0.2, channels=2)
    options = small_options(path)
    options.trainer.max_epochs = 1
    train(options)
    return path


@pytest.fixture
def run(folder):
    return LoadedRun(folder / "run")


def test_a_run_is_evaluated_again(run):
    import json

    results = json.loads(run.folder.results.read_text())
    again = evaluate_run(run)
    assert again["test"] == results["test"]
    assert again["baselines"] == results["baselines"]
    assert evaluate_run(run, baselines=False)["baselines"] == {}


def test_other_data_is_evaluated_with_the_graph_of_the_run(run, folder, tmp_path):
    path = write_series(tmp_path, steps=30, channels=2, seed=5)
    series = run.read(str(path))
    assert series.edge_index is run.graph.edge_index
    result = evaluate_run(run, series)
    assert result["test"]["count"] == (30 - 4 - 2 + 1) * 5 * 2 * 2
    assert result["baselines"]["ridge"]["count"] == result["test"]["count"]


def test_the_data_of_the_run_is_not_needed_to_predict(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "moved")
    path = write_series(tmp_path, steps=10, channels=2)
    config = (tmp_path / "moved" / "config.yaml").read_text()
    (tmp_path / "moved" / "config.yaml").write_text(config.replace(str(folder), "/gone"))
    run = LoadedRun(tmp_path / "moved")
    assert predict_run(run, run.read(str(path))).prediction.shape == (1, 5, 2, 2)
    with pytest.raises(FileNotFoundError, match="/gone"):
        evaluate_run(run)


def test_the_last_window_and_all_windows(run):
    series = run.datamodule.series
    last, every = (predict_run(run, series, windows=w) for w in ("last", "all"))
    assert last.start.tolist() == [56]
    assert every.start.tolist() == list(range(57))
    np.testing.assert_allclose(every.prediction[-1], last.prediction[0], rtol=1e-5)
    saved = np.load(run.folder.predictions)
    inside = np.isin(every.start, saved["start"])
    np.testing.assert_allclose(every.prediction[inside], saved["y_pred"], rtol=1e-4)


def test_forecasts_as_npz_and_csv(run, tmp_path):
    forecasts = predict_run(run, run.datamodule.series, windows="all")
    write_forecasts(tmp_path / "f.npz", forecasts, run)
    write_forecasts(tmp_path / "f.csv", forecasts, run)
    with np.load(tmp_path / "f.npz") as saved:
        np.testing.assert_array_equal(saved["y_pred"], forecasts.prediction)
        assert saved["start"].tolist() == forecasts.start.tolist()
    with (tmp_path / "f.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == forecasts.prediction.size
    row = rows[((3 * 2 + 1) * 5 + 2) * 2 + 1]  # window 3, second step, node 2, channel 1
    assert (row["window"], row["step"], row["time"], row["node"], row["channel"]) == ("3", "2", "8", "2", "1")
    assert float(row["value"]) == pytest.approx(forecasts.prediction[3, 2, 1, 1])
    with pytest.raises(InputError, match=r"\.npz or \.csv"):
        write_forecasts(tmp_path / "f.txt", forecasts, run)


def test_times_go_on_after_the_data(run, tmp_path):
    series = run.datamodule.series
    with_time = series.clone()
    with_time.time = np.datetime64("2024-01-01").astype("datetime64[ns]").astype(
        np.int64
    ) + 3_600_000_000_000 * np.arange(60)
    import torch

    with_time.time = torch.from_numpy(with_time.time)
    forecasts = predict_run(run, with_time)
    write_forecasts(tmp_path / "f.csv", forecasts, run)
    with (tmp_path / "f.csv").open() as file:
        times = {row["time"] for row in csv.DictReader(file)}
    assert times == {"2024-01-03T12:00:00", "2024-01-03T13:00:00"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"nodes": 6}, CheckpointError, "takes 5 nodes, not 6"),
        ({"channels": 1}, CheckpointError, "takes 2 channels, not 1"),
        ({"steps": 3}, CheckpointError, "has 3 steps; the model needs 4"),
    ],
)
def test_data_that_does_not_fit_the_checkpoint(run, tmp_path, arguments, error, message):
    path = write_series(tmp_path, **{"channels": 2, **arguments})
    with pytest.raises(error, match=message):
        run.read(str(path))


def test_a_grid_does_not_fit_nodes(run, tmp_path):
    np.save(tmp_path / "grid.npy", np.random.default_rng(0).normal(size=(20, 5, 1, 2)))
    assert run.read(str(tmp_path / "grid.npy")).x.shape == (5, 20, 2), "a grid of one column is nodes"


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="is not the folder of a run"):
        LoadedRun(tmp_path)


@pytest.mark.parametrize("damage", ["config", "best", "graph"])
def test_a_damaged_run(folder, tmp_path, damage):
    shutil.copytree(folder / "run", tmp_path / "run")
    path = getattr(RunFolder(tmp_path / "run"), damage)
    path.write_bytes(b"{[damaged")
    with pytest.raises(InputError, match=path.name):
        LoadedRun(tmp_path / "run")


def test_data_that_has_changed(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "all")
    write_series(tmp_path / "all", channels=1)
    config = tmp_path / "all" / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(folder), str(tmp_path / "all")))
    with pytest.raises(CheckpointError, match="takes 2 channels, not 1"):
        evaluate_run(LoadedRun(tmp_path / "all" / "run"))
