"""Whatever is wrong with the input is said in one line, before training starts, and nothing is written."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from stgraph.cli.main import main
from tests.tasks.small_runs import write_series

TRAIN = ["train", "series.npy", "--coords", "coords.npy", "--output", "out", "--data.input_steps", "4"]


def save(name, array):
    def write(folder):
        np.save(folder / name, array)

    return write


def text(name, content):
    def write(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    return write


def truncated(folder):
    path = folder / "short.npy"
    path.write_bytes((folder / "series.npy").read_bytes()[:-100])


def unsorted_times(folder):
    rows = [f"2024-01-{day:02d},1.0,2.0" for day in (1, 3, 2, 4)]
    (folder / "unsorted.csv").write_text("\n".join(["time,a,b", *rows]) + "\n")


def doubled_times(folder):
    rows = [f"2024-01-{day:02d},1.0,2.0" for day in (1, 2, 2, 4)]
    (folder / "doubled.csv").write_text("\n".join(["time,a,b", *rows]) + "\n")


def object_array(folder):
    np.save(folder / "object.npy", np.array([[1, "a"], [2, None]], dtype=object), allow_pickle=True)


CASES = {
    # data
    "no data": (["train"], None, "no data: name a file or one of the data sets"),
    "no such file": (["train", "none.npy"], None, r"there is no file .*none\.npy"),
    "no such data set": (
        ["train", "germany_pm20"],
        None,
        "no data set 'germany_pm20'; did you mean 'germany_pm10'",
    ),
    "unknown kind of file": (["train", "a.txt"], text("a.txt", "1"), "a.txt is of an unknown kind"),
    "pickled file": (["train", "a.pkl"], text("a.pkl", "1"), "pickled files are never read"),
    "truncated file": (["train", "short.npy"], truncated, "short.npy cannot be read"),
    "object array": (["train", "object.npy"], object_array, "object.npy"),
    "one dimension": (["train", "a.npy"], save("a.npy", np.zeros(9)), "shape"),
    "five dimensions": (["train", "a.npy"], save("a.npy", np.zeros((9, 2, 2, 2, 1))), "shape"),
    "empty array": (["train", "a.npy"], save("a.npy", np.zeros((0, 5))), "shape|empty"),
    "text values": (["train", "a.npy"], save("a.npy", np.array([["a", "b"]] * 30)), "a.npy|numbers|numeric"),
    "all missing channel": (
        [*TRAIN[:1], "a.npy", *TRAIN[2:]],
        save("a.npy", np.stack([np.ones((60, 5)), np.full((60, 5), np.nan)], -1)),
        "channel",
    ),
    "all missing in training": (
        [*TRAIN[:1], "a.npy", *TRAIN[2:]],
        save("a.npy", np.where(np.arange(60)[:, None] < 45, np.nan, np.ones((60, 5)))),
        "training period: no target is observed",
    ),
    "unsorted times": (["train", "unsorted.csv"], unsorted_times, "time"),
    "doubled times": (["train", "doubled.csv"], doubled_times, "time"),
    "infinite values": (["train", "a.npy"], save("a.npy", np.full((30, 3), np.inf)), "finite|inf"),
    # coordinates
    "coordinates of the wrong length": (TRAIN, save("coords.npy", np.zeros((4, 2))), r"coords must have the shape"),
    "NaN coordinates": (TRAIN, save("coords.npy", np.full((5, 2), np.nan)), "coords"),
    "no such coordinates": (["train", "series.npy", "--coords", "none.npy"], None, r"there is no file .*none\.npy"),
    "latitude out of range": (
        [*TRAIN, "--data.coordinates", "local_plane"],
        save("coords.npy", np.full((5, 2), 100.0)),
        "latitude",
    ),
    # windows and splits
    "fewer steps than P + Q": ([*TRAIN, "--data.horizon", "60"], None, "period: there are .* steps; a window"),
    "no room for validation": ([*TRAIN, "--data.horizon", "3"], None, "validation period: there are 6 steps"),
    "zero horizon": ([*TRAIN, "--data.horizon", "0"], None, "data.horizon is 0; expected at least 1"),
    "negative batch size": ([*TRAIN, "--data.batch_size", "-1"], None, "data.batch_size is -1; expected at least 1"),
    "two shares for three periods": ([*TRAIN, "--data.split", "9,1"], None, "expected 3 positive shares"),
    "dates without times": (
        [*TRAIN, "--data.val_start", "2024-01-01", "--data.test_start", "2024-02-01"],
        None,
        "need a series with times",
    ),
    # graph and model
    "k >= N of the graph": ([*TRAIN, "--data.edges", "knn", "--data.k", "5"], None, "data.k is 5; expected less than"),
    "k >= N of the model": (
        [*TRAIN, "--model.num_neighbors", "5"],
        None,
        "model.num_neighbors is 5; expected less than",
    ),
    "no radius": ([*TRAIN, "--data.edges", "radius"], None, "needs a radius above 0"),
    "no grid": ([*TRAIN, "--data.edges", "grid"], None, "the data is no grid"),
    "no edges of its own": ([*TRAIN, "--data.edges", "own"], None, "the data has no edges"),
    "no adjacency": ([*TRAIN, "--data.edges", "file"], None, "data.adjacency is missing"),
    "adjacency of the wrong size": (
        [*TRAIN, "--data.edges", "file", "--data.adjacency", "adj.npy"],
        save("adj.npy", np.eye(4)),
        r"adj\.npy has shape \(4, 4\); expected \(5, 5\)",
    ),
    "unknown model": (
        [*TRAIN, "--model.name", "spectrnet"],
        None,
        "unknown model 'spectrnet'; did you mean 'spectranet'",
    ),
    "unknown temporal layer": (
        [*TRAIN, "--model.temporal", "afmo"],
        None,
        "model.temporal is afmo; expected 'sfe' or 'fourier' or .*'afno'",
    ),
    "temporal layer of the reference": (
        [*TRAIN, "--model.preset", "reference", "--model.temporal", "afno"],
        None,
        "the preset 'reference' has 'sfe' alone",
    ),
    "unknown preset": ([*TRAIN, "--model.preset", "best"], None, "preset is 'best'"),
    "unknown scaler": ([*TRAIN, "--model.scaler", "minmax"], None, "scaler is 'minmax'"),
    "quantiles without a median": ([*TRAIN, "--model.quantiles", "0.1,0.9"], None, "with 0.5 among them"),
    "too many output channels": ([*TRAIN, "--data.out_channels", "2"], None, "out_channels is 2"),
    "no such channel": ([*TRAIN, "--data.channels", "3"], None, "channel 3 does not exist"),
    "unknown loss": ([*TRAIN, "--loss.point", "l3"], None, "point is 'l3'"),
    "unknown baseline": ([*TRAIN, "--baselines", "magic"], None, "baselines names .*magic"),
    # trainer
    "no epochs": ([*TRAIN, "--trainer.max_epochs", "0"], None, "trainer.max_epochs is 0; expected at least 1"),
    "no learning": ([*TRAIN, "--optimizer.learning_rate", "0"], None, "learning_rate is 0.0; expected more than 0"),
    "unknown precision": ([*TRAIN, "--trainer.precision", "8"], None, "options of the trainer cannot be used"),
    "unknown accelerator": ([*TRAIN, "--trainer.accelerator", "abacus"], None, "options of the trainer cannot be used"),
    "seeds on several devices": ([*TRAIN, "--seeds", "2", "--trainer.devices", "2"], None, "one device"),
    # options
    "unknown flag": (
        [*TRAIN, "--data.horizn", "3"],
        None,
        "unknown option --data.horizn; did you mean --data.horizon?",
    ),
    "unknown key": (
        [*TRAIN, "--config", "c.yaml"],
        text("c.yaml", "model:\n  d_modl: 3\n"),
        r"unknown key 'model.d_modl' in the configuration; did you mean model.d_model\?",
    ),
    "wrong type": ([*TRAIN, "--seed", "many"], None, "seed is many; expected int"),
    "overwrite and resume": ([*TRAIN, "--overwrite", "--resume"], None, "exclude each other"),
    # output
    "output folder with a run": (TRAIN, text("out/config.yaml", "seed: 1\n"), "holds a run; use --overwrite"),
    "output folder with other things": ([*TRAIN, "--overwrite"], text("out/letter.txt", "dear"), "holds no run"),
    "output is a file": (TRAIN, text("out", "x"), "is a file; expected a folder"),
    "output below a file": ([*TRAIN[:4], "--output", "out/run"], text("out", "x"), "cannot be written"),
    # other commands
    "no run": (["evaluate"], None, "name the folder of a run"),
    "a folder without a run": (["evaluate", "."], None, "is not the folder of a run"),
    "no output": (["predict", "x"], None, "name an output file"),
    "output of another kind": (["predict", "x", "--output", "f.txt"], None, r"\.npz or \.csv"),
    "output into nowhere": (["predict", "x", "--output", "no/f.csv"], None, "there is no folder"),
    "no target": (["info"], None, "name a file, a data set, a run or a model"),
    "unknown target": (["info", "persistance"], None, "did you mean 'persistence'"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:no coordinates were given")
def test_one_clear_line(case, tmp_path, monkeypatch, capsys):
    words, prepare, message = CASES[case]
    write_series(tmp_path)
    if prepare is not None:
        prepare(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning.pytorch.Trainer.fit", lambda *a, **k: pytest.fail("training started"))
    code = main(words)
    error = capsys.readouterr().err
    assert code == 2, error
    lines = [line for line in error.strip().split("\n") if not line.startswith("warning:")]
    assert len(lines) == 1, error
    assert lines[0].startswith(f"stgraph {words[0]}: error: ")
    assert re.search(message, lines[0]), lines[0]
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before, "something was written"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run beside its data."""
    folder = tmp_path_factory.mktemp("bad")
    write_series(folder)
    words = [
        *(
            "--data.input_steps",
            "4",
            "--model.d_model",
            "8",
            "--model.num_prototypes",
            "3",
            "--trainer.max_epochs",
            "1",
        ),
        *("--report=false", "--output", str(folder / "run"), "--trainer.tensorboard=false", "--baselines", "[]"),
    ]
    assert main(["train", str(folder / "series.npy"), "--coords", str(folder / "coords.npy"), *words]) == 0
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nodes": 6}, "the checkpoint does not fit .*other.npy: it takes 5 nodes, not 6"),
        ({"channels": 2}, "the checkpoint does not fit .*other.npy: it takes 1 channels, not 2"),
        ({"steps": 3}, "has 3 steps; the model needs 4"),
    ],
)
@pytest.mark.parametrize("command", [["evaluate"], ["predict", "--output", "f.csv"]])
def test_a_checkpoint_that_does_not_fit_the_data(run, tmp_path, capsys, command, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_series(tmp_path, "other", **arguments)
    assert main([command[0], str(run / "run"), str(path), *command[1:]]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / "f.csv").exists()


def test_a_damaged_checkpoint(run, tmp_path, capsys):
    shutil.copytree(run / "run", tmp_path / "run")
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[: best.stat().st_size // 2])
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    assert "best.ckpt cannot be read" in capsys.readouterr().err


def test_a_resumed_run_with_other_options(run, capsys):
    assert main(["train", "--output", str(run / "run"), "--resume", "--data.horizon", "2"]) == 2
    assert "cannot resume with data.horizon = 2" in capsys.readouterr().err
    assert json.loads((run / "run" / "results.json").read_text())["model"] == "spectranet"
