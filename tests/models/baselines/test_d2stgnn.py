from __future__ import annotations

import math

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.d2stgnn import D2STGNN
from stgraph.models.baselines.d2stgnn_parts import (
    DiffusionBlock,
    DynamicGraph,
    EstimationGate,
    InherentBlock,
    LocalizedConvolution,
    off_diagonal,
)
from stgraph.models.baselines.supports import random_walk
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of, training_losses
from tests.models.baselines.published import parameters_of, settings_of

SMALL = {"hidden_channels": 8, "embedding_size": 3, "layers": 2}


def build(**options):
    return D2STGNN(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "num_nodes": 6, **SMALL, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_cycle": 288},
        {"in_channels": 2, "out_channels": 1, "layers": 5},
        {"in_channels": 2, "input_steps": 5, "layers": 2},
        {"horizon": 6, "gap": 1, "temporal_order": 2},
        {"gap": 8, "temporal_order": 1, "spatial_order": 1},
    ],
)
def test_contract(options):
    torch.manual_seed(0)
    model = build(**options)
    model.dynamic.norm.momentum = 0.0  # the checks compare forecasts before and after a step of training
    batch = graph_batch(steps=model.input_steps, horizon=model.horizon, channels=model.in_channels)
    check_forecaster(model, batch, equivariant=False)


def test_parameters_are_the_published_ones_less_those_without_influence():
    settings = settings_of("d2stgnn")
    counts = {name: parameters_of(D2STGNN, name, setting["arguments"]) for name, setting in settings.items()}
    norms, time_slot, last_backcast = 5 * 2 * 32, 10 * 32 + 32, 32 * 32 + 32 + 2 * 32
    assert counts["metr_la"] + norms + time_slot + last_backcast == settings["metr_la"]["parameters"]
    assert round(counts["metr_la"] / 1e6, 2) == 0.39


def test_powers_without_diagonals():
    torch.manual_seed(1)
    graph = torch.rand(2, 4, 4, dtype=torch.double)
    powers = off_diagonal(graph, 3)
    for k in range(3):
        expected = torch.linalg.matrix_power(graph, k + 1)
        expected.diagonal(dim1=-2, dim2=-1).zero_()
        torch.testing.assert_close(powers[:, k], expected)


def test_localised_convolution_against_the_localised_matrix():
    """The paper's form: an N x KN matrix, K copies of a graph, times the features of the last K steps."""
    torch.manual_seed(2)
    windows, nodes, steps, channels, count = 2, 4, 6, 3, 2
    layer = LocalizedConvolution(channels, steps=3, num_graphs=count, dropout=0.0).double()
    x = torch.randn(windows, nodes, steps, channels, dtype=torch.double)
    graphs = torch.rand(windows, count, nodes, nodes, dtype=torch.double)
    result = layer(x, torch.cat(list(graphs.unbind(1)), dim=-1))
    assert result.shape == (windows, nodes, steps - 2, channels)
    u = layer.mix.weight.squeeze(2).transpose(1, 2).flatten(1)  # from the last steps, joined, to as many
    for b in range(windows):
        for t in range(steps - 2):
            mixed = (x[b, :, t : t + 3].flatten(1) @ u.T).relu().view(nodes, 3, channels)
            stacked = mixed.transpose(0, 1).reshape(3 * nodes, channels)
            parts = [mixed.mean(1)] + [torch.cat([graphs[b, s]] * 3, dim=1) @ stacked for s in range(count)]
            torch.testing.assert_close(result[b, :, t], layer.weight(torch.cat(parts, dim=-1)))


def test_diffused_features_do_not_see_later_inputs():
    torch.manual_seed(3)
    layer = LocalizedConvolution(3, steps=3, num_graphs=1, dropout=0.0)
    x, graphs = torch.randn(2, 4, 8, 3), torch.rand(2, 4, 4)
    later = x.clone()
    later[:, :, 5:] += 1
    changed = (layer(later, graphs) != layer(x, graphs)).any(-1).any(1).any(0)
    assert changed.tolist() == [False] * 3 + [True] * 3  # output t stands for the input step t + 2


def test_diffusion_forecasts_from_its_own_states():
    torch.manual_seed(4)
    block = DiffusionBlock(3, 5, steps=3, num_graphs=1, dropout=0.0)
    x, graphs = torch.randn(2, 4, 6, 3), torch.rand(2, 4, 4)
    gated = 0.3 * x
    rest, forecast = block(x, gated, graphs, ahead=4)
    hidden = block.convolution(gated, graphs)
    states = [gated[:, :, -2], gated[:, :, -1], hidden[:, :, -1]]
    for _ in range(3):
        states.append(block.convolution(torch.stack(states[-3:], dim=2), graphs)[:, :, 0])
    torch.testing.assert_close(forecast, block.forecast(torch.stack(states[2:], dim=2)))
    torch.testing.assert_close(rest, block.norm(x[:, :, 2:] - block.backcast(hidden).relu()))


def test_gate_against_the_joined_embeddings():
    torch.manual_seed(5)
    gate = EstimationGate(3, hidden_channels=7)
    nodes, times = torch.randn(4, 6), torch.randn(2, 5, 6)
    result = gate(nodes, times)
    assert result.shape == (2, 4, 5, 1)
    joined = torch.cat([times[1, 2], nodes[3]])
    torch.testing.assert_close(result[1, 3, 2], gate.second(gate.first(joined).relu()).sigmoid())


def test_dynamic_graph_against_a_loop():
    torch.manual_seed(6)
    layer = DynamicGraph(5, 4, 3, dropout=0.0).eval().double()
    window, time = torch.randn(2, 6, 5, dtype=torch.double), torch.randn(2, 6, dtype=torch.double)
    embeddings = [torch.randn(6, 3, dtype=torch.double) for _ in range(2)]
    walks = [torch.rand(6, 6, dtype=torch.double) * (torch.rand(6, 6) > 0.5) for _ in range(2)]
    walks[0][2] = 0  # a node without edges
    result = layer(window, time, embeddings, walks)
    for b in range(2):
        for d in range(2):
            seen = layer.second(layer.norm(layer.first(window[b]).relu()))
            features = torch.cat([seen, time[b].expand(6, -1), embeddings[d]], dim=-1)
            score = layer.query(features) @ layer.key(features).T / math.sqrt(4)
            weighted = score.softmax(-1) * (walks[d] + 1e-7)
            torch.testing.assert_close(result[b, d], weighted / weighted.sum(-1, keepdim=True))
    torch.testing.assert_close(result.sum(-1), torch.ones(2, 2, 6, dtype=torch.double))


def test_inherent_block_against_one_node_at_a_time():
    torch.manual_seed(7)
    block = InherentBlock(8, 5, dropout=0.0, residual=True).eval()
    x = torch.randn(2, 3, 4, 8)
    rest, forecast = block(x, ahead=3)
    rate = 10000.0 ** (-torch.arange(0, 8, 2) / 8)
    angle = torch.arange(6).unsqueeze(1) * rate
    code = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    series = x[1, 2]
    states, last = block.recurrent(series)
    raw = list(states)
    outputs = []
    for step in range(3):
        keys = torch.stack(raw) + code[: len(raw)]
        attended = block.attention(keys, keys, keys)[0]
        outputs.append(attended[-1])
        if step == 0:
            expected = block.norm(series - block.backcast(attended).relu())
        state, last = block.recurrent(outputs[-1].unsqueeze(0), last)
        raw.append(state[0])
    torch.testing.assert_close(forecast[1, 2], block.forecast(torch.stack(outputs)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rest[1, 2], expected, rtol=1e-4, atol=1e-5)


def test_whole_network_in_the_order_of_the_paper():
    torch.manual_seed(10)
    model = build(steps_per_cycle=288).eval()
    batch = graph_batch()
    model.fit(series_of(batch))
    x = model.scaler.transform(batch.x)
    slot = (batch.x_time // (5 * 60_000_000_000)) % 288
    times = torch.cat([model.of_slot[slot], model.of_weekday[3].expand(3, 12, -1)], -1)  # the first day is a Thursday
    walks = [random_walk(batch.edge_index, batch.edge_weight, 6, reverse=r) for r in (False, True)]
    dynamic = model.dynamic(x.flatten(2), times[:, -1], [model.source, model.target], walks)
    singles = [dynamic[:, 0], dynamic[:, 1], model.learned_graph().expand(3, -1, -1)]
    graphs = torch.cat([off_diagonal(a, 2)[:, k] for a in singles for k in range(2)], dim=-1)
    rest, total = model.start(x), 0
    for i in range(2):
        gate = model.gates[i](torch.cat([model.source, model.target], -1), times[:, 2 * i :])
        rest, diffused = model.diffusions[i](rest, rest * gate, graphs, 2)
        rest, inherent = model.inherents[i](rest, 2)
        total = total + diffused + inherent
    expected = model.end(total).flatten(2)[..., :4].unsqueeze(-1)  # two states, three steps each, of which four count
    torch.testing.assert_close(model.forward_scaled(batch)[0], expected, rtol=1e-4, atol=1e-5)


def test_both_node_and_time_embeddings_matter():
    torch.manual_seed(8)
    model = build(steps_per_cycle=288).eval()
    batch = graph_batch()
    model.fit(series_of(batch))
    before = model(batch)
    time = batch.x_time
    for shift in (6, 48):  # another time of day; the same time of another day
        batch.x_time = time + shift * 3_600_000_000_000
        assert not torch.equal(model(batch), before)


def test_training_reduces_the_loss():
    torch.manual_seed(9)
    model = build(dropout=0.0)
    batch = graph_batch(windows=4)
    model.fit(series_of(batch)).train()
    losses = training_losses(model, batch, steps=25, learning_rate=0.01)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["num_nodes", "embedding_size", "layers", "gap", "spatial_order", "temporal_order"])
def test_sizes_are_checked(name):
    with pytest.raises(InputError, match=f"{name} is 0; expected at least 1"):
        build(**{name: 0})


def test_width_and_input_have_to_suffice():
    with pytest.raises(InputError, match="hidden_channels is 6; expected a multiple of 4"):
        build(hidden_channels=6)
    with pytest.raises(InputError, match="input_steps is 10; expected at least 11 for 5 layers"):
        build(layers=5, input_steps=10)


def test_a_graph_is_needed():
    model = build().eval()
    batch = graph_batch()
    del batch.edge_index
    with pytest.raises(InputError, match="needs a graph"):
        model(batch)
