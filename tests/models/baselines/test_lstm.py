from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.lstm import LSTM
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of
from tests.models.baselines.published import parameters_of, settings_of

SMALL = {"embed_channels": 3, "hidden_channels": 5, "end_channels": 7}


@pytest.mark.parametrize(
    "options",
    [{"steps_per_cycle": 288}, {"in_channels": 2, "out_channels": 1}, {"num_layers": 1, "num_nodes": 6}],
)
def test_contract(options):
    torch.manual_seed(0)
    model = LSTM(**{"in_channels": 1, "input_steps": 12, "horizon": 4, **SMALL, **options})
    check_forecaster(model, graph_batch(channels=model.in_channels), equivariant=True)


def test_one_node_by_the_equations_of_the_cell():
    torch.manual_seed(1)
    model = LSTM(1, 12, 4, num_layers=1, steps_per_cycle=288, **SMALL).eval()
    batch = graph_batch()
    forecast = model.fit(series_of(batch)).forward_scaled(batch)[0]
    window, node = 2, 3
    x = model.scaler.transform(batch.x)[window, node, :, 0]
    slot = batch.x_time[window] // 300_000_000_000 % 288  # all on a Thursday
    recurrent = model.lstm
    hidden = cell = torch.zeros(5)
    for t in range(12):
        step = model.embed.weight @ torch.tensor([x[t], slot[t] / 288, 3 / 7]) + model.embed.bias
        gates = recurrent.weight_ih_l0 @ step + recurrent.bias_ih_l0
        enter, forget, update, output = (gates + recurrent.weight_hh_l0 @ hidden + recurrent.bias_hh_l0).chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * update.tanh()
        hidden = output.sigmoid() * cell.tanh()
    expected = model.head[2].weight @ (model.head[0].weight @ hidden + model.head[0].bias).relu() + model.head[2].bias
    torch.testing.assert_close(forecast[window, node, :, 0], expected, rtol=1e-4, atol=1e-5)


def test_parameters_are_the_published_ones():
    settings = settings_of("lstm")
    for dataset in ("largest_sd", "largest_gba", "largest_gla", "largest_ca"):
        count = parameters_of(LSTM, dataset, settings[dataset]["arguments"])
        assert count == 97_932
        assert round(count, -3) == settings[dataset]["parameters"]


@pytest.mark.parametrize("name", ["embed_channels", "hidden_channels", "end_channels", "num_layers", "dropout"])
def test_bad_arguments(name):
    with pytest.raises(InputError, match=f"{name} is -1"):
        LSTM(1, 12, 4, **{name: -1})
