from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.stid import STID
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of
from tests.models.baselines.published import parameters_of, settings_of


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"in_channels": 2, "out_channels": 1},
        {"node_channels": 0, "day_channels": 0, "week_channels": 0, "steps_per_cycle": 1},
    ],
)
def test_contract(options):
    torch.manual_seed(0)
    defaults = {"in_channels": 1, "input_steps": 12, "horizon": 4, "num_nodes": 6, "steps_per_cycle": 288}
    model = STID(**{**defaults, "num_layers": 2, **options})
    batch = graph_batch(channels=model.in_channels)
    check_forecaster(model, batch, equivariant=model.node is None)


def test_forecast_is_that_of_the_paper_written_out():
    torch.manual_seed(1)
    model = STID(1, 12, 3, num_nodes=4, steps_per_cycle=288, embed_channels=5, node_channels=2, num_layers=2).eval()
    batch = graph_batch(windows=2, nodes=4, horizon=3)
    model.fit(series_of(batch))
    batch.x_time = batch.x_time + 1_700_000_000_000_000_000 // 300_000_000_000 * 300_000_000_000
    forecast, x = model.forward_scaled(batch)[0], model.scaler.transform(batch.x)
    for b in range(2):
        seconds = batch.x_time[b] // 1_000_000_000
        slots, weekdays = seconds % 86400 // 300, (seconds // 86400 + 3) % 7
        for n in range(4):
            row = []
            for t in range(12):
                row += [x[b, n, t, 0].item(), slots[t].item() / 288, weekdays[t].item() / 7]
            hidden = torch.cat(
                [
                    model.embed.weight @ torch.tensor(row) + model.embed.bias,
                    model.node[n],
                    model.day[slots[-1]],
                    model.week[weekdays[-1]],
                ]
            )
            for layer in model.layers:
                inner = (layer[0].weight @ hidden + layer[0].bias).clamp(min=0)
                hidden = hidden + layer[3].weight @ inner + layer[3].bias
            expected = model.head.weight @ hidden + model.head.bias
            torch.testing.assert_close(forecast[b, n, :, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("dataset", "count"), [("metr_la", 117_868), ("largest_sd", 258_316), ("largest_ca", 1_511_180)]
)
def test_parameters_are_the_published_ones(dataset, count):
    setting = settings_of("stid")[dataset]
    assert parameters_of(STID, dataset, setting["arguments"]) == count
    digits = -3 if setting["parameters"] < 1e6 else -5
    assert round(count, digits) == setting["parameters"]


def test_settings_without_a_published_number_can_be_built():
    for dataset, setting in settings_of("stid").items():
        assert parameters_of(STID, dataset, setting["arguments"]) > 0


@pytest.mark.parametrize(
    "options",
    [{"embed_channels": 0}, {"node_channels": -1}, {"num_layers": 0}, {"dropout": 1.0}, {"num_nodes": 0}],
)
def test_bad_arguments(options):
    with pytest.raises(InputError, match=next(iter(options))):
        STID(1, 12, 4, **{"num_nodes": 3, **options})


def test_other_number_of_nodes():
    model = STID(1, 12, 4, num_nodes=5)
    with pytest.raises(InputError, match="6 nodes"):
        model(graph_batch())
