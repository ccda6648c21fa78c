from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
import torch

from stgraph.models.options import LossOptions
from stgraph.nn.losses import ForecastLoss
from stgraph.tasks.checkpoints import MONITOR, load_forecaster, read_checkpoint
from stgraph.tasks.forecasting import Forecasting
from stgraph.tasks.optimization import step_seed
from stgraph.tasks.options import OptimizerOptions
from tests.tasks.stand_in import MLPForecaster, make_datamodule, make_series
from tests.tasks.training import fit, same_bits, weights


def log(folder):
    with folder.metrics.open(newline="") as file:
        return list(csv.DictReader(file))


def column(folder, name):
    return [float(row[name]) for row in log(folder) if row.get(name)]


def test_training_reduces_the_loss_and_the_error(tmp_path):
    _, folder, _ = fit(tmp_path, max_epochs=12)
    loss, error = column(folder, "train_loss"), column(folder, "val_rmse")
    assert loss[-1] < 0.7 * loss[0]
    assert error[-1] < 0.7 * error[0]


def test_the_log_has_a_row_for_every_interval_and_epoch(tmp_path):
    _, folder, trainer = fit(tmp_path, max_epochs=3, log_every_n_steps=2)
    assert trainer.global_step == 15
    rows = log(folder)
    assert [int(r["step"]) for r in rows if r["train_loss_step"]] == [2, 4, 6, 8, 10, 12, 14]
    assert [(int(r["step"]), int(r["epoch"])) for r in rows if r["train_loss"]] == [(5, 0), (10, 1), (15, 2)]
    assert list(rows[0])[:2] == ["step", "epoch"]


def test_epoch_loss_is_the_mean_over_windows(tmp_path):
    """The last batch is smaller: the mean of the batches' means would be another number."""
    data = make_datamodule(batch_size=30)
    sizes = [batch.start.numel() for batch in data.loader("train")]
    assert len(set(sizes)) > 1
    _, folder, _ = fit(tmp_path, data=data, max_epochs=1, log_every_n_steps=1)
    expected = np.average(column(folder, "train_loss_step"), weights=sizes)
    assert column(folder, "train_loss") == [pytest.approx(expected, rel=1e-6)]


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_validation_error_is_that_of_numpy_over_all_targets(tmp_path, missing):
    data = make_datamodule(make_series(missing=missing, channels=2), batch_size=7)
    task, folder, _ = fit(tmp_path, data=data, max_epochs=1)
    errors = []
    with torch.no_grad():
        for batch in data.loader("val"):
            error = (task.model.eval()(batch) - batch.y).double().numpy()
            errors.append(error[batch.y_mask.numpy()] if missing else error.ravel())
    errors = np.concatenate(errors)
    assert column(folder, "val_rmse") == [pytest.approx(np.sqrt((errors**2).mean()), rel=1e-6)]
    assert column(folder, "val_mae") == [pytest.approx(np.abs(errors).mean(), rel=1e-6)]


def test_same_seed_same_bits_other_seed_other_bits(tmp_path):
    first, folder, _ = fit(tmp_path / "a")
    torch.rand(7)  # whatever happens between two runs
    second, other_folder, _ = fit(tmp_path / "b")
    assert same_bits(weights(first), weights(second))
    assert folder.metrics.read_text() == other_folder.metrics.read_text()
    third, _, _ = fit(tmp_path / "c", seed=2)
    assert not same_bits(weights(first), weights(third))


def test_validation_disturbs_nothing(tmp_path):
    first, _, _ = fit(tmp_path / "a", schedule="constant")
    second, _, _ = fit(tmp_path / "b", schedule="constant", limit_val_batches=0)
    assert same_bits(weights(first), weights(second))


def test_dropout_differs_between_steps_and_processes():
    numbers = [(42, epoch, step, rank) for epoch in range(4) for step in range(4) for rank in range(3)]
    assert len({step_seed(*n) for n in numbers}) == len(numbers)
    assert all(0 <= step_seed(*n) < 2**63 for n in numbers)


@pytest.mark.parametrize(("schedule", "first"), [("cosine", 1e-2), ("one_cycle", 4e-4), ("constant", 1e-2)])
def test_schedules(tmp_path, schedule, first):
    _, folder, _ = fit(tmp_path, schedule=schedule, max_epochs=4)
    rates = column(folder, "learning_rate")
    cosine = [0.5e-2 * (1 + np.cos(np.pi * epoch / 4)) for epoch in range(4)]
    if schedule == "one_cycle":
        assert max(rates) > rates[-1]
        assert rates[-1] < first
    else:
        assert rates == pytest.approx(cosine if schedule == "cosine" else [first] * 4)


def test_one_cycle_ends_with_the_last_step(tmp_path):
    """One step more would raise an error, one less would leave the rate above its end."""
    _, _, trainer = fit(tmp_path, schedule="one_cycle", max_epochs=2, limit_train_batches=3)
    scheduler = trainer.lr_scheduler_configs[0].scheduler
    assert scheduler.total_steps == trainer.global_step == 6


def test_best_checkpoint_has_the_lowest_validation_error(tmp_path):
    _, folder, _ = fit(tmp_path, schedule="constant", max_epochs=6, dropout=0.5)
    errors = column(folder, "val_rmse")
    state = read_checkpoint(folder.last)["callbacks"]["RunCheckpoints"]
    assert state["best_epoch"] == int(np.argmin(errors))
    assert state["best_score"] == pytest.approx(min(errors), rel=1e-6)
    data, model = make_datamodule(), MLPForecaster(1, 4, 2)
    best = read_checkpoint(folder.best)["state_dict"]
    model.load_state_dict({k.removeprefix("model."): v for k, v in best.items() if k.startswith("model.")})
    square, count = 0.0, 0
    with torch.no_grad():
        for batch in data.loader("val"):
            square += float((model.eval()(batch) - batch.y).double().square().sum())
            count += batch.y.numel()
    assert (square / count) ** 0.5 == pytest.approx(min(errors), rel=1e-6)


def test_early_stopping(tmp_path):
    _, folder, trainer = fit(tmp_path, schedule="constant", max_epochs=50, early_stopping=2)
    errors = column(folder, "val_rmse")
    assert len(errors) < 50
    assert min(errors) == min(errors[:-2])
    assert np.argmin(errors) == len(errors) - 3
    assert trainer.should_stop


def test_gradients_are_clipped(tmp_path, monkeypatch):
    norms = []

    def clip(self, optimizer, *args, **kwargs):
        before = total_norm(self)
        super(Forecasting, self).configure_gradient_clipping(optimizer, *args, **kwargs)
        norms.append((before, total_norm(self)))

    monkeypatch.setattr(Forecasting, "configure_gradient_clipping", clip, raising=False)
    fit(tmp_path, gradient_clip_val=1e-3, max_epochs=1)
    assert all(before > 1e-2 and after == pytest.approx(1e-3, rel=1e-3) for before, after in norms)


def total_norm(task):
    return float(torch.stack([p.grad.norm() for p in task.parameters()]).norm())


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions(tmp_path, precision):
    task, folder, _ = fit(tmp_path, precision=precision, max_epochs=2)
    assert all(np.isfinite(column(folder, "train_loss")))
    expected = torch.float64 if precision == "64-true" else torch.float32
    assert task.model.net[0].weight.dtype == expected


def test_quantile_outputs_train(tmp_path):
    data = make_datamodule()
    model = MLPForecaster(1, 4, 2, quantiles=[0.1, 0.5, 0.9])
    _, folder, _ = fit(tmp_path, data=data, model=model, max_epochs=3)
    assert len(column(folder, "val_pinball")) == 3


def test_compilation_is_a_switch(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda f: compiled.append(f) or f)
    model = MLPForecaster(1, 4, 2)
    plain = Forecasting(model)
    assert not compiled
    task = Forecasting(model, compile=True)
    assert compiled == [model.forward_scaled]
    assert task.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.slow
def test_compiled_training_gives_the_same_numbers(tmp_path):
    data = make_datamodule()
    batch = next(iter(data.loader("train")))
    torch.manual_seed(0)
    model = MLPForecaster(1, 4, 2).fit(data.train_series).eval()
    plain, compiled = (Forecasting(model, compile=c)(batch) for c in (False, True))
    torch.testing.assert_close(plain, compiled)


def test_weighted_parts_of_a_batch_add_up_to_the_whole(monkeypatch):
    """The mean of the losses of two processes, with their weights, is the loss of the batch; also of their gradients."""
    data = make_datamodule(make_series(missing=0.5, grid=(1, 5)), batch_size=7)
    torch.manual_seed(0)
    model = MLPForecaster(1, 4, 2, dropout=0.0).fit(data.train_series)
    loss = ForecastLoss(**dataclasses.asdict(LossOptions()))
    whole = next(iter(data.loader("train")))
    expected = gradient(model, loss, whole, 1.0, 1.0)
    parts = [next(iter(data.loader("train", rank=rank, world_size=2))) for rank in range(2)]
    observed = torch.tensor([float(part.y_mask.sum()) for part in parts])
    windows = torch.tensor([float(part.start.numel()) for part in parts])
    assert observed[0] != observed[1]
    found = [
        gradient(model, loss, part, observed[i] * 2 / observed.sum(), windows[i] * 2 / windows.sum())
        for i, part in enumerate(parts)
    ]
    for value, pair in zip(expected, zip(*found, strict=True), strict=True):
        torch.testing.assert_close(value, (pair[0] + pair[1]) / 2)


def gradient(model, loss, batch, observed_weight, batch_weight):
    prediction, regulariser = model.forward_scaled(batch)
    target = model.scaler.transform(batch.y)
    total = loss(prediction, target, batch.y_mask, batch, regulariser, observed_weight, batch_weight).total
    return [total.detach(), *torch.autograd.grad(total, list(model.parameters()))]


def test_a_checkpoint_rebuilds_its_model(tmp_path, monkeypatch):
    from stgraph.models import MODELS

    monkeypatch.setitem(MODELS, "mlp", "tests.tasks.stand_in:MLPForecaster")
    description = {"name": "mlp", "arguments": {"in_channels": 1, "input_steps": 4, "horizon": 2}}
    monkeypatch.setattr(
        "tests.tasks.training.Forecasting", lambda *a, **k: Forecasting(*a, **k, description=description)
    )
    task, folder, _ = fit(tmp_path, max_epochs=1)
    batch = next(iter(make_datamodule().loader("test")))
    with torch.no_grad():
        torch.testing.assert_close(load_forecaster(folder.best)(batch), task.model.eval()(batch), rtol=0, atol=0)


def test_forward_and_steps_outside_of_training():
    data = make_datamodule()
    task = Forecasting(MLPForecaster(1, 4, 2).fit(data.train_series), optimizer=OptimizerOptions()).eval()
    batch = next(iter(data.loader("test")))
    assert torch.equal(task.predict_step(batch, 0), task.model(batch))
    task.test_step(batch, 0)
    assert task.test_metrics.compute()["count"] == batch.y.numel()
    assert MONITOR == "val_rmse"


def test_the_check_before_training_changes_nothing_and_names_unused_parameters():
    data = make_datamodule()
    model = MLPForecaster(1, 4, 2).fit(data.train_series)
    task, batch = Forecasting(model), next(iter(data.loader("train")))
    before, state = weights(task), torch.get_rng_state()
    assert task.check(batch) == []
    assert same_bits(before, weights(task))
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in task.parameters())
    assert task.training
    model.register_parameter("idle", torch.nn.Parameter(torch.zeros(1)))
    assert task.check(batch) == ["model.idle"]
