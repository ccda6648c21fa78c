from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.mtgnn import MTGNN, DilatedInception, GraphLearner, MixHop
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of, training_losses
from tests.models.baselines.published import parameters_of, settings_of

SMALL = {"conv_channels": 8, "residual_channels": 4, "skip_channels": 6, "end_channels": 10, "embedding_size": 5}


def build(**options):
    small = {**SMALL, "subgraph_size": 3}
    return MTGNN(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "num_nodes": 6, **small, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_cycle": 288},
        {"in_channels": 2, "out_channels": 1},
        {"in_channels": 2, "input_steps": 5, "layers": 1},
        {"input_steps": 25},
        {"dilation_base": 2, "layers": 2, "depth": 1},
        {"subgraph_size": 20},
    ],
)
def test_contract(options):
    torch.manual_seed(0)
    model = build(**options)
    batch = graph_batch(steps=model.input_steps, channels=model.in_channels)
    check_forecaster(model, batch, equivariant=False)


def test_parameters_are_the_published_ones_less_those_without_influence():
    settings = settings_of("mtgnn")
    counts = {name: parameters_of(MTGNN, name, setting["arguments"]) for name, setting in settings.items()}
    residual_maps = 3 * (32 * 32 + 32)  # there only for networks without propagation
    assert counts["metr_la"] + residual_maps == settings["metr_la"]["parameters"]


def test_learned_graph():
    torch.manual_seed(1)
    learner = GraphLearner(7, 4, neighbours=2, saturation=0.5).double()
    source = (0.5 * learner.source_map(learner.source)).tanh()
    target = (0.5 * learner.target_map(learner.target)).tanh()
    expected = torch.zeros(7, 7, dtype=torch.double)
    for i in range(7):
        row = torch.stack(
            [(0.5 * (source[i] @ target[j] - target[i] @ source[j])).tanh().clamp(min=0) for j in range(7)]
        )
        for j in row.argsort(descending=True)[:2]:
            expected[i, j] = row[j]
    graph = learner()
    torch.testing.assert_close(graph, expected)
    assert ((graph > 0).sum(1) <= 2).all()
    assert not ((graph > 0) & (graph.T > 0)).any()


@pytest.mark.parametrize("dilation", [1, 2])
def test_inception_is_four_convolutions(dilation):
    torch.manual_seed(2)
    layer = DilatedInception(3, 8, dilation=dilation)
    x = torch.randn(4, 15, 2, 3)
    series = x.permute(0, 2, 3, 1).reshape(8, 3, 15)
    assert [convolution.kernel_size for convolution in layer.convolutions] == [(2, 1), (3, 1), (6, 1), (7, 1)]
    values, gates = [], []
    for convolution in layer.convolutions:
        weight, bias = convolution.weight.squeeze(-1), convolution.bias
        value, gate = torch.conv1d(series, weight, bias, dilation=dilation).chunk(2, dim=1)
        values.append(value[..., -(15 - 6 * dilation) :])
        gates.append(gate[..., -(15 - 6 * dilation) :])
    expected = torch.cat(values, 1).tanh() * torch.cat(gates, 1).sigmoid()
    torch.testing.assert_close(layer(x), expected.view(4, 2, 8, -1).permute(0, 3, 1, 2))


def test_temporal_features_do_not_see_later_inputs():
    torch.manual_seed(3)
    layer = DilatedInception(3, 8, dilation=1)
    x = torch.randn(4, 12, 2, 3)
    later = x.clone()
    later[:, 8:] += 1
    changed = (layer(later) != layer(x)).any(-1).any(-1).any(0)
    assert changed.tolist() == [False] * 2 + [True] * 4  # output t stands for the input step t + 6


def test_mix_hop_against_the_closed_form():
    torch.manual_seed(4)
    layer = MixHop(3, 5, depth=2, keep=0.2).double()
    x = torch.randn(4, 7, 2, 3, dtype=torch.double)
    a = torch.rand(4, 4, dtype=torch.double)
    one = torch.eye(4, dtype=torch.double)
    hops = [one, 0.2 * one + 0.8 * a, 0.2 * one + 0.8 * a @ (0.2 * one + 0.8 * a)]
    parts = [torch.einsum("nm,mtbf->ntbf", hop, x) for hop in hops]
    torch.testing.assert_close(layer(x, a), layer.weight(torch.cat(parts, dim=-1)))


def test_transitions_have_loops_and_go_both_ways():
    torch.manual_seed(5)
    model = build().eval()
    batch = graph_batch()
    seen = []
    hooks = [
        mix.register_forward_hook(lambda m, inputs, o: seen.append(inputs[1])) for mix in model.layers[0].propagations
    ]
    model.fit(series_of(batch))(batch)
    for hook in hooks:
        hook.remove()
    graph = model.graph()
    assert graph.count_nonzero() > 0
    for transition, adjacency in zip(seen, (graph, graph.T), strict=True):
        degree = 1 + adjacency.sum(1)
        torch.testing.assert_close(transition.diagonal(), 1 / degree)
        torch.testing.assert_close(transition - transition.diagonal().diag(), adjacency / degree.unsqueeze(1))


def test_each_window_is_normalised_as_a_whole():
    torch.manual_seed(6)
    norm = build().layers[0].norm
    nodes, steps, _, channels = norm.weight.shape
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(nodes, steps, 3, channels) * 2 + 1
    shape = (nodes, steps, channels)
    expected = torch.layer_norm(x.permute(2, 0, 1, 3), shape, norm.weight.view(shape), norm.bias.view(shape))
    torch.testing.assert_close(norm(x).permute(2, 0, 1, 3), expected, rtol=1e-4, atol=1e-5)


def test_whole_network_against_its_parts_in_the_order_of_the_paper():
    torch.manual_seed(10)
    model = build().eval()
    batch = graph_batch()
    model.fit(series_of(batch))
    inputs = torch.cat([model.scaler.transform(batch.x), torch.zeros(3, 6, 12, 1)], -1)
    inputs = torch.cat([torch.zeros(3, 6, 7, 2), inputs], 2).permute(1, 2, 0, 3)  # 19 steps, nodes first
    adjacency = model.graph() + torch.eye(6), model.graph().T + torch.eye(6)
    along, against = (a / a.sum(1, keepdim=True) for a in adjacency)
    h, skip = model.start(inputs), model.first_skip(inputs.transpose(1, 2).flatten(2))
    for layer, steps in zip(model.layers, (13, 7, 1), strict=True):
        gated = layer.gate(h)
        skip = skip + layer.skip(gated.transpose(1, 2).flatten(2))
        mixed = layer.propagations[0](gated, along) + layer.propagations[1](gated, against)
        h = layer.norm(mixed + h[:, 6:])
        assert h.shape[1] == steps
    skip = skip + model.last_skip(h[:, 0])
    expected = model.end(skip).transpose(0, 1).unsqueeze(-1)
    torch.testing.assert_close(model.forward_scaled(batch)[0], expected, rtol=1e-4, atol=1e-5)


def test_training_reduces_the_loss():
    torch.manual_seed(7)
    model = build(dropout=0.0)
    batch = graph_batch(windows=4)
    model.fit(series_of(batch)).train()
    losses = training_losses(model, batch, steps=30, learning_rate=0.01)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["num_nodes", "layers", "dilation_base", "depth", "subgraph_size", "skip_channels"])
def test_sizes_are_checked(name):
    with pytest.raises(InputError, match=f"{name} is 0; expected at least 1"):
        build(**{name: 0})


@pytest.mark.parametrize("channels", [0, 6])
def test_channels_are_divided_among_the_kernels(channels):
    with pytest.raises(InputError, match=f"conv_channels is {channels}; expected a multiple of 4"):
        build(conv_channels=channels)
