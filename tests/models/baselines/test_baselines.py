"""What all baselines have in common."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.metrics import ForecastMetrics
from stgraph.models import MODELS, Climatology, Persistence, Ridge, get_model

BASELINES = [Persistence, Climatology, Ridge]
P, Q = 5, 3


def make(kind, data, **kwargs):
    nodes, _, channels = data.x.shape
    return kind(channels, P, Q, num_nodes=nodes, **kwargs)


@pytest.fixture(params=BASELINES, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_shape_dtype_and_no_parameters(kind, series, windows, missing):
    data = series(missing=missing)
    model = make(kind, data).fit(data)
    forecast, regulariser = model.forward_scaled(windows(data, P, Q))
    assert forecast.shape == (113, 4, Q, 2)
    assert forecast.dtype == torch.float32
    assert regulariser.item() == 0
    assert list(model.parameters()) == []
    torch.testing.assert_close(model(windows(data, P, Q)), forecast)


def test_saved_state_predicts_the_same(kind, series, windows):
    data = series()
    model = make(kind, data).fit(data)
    loaded = make(kind, data)
    loaded.load_state_dict(model.state_dict())
    batch = windows(data, P, Q)
    assert torch.equal(loaded(batch), model(batch))


def test_fitting_again_forgets_the_first_series(kind, series, windows):
    first, second = series(seed=1), series(seed=2)
    again = make(kind, first).fit(first).fit(second)
    batch = windows(second, P, Q)
    assert torch.equal(again(batch), make(kind, second).fit(second)(batch))


def test_order_of_nodes_is_kept(kind, series, windows):
    data, order = series(), torch.tensor([2, 0, 3, 1])
    shuffled = Data(x=data.x[order], mask=data.mask[order], time=data.time)
    ours = make(kind, shuffled).fit(shuffled)(windows(shuffled, P, Q))
    torch.testing.assert_close(ours, make(kind, data).fit(data)(windows(data, P, Q))[:, order])


def test_one_window_equals_its_place_in_the_batch(kind, series, windows):
    data = series()
    model = make(kind, data).fit(data)
    whole = model(windows(data, P, Q))
    for i in (0, 50, 112):
        torch.testing.assert_close(model(windows(data, P, Q, torch.tensor([i])))[0], whole[i])


def test_unobserved_values_cannot_influence_the_forecast(kind, series, windows):
    data = series()
    spoiled = Data(x=torch.where(data.mask, data.x, 1e6), mask=data.mask, time=data.time)
    ours = make(kind, spoiled).fit(spoiled)(windows(spoiled, P, Q))
    torch.testing.assert_close(ours, make(kind, data).fit(data)(windows(data, P, Q)))


def test_shifted_and_scaled_data_shift_and_scale_the_forecast(kind, series, windows):
    data = series()
    moved = Data(x=(3 * data.x - 100) * data.mask, mask=data.mask, time=data.time)
    ours = make(kind, moved).fit(moved)(windows(moved, P, Q))
    expected = 3 * make(kind, data).fit(data)(windows(data, P, Q)) - 100
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)


def test_empty_batch(kind, series, windows):
    data = series()
    forecast = make(kind, data).fit(data)(windows(data, P, Q, torch.zeros(0, dtype=torch.long)))
    assert forecast.shape == (0, 4, Q, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(kind, series, windows, dtype):
    data = series()
    model = make(kind, data).fit(data)
    batch = windows(data, P, Q)
    expected = model(batch)
    batch.x = batch.x.to(dtype)
    ours, _ = model.forward_scaled(batch)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.float(), expected, rtol=2e-2, atol=0.2)


def test_non_contiguous_series(kind, series, windows):
    data = series()
    strided = Data(
        x=data.x.transpose(0, 1).contiguous().transpose(0, 1),
        mask=data.mask.transpose(1, 2).contiguous().transpose(1, 2),
        time=data.time,
    )
    ours = make(kind, strided).fit(strided)(windows(strided, P, Q))
    torch.testing.assert_close(ours, make(kind, data).fit(data)(windows(data, P, Q)))


def test_first_channels_alone(kind, series, windows):
    data = series(channels=3)
    ours = make(kind, data, out_channels=1).fit(data)(windows(data, P, Q))
    assert ours.shape == (113, 4, Q, 1)
    torch.testing.assert_close(ours, make(kind, data).fit(data)(windows(data, P, Q))[..., :1], rtol=1e-2, atol=0.1)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_one_node_one_channel_one_step_horizon(kind, series, windows, missing):
    data = series(nodes=1, channels=1, missing=missing)
    model = kind(1, 1, 1, num_nodes=1).fit(data)
    assert model(windows(data, 1, 1)).isfinite().all()


def test_node_without_observations_gets_the_mean_of_its_channel(kind, series, windows):
    data = series()
    data.mask[1] = False
    data.x = data.x * data.mask
    expected = data.x.double().sum((0, 1)) / data.mask.sum((0, 1))
    forecast = make(kind, data).fit(data)(windows(data, P, Q))
    assert forecast.isfinite().all()
    torch.testing.assert_close(forecast[:, 1].double(), expected.expand(113, Q, 2), rtol=1e-5, atol=1e-5)


def test_constant_series_is_forecast_as_it_is(kind, windows):
    data = Data(x=torch.full((2, 40, 1), 7.3), time=torch.arange(40) * 3600 * 10**9)
    forecast = make(kind, data).fit(data)(windows(data, P, Q))
    torch.testing.assert_close(forecast, torch.full_like(forecast, 7.3))


def test_predict_from_raw_windows(kind, series, windows):
    data = series()
    model = make(kind, data).fit(data)
    batch = windows(data, P, Q)
    raw = torch.where(batch.x_mask, batch.x, torch.nan).numpy()
    torch.testing.assert_close(model.predict(raw, time=batch.x_time), model(batch))


def test_forecast_before_fit_is_refused(kind, series, windows):
    data = series()
    with pytest.raises(InputError, match=f"{kind.__name__} is not fitted"):
        make(kind, data)(windows(data, P, Q))


def test_series_of_another_shape_is_refused(kind, series):
    data = series()
    with pytest.raises(InputError, match=r"data.x has shape \(4, 120, 2\); expected \(5 nodes, T, 2 channels\)"):
        kind(2, P, Q, num_nodes=5).fit(data)
    with pytest.raises(InputError, match=r"expected \(4 nodes, T, 3 channels\)"):
        kind(3, P, Q, num_nodes=4).fit(data)
    with pytest.raises(InputError, match=r"has shape \(4, 120\)"):
        kind(2, P, Q, num_nodes=4).fit(Data(x=data.x[..., 0]))


def test_windows_of_another_shape_are_refused(kind, series, windows):
    data = series()
    model = make(kind, data).fit(data)
    with pytest.raises(InputError, match=r"batch.x has shape \(112, 4, 6, 2\); expected \(B, 4, 5, 2\)"):
        model(windows(data, P + 1, Q))


def test_bad_sizes_are_refused(kind):
    with pytest.raises(InputError, match="num_nodes is 0"):
        kind(1, P, Q, num_nodes=0)
    with pytest.raises(InputError, match="horizon is 0"):
        kind(1, P, 0, num_nodes=1)
    with pytest.raises(InputError, match="out_channels is 2"):
        kind(1, P, Q, num_nodes=1, out_channels=2)


def test_channel_without_observations_is_refused(kind, series):
    data = series()
    data.mask[..., 1] = False
    with pytest.raises(InputError, match=r"channels \[1\] have no observed value"):
        make(kind, data).fit(data)


def test_models_are_listed_by_name():
    assert [get_model(name) for name in ("persistence", "climatology", "ridge")] == BASELINES
    assert {"persistence", "climatology", "ridge"} <= MODELS.keys()


def scores(data, windows, fit_steps, test_start, input_steps, horizon):
    train = Data(x=data.x[:, :fit_steps], time=data.time[:fit_steps])
    if data.get("mask") is not None:
        train.mask = data.mask[:, :fit_steps]
    steps = data.x.shape[1]
    batch = windows(data, input_steps, horizon, torch.arange(test_start, steps - input_steps - horizon + 1))
    result = {}
    for kind in BASELINES:
        model = kind(1, input_steps, horizon, num_nodes=data.x.shape[0]).fit(train)
        metrics = ForecastMetrics(1, horizon)
        metrics.update(model(batch), batch.y, batch.get("y_mask"))
        result[kind.__name__] = metrics.compute()["global"]
    return result


@pytest.mark.skipif("STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA is not set (needs metr_la_week)")
def test_known_errors_on_a_week_of_metr_la(windows):
    speed = np.loadtxt(
        Path(os.environ["STGRAPH_DATA"]) / "metr_la_week/los_speed.csv", np.float32, delimiter=",", skiprows=1
    )
    x = torch.from_numpy(speed).T.unsqueeze(-1).contiguous()
    data = Data(x=x, time=torch.arange(2016) * 300 * 10**9)
    test = int(2016 * 0.8)
    found = scores(data, windows, int(test * 0.9), test, 12, 1)
    known = {"Persistence": (4.44, 2.71), "Ridge": (4.28, 2.62)}
    for name, (rmse, mae) in known.items():
        assert found[name]["rmse"] == pytest.approx(rmse, abs=0.005)
        assert found[name]["mae"] == pytest.approx(mae, abs=0.005)


def test_errors_on_german_air_quality(windows):
    with np.load(Path(__file__).parents[3] / "data/germany_pm10.npz", allow_pickle=False) as arrays:
        values = torch.from_numpy(arrays["values"]).transpose(0, 1).contiguous()
        time = torch.from_numpy(arrays["time"].astype("datetime64[ns]").astype(np.int64))
    data = Data(x=values.nan_to_num(0), mask=~values.isnan(), time=time)
    test = int(values.shape[1] * 0.8)
    found = scores(data, windows, test, test, 14, 3)
    assert found["Persistence"]["mae"] == pytest.approx(6.281, abs=0.01)
    assert found["Ridge"]["mae"] == pytest.approx(5.749, abs=0.02)
    assert found["Climatology"]["mae"] == pytest.approx(7.432, abs=0.02)
    assert found["Ridge"]["r2"] > found["Persistence"]["r2"] > found["Climatology"]["r2"]
