from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models import Climatology
from stgraph.models.baselines import climatology

DAY = 86_400 * 10**9
HOUR = DAY // 24
START = int(np.datetime64("2001-03-05", "ns").astype(np.int64))


def hourly(steps):
    return START + torch.arange(steps) * HOUR


def lone(time, horizon=1):
    """A batch that has nothing but the times of its forecast."""
    return Data(x=torch.zeros(len(time), 1, 1, 1), y_time=time.view(-1, horizon))


def test_weekdays_of_daily_data_are_recovered():
    time = START + torch.arange(140) * DAY
    effect = torch.tensor([3.0, -1, 4, 1, -5, 9, 2])
    model = Climatology(1, 1, 1, num_nodes=1, alpha=1e-6)
    model.fit(Data(x=effect.repeat(20).view(1, -1, 1), time=time))
    later = START + (140 + torch.arange(7)) * DAY
    torch.testing.assert_close(model(lone(later)).flatten(), effect, rtol=1e-4, atol=1e-4)


def test_seasons_are_recovered_from_gaps():
    time = START + torch.arange(4 * 365) * DAY
    generator = torch.Generator().manual_seed(0)

    def truth(t):
        phase = 2 * torch.pi * (t % 31_556_952_000_000_000).double() / 31_556_952_000_000_000
        return 7 + 3 * torch.sin(phase) - 2 * torch.cos(3 * phase)

    mask = torch.rand(1, len(time), 1, generator=generator) < 0.3
    model = Climatology(1, 1, 1, num_nodes=1, alpha=1e-6)
    model.fit(Data(x=torch.where(mask, truth(time).view(1, -1, 1), 0), mask=mask, time=time))
    later = START + (4 * 365 + torch.arange(365)) * DAY
    torch.testing.assert_close(model(lone(later)).flatten().double(), truth(later), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("block", [1 << 22, 64])
def test_equals_a_regression_node_by_node(series, windows, missing, block, monkeypatch):
    monkeypatch.setattr(climatology, "_BLOCK", block)
    data = series(steps=300, step=HOUR, missing=missing)
    model = Climatology(2, 2, 3, num_nodes=4, alpha=2.5, periods=[86400.0], harmonics=[3]).fit(data)
    batch = windows(data, 2, 3)
    forecast = model(batch)

    def features(time):
        angle = 2 * np.pi * time[:, None] / DAY * np.arange(1, 4)
        return np.concatenate([np.ones((len(time), 1)), np.sin(angle), np.cos(angle)], 1)

    for n in range(4):
        for c in range(2):
            seen = data.mask[n, :, c].numpy() if missing else np.ones(300, bool)
            phi, y = features(data.time.numpy())[seen], data.x[n, :, c].double().numpy()[seen]
            penalty = np.diag([0.0] + [2.5] * 6)
            weight = np.linalg.solve(phi.T @ phi + penalty, phi.T @ y)
            expected = features(batch.y_time.numpy().ravel()) @ weight
            np.testing.assert_allclose(forecast[:, n, :, c].numpy().ravel(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("step", "steps", "active"),
    [
        (HOUR, 47, []),  # not two days yet
        (HOUR, 48, [24]),
        (3 * HOUR, 8 * 14, [24, 168]),
        (DAY, 13, []),
        (DAY, 14, [168]),
        (DAY, 731, [168, 8765.82]),
        (365 * DAY, 100, []),
    ],
)
def test_only_resolved_periods_are_used(step, steps, active):
    model = Climatology(1, 1, 1, num_nodes=1)
    model.fit(Data(x=torch.randn(1, steps, 1), time=START + torch.arange(steps) * step))
    hours = model.period_ns.double() / HOUR
    assert sorted(set(hours[model.active].tolist())) == pytest.approx(active)
    assert (hours / model.order > 2 * step / HOUR)[model.active].all()


@pytest.mark.parametrize("time", [None, torch.arange(200.0, dtype=torch.float64)])
def test_without_a_calendar_the_mean_is_the_forecast(time):
    data = Data(x=torch.randn(3, 200, 2))
    if time is not None:
        data.time = time
    forecast = Climatology(2, 4, 2, num_nodes=3).fit(data)(Data(x=torch.randn(5, 3, 4, 2)))
    torch.testing.assert_close(forecast, data.x.mean(1).view(1, 3, 1, 2).expand(5, 3, 2, 2))


def test_past_times_are_continued_where_future_ones_are_absent(series, windows):
    data = series(step=HOUR)
    model = Climatology(2, 5, 3, num_nodes=4).fit(data)
    batch = windows(data, 5, 3)
    expected = model(batch)
    del batch.y_time
    torch.testing.assert_close(model(batch), expected)


def test_phase_is_exact_far_from_the_epoch():
    time = START + torch.arange(72) * HOUR
    daily = torch.sin(2 * torch.pi * torch.arange(72) / 24).view(1, -1, 1)
    model = Climatology(1, 1, 1, num_nodes=1, alpha=1e-9).fit(Data(x=daily, time=time))
    far = time[:24] + 365 * 200 * DAY
    torch.testing.assert_close(model(lone(far)).flatten(), daily[0, :24, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_time": None, "x_time": None}, "neither y_time nor x_time"),
        ({"y_time": torch.zeros(1, 1)}, "torch.float32"),
        ({"y_time": torch.zeros(1, 2, dtype=torch.long)}, r"\(1, 2\); expected int64 nanoseconds \(1, 1\)"),
    ],
)
def test_bad_times_of_a_batch_are_refused(change, message):
    model = Climatology(1, 1, 1, num_nodes=1).fit(Data(x=torch.randn(1, 72, 1), time=hourly(72)))
    batch = lone(hourly(1))
    for name, value in change.items():
        batch[name] = value
    with pytest.raises(InputError, match=message):
        model(batch)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="harmonics has 2 entries; expected one for each of 1 periods"):
        Climatology(1, 1, 1, num_nodes=1, periods=[1.0], harmonics=[1, 2])
    with pytest.raises(InputError, match=r"periods is \[0.0\]"):
        Climatology(1, 1, 1, num_nodes=1, periods=[0.0], harmonics=[1])
    with pytest.raises(InputError, match="alpha is 0"):
        Climatology(1, 1, 1, num_nodes=1, alpha=0)
    with pytest.raises(InputError, match=r"data.time has shape \(2, 10\); expected \(T,\)"):
        Climatology(1, 1, 1, num_nodes=2).fit(Data(x=torch.zeros(2, 10, 1), time=torch.zeros(2, 10, dtype=torch.long)))
