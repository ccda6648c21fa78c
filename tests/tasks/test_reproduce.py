from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from torch_geometric.data import Data

from stgraph.errors import CheckpointError, InputError, OutputExistsError
from stgraph.tasks.bitwise import Difference, compare_runs
from stgraph.tasks.checkpoints import read_checkpoint
from stgraph.tasks.environment import fingerprint
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.options import ModelOptions
from stgraph.tasks.reproduce import reproduce_run
from stgraph.tasks.run import train
from tests.tasks.small_runs import small_options, write_series


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a tiny model trained for one epoch on two seeds, beside its data."""
    place = tmp_path_factory.mktemp("reproduce")
    write_series(place, missing=0.2)
    options = small_options(place, seeds=2)
    options.model = ModelOptions(name="lstm", arguments={"hidden_channels": 4})
    options.trainer.max_epochs = 1
    options.baselines = ["persistence"]
    train(options)
    return place


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run of one seed that a test may change."""
    return RunFolder(shutil.copytree(finished / "run" / "seed_42", tmp_path / "run"))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_seed_comes_again(finished):
    before, threads = contents(finished), torch.get_num_threads()
    found = reproduce_run(finished / "run")
    assert [one.run.name for one in found] == ["seed_42", "seed_43"]
    assert all(one.equal for one in found)
    assert [one.environment for one in found] == [(), ()]
    assert contents(finished) == before, "nothing changes and nothing stays"
    assert torch.get_num_threads() == threads


def test_every_run_records_its_data(run):
    recorded = json.loads(run.environment.read_text())
    assert {"x", "mask", "pos", "edge_index"} <= recorded["data"].keys()
    assert recorded["test_data"] is None
    values = torch.arange(6.0).view(2, 3)
    prints = [fingerprint(Data(x=x))["x"] for x in (values, values.T, values.double(), values.flip(0), -values)]
    assert len({*prints, fingerprint(Data(x=values.T.clone().T))["x"]}) == len(prints)


def test_a_changed_bit_is_found(run):
    checkpoint = read_checkpoint(run.best)
    name, tensor = next((k, v) for k, v in checkpoint["state_dict"].items() if v.dim() == 2)
    before = tensor[1, 2].item()
    tensor.view(torch.uint8)[1, 8] ^= 1  # the lowest bit of the third value in the second row
    assert tensor[1, 2].item() != before
    torch.save(checkpoint, run.best)
    (found,) = reproduce_run(run.path)
    (difference,) = found.weights
    assert (difference.file, difference.name) == ("best.ckpt", name)
    assert difference.largest == pytest.approx(abs(tensor[1, 2].item() - before), rel=1e-12)
    assert difference.note == f"1 of {tensor.numel()} values"
    assert not found.equal
    assert found.predictions == found.metrics == ()


def test_what_differs_is_named(finished, run, tmp_path):
    """Another seed, another data file, another machine."""
    values = np.load(finished / "series.npy")
    values[50, 2, 0] += 1.0
    np.save(tmp_path / "other.npy", values)
    config = yaml.safe_load(run.config.read_text())
    config["seed"], config["data"]["path"] = 7, str(tmp_path / "other.npy")
    run.config.write_text(yaml.safe_dump(config))
    environment = json.loads(run.environment.read_text())
    environment["packages"]["torch"], environment["processor"] = "1.0", "abacus"
    environment["threads"], environment["resumed"] = 2, [{}]
    run.environment.write_text(json.dumps(environment))
    before = contents(run.path)
    (found,) = reproduce_run(run.path, keep=True)
    assert contents(run.path) == before
    assert {d.file for d in found.weights} == {"best.ckpt", "last.ckpt"}
    assert "y_pred" in {d.name for d in found.predictions}
    assert {"seed", "test.global.mae"} <= {d.name for d in found.metrics if d.file == "results.json"}
    assert "train_loss" in {d.name for d in found.metrics if d.file == "metrics.csv"}
    lines = "\n".join(found.environment)
    assert f"data of {tmp_path / 'other.npy'}: x changed since the run" in lines
    assert "seed: 42, now 7" in lines
    assert f"packages: torch 1.0, now {torch.__version__}" in lines
    assert "processor: abacus, now " in lines
    assert "resumed: 1 times" in lines
    assert "threads" not in lines, "the repetition takes the threads of the run"
    assert found.repeated == tmp_path / "run-repeated"
    kept = json.loads(RunFolder(found.repeated).environment.read_text())
    assert (kept["threads"], kept["seed"]) == (2, 7)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.npy", "run", "run-repeated"]


def test_an_older_run_without_fingerprints_and_another_folder(run, tmp_path):
    environment = json.loads(run.environment.read_text())
    for name in ("data", "test_data", "cpu_capability"):
        del environment[name]
    run.environment.write_text(json.dumps(environment))
    (found,) = reproduce_run(run.path, output=str(tmp_path / "there"), device="auto")
    assert found.equal
    assert found.repeated == tmp_path / "there"
    assert found.environment == ("device: cpu, now auto",)
    assert RunFolder(tmp_path / "there").results.is_file()


def test_differences_are_those_of_the_bits(run, tmp_path):
    other = RunFolder(shutil.copytree(run.path, tmp_path / "other"))
    arrays = {
        "nan": np.array([np.nan, 1.0]),
        "zero": np.array([0.0, 1.0]),
        "infinite": np.array([np.inf, 1.0]),
        "whole": np.array([3, 1]),
        "complex": np.array([1 + 2j]),
        "mask": np.array([True, False]),
        "shape": np.zeros(2),
        "gone": np.zeros(1),
    }
    np.savez(run.predictions, **arrays)
    arrays["zero"] = np.array([-0.0, 1.0])
    arrays["infinite"] = np.array([np.inf, 1.5])
    arrays["whole"] = np.array([1, 1])
    arrays["complex"] = np.array([1 + 5j])
    arrays["mask"] = np.array([True, True])
    arrays["shape"] = np.zeros(3, np.float32)
    arrays["new"] = arrays.pop("gone")
    np.savez(other.predictions, **arrays)
    found = {d.name: (d.largest, d.note) for d in compare_runs(run, other)["predictions"]}
    assert found == {
        "zero": (0.0, "1 of 2 values"),
        "infinite": (0.5, "1 of 2 values"),
        "whole": (2.0, "1 of 2 values"),
        "complex": (3.0, "1 of 1 values"),
        "mask": (1.0, "1 of 2 values"),
        "shape": (None, "float64 (2,) in the run, float32 (3,) now"),
        "gone": (None, "only in the run"),
        "new": (None, "only in the repetition"),
    }
    assert str(Difference("a.npz", "y", 0.25, "1 of 2 values")) == "a.npz: y: largest difference 0.25, 1 of 2 values"


def test_results_are_compared_as_numbers_without_times(run, tmp_path):
    other = RunFolder(shutil.copytree(run.path, tmp_path / "other"))
    results = json.loads(run.results.read_text())
    results["training_seconds"] = results["seconds_per_epoch"] = 1e9
    results["test"]["per_horizon"]["mae"][1] += 0.5
    results["model"] = "other"
    other.results.write_text(json.dumps(results))
    found = {d.name: d for d in compare_runs(run, other)["metrics"]}
    assert found.keys() == {"test.per_horizon.mae.2", "model"}
    assert found["test.per_horizon.mae.2"].largest == pytest.approx(0.5)
    assert found["model"].largest is None
    assert found["model"].note == "lstm in the run, other now"


def test_a_run_that_cannot_be_compared_is_refused_before_training(run, tmp_path, monkeypatch):
    monkeypatch.setattr("stgraph.tasks.reproduce.train", lambda options: pytest.fail("trained"))

    def refused(message, error=InputError, **arguments):
        with pytest.raises(error, match=message):
            reproduce_run(run.path, **arguments)

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    refused("is not empty", OutputExistsError, output=str(tmp_path / "full"))
    refused("inside the run itself", output=str(run.path / "again"))
    with pytest.raises(InputError, match=r"full is not the folder of a run: it has no config.yaml"):
        reproduce_run(tmp_path / "full")
    stored = run.config.read_text()
    config = yaml.safe_load(stored)
    run.config.write_text(yaml.safe_dump({**config, "trainer": {**config["trainer"], "devices": 2}}))
    refused("several devices")
    run.config.write_text(yaml.safe_dump({**config, "seeds": 2}))
    refused("seed_42 is not the folder of a run")
    run.config.write_text(stored)
    for path, message in (
        (run.metrics, "metrics.csv is damaged"),
        (run.predictions, "predictions.npz is damaged"),
        (run.best, "best.ckpt cannot be read"),
        (run.environment, "environment.json is damaged"),
        (run.results, "results.json is damaged"),
    ):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if path == run.best else b"step\nno number\n")
        refused(message, CheckpointError if path == run.best else InputError)
        path.write_bytes(whole)
    run.results.write_text("[]")
    refused("holds a list")
    torch.save({"epoch": 1}, run.best)
    run.results.write_text("{}")
    refused("has no weights", CheckpointError)
    run.results.unlink()
    refused("not the folder of a finished run: it has no results.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "run"]


def test_a_repetition_that_fails_leaves_nothing(run, tmp_path):
    config = yaml.safe_load(run.config.read_text())
    run.config.write_text(yaml.safe_dump({**config, "data": {**config["data"], "path": str(tmp_path / "gone.npy")}}))
    with pytest.raises(FileNotFoundError, match=r"gone\.npy"):
        reproduce_run(run.path)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_model_without_parameters(finished, tmp_path):
    options = dataclasses.replace(small_options(finished), output=str(tmp_path / "naive"), baselines=[])
    options.model = ModelOptions(name="persistence")
    train(options)
    (found,) = reproduce_run(tmp_path / "naive")
    assert found.equal
