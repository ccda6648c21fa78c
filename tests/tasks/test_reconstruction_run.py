"""Reconstruction runs from options to the files of their folder."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.trainer.states import TrainerFn
from torch_geometric.data import Data

from stgraph.data.light_curves import select_curves, spectra_of, write_light_curves, write_spectra
from stgraph.errors import CheckpointError, InputError, OutputExistsError
from stgraph.models.autoencoders import SeriesReconstructor
from stgraph.nn.reconstruction_loss import ReconstructionLoss
from stgraph.tasks.checkpoints import RunCheckpoints, read_checkpoint, write_tensors
from stgraph.tasks.folder import RunFolder, read_options, reconstruction_output
from stgraph.tasks.optimization import make_optimizer
from stgraph.tasks.options import OptimizerOptions
from stgraph.tasks.reconstruction import Reconstruction
from stgraph.tasks.reconstruction_data import ReconstructionData
from stgraph.tasks.reconstruction_inference import LoadedReconstruction
from stgraph.tasks.reconstruction_input import kind_of, with_spectra
from stgraph.tasks.reconstruction_options import ReconstructionOptions
from stgraph.tasks.reconstruction_run import load_reconstructor, train_reconstruction
from stgraph.tasks.reproduce import reproduce_run
from tests.tasks.small_reconstructions import make_curves, reconstruction_options, write_curves


def rows_of(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(folder, name):
    return [float(row[name]) for row in rows_of(folder) if row[name]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with curves and a run of three epochs on them."""
    folder = tmp_path_factory.mktemp("reconstruction")
    write_curves(folder)
    options = reconstruction_options(folder)
    options.trainer.max_epochs = 3
    return folder, options, train_reconstruction(options)


def test_the_folder_holds_all_about_the_run(trained):
    folder, options, results = trained
    run = RunFolder(folder / "run")
    assert {p.name for p in run.path.iterdir()} >= {
        "config.yaml",
        "environment.json",
        "checkpoints",
        "metrics.csv",
        "results.json",
        "errors.csv",
    }
    stored = read_options(run.config, ReconstructionOptions)
    assert stored.model == options.model
    assert stored.data.kind == "light_curves"
    assert stored.optimizer.weight_decay == 0.01  # the documented one of the transformer
    assert json.loads(run.results.read_text())["errors"] == results["errors"]
    assert results["parameters"] == sum(p.numel() for p in load_reconstructor(run.path).parameters())


def test_results_have_hidden_and_visible_errors_beside_simple_reconstructions(trained):
    _, _, results = trained
    assert set(results["errors"]) == {"hidden", "visible", "all"}
    assert set(results["baselines"]) == {"linear_interpolation", "zero", "training_mean"}
    counts = {part: results["errors"][part]["count"] for part in results["errors"]}
    assert counts["hidden"] + counts["visible"] == counts["all"]
    assert results["baselines"]["linear_interpolation"]["visible"]["mse"] == 0
    assert "reduced_chi2" in results["errors"]["hidden"]  # the curves have measurement errors
    assert set(results["by"]["lc_type"]) <= {"fast", "slow"}
    by_class = results["by"]["lc_type"].values()
    total = sum(entry["all"] * entry["count"] for entry in by_class) / sum(entry["count"] for entry in by_class)
    assert total == pytest.approx(results["errors"]["all"]["mse"])


def test_the_table_has_a_row_for_each_stretch(trained):
    folder, _, results = trained
    with (folder / "run" / "errors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    squares = sum(float(r["hidden_mse"]) * float(r["hidden_count"]) for r in rows if float(r["hidden_count"]))
    count = sum(float(r["hidden_count"]) for r in rows)
    assert squares / count == pytest.approx(results["errors"]["hidden"]["mse"])
    assert len({row["series"] for row in rows}) == 5  # a fifth of 24 stars


def test_training_lowers_the_errors_and_the_best_epoch_is_kept(trained):
    folder, _, results = trained
    hidden = column(folder / "run", "val_masked")
    loss = column(folder / "run", "train_loss")
    assert loss[-1] < loss[0]
    assert results["best_epoch"] == int(np.argmin(hidden))
    assert results["best"]["val_masked"] == pytest.approx(min(hidden))


def test_the_log_has_the_documented_lines(tmp_path, caplog):
    write_curves(tmp_path)
    options = reconstruction_options(tmp_path)
    with caplog.at_level(logging.INFO, logger="stgraph"):
        train_reconstruction(options)
    text = caplog.text
    for line in (
        "Using device: cpu",
        "Dataset statistics:",
        "  Shape: (24, ",
        "Dataset split:",
        "  Train: ",
        "  Val: ",
        "Model parameters: ",
        "Starting training for 2 epochs...",
        "Dynamic masking: block size [1, 8], mask ratio [10%, 70%]",
        "Epoch 1/2",
        "  Train - Loss: ",
        " | Masked: ",
        " | Unmasked: ",
        "  Val   - Loss: ",
        "  Saved best model to ",
    ):
        assert line in text


def test_one_cycle_goes_from_a_hundredth_to_the_peak_to_a_ten_thousandth(trained):
    folder, options, _ = trained
    state = read_checkpoint(folder / "run" / "checkpoints" / "last.ckpt")
    group = state["optimizer_states"][0]["param_groups"][0]
    assert group["initial_lr"] == pytest.approx(options.optimizer.learning_rate / 100)
    assert group["max_lr"] == pytest.approx(options.optimizer.learning_rate)
    assert group["min_lr"] == pytest.approx(options.optimizer.learning_rate / 1e4)
    assert column(folder / "run", "learning_rate")[-1] == pytest.approx(group["min_lr"])


class StopError(Exception):
    pass


def test_an_interrupted_run_continues_bit_for_bit(trained, tmp_path):
    folder, options, _ = trained
    options = dataclasses.replace(options, output=str(tmp_path / "run"))
    options.trainer = dataclasses.replace(options.trainer, checkpoint_every_n_steps=1)

    def stop(trainer, *_):
        if trainer.global_step == 5:
            raise StopError

    with pytest.raises(StopError):
        train_reconstruction(options, [LambdaCallback(on_train_batch_start=stop)])
    train_reconstruction(dataclasses.replace(options, resume=True))
    ours, theirs = (load_reconstructor(path / "run").state_dict() for path in (tmp_path, folder))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for name in ("train_loss", "train_masked", "val_masked", "val_unmasked"):
        assert column(tmp_path / "run", name) == column(folder / "run", name)


def test_two_processes_give_the_curve_of_one(tmp_path):
    write_curves(tmp_path)
    config = tmp_path / "config.yaml"
    options = reconstruction_options(tmp_path, "one")
    options.data.batch_size = 7
    train_reconstruction(options)
    config.write_text(yaml.safe_dump(dataclasses.asdict(dataclasses.replace(options, output=str(tmp_path / "two")))))
    command = [sys.executable, "-m", "stgraph", "lightcurve", "train", "--config", str(config), "--trainer.devices=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("train_loss_step", "train_loss", "train_masked", "val_masked", "val_unmasked"):
        assert column(tmp_path / "two", name) == pytest.approx(column(tmp_path / "one", name), rel=1e-4)


def test_a_run_is_reproduced_bit_for_bit(trained):
    folder, _, _ = trained
    (found,) = reproduce_run(folder / "run")
    assert found.equal
    assert found.environment == ()


def test_a_changed_run_is_told_from_its_repetition(trained, tmp_path):
    folder, _, _ = trained
    run = shutil.copytree(folder / "run", tmp_path / "run")
    lines = (run / "errors.csv").read_text().splitlines()
    (run / "errors.csv").write_text("\n".join([lines[0], lines[1].replace("star", "sun"), *lines[2:]]) + "\n")
    (found,) = reproduce_run(run)
    assert [difference.name for difference in found.predictions] == ["row 1"]
    assert not found.weights
    assert not found.metrics


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda o: setattr(o.data, "path", None), "no data"),
        (lambda o: setattr(o.model, "name", "vae"), "model.name is 'vae'"),
        (lambda o: setattr(o.data, "val", 0.0), "data.val is 0.0"),
        (lambda o: setattr(o.loss, "kind", "gaussian_nll"), "needs model.uncertainty"),
        (lambda o: setattr(o.masking, "min_block_size", 17), "masking.min_block_size is 17"),
        (lambda o: setattr(o.masking, "max_mask_ratio", 1.5), "0.1 to 1.5"),
        (lambda o: setattr(o.model, "arguments", {"heads": 2}), "no hyper-parameter 'heads'"),
        (lambda o: setattr(o.model, "neighbors", 2), "coordinates"),
        (lambda o: setattr(o.data, "test", 0.79), "leave none to train on"),
        (lambda o: setattr(o.data, "arguments", {"colour": 1}), "colour"),
        (lambda o: setattr(o.data, "shuffle_edges", True), "no effect without model.neighbors"),
        (lambda o: setattr(o.data, "steps_per_cycle", 12), "is for data.scaling 'climatology'"),
        (lambda o: setattr(o.data, "scaling", "climatology"), "data.steps_per_cycle is None"),
        (lambda o: setattr(o.model, "name", "multimodal"), "needs data.spectra"),
        (lambda o: setattr(o.loss, "max_horizon", 4), "needs model.name 'bidirectional_mingru'"),
        (lambda o: setattr(o.optimizer, "pct_start", 1.5), "pct_start is 1.5"),
    ],
)
def test_bad_options_are_refused_before_a_folder_is_made(tmp_path, change, words):
    write_curves(tmp_path)
    options = reconstruction_options(tmp_path)
    change(options)
    with pytest.raises(InputError, match=words):
        train_reconstruction(options)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_unasked(trained):
    _, options, _ = trained
    with pytest.raises(OutputExistsError, match="holds a run"):
        train_reconstruction(options)


def test_a_resumed_run_keeps_its_options(trained):
    _, options, _ = trained
    other = dataclasses.replace(options, seed=7, resume=True)
    with pytest.raises(InputError, match="cannot resume with seed = 7"):
        train_reconstruction(other)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.ckpt"
    write_tensors(path, {"state_dict": {}})
    with pytest.raises(CheckpointError, match="holds no autoencoder"):
        load_reconstructor(path)


def test_the_default_folder_names_data_and_model():
    options = ReconstructionOptions()
    options.data.path, options.model.name = "data/curves.h5", "mlp"
    assert reconstruction_output(options).replace(os.sep, "/") == "runs/curves-mlp"


@pytest.mark.parametrize("name", ["transformer", "unet", "mlp", "mingru"])
def test_documented_training_is_the_default(name):
    options = ReconstructionOptions()
    options.data.path, options.model.name = "curves.h5", name
    found = options.resolved()
    documented = {"transformer": (1e-4, 0.01, 32, 1.0), "unet": (1e-3, 1e-5, 64, None), "mlp": (1e-3, 1e-5, 128, None)}
    if name in documented:
        rate, decay, batch, clip = documented[name]
        assert found.optimizer.learning_rate == rate
        assert found.optimizer.weight_decay == decay
        assert found.data.batch_size == batch
        assert found.trainer.gradient_clip_val == clip
    assert found.resolved() == found
    assert ReconstructionOptions.from_dict(dataclasses.asdict(found)) == found


def test_a_model_of_several_modalities_reconstructs_series_and_spectra(tmp_path):
    curves = make_curves()
    write_light_curves(tmp_path / "curves.h5", curves)
    spectra = spectra_of(select_curves(curves, torch.arange(20)), bins=128)  # four stars have none
    write_spectra(tmp_path / "spectra.h5", spectra)
    options = reconstruction_options(tmp_path)
    options.data.spectra, options.model.name = str(tmp_path / "spectra.h5"), "multimodal"
    options.model.arguments = {
        "branch": "transformer",
        "branch_options": {"encoder_dims": [8, 8], "nhead": 2, "num_transformer_blocks": 1},
        "modalities": [["psd", "fstat"], "acf"],
        "latent_dim": 8,
        "embedding_dim": 8,
    }
    results = train_reconstruction(options)
    assert np.isfinite(results["errors"]["hidden"]["mse"])
    model = load_reconstructor(tmp_path / "run")
    data = ReconstructionData(with_spectra(curves, options.data.spectra), options.resolved())
    batch = next(iter(data.loader("train")))
    output = model(batch)
    assert output["latent"].shape == (5, 8)
    assert {name: tuple(value.shape) for name, value in output["spectra"].items()} == dict.fromkeys(
        ("psd", "fstat", "acf"), (5, 128)
    )
    # Stars without spectra do not count, whatever stands in their place.
    task = Reconstruction(model)
    batch.present[0] = False
    before = task.spectral_sums(batch, output)
    batch.spectra[0] = 1e6
    assert torch.equal(task.spectral_sums(batch, output), before)
    assert before[1] == int(batch.present.sum()) * 3 * 128


def test_spectra_of_other_stars_are_refused(tmp_path):
    curves = make_curves()
    write_light_curves(tmp_path / "curves.h5", curves)
    spectra = spectra_of(curves, bins=128)
    spectra.node_names = [f"other {name}" for name in spectra.node_names]
    write_spectra(tmp_path / "spectra.h5", spectra)
    options = reconstruction_options(tmp_path)
    options.data.spectra = str(tmp_path / "spectra.h5")
    with pytest.raises(InputError, match=r"is for model\.name 'multimodal'"):
        train_reconstruction(options)
    options.model.name, options.model.arguments = "multimodal", {}
    with pytest.raises(InputError, match="none of the 24 light curves, such as 'star 0'"):
        train_reconstruction(options)


def test_the_bounded_horizon_trains_the_bidirectional_network(tmp_path):
    write_curves(tmp_path)
    options = reconstruction_options(tmp_path)
    options.model.name, options.model.uncertainty = "bidirectional_mingru", True
    options.model.arguments = {"hidden_channels": 8}
    options.loss.max_horizon, options.trainer.max_epochs = 6, 4
    results = train_reconstruction(options)
    assert "hidden_coverage_0.9" in results["uncertainty"]
    loss = column(tmp_path / "run", "val_loss")
    assert loss[-1] < loss[0]


def test_spectra_that_a_file_lacks_are_not_asked_for(tmp_path):
    curves = make_curves()
    write_light_curves(tmp_path / "curves.h5", curves)
    spectra = spectra_of(curves, bins=128)
    spectra.x, spectra.channel_names = spectra.x[..., 1:2], ["acf"]
    write_spectra(tmp_path / "spectra.h5", spectra)
    joined = with_spectra(curves, str(tmp_path / "spectra.h5"))
    assert joined.spectra_names == ["acf"]
    assert torch.equal(joined.spectra, spectra.x)
    options = reconstruction_options(tmp_path)
    options.data.spectra, options.model.name = str(tmp_path / "spectra.h5"), "multimodal"
    options.model.arguments = {"branch": "mingru", "branch_options": {"encoder_dims": [4]}, "modalities": ["acf"]}
    options.trainer.max_epochs = 1
    assert np.isfinite(train_reconstruction(options)["errors"]["hidden"]["mse"])
    options = dataclasses.replace(options, output=str(tmp_path / "other"))
    options.trainer.devices = 2
    with pytest.raises(InputError, match="normalises over its batch"):
        train_reconstruction(options)


def test_spectra_of_another_grid_are_refused(tmp_path):
    curves = make_curves()
    for name, limits in (("spectra.h5", (0.1, 0.8)), ("other.h5", (0.1, 0.9))):
        write_spectra(tmp_path / name, spectra_of(curves, bins=16, frequency_range=limits))
    options = reconstruction_options(tmp_path)
    options.data.path, options.data.steps = str(tmp_path / "spectra.h5"), None
    options.model.name, options.model.arguments = "mlp", {"encoder_hidden_dims": [8]}
    options.trainer.max_epochs = 1
    train_reconstruction(options)
    run = LoadedReconstruction(tmp_path / "run")
    assert run.read().x.shape == (24, 16, 1)
    with pytest.raises(InputError, match=r"from 0.1 to 0.9 per day; the model was trained on 0.1 to 0.8"):
        run.read(str(tmp_path / "other.h5"))


def test_a_table_of_power_is_no_spectrum(tmp_path):
    with h5py.File(tmp_path / "wind.h5", "w") as file:
        file["power"] = np.ones((100, 5))
    assert kind_of(str(tmp_path / "wind.h5")) == "series"


@pytest.mark.parametrize("epochs", [1, 2, 5, 10])
def test_one_cycle_of_any_number_of_steps(epochs):
    class Counted:
        datamodule = None
        estimated_stepping_batches = epochs

    options = OptimizerOptions(schedule="one_cycle", learning_rate=1.0, pct_start=0.1)
    made = make_optimizer([torch.nn.Parameter(torch.zeros(1))], options, Counted())
    rates = []
    for _ in range(epochs):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert all(0 < rate <= 1 + 1e-6 for rate in rates)


def test_names_of_stars_are_no_classes(tmp_path):
    curves = make_curves(count=40)
    curves.metadata = {"star": np.array(curves.node_names), "file": np.array([f"{i}.fits" for i in range(40)])}
    write_light_curves(tmp_path / "curves.h5", curves)
    options = reconstruction_options(tmp_path)
    options.trainer.max_epochs = 1
    assert "by" not in train_reconstruction(options)


def test_an_epoch_without_a_validation_error_is_not_the_best(tmp_path):
    checkpoints = RunCheckpoints(tmp_path, monitor="val_masked")
    saved = []

    def after(value):
        trainer = SimpleNamespace(
            sanity_checking=False,
            state=SimpleNamespace(fn=TrainerFn.FITTING),
            callback_metrics={"val_masked": torch.tensor(value)},
            current_epoch=len(saved),
            save_checkpoint=lambda *_, **__: saved.append(value),
        )
        checkpoints.on_validation_end(trainer, None)

    for value in (float("nan"), 0.5, float("nan"), 0.7):
        after(value)
    assert saved[1:] == [0.5]
    assert checkpoints.best_score == 0.5


def test_sums_at_a_horizon_count_points_with_visible_sources_alone():
    torch.manual_seed(0)
    model = SeriesReconstructor("bidirectional_mingru", 1, 8, {"hidden_channels": 4}, uncertainty=True)
    task = Reconstruction(model, ReconstructionLoss("gaussian_nll"), max_horizon=3)
    mask = torch.ones(1, 8, 1, dtype=torch.bool)
    hidden = torch.zeros_like(mask)
    hidden[0, 2] = True
    batch = Data(x=torch.randn(1, 8, 1), mask=mask, hidden=hidden, batch_size=1)
    output = model(batch)
    sums = task.horizon_sums(batch, output, 2)
    # Of the points 2 to 5, which have points two steps before and after, point 4 lacks its visible source at 2.
    assert (sums.hidden_count, sums.visible_count) == (1, 2)
    mean, log_variance = model.autoencoder.predict(output, 2)
    expected = -torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(batch.x)
    torch.testing.assert_close(sums.visible, expected[0, [3, 5], 0].sum())
    torch.testing.assert_close(sums.hidden, expected[0, 2, 0])
