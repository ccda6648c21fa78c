from __future__ import annotations

import copy
from importlib import resources

import pytest
import torch
import yaml
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines import diffusion, supports
from stgraph.models.baselines.dcrnn import DCRNN, DiffusionGRUCell
from stgraph.models.baselines.diffusion import diffuse, walk_powers
from tests.models.baselines.contract import (
    check_forecaster,
    check_mixed_precision,
    graph_batch,
    series_of,
    training_losses,
)


def build(**options):
    torch.manual_seed(0)
    return DCRNN(**{"in_channels": 1, "input_steps": 12, "horizon": 4, "hidden_channels": 5, **options})


def dense_walks(batch):
    """Both transition matrices, entry by entry from the definition."""
    nodes = batch.x.shape[1]
    weight = torch.zeros(nodes, nodes, dtype=batch.x.dtype)
    for (source, target), value in zip(batch.edge_index.T.tolist(), batch.edge_weight, strict=True):
        weight[source, target] += value
    return weight / weight.sum(1, keepdim=True), weight.T / weight.T.sum(1, keepdim=True)


@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_cycle": 288},
        {"in_channels": 2, "out_channels": 1, "calendar_channels": 2, "steps_per_cycle": 288},
        {"in_channels": 2, "calendar_channels": 0, "num_layers": 1, "diffusion_steps": 3},
    ],
)
def test_forecaster(options):
    batch = graph_batch(channels=options.get("in_channels", 1), missing=0.1)
    check_forecaster(build(**options), batch, equivariant=True)


def test_parameters_are_the_published_ones():
    published = yaml.safe_load((resources.files("stgraph.models") / "published/dcrnn.yaml").read_text())
    assert published["model"] == "dcrnn"
    settings = published["settings"]
    count = {}
    for name, (nodes, cycle) in {"metr_la": (207, 288), "largest_sd": (716, 96)}.items():
        model = DCRNN(1, 12, 12, num_nodes=nodes, steps_per_cycle=cycle, **settings[name]["arguments"])
        count[name] = sum(p.numel() for p in model.parameters())
        assert round(count[name], -3) == settings[name]["parameters"]
    assert count["metr_la"] == 372_353
    for setting in settings.values():
        DCRNN(1, 12, 12, **setting["arguments"])


@pytest.mark.parametrize(("dense_nodes", "density"), [(2048, 0.0), (2048, 1.0), (0, 0.0)])
def test_diffusion_is_the_power_series_of_both_walks(dense_nodes, density, monkeypatch):
    monkeypatch.setattr(supports, "_DENSE_NODES", dense_nodes)
    monkeypatch.setattr(diffusion, "_DENSITY", density)
    batch = graph_batch(nodes=7)
    batch.x = batch.x.double()
    batch.edge_weight = batch.edge_weight.double()
    steps, features, out = 3, 4, 5
    x = torch.randn(7, 2, features, dtype=torch.float64, requires_grad=True)
    theta = torch.randn(1 + 2 * steps, features, out, dtype=torch.float64)
    powers = walk_powers(batch, steps)
    assert len(powers) == (1 if dense_nodes and not density else 4)
    found = diffuse(powers, x, steps).flatten(-2) @ theta.flatten(0, 1)
    forward, backward = dense_walks(batch)
    expected = torch.einsum("nbf,fo->nbo", x, theta[0])
    for k in range(1, steps + 1):
        for walk, weight in ((forward, theta[k]), (backward, theta[steps + k])):
            expected = expected + torch.einsum("nm,mbf,fo->nbo", torch.linalg.matrix_power(walk, k), x, weight)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value.square().sum(), x)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_a_third_power_is_no_chebyshev_recurrence():
    batch = graph_batch(nodes=7)
    x = torch.randn(7, 1, 1)
    forward, _ = dense_walks(batch)
    second = diffuse(walk_powers(batch, 2), x, 2)[:, 0, 2, 0]
    torch.testing.assert_close(second, forward @ forward @ x[:, 0, 0])
    assert not torch.allclose(second, 2 * forward @ forward @ x[:, 0, 0] - x[:, 0, 0], atol=1e-2)


def test_cell_is_a_gated_recurrent_unit_of_dense_diffusion():
    batch = graph_batch(nodes=7)
    cell = DiffusionGRUCell(3, 5, 2)
    torch.nn.init.normal_(cell.bias)
    x, state = torch.randn(7, 2, 3), torch.randn(7, 2, 5)
    forward, backward = dense_walks(batch)
    matrices = torch.stack([torch.eye(7), forward, forward @ forward, backward, backward @ backward])

    def convolve(features, weight):
        return torch.einsum("knm,mbf,kfo->nbo", matrices, features, weight.unflatten(0, (5, -1)))

    from_input = convolve(x, cell.input_weight) + cell.bias
    gates = torch.sigmoid(from_input[..., :10] + convolve(state, cell.gate_weight))
    reset, update = gates[..., :5], gates[..., 5:]
    candidate = torch.tanh(from_input[..., 10:] + convolve(reset * state, cell.candidate_weight))
    powers = walk_powers(batch, 2)
    found = cell(cell.project(x, powers), state, powers)
    torch.testing.assert_close(found, update * state + (1 - update) * candidate)


def test_states_of_the_encoder_know_nothing_of_later_steps():
    model, batch = build(num_layers=2).eval(), graph_batch(nodes=7)
    powers = walk_powers(batch, 2)
    x = torch.randn(7, 12, 3, 2)
    whole = model.encode(x, powers)
    changed = x.clone()
    changed[:, 6:] = 100.0
    for before, after in zip(whole, model.encode(changed, powers), strict=True):
        assert torch.equal(before[:, :6], after[:, :6])
        assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_scheduled_sampling_follows_the_inverse_sigmoid():
    model = build(sampling_decay=20.0)
    for batches in (0, 7, 100):
        model.batches_seen.fill_(batches)
        expected = 20 / (20 + torch.exp(torch.tensor(batches / 20, dtype=torch.float64)))
        assert model.sampling_probability() == pytest.approx(float(expected))
    model.batches_seen.fill_(10**9)
    assert model.sampling_probability() == 0.0


def test_true_values_enter_in_training_alone_and_a_seed_repeats_them():
    batch = graph_batch(nodes=6)
    model = build().fit(series_of(batch)).train()
    other = Data(**batch.to_dict())
    other.y = batch.y + 3

    def forecast(data, batches, seed=0):
        torch.manual_seed(seed)
        model.batches_seen.fill_(batches)
        return model.forward_scaled(data)[0]

    assert torch.equal(forecast(batch, 0), forecast(batch, 0))
    assert int(model.batches_seen) == 1
    # The first step of the horizon follows a zero; true values can matter from the second on, never their own step.
    early, changed = forecast(batch, 0), forecast(other, 0)
    assert torch.equal(early[:, :, 0], changed[:, :, 0])
    assert not torch.allclose(early[:, :, 1:], changed[:, :, 1:])
    assert torch.equal(forecast(batch, 10**9), forecast(other, 10**9))
    other.y, other.y_mask = torch.full_like(batch.y, 1e6), torch.zeros_like(batch.y, dtype=torch.bool)
    assert torch.equal(forecast(batch, 10**9), forecast(other, 0))
    model.eval()
    assert torch.equal(forecast(batch, 0), forecast(other, 0))
    assert int(model.batches_seen) == 0


def test_mixed_precision_changes_little():
    batch = graph_batch(nodes=40)
    check_mixed_precision(build(), batch)


def test_training_lowers_the_loss_and_fits_a_constant():
    batch = graph_batch(windows=2, nodes=5, steps=4, horizon=2)
    batch.y = torch.full_like(batch.y, 22.0)
    model = build(input_steps=4, horizon=2).fit(series_of(batch)).train()
    losses = training_losses(model, batch, steps=60, learning_rate=0.02, squared=True)
    assert losses[1] < losses[0]
    assert losses[-1] < 0.05 * losses[0]


def test_the_graph_is_read_again_when_it_changes():
    batch = graph_batch(nodes=6)
    model = build().fit(series_of(batch)).eval()
    first = model(batch)
    assert torch.equal(copy.deepcopy(model)(batch), first)
    batch.edge_weight = batch.edge_weight.flip(0)
    assert not torch.allclose(model(batch), first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_channels": 0}, "hidden_channels is 0"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"diffusion_steps": 0}, "diffusion_steps is 0"),
        ({"calendar_channels": 3}, "calendar_channels is 3"),
        ({"sampling_decay": 0.0}, "sampling_decay is 0"),
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
