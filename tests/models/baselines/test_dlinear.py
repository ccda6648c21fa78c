from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.dlinear import DLinear
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of
from tests.models.baselines.published import settings_of


@pytest.mark.parametrize(
    "options",
    [{}, {"in_channels": 2, "out_channels": 1}, {"in_channels": 2, "individual": True, "num_nodes": 6}],
)
def test_contract(options):
    torch.manual_seed(0)
    model = DLinear(**{"in_channels": 1, "input_steps": 12, "horizon": 4, **options})
    batch = graph_batch(channels=model.in_channels)
    check_forecaster(model, batch, equivariant=model.num_nodes is None)


@pytest.mark.parametrize("kernel_size", [1, 5, 25])
def test_moving_average_against_numpy(kernel_size):
    x = torch.randn(2, 3, 1, 12, generator=torch.Generator().manual_seed(0))
    average = DLinear(1, 12, 4, kernel_size=kernel_size).moving_average(x)
    half = kernel_size // 2
    padded = np.pad(x.numpy(), [(0, 0)] * 3 + [(half, half)], mode="edge")
    expected = np.lib.stride_tricks.sliding_window_view(padded, kernel_size, axis=-1).mean(-1)
    np.testing.assert_allclose(average.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("individual", [False, True])
def test_forecast_is_the_sum_of_two_linear_maps(individual):
    torch.manual_seed(2)
    model = DLinear(2, 12, 4, num_nodes=6, kernel_size=3, individual=individual)
    batch = graph_batch(channels=2)
    forecast = model.fit(series_of(batch)).forward_scaled(batch)[0]
    scaled = model.scaler.transform(batch.x).double()
    padded = torch.cat([scaled[:, :, :1], scaled, scaled[:, :, -1:]], dim=2)
    trend = (padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]) / 3
    for n in range(6):
        for c in range(2):
            place = (n, c) if individual else ()
            expected = sum(
                part[:, n, :, c] @ layer.weight[place].T.double() + layer.bias[place].double()
                for part, layer in ((trend, model.trend), (scaled - trend, model.remainder))
            )
            torch.testing.assert_close(forecast[:, n, :, c].double(), expected, rtol=1e-4, atol=1e-5)


def test_parameters():
    arguments = settings_of("dlinear")["default"]["arguments"]
    assert sum(p.numel() for p in DLinear(1, 12, 12, **arguments).parameters()) == 2 * 13 * 12
    # 139.7 K in the efficiency table of the paper, 96 to 720 steps.
    assert sum(p.numel() for p in DLinear(1, 96, 720, **arguments).parameters()) == 139_680


def test_bad_arguments():
    with pytest.raises(InputError, match="kernel_size is 4"):
        DLinear(1, 12, 4, kernel_size=4)
    with pytest.raises(InputError, match="individual"):
        DLinear(1, 12, 4, individual=True)
