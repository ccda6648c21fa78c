from __future__ import annotations

import math

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.graph_wavenet import GatedTemporalConvolution, GraphDiffusion, GraphWaveNet
from stgraph.models.baselines.supports import random_walk
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of, training_losses
from tests.models.baselines.published import parameters_of, settings_of

SMALL = {"residual_channels": 4, "dilation_channels": 6, "skip_channels": 8, "end_channels": 10}


def build(**options):
    return GraphWaveNet(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "num_nodes": 6, **SMALL, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_cycle": 288},
        {"in_channels": 2, "out_channels": 1},
        {"in_channels": 2},
        {"input_steps": 5},
        {"input_steps": 16},
        {"order": 1, "blocks": 2, "layers": 3},
    ],
)
def test_contract(options):
    torch.manual_seed(0)
    model = build(**options)
    for norm in model.norms:
        norm.momentum = 0.0  # the checks compare forecasts before and after a step of training
    batch = graph_batch(steps=model.input_steps, channels=model.in_channels)
    check_forecaster(model, batch, equivariant=False)


def test_parameters_are_the_published_ones_less_those_without_influence():
    last_layer = (7 * 32 * 32 + 32) + 2 * 32  # diffusion and normalisation that reach no output
    residual_maps = 8 * (32 * 32 + 32)  # there only for networks without diffusion
    settings = settings_of("graph_wavenet")
    counts = {name: parameters_of(GraphWaveNet, name, setting["arguments"]) for name, setting in settings.items()}
    assert counts["metr_la"] + last_layer + residual_maps == settings["metr_la"]["parameters"]
    for name in ("largest_sd", "largest_ca"):
        assert round(counts[name] + last_layer, -3) == settings[name]["parameters"]


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("order", [1, 2, 3])
def test_diffusion_is_the_power_series(order):
    torch.manual_seed(1)
    layer = GraphDiffusion(3, 5, num_supports=2, order=order).double()
    supports = [torch.rand(4, 4, dtype=torch.double) for _ in range(2)]
    x = torch.randn(4, 7, 2, 3, dtype=torch.double)
    parts = [x] + [
        torch.einsum("nm,mtbf->ntbf", torch.linalg.matrix_power(a, k + 1), x) for a in supports for k in range(order)
    ]
    torch.testing.assert_close(layer(x, supports), layer.weight(torch.cat(parts, dim=-1)))
    x.requires_grad_()
    sparse = layer(x, [supports[0].to_sparse_csr(), supports[1]])
    torch.testing.assert_close(sparse, layer(x, supports))
    slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (sparse, layer(x, supports))]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_gate_is_a_dilated_convolution(dilation):
    torch.manual_seed(2)
    layer = GatedTemporalConvolution(3, 5, dilation)
    x = torch.randn(4, 9, 2, 3)
    earlier, later = layer.convolution.weight.squeeze(-1).unbind(-1)
    for t in range(9 - dilation):
        value, gate = (x[:, t] @ earlier.T + x[:, t + dilation] @ later.T + layer.convolution.bias).chunk(2, dim=-1)
        torch.testing.assert_close(layer(x)[:, t], value.tanh() * gate.sigmoid())


def test_temporal_features_do_not_see_later_inputs():
    torch.manual_seed(3)
    layer = GatedTemporalConvolution(3, 5, 2)
    x = torch.randn(4, 9, 2, 3)
    later = x.clone()
    later[:, 6:] += 1
    changed = (layer(later) != layer(x)).any(-1).any(-1).any(0)
    assert changed.tolist() == [False] * 4 + [True] * 3  # output t stands for the input step t + 2


def test_walks_follow_the_edges_both_ways_and_the_learned_graph_is_a_transition():
    model = build()
    batch = graph_batch()
    weight = torch.zeros(6, 6)
    weight[batch.edge_index[0], batch.edge_index[1]] = batch.edge_weight
    seen = []
    hook = model.diffusions[0].register_forward_hook(lambda module, inputs, output: seen.extend(inputs[1]))
    model.fit(series_of(batch))(batch)
    hook.remove()
    torch.testing.assert_close(seen[0], weight / weight.sum(1, keepdim=True))
    torch.testing.assert_close(seen[1], weight.T / weight.sum(0).unsqueeze(1))
    torch.testing.assert_close(seen[2].sum(1), torch.ones(6))
    raw = torch.relu(model.source @ model.target.T).exp()
    torch.testing.assert_close(seen[2], raw / raw.sum(1, keepdim=True))


def test_whole_network_against_convolutions_over_all_steps():
    """As the paper draws it: every layer over all its steps, skip connections too, and the last step is read."""
    torch.manual_seed(10)
    model = build().eval()
    batch = graph_batch()
    model.fit(series_of(batch))
    supports = [random_walk(batch.edge_index, batch.edge_weight, 6, reverse=r) for r in (False, True)]
    supports.append(model.learned_graph())
    clock = torch.zeros(3, 6, 12, 1)
    h = model.start(torch.cat([torch.zeros(3, 6, 1, 2), torch.cat([model.scaler.transform(batch.x), clock], -1)], 2))
    skip = 0
    for i, dilation in enumerate([1, 2] * 4):
        weight, bias = model.gates[i].convolution.weight.transpose(2, 3), model.gates[i].convolution.bias
        value, gate = torch.conv2d(h.permute(0, 3, 1, 2), weight, bias, dilation=(1, dilation)).chunk(2, dim=1)
        gated = (value.tanh() * gate.sigmoid()).permute(0, 2, 3, 1)
        skip = model.skips[i](gated) + (skip[:, :, -gated.shape[2] :] if i else 0)
        if i < 7:
            parts = [gated]
            for a in supports:
                parts += [torch.einsum("nm,bmtf->bntf", p, gated) for p in (a, a @ a)]
            mixed = model.diffusions[i].weight(torch.cat(parts, -1)) + h[:, :, dilation:]
            h = mixed / math.sqrt(1 + 1e-5)  # normalisation as it starts
    assert skip.shape[2] == 1
    expected = model.end(skip[:, :, 0]).unsqueeze(-1)
    torch.testing.assert_close(model.forward_scaled(batch)[0], expected, rtol=1e-4, atol=1e-5)


def test_only_the_receptive_field_counts():
    torch.manual_seed(4)
    model = build(input_steps=20).eval()
    assert model.receptive_field == 13
    batch = graph_batch(steps=20)
    model.fit(series_of(batch)).double()
    batch.x = batch.x.double()
    before = model(batch)
    batch.x[:, :, :7] = 5.0
    assert torch.equal(model(batch), before)
    batch.x[:, :, 7] = 5.0
    assert not torch.equal(model(batch), before)


def test_time_of_day_is_an_input():
    torch.manual_seed(5)
    model = build(steps_per_cycle=288).eval()
    batch = graph_batch()
    model.fit(series_of(batch))
    before = model(batch)
    batch.x_time = batch.x_time + 6 * 3_600_000_000_000
    assert not torch.allclose(model(batch), before)


def test_training_reduces_the_loss():
    torch.manual_seed(6)
    model = build(dropout=0.0, blocks=2)
    batch = graph_batch(windows=4)
    model.fit(series_of(batch)).train()
    losses = training_losses(model, batch, steps=30, learning_rate=0.02)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["num_nodes", "blocks", "layers", "order", "end_channels", "embedding_size"])
def test_sizes_are_checked(name):
    with pytest.raises(InputError, match=f"{name} is 0; expected at least 1"):
        build(**{name: 0})


def test_a_graph_is_needed():
    model = build().eval()
    batch = graph_batch()
    del batch.edge_index
    with pytest.raises(InputError, match="needs a graph"):
        model(batch)
