from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.calendar import forecast_time
from stgraph.models.baselines.historical_average import HistoricalAverage
from tests.models.baselines.closed_form import check_closed_form, series_with_gaps
from tests.models.baselines.published import settings_of

HOUR = 3_600_000_000_000


@pytest.mark.parametrize("variant", ["slot", "day", "window"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_contract(variant, missing):
    options = {"steps_per_cycle": 288, "variant": variant, "out_channels": 1}
    check_closed_form(HistoricalAverage(2, 12, 4, num_nodes=5, **options), missing)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("variant", ["slot", "day"])
def test_means_against_pandas(variant, missing, monkeypatch):
    monkeypatch.setattr("stgraph.models.baselines.historical_average._BLOCK", 64)  # many pieces
    data = series_with_gaps(nodes=3, steps=3 * 168 + 5, missing=missing, step=HOUR)
    data.time = data.time + 1_700_000_000_000_000_000 // HOUR * HOUR
    model = HistoricalAverage(1, 2, 30, num_nodes=3, steps_per_cycle=24, variant=variant).fit(data)
    ahead = data.time[-1] + HOUR * torch.arange(1, 31)
    forecast = model(Data(x=torch.zeros(1, 3, 2, 1), y_time=ahead.unsqueeze(0)))[0, :, :, 0]

    values = data.x[..., 0].numpy().astype(float)
    if missing:
        values = np.where(data.mask[..., 0].numpy(), values, np.nan)
    frame = pd.DataFrame(values.T, index=pd.to_datetime(data.time.numpy()))
    future = pd.to_datetime(ahead.numpy())
    daily = frame.groupby(frame.index.hour).mean().loc[future.hour].to_numpy()
    expected = daily
    if variant == "slot":
        weekly = frame.groupby([frame.index.day_of_week, frame.index.hour]).mean()
        expected = weekly.reindex(list(zip(future.day_of_week, future.hour, strict=True))).to_numpy()
        expected = np.where(np.isnan(expected), daily, expected)
    np.testing.assert_allclose(forecast.numpy().T, expected, rtol=1e-5)


def test_slot_without_observation_takes_the_time_of_day_and_then_the_node():
    x = torch.arange(4 * 24.0).view(1, -1, 1)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[0, 24:48] = False  # Friday
    mask[0, 7::24] = False  # 7 o'clock
    data = Data(x=x * mask, mask=mask, time=torch.arange(96) * HOUR)
    model = HistoricalAverage(1, 2, 2, num_nodes=1, steps_per_cycle=24).fit(data)
    friday = torch.tensor([[7 * 24 + 24 + 6, 7 * 24 + 24 + 7]]) * HOUR
    forecast = model(Data(x=torch.zeros(1, 1, 2, 1), y_time=friday)).flatten()
    mean = x[mask].mean()
    torch.testing.assert_close(forecast, torch.stack([(6 + 54 + 78) / torch.tensor(3.0), mean]))


def test_window_is_the_masked_mean():
    x = torch.tensor([1.0, 2.0, 9.0]).view(1, 1, 3, 1)
    mask = torch.tensor([True, True, False]).view(1, 1, 3, 1)
    model = HistoricalAverage(1, 3, 2, num_nodes=1, variant="window").fit(Data(x=torch.full((1, 4, 1), 7.0)))
    assert model(Data(x=x)).flatten().tolist() == [4.0, 4.0]
    assert model(Data(x=x, x_mask=mask)).flatten().tolist() == [1.5, 1.5]
    assert model(Data(x=x, x_mask=mask & False)).flatten().tolist() == [7.0, 7.0]


@pytest.mark.parametrize("variant", ["slot", "day"])
def test_daily_steps_use_the_place_in_the_year(variant):
    day = 24 * HOUR
    data = Data(x=torch.arange(800.0).view(1, -1, 1), time=torch.arange(800) * day)
    model = HistoricalAverage(1, 2, 1, num_nodes=1, steps_per_cycle=365, variant=variant).fit(data)
    forecast = model(Data(x=torch.zeros(1, 1, 2, 1), y_time=torch.tensor([[1096 * day]])))
    assert forecast.item() == (0 + 365 + 730) / 3  # 1 January, of years of 365.2425 days


@pytest.mark.parametrize("time", [None, torch.arange(50.0)])
def test_without_calendar_the_mean_of_the_node(time):
    data = Data(x=torch.arange(100.0).view(2, 50, 1))
    if time is not None:
        data.time = time
    model = HistoricalAverage(1, 2, 3, num_nodes=2).fit(data)
    assert model(Data(x=torch.zeros(1, 2, 2, 1))).flatten().tolist() == [24.5] * 3 + [74.5] * 3


def test_state_round_trip():
    data = series_with_gaps(nodes=2, steps=400, step=HOUR)
    batch = Data(x=torch.zeros(1, 2, 2, 1), x_time=torch.tensor([[400, 401]]) * HOUR)
    model = HistoricalAverage(1, 2, 3, num_nodes=2, steps_per_cycle=24).fit(data)
    other = HistoricalAverage(1, 2, 3, num_nodes=2, steps_per_cycle=24)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(batch), model(batch))


def test_bad_input():
    with pytest.raises(InputError, match="variant is 'month'"):
        HistoricalAverage(1, 2, 3, num_nodes=2, variant="month")
    with pytest.raises(InputError, match="steps_per_cycle is 0"):
        HistoricalAverage(1, 2, 3, num_nodes=2, steps_per_cycle=0)
    model = HistoricalAverage(1, 2, 3, num_nodes=2)
    with pytest.raises(InputError, match="common to all nodes"):
        model.fit(Data(x=torch.ones(2, 4, 1), time=torch.zeros(2, 4, dtype=torch.long)))
    model.fit(series_with_gaps(nodes=2, steps=400, step=HOUR))
    x = torch.zeros(1, 2, 2, 1)
    with pytest.raises(InputError, match="neither y_time nor x_time"):
        model(Data(x=x))
    with pytest.raises(InputError, match="nanoseconds"):
        model(Data(x=x, y_time=torch.zeros(1, 3)))
    with pytest.raises(InputError, match=r"expected \(1, 3\)"):
        forecast_time(Data(x=x, y_time=torch.zeros(1, 2)), 3, torch.tensor(1.0))


def test_settings():
    arguments = settings_of("historical_average")["default"]["arguments"]
    assert HistoricalAverage(1, 12, 12, num_nodes=3, **arguments).variant == "slot"
