from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml

from stgraph.errors import CheckpointError, InputError, OutputExistsError
from stgraph.models import MODELS
from stgraph.tasks.checkpoints import load_forecaster, read_checkpoint
from stgraph.tasks.folder import RunFolder, read_config
from stgraph.tasks.options import RunOptions
from stgraph.tasks.run import summarise, train
from tests.tasks.small_runs import small_options, write_series


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run on a series with missing values, its options and its results."""
    folder = tmp_path_factory.mktemp("run")
    write_series(folder, missing=0.3, channels=2)
    options = small_options(folder)
    return RunFolder(folder / "run"), options, train(options)


def test_the_folder_has_everything(finished):
    folder, _, _ = finished
    names = {str(p.relative_to(folder.path)) for p in folder.path.rglob("*") if p.is_file()}
    assert names == {
        "config.yaml",
        "environment.json",
        "graph.pt",
        "metrics.csv",
        "results.json",
        "predictions.npz",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "spectranet_full_allch_NODE.pt",
        "spectranet_full_allch_NODE_y_pred_test.npy",
        "spectranet_full_allch_NODE_y_true_test.npy",
        "spectranet_full_allch_NODE_results.json",
    }


def test_results_are_those_of_numpy_on_the_saved_predictions(finished):
    folder, _, results = finished
    assert json.loads(folder.results.read_text()) == results
    with np.load(folder.predictions) as saved:
        mask = saved["y_mask"]
        prediction, target = (saved[k].astype(np.float64)[mask] for k in ("y_pred", "y_true"))
        assert np.isnan(saved["y_true"][~mask]).all()
        per_step = np.abs(saved["y_pred"].astype(np.float64) - saved["y_true"])
    error, test = prediction - target, results["test"]
    assert test["global"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
    assert test["global"]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    expected = 1 - (error**2).sum() / ((target - target.mean()) ** 2).sum()
    assert test["global"]["r2"] == pytest.approx(expected, rel=1e-6)
    assert test["per_horizon"]["mae"] == pytest.approx(np.nanmean(per_step, axis=(0, 1, 3)), rel=1e-6)
    assert test["per_channel"]["mae"] == pytest.approx(np.nanmean(per_step, axis=(0, 1, 2)), rel=1e-6)
    assert results["observed_targets"] == pytest.approx(mask.mean())


def test_baselines_are_measured_on_the_same_targets(finished):
    folder, options, results = finished
    assert set(results["baselines"]) == {"persistence", "climatology", "ridge"}
    assert all(b["count"] == results["test"]["count"] for b in results["baselines"].values())
    values = np.load(options.data.path)  # (T, N, C) with NaN
    mean = np.nanmean(values[:42], axis=0)  # of the training period
    with np.load(folder.predictions) as saved:
        starts, target = saved["start"], saved["y_true"]
    errors = []
    for i, start in enumerate(starts):
        for node, channel in np.ndindex(5, 2):
            window = values[start : start + 4, node, channel]
            seen = window[~np.isnan(window)]
            last = seen[-1] if seen.size else mean[node, channel]
            errors.append(np.abs(last - target[i, node, :, channel]))
    assert results["baselines"]["persistence"]["global"]["mae"] == pytest.approx(np.nanmean(errors), rel=1e-5)


def test_the_facts_of_the_run(finished):
    _, _, results = finished
    assert results["windows"] == {"train": 37, "val": 1, "test": 7}
    assert (results["nodes"], results["epochs"], results["seed"], results["model"]) == (5, 2, 42, "spectranet")
    assert results["best_epoch"] in (0, 1)
    assert results["seconds_per_epoch"] > 0
    assert results["peak_memory_mb"]["process"] > 50
    assert results["channels"] is None


def test_the_best_checkpoint_makes_the_predictions(finished):
    folder, _, results = finished
    model = load_forecaster(folder.path)
    assert results["parameters"] == sum(p.numel() for p in model.parameters())
    state = read_checkpoint(folder.best)
    assert "optimizer_states" not in state
    with folder.metrics.open() as file:
        errors = [float(row["val_rmse"]) for row in csv.DictReader(file) if row["val_rmse"]]
    assert results["best_val_rmse"] == pytest.approx(min(errors), rel=1e-6)
    assert results["best_epoch"] == int(np.argmin(errors))


def test_the_configuration_is_complete_and_gives_the_same_bits(finished, tmp_path):
    folder, options, results = finished
    stored = read_config(folder.config)
    assert stored.model.dropout == 0.1, "values of the preset are written out"
    assert stored.model.num_neighbors == 4, "no more neighbours than other nodes"
    assert stored.data == dataclasses.replace(options.data)
    again = dataclasses.replace(stored, output=str(tmp_path / "again"))
    assert train(again)["test"] == results["test"]
    first, second = (load_forecaster(p).state_dict() for p in (folder.path, tmp_path / "again"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert folder.metrics.read_text() == RunFolder(tmp_path / "again").metrics.read_text()


def test_environment(finished):
    folder, _, _ = finished
    environment = json.loads(folder.environment.read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["threads"] == torch.get_num_threads()
    assert {"command", "seed", "platform", "python", "git_commit", "stgraph"} <= set(environment)


def test_the_four_files_of_the_original(finished):
    folder, _, results = finished
    base = "spectranet_full_allch_NODE"
    content = torch.load(folder.path / f"{base}.pt", weights_only=True)
    assert set(content) == {"model", "cfg", "scaler", "channels", "channel_names"}
    model = load_forecaster(folder.path)
    model.load_state_dict(content["model"])
    assert torch.equal(content["scaler"]["center"], model.scaler.center)
    assert content["channels"] == [0, 1]
    prediction, target = (np.load(folder.path / f"{base}_{n}_test.npy") for n in ("y_pred", "y_true"))
    with np.load(folder.predictions) as saved:
        assert prediction.shape == target.shape == (7, 2, 1, 5, 2)  # windows, steps, H, W, channels
        np.testing.assert_array_equal(prediction[3, 1, 0], saved["y_pred"][3, :, 1])
        np.testing.assert_array_equal(target[3, 1, 0], saved["y_true"][3, :, 1])
    written = json.loads((folder.path / f"{base}_results.json").read_text())
    assert written["final_metrics"]["global"] == results["test"]["global"]
    assert written["best_val_rmse"] == results["best_val_rmse"]
    assert written["channels"] == [0, 1]
    assert written["config"]["model"]["d_model"] == 8


def test_grid_crop_channels_and_one_step(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "series.npy", 10 + rng.normal(size=(60, 4, 5, 3)).cumsum(0))
    options = small_options(tmp_path)
    options.data.coords, options.data.horizon = None, 1
    options.data.crop, options.data.crop_size, options.data.channels = "center", 3, [0, 2]
    options.baselines = ["persistence"]
    results = train(options)
    base = RunFolder(options.output).path / "spectranet_center3_ch0_2"
    assert results["nodes"] == 9
    assert np.load(f"{base}_y_pred_test.npy").shape == (8, 3, 3, 2)  # as the original: no axis for the one step
    assert torch.load(f"{base}.pt", weights_only=True)["channels"] == [0, 2]


def test_training_and_test_period_in_two_files(tmp_path):
    write_series(tmp_path, channels=1)
    write_series(tmp_path, "later", steps=30, seed=7)
    options = small_options(tmp_path)
    options.data.test = str(tmp_path / "later.npy")
    results = train(options)
    assert results["windows"] == {"train": 49, "val": 1, "test": 25}
    with np.load(RunFolder(options.output).predictions) as saved:
        later = np.load(tmp_path / "later.npy")
        np.testing.assert_allclose(saved["y_true"][0, :, 0], later[4], rtol=1e-6)


def test_quantiles_are_calibrated(tmp_path):
    write_series(tmp_path, steps=400)
    options = small_options(tmp_path, baselines=[])
    options.model.quantiles, options.data.split = [0.1, 0.5, 0.9], [2.0, 4.0, 4.0]
    options.trainer.max_epochs = 1
    results = train(options)
    model = load_forecaster(options.output)
    assert model.quantile_offset.abs().sum() > 0
    assert np.abs(np.array(results["test"]["quantiles"]["below"]) - [0.1, 0.5, 0.9]).max() < 0.05
    raw = dataclasses.replace(options, output=str(tmp_path / "raw"), calibrate=False)
    below = np.array(train(raw)["test"]["quantiles"]["below"])
    assert load_forecaster(raw.output).quantile_offset.abs().sum() == 0
    assert np.abs(below - [0.1, 0.5, 0.9]).max() > 0.05, "an untrained model is not calibrated by itself"


def test_several_seeds(tmp_path):
    write_series(tmp_path)
    options = small_options(tmp_path, seeds=2)
    results = train(options)
    runs = [json.loads((tmp_path / "run" / f"seed_{s}" / "results.json").read_text()) for s in (42, 43)]
    errors = [run["test"]["global"]["mae"] for run in runs]
    assert errors[0] != errors[1]
    assert results["mean"]["mae"] == pytest.approx(np.mean(errors))
    assert results["std"]["mae"] == pytest.approx(np.std(errors, ddof=1))
    assert results["baselines"] == runs[0]["baselines"]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["seeds"] == [42, 43]
    with pytest.raises(OutputExistsError):
        train(options)


def test_summary_of_one_number():
    run = {"model": "m", "test": {"global": {"mae": 1.0}}, "baselines": {}, "seconds_per_epoch": 1.0}
    other = {**run, "test": {"global": {"mae": 3.0}}}
    assert summarise([0, 1], [run, other])["std"] == {"mae": pytest.approx(2**0.5)}


def test_a_model_without_parameters_is_evaluated(tmp_path):
    write_series(tmp_path)
    options = small_options(tmp_path)
    options.model = dataclasses.replace(RunOptions().model, name="persistence")
    results = train(options)
    assert results["parameters"] == 0
    assert results["test"] == results["baselines"]["persistence"]
    assert load_forecaster(options.output).fitted


def test_another_model(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "mlp", "tests.tasks.stand_in:MLPForecaster")
    write_series(tmp_path)
    options = small_options(tmp_path)
    options.model = dataclasses.replace(RunOptions().model, name="mlp")
    assert train(options)["parameters"] > 0
    options.model.d_model = 4
    with pytest.raises(InputError, match=r"model\.d_model does not apply to the model 'mlp'"):
        train(dataclasses.replace(options, output=str(tmp_path / "other")))


def test_another_temporal_layer(tmp_path):
    write_series(tmp_path)
    options = small_options(tmp_path, baselines=[])
    options.model.temporal, options.trainer.max_epochs = "afno", 1
    results = train(options)
    assert read_config(RunFolder(options.output).config).model.temporal == "afno"
    loaded = load_forecaster(options.output)
    assert type(loaded.temporal.layer.layer).__name__ == "AFNOMixing"
    assert results["parameters"] == sum(p.numel() for p in loaded.parameters())


def existing_run(tmp_path):
    """A run that only has a configuration and a note."""
    write_series(tmp_path)
    options = small_options(tmp_path)
    folder = RunFolder(options.output)
    folder.path.mkdir()
    folder.config.write_text(yaml.safe_dump({"seed": 1}))
    (folder.path / "note.txt").write_text("precious")
    return options, folder


def test_an_existing_run_is_never_lost(tmp_path):
    options, folder = existing_run(tmp_path)
    with pytest.raises(OutputExistsError, match="use --overwrite"):
        train(options)
    assert (folder.path / "note.txt").read_text() == "precious"


def test_overwriting_keeps_the_old_run_until_the_new_one_has_begun(tmp_path, monkeypatch):
    options, folder = existing_run(tmp_path)
    options = dataclasses.replace(options, overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr("lightning.pytorch.Trainer.fit", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(options)
    assert (folder.path / "note.txt").read_text() == "precious"
    broken = dataclasses.replace(options, data=dataclasses.replace(options.data, horizon=100))
    with pytest.raises(InputError):
        train(broken)
    assert (folder.path / "note.txt").read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["run"]
    train(options)
    assert folder.results.is_file()
    assert not (folder.path / "note.txt").exists()
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["run"]


def test_a_folder_that_holds_no_run_is_never_overwritten(tmp_path):
    options, folder = existing_run(tmp_path)
    folder.config.unlink()
    for switches in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(OutputExistsError, match="holds no run"):
            train(dataclasses.replace(options, **switches))
    assert (folder.path / "note.txt").read_text() == "precious"


def test_an_empty_folder_may_be_used(tmp_path):
    write_series(tmp_path)
    options = small_options(tmp_path, baselines=[])
    (tmp_path / "run").mkdir()
    train(options)
    assert RunFolder(options.output).results.is_file()


def test_resuming(finished, tmp_path):
    folder, options, results = finished
    written = folder.metrics.read_text()
    again = train(dataclasses.replace(options, resume=True))
    assert again["test"] == results["test"]
    assert folder.metrics.read_text() == written
    changed = dataclasses.replace(
        options, resume=True, optimizer=dataclasses.replace(options.optimizer, learning_rate=1.0)
    )
    with pytest.raises(InputError, match=r"cannot resume with optimizer\.learning_rate = 1\.0: .* has 0\.0005"):
        train(changed)
    fresh = dataclasses.replace(options, resume=True, output=str(tmp_path / "fresh"))
    assert train(fresh)["test"] == results["test"], "without a run to continue, one is started"


def test_resuming_with_another_number_of_threads_is_told(tmp_path, caplog):
    write_series(tmp_path)
    options = small_options(tmp_path, baselines=[])
    train(options)
    folder = RunFolder(options.output)
    train(dataclasses.replace(options, resume=True))
    assert "began with other" not in caplog.text
    environment = json.loads(folder.environment.read_text())
    assert len(environment["resumed"]) == 1
    folder.environment.write_text(json.dumps({**environment, "threads": 99}))
    train(dataclasses.replace(options, resume=True))
    assert "began with other threads" in caplog.text


def test_resuming_from_a_damaged_checkpoint(tmp_path):
    write_series(tmp_path)
    options = small_options(tmp_path, baselines=[])
    train(options)
    last = RunFolder(options.output).last
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be read"):
        train(dataclasses.replace(options, resume=True))


def test_determinism_is_switched_back(finished):
    assert not torch.are_deterministic_algorithms_enabled()


def test_tensorboard_logs(tmp_path):
    pytest.importorskip("tensorboard")
    write_series(tmp_path)
    options = small_options(tmp_path, baselines=[])
    options.trainer.tensorboard = True
    train(options)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_what_the_package_exports():
    import stgraph.tasks

    for name in stgraph.tasks.__all__:
        assert getattr(stgraph.tasks, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        stgraph.tasks.nothing  # noqa: B018
