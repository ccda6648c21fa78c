from __future__ import annotations

from importlib import resources

import pytest
import torch
import yaml

from stgraph.errors import InputError
from stgraph.models.baselines import supports
from stgraph.models.baselines.stgcn import STGCN, ChebyshevConv, GatedTemporalConv, STConvBlock, chebyshev_polynomials
from tests.models.baselines.contract import (
    check_forecaster,
    check_mixed_precision,
    graph_batch,
    series_of,
    training_losses,
)

SMALL = {"hidden_channels": 6, "graph_channels": 3, "output_channels": 7}


def build(**options):
    torch.manual_seed(0)
    return STGCN(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "num_nodes": 6, **SMALL, **options})


def dense_laplacian(batch):
    """2 L / 2 - I of the symmetric graph, entry by entry from the definition."""
    nodes = batch.x.shape[1]
    weight = torch.zeros(nodes, nodes, dtype=batch.x.dtype)
    for (source, target), value in zip(batch.edge_index.T.tolist(), batch.edge_weight, strict=True):
        weight[source, target] = weight[target, source] = max(value, weight[source, target])
    scale = torch.diag(weight.sum(1) ** -0.5)
    identity = torch.eye(nodes, dtype=batch.x.dtype)
    return (identity - scale @ weight @ scale) - identity


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"in_channels": 2, "out_channels": 1, "calendar_channels": 2, "steps_per_cycle": 288},
        {"in_channels": 2, "input_steps": 9, "chebyshev_terms": 2, "calendar_channels": 1},
        {"input_steps": 5, "temporal_kernel": 2, "chebyshev_terms": 1, "graph_channels": 8},
    ],
)
def test_forecaster(options):
    # What is learned per node is the affine map of each normalisation, which starts the same for all nodes.
    batch = graph_batch(channels=options.get("in_channels", 1), steps=options.get("input_steps", 12), missing=0.1)
    check_forecaster(build(**options), batch, equivariant=True)


def unused_parameters(inputs, hidden=64, graph=16, output=128):
    """The 1 x 1 convolutions that the published programs make on residual paths that lose no channels."""
    pairs = [(inputs, hidden), (graph, hidden), (hidden, hidden), (graph, hidden), (hidden, output)]
    return sum(a * b + b for a, b in pairs)


def test_parameters_are_the_published_ones_less_those_without_use():
    published = yaml.safe_load((resources.files("stgraph.models") / "published/stgcn.yaml").read_text())
    assert published["model"] == "stgcn"
    settings = published["settings"]
    sets = {"metr_la": (207, 1, 231_244, 4), "largest_sd": (716, 3, 492_620, 3), "largest_ca": (8600, 3, None, 5)}
    for name, (nodes, inputs, own, rounded) in sets.items():
        model = STGCN(1, 12, 12, num_nodes=nodes, steps_per_cycle=288, **settings[name]["arguments"])
        count = sum(p.numel() for p in model.parameters())
        assert own in (None, count)
        assert round(count + unused_parameters(inputs), -rounded) == settings[name]["parameters"]
    for setting in settings.values():
        STGCN(1, 12, 12, num_nodes=4, **setting["arguments"])


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("terms", [1, 2, 3, 4])
@pytest.mark.parametrize("dense_nodes", [2048, 0])
def test_graph_convolution_is_the_series_of_the_dense_laplacian(terms, dense_nodes, monkeypatch):
    monkeypatch.setattr(supports, "_DENSE_NODES", dense_nodes)
    batch = graph_batch(nodes=7)
    batch.x = batch.x.double()
    batch.edge_weight = batch.edge_weight.double()
    layer = ChebyshevConv(4, 4, terms).double()
    x = torch.randn(2, 4, 3, 7, dtype=torch.float64, requires_grad=True)
    matrix = dense_laplacian(batch)
    # T_k(L) = U cos(k arccos(lambda)) U^T, by the definition of the polynomials on [-1, 1].
    values, vectors = torch.linalg.eigh(matrix)
    angles = torch.arccos(values.clamp(-1, 1))
    weight = layer.conv.weight[:, :, 0, 0].unflatten(1, (terms, 4))
    expected = x + layer.conv.bias.view(1, -1, 1, 1)
    for k in range(terms):
        polynomial = vectors @ torch.diag(torch.cos(k * angles)) @ vectors.T
        expected = expected + torch.einsum("nm,bctm,oc->botn", polynomial, x, weight[:, k])
    found = layer(x, chebyshev_polynomials(batch, terms))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value.square().sum(), x)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_gated_convolution_against_its_formula():
    layer = GatedTemporalConv(2, 5, 3)
    x = torch.randn(2, 2, 6, 4)
    weight, bias = layer.conv.weight[..., 0], layer.conv.bias
    expected = torch.zeros(2, 5, 4, 4)
    for t in range(4):
        both = torch.einsum("bctn,oct->bon", x[:, :, t : t + 3], weight) + bias.view(1, -1, 1)
        residual = torch.cat([x[:, :, t + 2], torch.zeros(2, 3, 4)], dim=1)
        expected[:, :, t] = (both[:, :5] + residual) * torch.sigmoid(both[:, 5:])
    torch.testing.assert_close(layer(x), expected)


def test_a_block_knows_nothing_of_later_steps():
    batch = graph_batch(nodes=7)
    block = STConvBlock(2, (6, 3, 6), 7, 3, 3, 0.5).eval()
    polynomials = chebyshev_polynomials(batch, 3)
    x = torch.randn(2, 2, 12, 7)
    changed = x.clone()
    changed[:, :, 9:] = 100.0
    before, after = block(x, polynomials), block(changed, polynomials)
    assert before.shape == (2, 6, 8, 7)
    # Step t of the block has seen the steps up to t + 4.
    torch.testing.assert_close(before[:, :, :5], after[:, :, :5])
    assert not torch.isclose(before[:, :, 5], after[:, :, 5]).all()


def test_mixed_precision_changes_little():
    batch = graph_batch()
    check_mixed_precision(build(), batch)


def test_dropout_acts_in_training_alone():
    batch = graph_batch()
    model = build().fit(series_of(batch)).train()
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))


def test_training_lowers_the_loss_and_fits_a_constant():
    batch = graph_batch(windows=2, steps=9)
    batch.y = torch.full_like(batch.y, 22.0)
    model = build(input_steps=9, dropout=0.0).fit(series_of(batch)).train()
    losses = training_losses(model, batch, steps=60, learning_rate=0.02, squared=True)
    assert losses[1] < losses[0]
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_nodes": 0}, "num_nodes is 0"),
        ({"graph_channels": 0}, "graph_channels is 0"),
        ({"chebyshev_terms": 0}, "chebyshev_terms is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"calendar_channels": 3}, "calendar_channels is 3"),
        ({"input_steps": 8}, "input_steps is 8; expected more than the 8 steps"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_a_batch_without_a_graph():
    batch = graph_batch()
    del batch.edge_index
    with pytest.raises(InputError, match="no edge_index"):
        build().eval()(batch)
