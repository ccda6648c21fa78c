from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import yaml

from stgraph.cli.score import ScoreOptions, score
from stgraph.errors import InputError, OutputExistsError
from stgraph.tasks.options import RunOptions, to_dict
from stgraph.tasks.protocols import PROTOCOLS
from stgraph.tasks.protocols import score as score_under


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run on a set of flows, with forecasts of 12 steps, and what is in them."""
    folder = tmp_path_factory.mktemp("runs") / "pems04"
    folder.mkdir()
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 50, (70, 3, 12, 1)).astype(np.float32)
    target[rng.random(target.shape) < 0.1] = 0.0
    target[rng.random(target.shape) < 0.1] = np.nan
    arrays = {
        "y_pred": rng.uniform(0, 50, target.shape).astype(np.float32),
        "y_true": target,
        "y_mask": ~np.isnan(target),
    }
    np.savez(folder / "predictions.npz", **arrays)
    options = RunOptions(protocol="tsl")
    options.data.path = "/data/PEMS04.npz"
    (folder / "config.yaml").write_text(yaml.safe_dump(to_dict(options)))
    return folder, arrays


def expected(arrays, family):
    return {
        name: score_under(arrays["y_pred"], arrays["y_true"], arrays["y_mask"], name, family=family)
        for name in PROTOCOLS
    }


@pytest.mark.parametrize("name", ["", "predictions.npz"])
def test_one_table_for_all_protocols(run, name, capsys):
    folder, arrays = run
    score(ScoreOptions(str(folder / name)))
    out = capsys.readouterr().out
    assert "trained under the protocol 'tsl'" in out
    lines = [line.split() for line in out.splitlines()]
    header = next(i for i, words in enumerate(lines) if words[:1] == ["protocol"])
    assert lines[header][1:] == [
        f"{metric}@{horizon}" for horizon in ("3", "6", "12", "average") for metric in ("MAE", "RMSE", "MAPE")
    ] + ["targets"]
    scores = expected(arrays, "flow")
    assert [words[0] for words in lines[header + 1 :]] == list(PROTOCOLS)
    for name, *cells in lines[header + 1 :]:
        values = [scores[name]["horizons"][h][m] for h in ("3", "6", "12", "average") for m in ("mae", "rmse", "mape")]
        assert [float(cell) for cell in cells[:-1]] == pytest.approx(values, rel=1e-3)
        assert int(cells[-1]) == scores[name]["count"]
    assert scores["tsl"]["count"] > scores["strict"]["count"]  # all targets count on flows


def test_the_family_can_be_named(run, capsys):
    folder, arrays = run
    score(ScoreOptions(str(folder), "tsl", family="speed"))
    assert str(expected(arrays, "speed")["tsl"]["count"]) in capsys.readouterr().out


def test_files(run, tmp_path):
    folder, arrays = run
    for name in ("scores.json", "scores.csv", "scores.md"):
        score(ScoreOptions(str(folder), "dcrnn,strict", output=str(tmp_path / name)))
    scores = expected(arrays, "flow")
    stored = json.loads((tmp_path / "scores.json").read_text())
    assert stored["trained_under"] == "tsl"
    assert stored["scores"] == {name: scores[name] for name in ("dcrnn", "strict")}
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["protocol"] for row in rows] == ["dcrnn", "strict"]
    assert float(rows[1]["RMSE@12"]) == pytest.approx(scores["strict"]["horizons"]["12"]["rmse"], rel=1e-8)
    lines = (tmp_path / "scores.md").read_text().splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_forecasts_of_other_programs(tmp_path, capsys):
    target = np.array([[4.0, 8.0], [0.0, 2.0]])[:, None, :, None]
    np.savez(tmp_path / "mine.npz", y_pred=target + 1, y_true=target)
    score(ScoreOptions(str(tmp_path / "mine.npz"), "dcrnn,strict"))
    out = capsys.readouterr().out
    assert "trained" not in out
    lines = [line.split() for line in out.splitlines()[-3:]]
    assert lines[0] == [
        "protocol",
        "MAE@2",
        "RMSE@2",
        "MAPE@2",
        "MAE@average",
        "RMSE@average",
        "MAPE@average",
        "targets",
    ]
    assert lines[1][1:5] == ["-", "-", "-", "1"]  # of the steps that this protocol reports, there is none
    assert lines[2][1:4] == ["1", "1", "31.25"]  # 1 / 8 and 1 / 2
    assert [lines[1][-1], lines[2][-1]] == ["3", "4"]


def test_quantiles_of_the_file(tmp_path, capsys):
    target = np.full((2, 1, 1, 1), 4.0)
    levels = target[..., None] + np.array([0.0, 1.0])
    np.savez(tmp_path / "two.npz", y_pred=levels, y_true=target, quantiles=np.array([0.5, 0.9]))
    score(ScoreOptions(str(tmp_path / "two.npz"), "strict"))
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == "0"


def test_bad_input(run, tmp_path):
    folder, _ = run
    np.savez(tmp_path / "other.npz", y_pred=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "pickled.npz", y_pred=np.array([{}], dtype=object), y_true=np.zeros(1))
    (tmp_path / "seed_42").mkdir()
    (tmp_path / "seed_42" / "predictions.npz").write_bytes((folder / "predictions.npz").read_bytes())
    cases = {
        "": "name the folder",
        str(tmp_path / "none"): "there is no file or folder",
        str(tmp_path / "other.npz"): "has no y_true",
        str(tmp_path / "array.npy"): "holds one array",
        str(tmp_path / "text.npz"): "cannot be read",
        str(tmp_path / "pickled.npz"): "cannot be read",
        str(tmp_path): "name one of its folders \\['seed_42'\\]",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            score(ScoreOptions(name))
    with pytest.raises(InputError, match="did you mean 'strict'"):
        score(ScoreOptions(str(folder), "stricter"))
    with pytest.raises(InputError, match="ends in"):
        score(ScoreOptions(str(folder), output="scores.txt"))
    with pytest.raises(InputError, match="there is no folder"):
        score(ScoreOptions(str(folder), output=str(tmp_path / "none" / "scores.csv")))
    (tmp_path / "scores.csv").write_text("mine")
    with pytest.raises(OutputExistsError):
        score(ScoreOptions(str(folder), output=str(tmp_path / "scores.csv")))
    assert (tmp_path / "scores.csv").read_text() == "mine"
