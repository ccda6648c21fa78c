from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from stgraph.data.datamodule import SeriesDataModule
from stgraph.data.windows import WindowLoader
from stgraph.errors import InputError
from stgraph.tasks.checkpoints import load_forecaster
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.options import DataOptions
from stgraph.tasks.protocols import PROTOCOLS, fit_under_protocol, protocol_datamodule, step_weights
from stgraph.tasks.run import prepare, train
from stgraph.tasks.series import make_datamodule
from tests.tasks.small_runs import small_options, write_series
from tests.tasks.stand_in import MLPForecaster, make_series

P, Q = 4, 2
HARNESSES = [name for name in PROTOCOLS if name != "strict"]


def options(**arguments):
    return DataOptions(**{"input_steps": P, "horizon": Q, "batch_size": 16, **arguments})


def series(missing=0.3, **arguments):
    data = make_series(nodes=4, steps=120, missing=missing, **arguments)
    data.x[0, ::7] = 0.0  # zeros that were measured
    data.x[1, 5] = 3e-5  # and a value that some take for a null
    return data


def module(name, data=None, family="speed", **arguments):
    return protocol_datamodule(series() if data is None else data, options(**arguments), 1, PROTOCOLS[name], family)


def gather(data, loader, key):
    """All windows of a loader and, in their order, the same windows of a series."""
    steps = torch.arange(P + Q)
    batches = list(loader)
    index = torch.cat([batch.start for batch in batches]).unsqueeze(1) + steps
    return torch.cat([batch[key] for batch in batches]), data[:, index].movedim(1, 0)


@pytest.mark.parametrize("name", HARNESSES)
def test_the_windows_are_those_of_the_protocol(name):
    for family in ("speed", "flow"):
        expected = PROTOCOLS[name].starts(120, P, Q, family)
        starts = module(name, family=family).starts
        assert all(torch.equal(starts[stage], expected[stage]) for stage in ("train", "val", "test"))


@pytest.mark.parametrize("name", [name for name in HARNESSES if name != "tsl"])
@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_nulls_are_fed_as_zeros(name, stage):
    data = series()
    loader = module(name, data).loader(stage)
    assert all(batch.get("x_mask") is None for batch in loader)
    found, expected = gather(data.x, loader, "x")
    assert torch.equal(found, expected[:, :, :P])
    assert (found == 0).any()


def test_tsl_fills_speeds_forward_and_flows_with_zeros():
    data = series()
    found, _ = gather(data.x, module("tsl", data).loader("train"), "x")
    filled, last = data.x.clone(), torch.zeros(4, 1)
    for step in range(120):
        last = torch.where(data.mask[:, step], data.x[:, step], last)
        filled[:, step] = last
    _, expected = gather(filled, module("tsl", data).loader("train"), "x")
    assert torch.equal(found, expected[:, :, :P])
    found, expected = gather(data.x, module("tsl", data, "flow").loader("train"), "x")
    assert torch.equal(found, expected[:, :, :P])


@pytest.mark.parametrize(
    ("name", "family", "counts"),
    [
        ("dcrnn", "speed", lambda x, mask: x != 0),
        ("dcrnn", "flow", lambda x, mask: torch.ones_like(mask)),
        ("basicts", "flow", lambda x, mask: x.abs() > 5e-5),
        ("tsl", "speed", lambda x, mask: mask),
        ("tsl", "flow", lambda x, mask: torch.ones_like(mask)),
        ("largest", "largest", lambda x, mask: x != 0),
        ("libcity", "flow", lambda x, mask: x.abs() > 1e-4),
    ],
)
def test_targets_of_the_loss(name, family, counts):
    data = series()
    loaders = module(name, data, family)
    for stage in ("train", "val"):
        found, expected = gather(counts(data.x, data.mask), loaders.loader(stage), "y_mask")
        assert torch.equal(found, expected[:, :, P:])
    found, expected = gather(data.mask, loaders.loader("test"), "y_mask")
    assert torch.equal(found, expected[:, :, P:])


def test_a_complete_series_has_no_mask_but_that_of_the_loss():
    data = series(missing=0.0)
    assert all(batch.get("y_mask") is None for batch in module("tsl", data).loader("train"))
    assert not all(batch.y_mask.all() for batch in module("dcrnn", data).loader("train"))
    assert data.get("mask") is None  # the series itself is left alone
    with pytest.raises(InputError, match="validation period: no target"):
        module("dcrnn", Data(x=torch.where(torch.arange(120) < 80, 1.0, 0.0).view(1, 120, 1)))


def materialised(data, starts, per="channel"):
    """Mean and deviation of the inputs of the training windows, zeros included, by gathering them all."""
    values = data.x.double()[:, starts.unsqueeze(1) + torch.arange(P)]  # [N, S, P, C]
    dims = (0, 1, 2) if per == "channel" else (1, 2)
    return values.mean(dims), values.std(dims, correction=0)


@pytest.mark.parametrize("name", ["dcrnn", "libcity"])
@pytest.mark.parametrize("per", ["channel", "node"])
def test_the_scaler_of_the_training_windows(name, per):
    data = series(channels=2)
    loaders = module(name, data)
    model = MLPForecaster(2, P, Q, num_nodes=4)
    if per == "node":
        model.scaler = type(model.scaler)(2, 4, per="node")
    model.fit(loaders.train_series)
    fit_under_protocol(model, loaders, name)
    mean, deviation = materialised(data, loaders.starts["train"], per)
    torch.testing.assert_close(model.scaler.center.squeeze(1), mean.float().view(-1, 2))
    torch.testing.assert_close(model.scaler.scale.squeeze(1), deviation.float().view(-1, 2))


@pytest.mark.parametrize(
    ("name", "family", "end"),
    [
        ("basicts", "speed", 84),  # 70 % of 120 steps
        ("basicts", "flow", 72),
        ("largest", "largest", 68),  # 60 % of 115 windows is 69, where validation begins, less one
    ],
)
def test_the_scaler_of_the_training_steps(name, family, end):
    data = series()
    loaders = module(name, data, family)
    model = MLPForecaster(1, P, Q).fit(loaders.train_series)
    fit_under_protocol(model, loaders, name, family)
    values = data.x[:, :end].double()
    assert float(model.scaler.center) == pytest.approx(float(values.mean()), rel=1e-6)
    assert float(model.scaler.scale) == pytest.approx(float(values.std(correction=0)), rel=1e-6)


@pytest.mark.parametrize(("name", "scaler"), [("tsl", "standard"), ("strict", "standard"), ("dcrnn", "robust")])
def test_scalers_that_are_left_as_they_were_fitted(name, scaler):
    from stgraph.nn.scalers import make_scaler

    data = series()
    loaders = module("dcrnn", data)
    model = MLPForecaster(1, P, Q)
    model.scaler = make_scaler(scaler, 1)
    model.fit(loaders.train_series)
    before = [model.scaler.center.clone(), model.scaler.scale.clone()]
    fit_under_protocol(model, loaders, name)
    fit_under_protocol(model, loaders, None)
    assert torch.equal(model.scaler.center, before[0])
    assert torch.equal(model.scaler.scale, before[1])


def test_a_constant_series_keeps_its_unit():
    loaders = module("dcrnn", Data(x=torch.full((1, 120, 1), 7.0)))
    model = MLPForecaster(1, P, Q)
    fit_under_protocol(model, loaders, "dcrnn")
    assert (float(model.scaler.center), float(model.scaler.scale)) == (7.0, 1.0)


def test_edges_weigh_less():
    starts = PROTOCOLS["dcrnn"].starts(120, P, Q, "speed")
    weights = step_weights(PROTOCOLS["dcrnn"], starts, 120, P)
    expected = torch.bincount((starts["train"].unsqueeze(1) + torch.arange(P)).flatten(), minlength=120)
    assert torch.equal(weights, expected.double())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test", "later.npy"),
        ("val_start", "2020-01-01"),
        ("stride", 2),
        ("period_break", 24),
        ("windows", "window_first"),
    ],
)
def test_options_that_a_protocol_fixes_are_refused(name, value):
    with pytest.raises(InputError, match=rf"data\.{name} is {value!r}, but the protocol 'tsl' fixes the split"):
        module("tsl", **{name: value})


def test_other_shares_are_not_used_and_that_is_said(caplog):
    with caplog.at_level(logging.WARNING, "stgraph"):
        assert torch.equal(module("dcrnn", split=[0.7, 0.1, 0.2]).starts["val"], module("dcrnn").starts["val"])
        assert not caplog.records
        assert torch.equal(module("dcrnn", split=[6, 2, 2]).starts["val"], module("dcrnn").starts["val"])
    assert "the protocol dcrnn splits [7, 1, 2], not [6, 2, 2]" in caplog.text


def test_strict_takes_the_split_of_the_options():
    data, asked = series(), options(split=[5, 3, 2], stride=2)
    plain, strict = (make_datamodule(data, None, asked, 1, protocol) for protocol in (None, "strict"))
    assert all(torch.equal(plain.starts[stage], strict.starts[stage]) for stage in plain.starts)
    assert all(batch.get("x_mask") is not None for batch in strict.loader("train"))


def test_a_loader_without_the_mask_of_the_input():
    data = series()
    with_mask, without = (WindowLoader(data, P, Q, input_mask=given) for given in (True, False))
    for one, other in zip(with_mask, without, strict=True):
        assert set(one.keys()) - set(other.keys()) == {"x_mask"}
        assert all(torch.equal(one[key], other[key]) for key in ("x", "y", "y_mask", "start"))


def test_windows_that_are_given():
    starts = {"train": torch.arange(5), "val": torch.tensor([9]), "test": torch.tensor([20, 30])}
    loaders = SeriesDataModule(series(), input_steps=P, horizon=Q, starts=starts)
    assert [batch.start.tolist() for batch in loaders.loader("test")] == [[20, 30]]

    def refused(match, **arguments):
        with pytest.raises(InputError, match=match):
            SeriesDataModule(series(), input_steps=P, horizon=Q, **arguments)

    refused("leave out", starts=starts, split=[7, 1, 2])
    refused("starts has", starts={"train": torch.arange(3)})
    refused("between 0 and 114", starts={**starts, "test": torch.tensor([115])})
    refused("at least one", starts={**starts, "val": torch.arange(0)})
    mask = torch.ones(4, 120, 1, dtype=torch.bool)
    refused("a batch has one mask", loss_mask=mask)
    refused("loss_mask has shape", loss_mask=mask[:1], input_mask=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("protocols")
    write_series(path, steps=80, missing=0.2)
    return path


def run(folder, output, **top):
    chosen = small_options(folder, output, baselines=[], **top)
    chosen.trainer.max_epochs = 1
    return train(chosen), RunFolder(folder / output)


def test_a_run_under_a_protocol(folder):
    results, made = run(folder, "dcrnn", protocol="dcrnn")
    starts = PROTOCOLS["dcrnn"].starts(80, P, Q, "speed")
    assert results["windows"] == {stage: len(values) for stage, values in starts.items()}
    with np.load(made.predictions) as saved:
        assert saved["start"].tolist() == starts["test"].tolist()
        assert not saved["y_mask"].all()
    values = np.nan_to_num(np.load(folder / "series.npy"))  # [T, N, C]
    windows = values[starts["train"].unsqueeze(1) + torch.arange(P)]
    scaler = load_forecaster(made.best).scaler
    assert float(scaler.center) == pytest.approx(windows.mean(), rel=1e-5)
    assert float(scaler.scale) == pytest.approx(windows.std(), rel=1e-5)


def test_strict_is_the_run_without_a_protocol(folder):
    (plain, made), (strict, same) = run(folder, "plain"), run(folder, "strict", protocol="strict")
    assert plain["test"] == strict["test"]
    first, second = (load_forecaster(one.best).state_dict() for one in (made, same))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_an_unknown_protocol_is_refused_before_anything_is_made(folder):
    with pytest.raises(InputError, match="did you mean 'dcrnn'"):
        prepare(dataclasses.replace(small_options(folder, "unknown"), protocol="dcrn"))
    with pytest.raises(InputError, match="did you mean 'dcrnn'"):
        run(folder, "unknown", protocol="dcrn")
    assert not (folder / "unknown").exists()
