from __future__ import annotations

import math

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.staeformer import STAEformer
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of, training_losses
from tests.models.baselines.published import parameters_of, settings_of

SMALL = {
    "embed_channels": 4,
    "day_channels": 2,
    "week_channels": 2,
    "adaptive_channels": 4,
    "feed_forward_channels": 8,
    "heads": 2,
    "num_layers": 1,
}


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 2},
        {"in_channels": 2, "out_channels": 1, "node_channels": 2},
        {"adaptive_channels": 0, "day_channels": 0, "week_channels": 0, "steps_per_cycle": 1},
    ],
)
def test_contract(options):
    torch.manual_seed(0)
    defaults = {"in_channels": 1, "input_steps": 12, "horizon": 4, "num_nodes": 6, "steps_per_cycle": 288}
    model = STAEformer(**{**defaults, **SMALL, **options})
    equivariant = model.adaptive is None and model.node is None
    check_forecaster(model, graph_batch(channels=model.in_channels), equivariant=equivariant)


def attention_by_loops(layer, x):
    """One layer on a sequence ``[L, D]``, place by place and head by head."""
    length, width = x.shape
    size = width // layer.heads
    query, key, value = (m.weight @ x.T + m.bias[:, None] for m in (layer.query, layer.key, layer.value))
    rows = []
    for i in range(length):
        heads = []
        for h in range(layer.heads):
            part = slice(h * size, (h + 1) * size)
            score = torch.stack([query[part, i] @ key[part, j] / math.sqrt(size) for j in range(length)])
            share = score.exp() / score.exp().sum()
            heads.append(sum(share[j] * value[part, j] for j in range(length)))
        rows.append(layer.out.weight @ torch.cat(heads) + layer.out.bias)
    hidden = normalised(x + torch.stack(rows), layer.norms[0])
    first, last = layer.feed_forward[0], layer.feed_forward[2]
    inner = (hidden @ first.weight.T + first.bias).clamp(min=0)
    return normalised(hidden + inner @ last.weight.T + last.bias, layer.norms[1])


def normalised(x, norm):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def test_forecast_is_that_of_the_paper_written_out():
    torch.manual_seed(1)
    model = STAEformer(1, 4, 3, num_nodes=3, steps_per_cycle=288, **{**SMALL, "node_channels": 2}).eval()
    batch = graph_batch(windows=2, nodes=3, steps=4, horizon=3)
    model.fit(series_of(batch))
    batch.x_time = batch.x_time + 1_700_000_000_000_000_000 // 300_000_000_000 * 300_000_000_000
    forecast, x = model.forward_scaled(batch)[0], model.scaler.transform(batch.x)
    b = 1
    features = torch.zeros(3, 4, 14)
    for n in range(3):
        for t in range(4):
            seconds = int(batch.x_time[b, t]) // 1_000_000_000
            slot, weekday = seconds % 86400 // 300, (seconds // 86400 + 3) % 7
            value = torch.tensor([x[b, n, t, 0].item(), slot / 288, weekday / 7])
            embedded = model.embed.weight @ value + model.embed.bias
            learned = [model.day[slot], model.week[weekday], model.node[n, 0], model.adaptive[n, t]]
            features[n, t] = torch.cat([embedded, *learned])
    features = torch.stack([attention_by_loops(model.over_time[0], features[n]) for n in range(3)])
    features = torch.stack([attention_by_loops(model.over_nodes[0], features[:, t]) for t in range(4)], dim=1)
    for n in range(3):
        expected = model.head.weight @ features[n].flatten() + model.head.bias
        torch.testing.assert_close(forecast[b, n, :, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dataset", "count"), [("metr_la", 1_258_980), ("pems_bay", 1_372_260), ("pems08", 1_223_460)])
def test_parameters_are_the_published_ones(dataset, count):
    setting = settings_of("staeformer")[dataset]
    assert parameters_of(STAEformer, dataset, setting["arguments"]) == count
    assert round(count, -4) == setting["parameters"]


def test_settings_without_a_published_number_can_be_built():
    for dataset in ("default", "pems03", "pems04", "pems07"):
        assert parameters_of(STAEformer, dataset, settings_of("staeformer")[dataset]["arguments"]) > 0


def test_training_reduces_the_loss():
    torch.manual_seed(2)
    batch = graph_batch(windows=4)
    model = STAEformer(1, 12, 4, num_nodes=6, steps_per_cycle=288, **{**SMALL, "dropout": 0.0}).fit(series_of(batch))
    losses = training_losses(model, batch, steps=30, learning_rate=0.01)
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(
    "options",
    [{"embed_channels": 0}, {"adaptive_channels": -1}, {"num_layers": 0}, {"heads": 5}, {"dropout": 1.0}],
)
def test_bad_arguments(options):
    with pytest.raises(InputError, match=next(iter(options))):
        STAEformer(1, 12, 4, **{"num_nodes": 3, **options})


def test_other_number_of_nodes():
    model = STAEformer(1, 12, 4, num_nodes=5, **SMALL)
    with pytest.raises(InputError, match="6 nodes"):
        model(graph_batch())
