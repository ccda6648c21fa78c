from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.seasonal_naive import SeasonalNaive
from tests.models.baselines.closed_form import check_closed_form, series_with_gaps
from tests.models.baselines.contract import MINUTE
from tests.models.baselines.published import settings_of


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("season", [5, 288])
def test_contract(season, missing):
    arguments = settings_of("seasonal_naive")["default"]["arguments"]
    model = SeasonalNaive(2, 12, 7, num_nodes=5, out_channels=1, season_steps=season, **arguments)
    check_closed_form(model, missing)


@pytest.mark.parametrize("missing", [0.0, 0.6])
def test_last_training_season_by_loops(missing, monkeypatch):
    monkeypatch.setattr("stgraph.models.baselines.seasonal_naive._BLOCK", 50)  # many pieces
    data = series_with_gaps(nodes=3, steps=103, channels=2, missing=missing)
    data.time = data.time + 17 * MINUTE
    model = SeasonalNaive(2, 4, 30, num_nodes=3, season_steps=24).fit(data)
    later = 103 + 55
    time = 17 * MINUTE + (later + torch.arange(30)) * 5 * MINUTE
    x = torch.zeros(1, 3, 4, 2)
    forecast = model(Data(x=x, x_mask=torch.zeros_like(x, dtype=torch.bool), y_time=time.unsqueeze(0)))[0]
    for n in range(3):
        for c in range(2):
            known = [t for t in range(103) if not missing or data.mask[n, t, c]]
            for q in range(30):
                same = [t for t in known if (later + q - t) % 24 == 0]
                expected = data.x[n, same[-1], c] if same else data.x[n, known, c].double().mean().float()
                torch.testing.assert_close(forecast[n, q, c], expected)


def test_window_comes_before_training():
    data = Data(x=torch.arange(20.0).view(1, 20, 1), time=torch.arange(20))
    model = SeasonalNaive(1, 4, 8, num_nodes=1, season_steps=3).fit(data)
    x = torch.tensor([100.0, 101.0, 102.0, 103.0]).view(1, 1, 4, 1)
    batch = Data(x=x, x_time=torch.arange(30, 34).unsqueeze(0))
    assert model(batch).flatten().tolist() == [101.0, 102.0, 103.0] * 2 + [101.0, 102.0]
    batch.x_mask = torch.tensor([True, True, False, True]).view(1, 1, 4, 1)
    # Step 35 is at the place of step 32, not observed, hence of 17, the last of its place in training.
    assert model(batch).flatten().tolist() == [101.0, 17.0, 103.0] * 2 + [101.0, 17.0]


def test_window_shorter_than_the_season_reaches_some_steps():
    data = Data(x=torch.arange(20.0).view(1, 20, 1), time=torch.arange(20))
    model = SeasonalNaive(1, 2, 4, num_nodes=1, season_steps=4).fit(data)
    x = torch.tensor([100.0, 101.0]).view(1, 1, 2, 1)
    assert model(Data(x=x, x_time=torch.tensor([[20, 21]]))).flatten().tolist() == [18.0, 19.0, 100.0, 101.0]


def test_one_cycle_by_default():
    assert SeasonalNaive(1, 2, 4, num_nodes=1, steps_per_cycle=288).season_steps == 288


def test_series_without_times():
    data = Data(x=torch.arange(20.0).view(1, 20, 1))
    model = SeasonalNaive(1, 3, 2, num_nodes=1, season_steps=3).fit(data)
    x = torch.tensor([5.0, 6.0, 7.0]).view(1, 1, 3, 1)
    assert model(Data(x=x)).flatten().tolist() == [5.0, 6.0]
    assert model(Data(x=x, x_mask=x > 5)).flatten().tolist() == [9.5, 6.0]
    with pytest.raises(InputError, match="season of 4 steps is longer than the window of 3"):
        SeasonalNaive(1, 3, 2, num_nodes=1, season_steps=4).fit(data)


def test_bad_arguments():
    with pytest.raises(InputError, match="season_steps is 0"):
        SeasonalNaive(1, 3, 2, num_nodes=1, season_steps=0)
    with pytest.raises(InputError, match="steps_per_cycle is 0"):
        SeasonalNaive(1, 3, 2, num_nodes=1, steps_per_cycle=0)
    with pytest.raises(InputError, match="common to all nodes"):
        SeasonalNaive(1, 3, 2, num_nodes=1).fit(Data(x=torch.ones(1, 4, 1), time=torch.zeros(1, 4)))
