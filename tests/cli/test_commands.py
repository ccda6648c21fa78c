from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from stgraph.cli.main import main
from tests.tasks.small_runs import write_series

SMALL = [
    *("--data.input_steps", "4", "--data.horizon", "2", "--data.batch_size", "16"),
    *("--model.d_model", "8", "--model.num_prototypes", "3", "--model.mgat_heads", "2"),
    *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.tensorboard=false"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a series, its coordinates and a finished run with figures."""
    path = tmp_path_factory.mktemp("commands")
    write_series(path, missing=0.2)
    before = Path.cwd()
    os.chdir(path)
    try:
        assert main(["train", "series.npy", "--coords", "coords.npy", *SMALL]) == 0
    finally:
        os.chdir(before)
    return path


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_one_command_is_enough_for_ones_own_data(folder):
    run = folder / "runs" / "series"
    results = json.loads((run / "results.json").read_text())
    assert results["windows"]["train"] > 0
    for name in ("forecasts", "error_map", "horizon", "training"):
        assert (run / "figures" / f"{name}.png").stat().st_size > 1000
    assert "<html" in (run / "report.html").read_text()


def test_training_ends_with_a_table(folder, capsys):
    options = ["--output", "table", "--report=false", *SMALL]
    assert main(["train", "series.npy", "--coords", "coords.npy", *options]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.split("\n")]
    header = lines.index(["MAE", "RMSE", "MAE@1", "MAE@2", "RMSE@1", "RMSE@2"])
    assert [line[0] for line in lines[header + 1 : header + 5]] == ["spectranet", "persistence", "climatology", "ridge"]
    results = json.loads((folder / "table" / "results.json").read_text())
    assert float(lines[header + 1][1]) == pytest.approx(results["test"]["global"]["mae"], rel=1e-3)
    assert "5 nodes, 60 steps, 1 channels" in out
    assert "epoch 1/1" in out
    assert "Everything about this run is in table" in out


def test_several_seeds(folder, capsys):
    options = ["--output", "seeds", "--seeds", "2", *SMALL]
    assert main(["train", "series.npy", "--coords", "coords.npy", *options]) == 0
    assert "2 seeds" in capsys.readouterr().out
    assert (folder / "seeds" / "seed_43" / "report.html").is_file()
    assert main(["info", "seeds"]) == 0
    assert "2 seeds" in capsys.readouterr().out


def test_two_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path)
    write_series(tmp_path, "later", steps=30)
    options = ["--coords", "coords.npy", "--report=false", *SMALL]
    assert main(["train", "series.npy", "--test", "later.npy", *options]) == 0
    assert "49 training, 1 validation and 25 test windows" in capsys.readouterr().out


def test_resuming_needs_only_the_folder(folder, capsys):
    assert main(["train", "--output", "runs/series", "--resume", "--report=false"]) == 0
    assert "Everything about this run is in runs/series" in capsys.readouterr().out
    assert main(["train", "--output", "runs/series", "--resume", "--seed", "1"]) == 2
    assert "cannot resume with seed = 1" in capsys.readouterr().err


def test_a_run_is_repeated_from_its_configuration(folder):
    assert main(["train", "--config", "runs/series/config.yaml", "--output", "again", "--report=false"]) == 0
    first, second = (json.loads((folder / p / "results.json").read_text()) for p in ("runs/series", "again"))
    assert first["test"] == second["test"]


def test_evaluate(folder, capsys):
    assert main(["evaluate", "runs/series", "--output", "errors.json"]) == 0
    saved = json.loads((folder / "errors.json").read_text())
    assert saved["test"] == json.loads((folder / "runs/series/results.json").read_text())["test"]
    assert "persistence" in capsys.readouterr().out
    assert main(["evaluate", "runs/series", "--output", "errors.json"]) == 2
    assert "exists; use --overwrite" in capsys.readouterr().err
    assert main(["evaluate", "runs/series", "series.npy", "--baselines=false"]) == 0
    assert "persistence" not in capsys.readouterr().out


def test_predict(folder, capsys):
    assert main(["predict", "runs/series", "--output", "last.csv"]) == 0
    assert "1 windows, 5 nodes, 2 steps" in capsys.readouterr().out
    with (folder / "last.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 10
    assert main(["predict", "runs/series", "series.npy", "--output", "all.npz", "--windows", "all"]) == 0
    with np.load(folder / "all.npz") as saved:
        assert saved["y_pred"].shape == (57, 5, 2, 1)
    assert main(["predict", "runs/series", "--output", "last.csv"]) == 2
    assert "exists; use --overwrite" in capsys.readouterr().err
    assert main(["predict", "runs/series", "--output", "last.csv", "--overwrite"]) == 0


def test_info_of_a_file(capsys):
    assert main(["info", "series.npy", "--coords", "coords.npy"]) == 0
    facts = dict(line.split(None, 1) for line in capsys.readouterr().out.strip().split("\n"))
    assert (facts["nodes"], facts["steps"], facts["channels"]) == ("5", "60", "1")
    values = np.load("series.npy")
    assert facts["missing"] == f"{100 * np.isnan(values).mean():.3g} %"
    assert facts["coordinates"].startswith("2 dimensions")


def test_info_of_an_array_inside_a_file(folder, capsys):
    np.savez(folder / "several.npz", speed=np.ones((9, 2)).cumsum(0), other=np.zeros(3))
    assert main(["info", "several.npz"]) == 2
    assert "several.npz holds speed, other" in capsys.readouterr().err
    np.save(folder / "two.npy", np.zeros((2, 2)))
    assert main(["info", "several.npz", "--key", "speed", "--coords", "two.npy"]) == 0
    assert "steps" in capsys.readouterr().out


def test_info_of_a_run_and_of_an_interrupted_one(folder, capsys):
    assert main(["info", "runs/series"]) == 0
    out = capsys.readouterr().out
    assert "4 steps in, 2 out, seed 42" in out
    assert "persistence" in out
    begun = folder / "begun"
    begun.mkdir()
    (begun / "config.yaml").write_text((folder / "runs/series/config.yaml").read_text())
    assert main(["info", "begun"]) == 0
    assert "not trained" in capsys.readouterr().out


def test_info_of_a_data_set(capsys):
    assert main(["info", "ireland_wind"]) == 0
    out = capsys.readouterr().out
    assert out.split()[:4] == ["nodes", "12", "steps", "6574"]
    assert "1961-01-01T00:00 to 1978-12-31T00:00" in out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("spectranet", "d_model                 128 | 64"),
        ("fno", "num_layers              4    "),
        ("ridge", "ridge: "),
    ],
)
def test_info_of_a_model(name, text, capsys):
    assert main(["info", name]) == 0
    assert text in capsys.readouterr().out
