from __future__ import annotations

from importlib import resources

import pytest
import torch
import yaml

from stgraph.errors import InputError
from stgraph.models.baselines.agcrn import AGCRN, NodeAdaptiveGRU
from tests.models.baselines.contract import (
    check_forecaster,
    check_mixed_precision,
    graph_batch,
    permute_nodes,
    series_of,
    training_losses,
)

SMALL = {"embed_channels": 3, "hidden_channels": 5}


def build(**options):
    torch.manual_seed(0)
    return AGCRN(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "num_nodes": 6, **SMALL, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"in_channels": 2, "out_channels": 1, "calendar_channels": 2, "steps_per_cycle": 288},
        {"in_channels": 2, "calendar_channels": 1, "num_layers": 1, "chebyshev_terms": 4},
    ],
)
def test_forecaster(options):
    batch = graph_batch(channels=options.get("in_channels", 1), missing=0.1)
    check_forecaster(build(**options), batch, equivariant=False)


def test_nodes_move_with_their_embedding():
    batch = graph_batch()
    model = build().fit(series_of(batch)).eval()
    whole = model(batch)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    with torch.no_grad():
        model.node_embedding.copy_(model.node_embedding[order])
    torch.testing.assert_close(model(permute_nodes(batch, order)), whole[:, order])


def test_parameters_are_the_published_ones():
    published = yaml.safe_load((resources.files("stgraph.models") / "published/agcrn.yaml").read_text())
    assert published["model"] == "agcrn"
    sets = {"metr_la": (207, 288, 4), "pems04": (307, 288, 0), "largest_sd": (716, 96, 3)}
    for name, (nodes, cycle, rounded) in sets.items():
        setting = published["settings"][name]
        model = AGCRN(1, 12, 12, num_nodes=nodes, steps_per_cycle=cycle, **setting["arguments"])
        assert round(sum(p.numel() for p in model.parameters()), -rounded) == setting["parameters"]
    for setting in published["settings"].values():
        AGCRN(1, 12, 12, num_nodes=4, **setting["arguments"])


def test_adjacency_and_polynomials():
    model = build(chebyshev_terms=4)
    embedding = model.node_embedding.detach()
    adjacency = torch.softmax(torch.clamp(embedding @ embedding.T, min=0), dim=1)
    first, second, third = model.polynomials().detach().view(3, 6, 6)
    torch.testing.assert_close(first, adjacency)
    torch.testing.assert_close(second, 2 * adjacency @ adjacency - torch.eye(6))
    torch.testing.assert_close(third, 4 * torch.linalg.matrix_power(adjacency, 3) - 3 * adjacency)
    torch.testing.assert_close(first.sum(1), torch.ones(6))


def test_weights_of_each_node_against_a_loop():
    nodes, windows, steps, inputs, hidden, width, terms = 4, 2, 3, 2, 5, 3, 3
    layer = NodeAdaptiveGRU(inputs, hidden, width, terms).double()
    embedding = torch.randn(nodes, width, dtype=torch.float64)
    matrices = torch.randn(terms - 1, nodes, nodes, dtype=torch.float64)
    x = torch.randn(nodes, steps, windows, inputs, dtype=torch.float64)
    powers = torch.cat([torch.eye(nodes, dtype=torch.float64).unsqueeze(0), matrices])

    def convolve(features, pool, bias):
        out = torch.zeros(nodes, windows, bias.shape[1], dtype=torch.float64)
        for n in range(nodes):
            for k in range(terms):
                weight = sum(embedding[n, d] * pool[d, k] for d in range(width))
                out[n] += sum(powers[k, n, m] * features[m] for m in range(nodes)) @ weight
            out[n] += sum(embedding[n, d] * bias[d] for d in range(width))
        return out

    state = torch.zeros(nodes, windows, hidden, dtype=torch.float64)
    expected = []
    for t in range(steps):
        joined = torch.cat([x[:, t], state], dim=-1)
        reset, update = torch.sigmoid(convolve(joined, layer.gate_weight, layer.gate_bias)).chunk(2, dim=-1)
        joined = torch.cat([x[:, t], reset * state], dim=-1)
        candidate = torch.tanh(convolve(joined, layer.candidate_weight, layer.candidate_bias))
        state = update * state + (1 - update) * candidate
        expected.append(state)
    torch.testing.assert_close(layer(x, embedding, matrices.flatten(0, 1)), torch.stack(expected, dim=1))


def test_states_know_nothing_of_later_steps():
    layer = NodeAdaptiveGRU(2, 5, 3, 2)
    embedding, matrix, x = torch.randn(4, 3), torch.randn(4, 4), torch.randn(4, 8, 2, 2)
    changed = x.clone()
    changed[:, 5:] = 100.0
    before, after = layer(x, embedding, matrix), layer(changed, embedding, matrix)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_mixed_precision_changes_little():
    batch = graph_batch()
    check_mixed_precision(build(), batch)


def test_training_lowers_the_loss_and_fits_a_constant_of_each_node():
    batch = graph_batch(windows=2, steps=4)
    batch.y = (20 + torch.arange(6.0)).view(1, 6, 1, 1).expand_as(batch.y)
    model = build(input_steps=4).fit(series_of(batch)).train()
    losses = training_losses(model, batch, steps=60, learning_rate=0.04, squared=True)
    assert losses[1] < losses[0]
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_nodes": 0}, "num_nodes is 0"),
        ({"embed_channels": 0}, "embed_channels is 0"),
        ({"hidden_channels": 0}, "hidden_channels is 0"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"chebyshev_terms": 1}, "chebyshev_terms is 1; expected at least 2"),
        ({"calendar_channels": -1}, "calendar_channels is -1"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_another_number_of_nodes():
    with pytest.raises(InputError, match="expected num_nodes = 6"):
        build().eval()(graph_batch(nodes=5))
