from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.nn import ForecastLoss
from stgraph.nn.losses import grid_frequency_weight, pinball_loss
from stgraph.ops.graph_fourier import laplacian_modes


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


def ring(nodes: int) -> Data:
    index = torch.arange(nodes)
    there = torch.stack([index, (index + 1) % nodes])
    return Data(edge_index=torch.cat([there, there.flip(0)], dim=1))


@pytest.mark.parametrize(
    ("point", "reference"),
    [("mae", F.l1_loss), ("mse", F.mse_loss), ("huber", lambda a, b: F.huber_loss(a, b, delta=0.8))],
)
def test_point_part_is_a_mean_over_observed_targets(point: str, reference: object) -> None:
    prediction, target, mask = random(3, 4, 2, 1), random(3, 4, 2, 1) + 1, random(3, 4, 2, 1) > 0
    loss = ForecastLoss(point, frequency_weight=0, quantile_weight=0)
    torch.testing.assert_close(loss(prediction, target).total, reference(prediction, target))
    hidden = torch.where(mask, target, float("nan"))
    expected = reference(prediction[mask], target[mask])
    torch.testing.assert_close(loss(prediction, hidden, mask).total, expected)


def test_unobserved_targets_have_no_influence_on_any_part_nor_on_gradients() -> None:
    prediction, mask = random(2, 6, 1, 1).requires_grad_(), random(2, 6, 1, 1) > 0
    gradients = []
    for filler in (0.0, float("nan"), 1e6):
        target = torch.where(mask, 0.5, torch.tensor(filler, dtype=torch.float64))
        parts = ForecastLoss()(prediction, target, mask, ring(6))
        gradients.append(torch.autograd.grad(parts.total, prediction)[0])
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])
    assert (gradients[0][~mask.expand_as(prediction)].abs() < 1).all()


def test_grid_spectrum_equals_numpy() -> None:
    prediction, target = random(2, 12, 3, 1), random(2, 12, 3, 1) * 0.5
    part = ForecastLoss()(prediction, target, batch=Data(grid=(3, 4))).frequency
    difference = (prediction - target).numpy().reshape(2, 3, 4, 3, 1)
    radius = np.hypot(*np.meshgrid(np.linspace(-1, 1, 3), np.linspace(-1, 1, 4), indexing="ij"))[:, :3]
    spectrum = np.abs(np.fft.rfft2(difference, axes=(1, 2)))
    np.testing.assert_allclose(part, (np.exp(-3 * radius)[..., None, None] * spectrum).mean(), rtol=1e-6)
    assert grid_frequency_weight(1, 5).shape == (1, 3)


def test_graph_spectrum_is_that_of_the_laplacian_and_ignores_node_order() -> None:
    prediction, target, graph = random(2, 8, 1, 1), random(2, 8, 1, 1) * 0.5, ring(8)
    part = ForecastLoss(num_modes=8)(prediction, target, batch=graph).frequency
    values, modes = laplacian_modes(graph.edge_index, 8, 8)
    coefficients = modes.double().T @ (prediction - target).squeeze()[..., None]
    expected = (torch.exp(-1.5 * values.double())[:, None] * coefficients.abs()).mean()
    torch.testing.assert_close(part.double(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="neither grid nor edge_index"):
        ForecastLoss()(prediction, target, batch=Data())


def test_pinball_is_minimised_by_the_quantile() -> None:
    values = torch.linspace(0, 1, 1001, dtype=torch.float64)
    for level in (0.1, 0.5, 0.9):
        losses = [pinball_loss(torch.tensor([q], dtype=torch.float64), values, [level]).mean() for q in values[::20]]
        assert abs(values[::20][int(np.argmin(losses))] - level) < 0.021


def test_quantile_outputs_and_weights_of_processes() -> None:
    prediction, target = random(2, 6, 1, 1, 3), random(2, 6, 1, 1)
    loss = ForecastLoss(quantiles=(0.1, 0.5, 0.9), frequency_weight=0.2, quantile_weight=0.5)
    parts = loss(prediction, target, batch=ring(6), regulariser=torch.tensor(2.0))
    torch.testing.assert_close(parts.quantile, pinball_loss(prediction, target, (0.1, 0.5, 0.9)).mean())
    expected = parts.point + 0.2 * parts.frequency + 0.5 * parts.quantile + parts.regulariser
    torch.testing.assert_close(parts.total, expected)
    weighted = loss(prediction, target, None, ring(6), torch.tensor(2.0), observed_weight=3.0, batch_weight=5.0)
    torch.testing.assert_close(weighted.point, 3 * parts.point)
    torch.testing.assert_close(weighted.frequency, 5 * parts.frequency)
    torch.testing.assert_close(weighted.regulariser, 5 * parts.regulariser)


def test_empty_batches_give_zero_with_a_gradient() -> None:
    prediction = torch.zeros(0, 6, 1, 1, requires_grad=True)
    mask = torch.zeros(0, 6, 1, 1, dtype=torch.bool)
    parts = ForecastLoss()(prediction, torch.zeros(0, 6, 1, 1), mask, ring(6))
    parts.total.backward()
    assert parts.total == 0
    assert prediction.grad is not None


def test_bad_input_and_repr() -> None:
    with pytest.raises(InputError, match="point is 'rmse'"):
        ForecastLoss("rmse")
    with pytest.raises(InputError, match="quantile_levels"):
        ForecastLoss(quantile_levels=[0, 0.5])
    assert "frequency_weight=0.1" in repr(ForecastLoss())
