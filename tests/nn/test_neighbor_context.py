"""What neighbours say about a series, against a loop over series, channels, weightings and steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.neighbor_context import NeighborContext

ROWS, STEPS, CHANNELS, HEADS, TARGETS = 7, 6, 2, 3, 3
EDGES = torch.tensor([[3, 4, 5, 6, 3, 4], [0, 0, 0, 2, 2, 2]])  # the second series has no neighbour


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def given() -> tuple[Tensor, Tensor, Tensor]:
    """Series, what of them is visible, and edge attributes."""
    visible = random(ROWS, STEPS, CHANNELS, seed=1) > -0.5
    visible[[3, 4, 5], 2] = False  # no neighbour of the first series shows this step
    return random(ROWS, STEPS, CHANNELS), visible, 50 + 9 * random(EDGES.shape[1], 2, seed=2)


def layer(edge_channels: int = 2) -> NeighborContext:
    torch.manual_seed(0)
    made = NeighborContext(CHANNELS, HEADS, edge_channels).double()
    with torch.no_grad():  # other values than those at the start
        made.decay.copy_(torch.tensor([0.3, 1.5]))
        made.ridge.copy_(torch.tensor([1.0, -2.0]))
    return made.fit(given()[2]) if edge_channels else made


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt(a @ a * (b @ b) + 1e-6))


@torch.no_grad()
def by_hand(
    model: NeighborContext, x: Tensor, visible: Tensor, edge_attr: Tensor | None, time: np.ndarray
) -> np.ndarray:
    total = np.zeros((TARGETS, STEPS, CHANNELS, HEADS))
    known = np.zeros_like(total)
    values, shown, steps = x.numpy(), visible.numpy(), np.arange(STEPS)
    if edge_attr is not None:
        edge_attr = (edge_attr - edge_attr.mean(dim=0)) / edge_attr.std(dim=0, correction=0)
    for edge, (source, target) in enumerate(EDGES.T.tolist()):
        for c in range(CHANNELS):
            own, near = shown[target, :, c], shown[source, :, c]
            both = own & near
            pairs = both[1:] & both[:-1]
            relations = [
                correlation(values[source, both, c], values[target, both, c]),
                correlation(np.diff(values[source, :, c])[pairs], np.diff(values[target, :, c])[pairs]),
                both.mean(),
            ]
            attributes = [] if edge_attr is None else edge_attr[edge].tolist()
            weight = np.exp(8 * np.tanh(model.score(torch.tensor([*relations, *attributes]).double()).numpy() / 8))
            if not near.any():
                continue
            filled = np.interp(time[source], time[source, near], values[source, near, c])
            distance = np.abs(steps[:, None] - steps[near]).min(axis=1)
            weights = np.exp(-distance / math.exp(model.decay[c].item()))[:, None] * weight
            total[target, :, c] += weights * filled[:, None]
            known[target, :, c] += weights
    mean = np.divide(total, known, out=np.zeros_like(total), where=known > 0)
    fit = np.stack([fit_by_hand(model, mean, x, visible, c) for c in range(CHANNELS)], axis=-1)
    parts = [part.reshape(TARGETS, STEPS, -1) for part in (mean, known / (1 + known), fit)]
    return np.concatenate(parts, axis=-1)


@torch.no_grad()
def fit_by_hand(model: NeighborContext, mean: np.ndarray, x: Tensor, visible: Tensor, c: int) -> np.ndarray:
    """The minimum of squared errors plus the ridge's share for slopes, in units of the means' spreads, off 1/H."""
    found = np.zeros((TARGETS, STEPS))
    ridge = F.softplus(model.ridge[c]).item()
    for target in range(TARGETS):
        shown = visible[target, :, c].numpy()
        both = shown[1:] & shown[:-1]
        columns, own = np.diff(mean[target, :, c], axis=0)[both], np.diff(x[target, :, c].numpy())[both]
        spread = np.sqrt((columns**2).sum(axis=0) / max(both.sum(), 1) + 1e-6)
        design = np.concatenate([columns / spread, math.sqrt(ridge) * np.eye(HEADS)])
        wanted = np.concatenate([own, math.sqrt(ridge) * spread / HEADS])
        slope = np.linalg.lstsq(design, wanted, rcond=None)[0] / spread
        found[target] = mean[target, :, c] @ slope
    return found


@pytest.mark.parametrize("edge_channels", [0, 2])
def test_against_a_loop(edge_channels):
    x, visible, edge_attr = given()
    model = layer(edge_channels)
    attributes = edge_attr if edge_channels else None
    time = random(ROWS, STEPS, seed=4).abs().cumsum(dim=1)
    found = model(x, visible, EDGES, attributes, time, num_targets=TARGETS)
    assert found.shape == (TARGETS, STEPS, model.out_channels) == (TARGETS, STEPS, (2 * HEADS + 1) * CHANNELS)
    expected = by_hand(model, x, visible, attributes, time.numpy())
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-9, atol=1e-11)
    assert not found[1].any()


def test_without_times_steps_are_equal():
    x, visible, edge_attr = given()
    time = 3.0 * torch.arange(STEPS, dtype=torch.float64).expand(ROWS, -1) - 100
    expected = layer()(x, visible, EDGES, edge_attr, time, num_targets=TARGETS)
    torch.testing.assert_close(layer()(x, visible, EDGES, edge_attr, num_targets=TARGETS), expected)


def test_a_neighbour_that_shows_nothing_has_no_weight():
    x, visible, edge_attr = given()
    visible[3] = False
    kept = EDGES[0] != 3
    expected = layer()(x, visible, EDGES[:, kept], edge_attr[kept], num_targets=TARGETS)
    model = layer()
    found = model(x, visible, EDGES, edge_attr, num_targets=TARGETS)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e300])
def test_hidden_values_have_no_influence(wrong):
    x, visible, edge_attr = given()
    model = layer()
    x = x.requires_grad_()
    expected = model(x, visible, EDGES, edge_attr, num_targets=TARGETS)
    changed = x.detach().masked_fill(~visible, wrong)
    assert torch.equal(model(changed, visible, EDGES, edge_attr, num_targets=TARGETS), expected)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    assert not gradient[~visible].any()
    assert gradient[visible].any()


def test_order_of_edges_and_of_neighbours():
    x, visible, edge_attr = given()
    model = layer()
    expected = model(x, visible, EDGES, edge_attr, num_targets=TARGETS)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    found = model(x, visible, EDGES[:, order], edge_attr[order], num_targets=TARGETS)
    torch.testing.assert_close(found, expected)
    rows = torch.tensor([0, 1, 2, 6, 4, 3, 5])  # row i of the new batch is row rows[i] of the old one
    edges = torch.stack([torch.argsort(rows)[EDGES[0]], EDGES[1]])
    found = model(x[rows], visible[rows], edges, edge_attr, num_targets=TARGETS)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("rows", [3, 0])
def test_without_edges_there_is_nothing(rows):
    x, visible, edge_attr = given()
    none = torch.zeros(2, 0, dtype=torch.int64)
    found = layer()(x[:rows], visible[:rows], none, edge_attr[:0], num_targets=rows)
    assert found.shape == (rows, STEPS, (2 * HEADS + 1) * CHANNELS)
    assert not found.any()


def test_a_neighbour_that_equals_the_series_gives_back_its_values():
    x = random(1, 40, CHANNELS).expand(2, -1, -1)
    visible = torch.ones_like(x, dtype=torch.bool)
    visible[0, 10:20] = False
    model = NeighborContext(CHANNELS, HEADS).double()
    found = model(x, visible, torch.tensor([[1], [0]]), num_targets=1)
    mean, weight = (part.view(40, CHANNELS, HEADS) for part in found[0, :, :-CHANNELS].chunk(2, dim=-1))
    torch.testing.assert_close(mean, x[0, :, :, None].expand_as(mean))
    torch.testing.assert_close(found[0, :, -CHANNELS:], x[0])
    assert ((weight > 0) & (weight < 1)).all()


def test_the_fit_finds_the_amplitude_of_a_neighbour():
    x = random(1, 500, 1)
    both = torch.cat([x, -5 * x])
    found = NeighborContext(1, 1).double()(both, both != 0, torch.tensor([[1], [0]]), num_targets=1)
    torch.testing.assert_close(found[..., -1:], x, rtol=0.05, atol=0)


def test_a_trend_under_slow_signals_of_their_own_is_found():
    trend = random(1, 300, 1)
    phase = 6 * random(9, 1, 1, seed=3)
    own = 3 * torch.sin(torch.arange(300.0).double()[:, None] / 60 + phase)
    x = 1.5 * trend + own
    x[1:] -= 0.5 * trend  # the series has a larger share of the trend than its neighbours
    edges = torch.stack([torch.arange(1, 9), torch.zeros(8, dtype=torch.int64)])
    found = NeighborContext(1, 2).double()(x, x != 0, edges, num_targets=1).detach()
    left = x[:1] - found[..., -1:]
    # What is left is as smooth as a slow signal: the trend is gone.
    assert left.diff(dim=1).square().mean() < 0.02 * (1.5 * trend).diff(dim=1).square().mean()


def test_gradients():
    x, visible, edge_attr = given()
    model = layer()

    def call(values: Tensor, decay: Tensor, ridge: Tensor, first: Tensor) -> Tensor:
        parameters = {"decay": decay, "ridge": ridge, "score.0.weight": first}
        arguments = (values[:5, :3], visible[:5, :3], EDGES[:, :2], edge_attr[:2])
        found: Tensor = torch.func.functional_call(model, parameters, arguments, {"num_targets": 1})
        return found

    inputs = [x, model.decay, model.ridge, model.score[0].weight]
    assert torch.autograd.gradcheck(call, [value.detach().requires_grad_() for value in inputs], fast_mode=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_other_precisions(dtype, tolerance):
    x, visible, edge_attr = given()
    model = layer()
    expected = model(x, visible, EDGES, edge_attr, num_targets=TARGETS)
    found = model.to(dtype)(x.to(dtype), visible, EDGES, edge_attr, num_targets=TARGETS)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_the_unit_of_edge_attributes_does_not_matter():
    x, visible, edge_attr = given()
    first = layer()(x, visible, EDGES, edge_attr, num_targets=TARGETS)
    second = layer().fit(1000 * edge_attr - 3)(x, visible, EDGES, 1000 * edge_attr - 3, num_targets=TARGETS)
    torch.testing.assert_close(first, second)
    single = layer().fit(edge_attr[:1])
    assert single.edge_scale.tolist() == [1, 1]
    assert torch.equal(single.fit(edge_attr[:0]).edge_mean, edge_attr[0])


def test_new_parameters_and_state():
    model, other = layer(), NeighborContext(CHANNELS, HEADS, 2).double()
    other.load_state_dict(model.state_dict())
    x, visible, edge_attr = given()
    arguments = (x, visible, EDGES, edge_attr)
    assert torch.equal(model(*arguments, num_targets=TARGETS), other(*arguments, num_targets=TARGETS))
    model.reset_parameters()
    assert model.ridge.tolist() == [3, 3]
    assert not torch.equal(model.score[0].weight, other.score[0].weight)
    assert repr(model).startswith("NeighborContext(\n  2, heads=3, edge_channels=2")


def test_errors():
    for sizes in ((0, 1), (1, 0), (1, 1, -1), (1, 1, 0, 0)):
        with pytest.raises(InputError, match="expected"):
            NeighborContext(*sizes)
    x, visible, edge_attr = given()
    for wrong in (None, edge_attr[:, :1], edge_attr[:4], edge_attr[:, 0]):
        with pytest.raises(InputError, match="edge_attr has shape"):
            layer()(x, visible, EDGES, wrong, num_targets=TARGETS)
    with pytest.raises(InputError, match="edge_attr has shape"):
        layer().fit(edge_attr[:, 0])
    for values, shown in ((x[..., :1], visible[..., :1]), (x, visible[:3]), (x[0], visible[0])):
        with pytest.raises(InputError, match=r"expected \(R, L, 2\)"):
            layer()(values, shown, EDGES, edge_attr, num_targets=TARGETS)
