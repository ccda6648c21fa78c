from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.copy_last_window import CopyLastWindow
from tests.models.baselines.closed_form import check_closed_form
from tests.models.baselines.published import settings_of


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_contract(missing):
    arguments = settings_of("copy_last_window")["default"]["arguments"]
    check_closed_form(CopyLastWindow(2, 12, 4, num_nodes=5, out_channels=1, **arguments), missing)


def test_lag_is_the_horizon_at_every_step():
    series = torch.randn(2, 40, 1, generator=torch.Generator().manual_seed(0))
    model = CopyLastWindow(1, 12, 12, num_nodes=2).fit(Data(x=series))
    starts = torch.arange(17)
    windows = series[:, starts.unsqueeze(1) + torch.arange(12)].transpose(0, 1)
    lagged = series[:, starts.unsqueeze(1) + 12 + torch.arange(12) - 12].transpose(0, 1)
    assert torch.equal(model(Data(x=windows)), lagged)


def test_gaps_take_the_nearest_value_and_empty_windows_the_mean():
    series = torch.tensor([[1.0, 3.0], [10.0, 30.0]]).unsqueeze(-1)
    model = CopyLastWindow(1, 4, 3, num_nodes=2).fit(Data(x=series))
    x = torch.tensor([[5.0, 6.0, 7.0, 8.0]] * 2).view(1, 2, 4, 1)
    mask = torch.tensor([[True, False, False, True], [False] * 4]).view(1, 2, 4, 1)
    assert model(Data(x=x, x_mask=mask))[0, :, :, 0].tolist() == [[5.0, 5.0, 8.0], [20.0, 20.0, 20.0]]


def test_horizon_longer_than_the_window():
    with pytest.raises(InputError, match="horizon is 5; expected at most input_steps = 4"):
        CopyLastWindow(1, 4, 5, num_nodes=2)
