from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.st_resnet import STResNet
from tests.models.baselines.contract import DAY, check_forecaster, graph_batch, series_of, training_losses
from tests.models.baselines.published import settings_of


def grid_batch(height=2, width=3, **options):
    batch = graph_batch(nodes=height * width, **options)
    batch.grid = (height, width)
    return batch


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"in_channels": 2, "out_channels": 1, "external_channels": 0, "scaler": "standard"},
        {"input_steps": 30, "steps_per_cycle": 2, "period": 2, "trend": 2},
    ],
)
def test_contract(options):
    torch.manual_seed(0)
    defaults = {"in_channels": 1, "input_steps": 12, "horizon": 4, "grid": (2, 3), "steps_per_cycle": 288}
    model = STResNet(**{**defaults, "hidden_channels": 4, "residual_units": 1, **options})
    batch = grid_batch(channels=model.in_channels, steps=model.input_steps)
    check_forecaster(model, batch, equivariant=False)


@pytest.mark.parametrize(
    ("steps", "cycle", "frames"),
    [
        (12, 24, {"closeness": 3, "period": 0, "trend": 0}),
        (2, 1, {"closeness": 2, "period": 0, "trend": 0}),
        (24, 24, {"closeness": 3, "period": 1, "trend": 0}),
        (168, 24, {"closeness": 3, "period": 4, "trend": 1}),
        (672, 24, {"closeness": 3, "period": 4, "trend": 4}),
    ],
)
def test_components_are_those_that_the_window_holds(steps, cycle, frames):
    arguments = {"grid": (2, 2), "steps_per_cycle": cycle, "period": 4, "trend": 4, "hidden_channels": 2}
    model = STResNet(1, steps, 1, **arguments)
    assert model.frames == frames
    assert list(model.branches) == [name for name, count in frames.items() if count]
    assert len(model.fusion) == (len(model.branches) if len(model.branches) > 1 else 0)


def test_forecast_is_that_of_the_paper_written_out():
    torch.manual_seed(1)
    hour, cycle, steps = DAY // 24, 24, 7 * 24
    model = STResNet(2, steps, 1, grid=(2, 3), steps_per_cycle=cycle, period=2, hidden_channels=3, residual_units=2)
    batch = grid_batch(windows=2, steps=steps, horizon=1, channels=2, step=hour)
    model.fit(series_of(batch)).eval()
    forecast = model.forward_scaled(batch)[0]
    scaled = 2 * model.scaler.transform(batch.x) - 1
    for b in range(2):
        target = int(batch.y_time[b, 0])
        at = {int(time): scaled[b, :, t].T.reshape(1, 2, 2, 3) for t, time in enumerate(batch.x_time[b])}
        ago = {
            "closeness": [3 * hour, 2 * hour, hour],
            "period": [2 * DAY, DAY],
            "trend": [7 * DAY],
        }
        total = torch.zeros(1, 2, 2, 3)
        for name, lags in ago.items():
            first, *units, _, last = model.branches[name]
            h = first(torch.cat([at[target - lag] for lag in lags], dim=1))
            for unit in units:
                h = h + unit.layers[3](unit.layers[1](h.relu()).relu())
            total = total + model.fusion[name] * last(h.relu())
        weekday = (target // DAY + 3) % 7  # both targets lie in the first days of 1970
        features = torch.zeros(8)
        features[weekday], features[7] = 1.0, float(weekday < 5)
        first, _, last, _ = model.external
        total = total + last(first(features).relu()).relu().view(1, 2, 2, 3)
        expected = (torch.tanh(total)[0].flatten(1).T + 1) / 2
        torch.testing.assert_close(forecast[b, :, 0], expected, rtol=1e-4, atol=1e-5)


def test_each_step_of_the_horizon_sees_the_same_time_of_earlier_days():
    model = STResNet(1, 9, 5, grid=(1, 2), steps_per_cycle=3, period=2, hidden_channels=2)
    # Step 9 + q of the series, q = 0 .. 4; 12 and 13 have no counterpart one day before in the window.
    assert model._places["period"] == [3, 4, 5, 3, 4, 6, 7, 8, 6, 7]


def test_parameters():
    settings = settings_of("st_resnet")
    for dataset, grid, cycle, steps in (("bike_nyc", (16, 8), 24, 672), ("taxi_bj", (32, 32), 48, 336)):
        arguments = settings[dataset]["arguments"]
        model = STResNet(2, steps, 1, grid=grid, steps_per_cycle=cycle, **arguments)
        cells, units = grid[0] * grid[1], arguments["residual_units"]
        frames = [arguments[name] for name in ("closeness", "period", "trend")]
        assert list(model.frames.values()) == frames
        expected = sum(9 * 2 * count * 64 + 64 for count in frames)
        expected += 3 * (units * 2 * (9 * 64 * 64 + 64) + 9 * 64 * 2 + 2 + 2 * cells)
        expected += 8 * 10 + 10 + 10 * 2 * cells + 2 * cells
        assert sum(p.numel() for p in model.parameters()) == expected
        assert settings[dataset]["parameters"] is None
    assert STResNet(2, 12, 12, grid=(2, 2), **settings["default"]["arguments"]).frames["period"] == 0


def test_training_reduces_the_loss():
    torch.manual_seed(2)
    batch = grid_batch(windows=3, steps=4, horizon=2)
    series = series_of(batch)
    model = STResNet(1, 4, 2, grid=(2, 3), hidden_channels=8, residual_units=1).fit(series)
    losses = training_losses(model, batch, steps=60, learning_rate=0.01)
    assert losses[-1] < 0.6 * losses[0]


def test_bounds():
    model = STResNet(1, 4, 2, grid=(2, 3), hidden_channels=2, residual_units=1)
    batch = grid_batch(steps=4, horizon=2)
    series = series_of(batch)
    model.fit(series).eval()
    batch.x = batch.x * 1e4
    forecast = model(batch)
    assert forecast.min() >= series.x.min() - 1e-3
    assert forecast.max() <= series.x.max() + 1e-3


def test_bad_input():
    for options, message in [
        ({"closeness": 0}, "closeness is 0"),
        ({"period": -1}, "period is -1"),
        ({"grid": (0, 3)}, "grid is"),
        ({"num_nodes": 7}, "expected num_nodes = 7"),
    ]:
        with pytest.raises(InputError, match=message):
            STResNet(1, 12, 4, **{"grid": (2, 3), **options})
    model = STResNet(1, 12, 4, grid=(2, 3), hidden_channels=2, residual_units=1)
    with pytest.raises(InputError, match="no grid"):
        model(graph_batch())
    with pytest.raises(InputError, match=r"expected \(2, 3\)"):
        model.predict(torch.zeros(1, 6, 12, 1), grid=(3, 2))
