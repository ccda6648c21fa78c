from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.sinkhorn.projection import barycentric_projection


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_is_the_weighted_mean() -> None:
    plan, y = rand(4, 3), rand(3, 2, seed=1)
    found = barycentric_projection(plan, y)
    for row, image in zip(plan, found, strict=True):
        torch.testing.assert_close(image, sum(p * point for p, point in zip(row, y, strict=True)) / row.sum())
    torch.testing.assert_close(barycentric_projection(1e-30 * plan, y), found)


def test_a_permutation_moves_points_exactly() -> None:
    order = torch.tensor([2, 0, 1])
    y = rand(3, 2)
    assert torch.equal(barycentric_projection(torch.eye(3, dtype=torch.float64)[order] * 0.25, y), y[order])


def test_rows_without_mass_go_to_zero_without_gradient() -> None:
    plan = rand(3, 4)
    plan[1] = 0
    plan.requires_grad_()
    y = rand(4, 2, seed=1).requires_grad_()
    found = barycentric_projection(plan, y)
    assert torch.equal(found[1], torch.zeros(2, dtype=torch.float64))
    plan_grad, y_grad = torch.autograd.grad(found.sum(), (plan, y))
    assert torch.equal(plan_grad[1], torch.zeros(4, dtype=torch.float64))
    assert bool(plan_grad[0].ne(0).all())
    assert bool(y_grad.isfinite().all())


def test_gradients() -> None:
    inputs = rand(2, 3, 4).requires_grad_(), rand(4, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(barycentric_projection, inputs)


def test_batches_broadcast() -> None:
    plan, y = rand(2, 1, 3, 4), rand(5, 4, 2, seed=1)
    found = barycentric_projection(plan, y)
    assert found.shape == (2, 5, 3, 2)
    torch.testing.assert_close(found[1, 3], barycentric_projection(plan[1, 0], y[3]))
    assert barycentric_projection(plan[:0], y[0]).shape == (0, 1, 3, 2)


def test_dtypes() -> None:
    plan, y = rand(3, 4), rand(4, 2, seed=1)
    expected = barycentric_projection(plan, y)
    assert torch.equal(barycentric_projection(plan.mT.contiguous().mT, y), expected)
    assert barycentric_projection(plan.float(), y).dtype == torch.float64
    half = barycentric_projection(plan.bfloat16(), y.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("plan", "y", "error", "message"),
    [
        (torch.zeros(3), torch.zeros(3, 2), InputError, r"plan has shape \(3,\)"),
        (torch.zeros(2, 3), torch.zeros(3), InputError, r"y has shape \(3,\)"),
        (torch.zeros(2, 3), torch.zeros(4, 2), InputError, r"y has shape \(4, 2\); expected \(\.\.\., 3, dimension\)"),
        (torch.zeros(5, 2, 3), torch.zeros(4, 3, 2), InputError, r"y has shape \(4, 3, 2\)"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(3, 2), InputTypeError, "plan has dtype torch.int64"),
        (torch.zeros(2, 3), [[0.0]], InputTypeError, "y is of type list"),
    ],
)
def test_bad_input(plan: Tensor, y: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        barycentric_projection(plan, y)
