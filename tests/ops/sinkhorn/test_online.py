from __future__ import annotations

import math
from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.sinkhorn import points
from stgraph.ops.sinkhorn.online import OnlineSinkhornResult, sinkhorn_online
from stgraph.ops.sinkhorn.projection import barycentric_projection
from stgraph.ops.sinkhorn.result import ConvergenceWarning
from stgraph.ops.sinkhorn.solver import sinkhorn
from tests.ops.sinkhorn.clouds import COSTS, full_cost, rand, weights

RHOS = (math.inf, 0.7, (math.inf, 0.3), (0.3, math.inf), (0.0, math.inf), (0.5, 0.0))


def assert_same(online: OnlineSinkhornResult, dense: Any, atol: float = 1e-9) -> None:
    f, g = online.potentials
    shift = (f - dense.potentials[0])[..., :1]
    torch.testing.assert_close(f - shift, dense.potentials[0], atol=atol, rtol=0)
    torch.testing.assert_close(g + shift, dense.potentials[1], atol=atol, rtol=0)
    torch.testing.assert_close(online.objective, dense.objective, atol=atol, rtol=0)
    for ours, theirs in zip(online.marginal_errors, dense.marginal_errors, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=0)
    assert bool(online.converged.all())


class LargestTensor(TorchDispatchMode):
    """Records the most entries of any tensor that an operation returns."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        sizes = [
            value.untyped_storage().nbytes() // value.element_size()
            for value in tree_leaves(out)
            if isinstance(value, Tensor)
        ]
        self.largest = max(self.largest, *sizes, 0)
        return out


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("chunk_size", [1, 5, 64, None])
def test_equals_dense(cost: str, chunk_size: int | None) -> None:
    x, y, a, b = rand(8, 3), rand(6, 3, seed=1), weights(8), weights(6, seed=1)
    dense = sinkhorn(full_cost(x, y, cost), a, b, eps=0.1, tol=1e-10)
    online = sinkhorn_online(x, y, a, b, eps=0.1, cost=cost, tol=1e-10, chunk_size=chunk_size)
    assert_same(online, dense)
    torch.testing.assert_close(
        online.barycentric_projection(), barycentric_projection(dense.plan, y), atol=1e-8, rtol=0
    )


@pytest.mark.parametrize("rho", RHOS)
def test_relaxed_marginals_equal_dense(rho: float | tuple[float, float]) -> None:
    x, y = rand(7, 2), rand(10, 2, seed=1)
    a, b = weights(7), weights(10, seed=1)
    if rho != math.inf:
        b = 1.5 * b
    dense = sinkhorn(full_cost(x, y, "sqeuclidean"), a, b, eps=0.05, rho=rho, tol=1e-11)
    online = sinkhorn_online(x, y, a, b, eps=0.05, rho=rho, tol=1e-11, chunk_size=4)
    assert_same(online, dense)


@pytest.mark.parametrize("cost", COSTS)
def test_objective_equals_pot(cost: str) -> None:
    # ot.sinkhorn2 gives <P, C>; its plan gives the objective with the KL divergence from a b^T.
    x, y, a, b = rand(12, 2), rand(15, 2, seed=1), weights(12), weights(15, seed=1)
    matrix = full_cost(x, y, cost).numpy()
    plan = ot.sinkhorn(a.numpy(), b.numpy(), matrix, 0.05, method="sinkhorn_log", stopThr=1e-14, numItermax=20000)
    expected = (plan * matrix).sum() + 0.05 * (plan * np.log(plan / np.outer(a, b))).sum()
    found = sinkhorn_online(x, y, a, b, eps=0.05, cost=cost, tol=1e-12)
    assert float(found.objective) == pytest.approx(expected, abs=1e-10)
    np.testing.assert_allclose(found.barycentric_projection(), plan @ y.numpy() / a.numpy()[:, None], atol=1e-9)


def test_unbalanced_objective_equals_pot() -> None:
    x, y, a, b = rand(8, 2), rand(6, 2, seed=1), weights(8), 2 * weights(6, seed=1)
    matrix, eps, rho = full_cost(x, y, "sqeuclidean").numpy(), 0.1, 0.4
    plan = ot.unbalanced.sinkhorn_unbalanced(
        a.numpy(),
        b.numpy(),
        matrix,
        eps,
        rho,
        method="sinkhorn_stabilized",
        reg_type="kl",
        stopThr=1e-15,
        numItermax=9999,
    )

    def divergence(p: np.ndarray, q: np.ndarray) -> float:
        return float((p * np.log(p / q) - p + q).sum())

    expected = (plan * matrix).sum() + eps * divergence(plan, np.outer(a, b))
    expected += rho * (divergence(plan.sum(1), a.numpy()) + divergence(plan.sum(0), b.numpy()))
    found = sinkhorn_online(x, y, a, b, eps=eps, rho=rho, tol=1e-13)
    assert float(found.objective) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("eps", [1e-3, 1e-2, 1.0, 100.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_float32_at_all_scales(eps: float, scale: float) -> None:
    x, y = (scale * rand(30, 2, seed=seed, dtype=torch.float32) for seed in (0, 1))
    found = sinkhorn_online(x, y, eps=eps * scale**2, max_iter=5000)
    exact = sinkhorn_online(x.double(), y.double(), eps=eps * scale**2, max_iter=5000)
    assert found.objective.dtype == found.potentials[0].dtype == torch.float32
    assert bool(found.converged)
    # A marginal error of tol moves the objective by at most tol times the spread of the potentials, and the rounding of
    # the weights moves the entropy by a few units in the last place.
    atol = (2e-5 + 5 * torch.finfo(torch.float32).eps * eps) * scale**2
    torch.testing.assert_close(found.objective.double(), exact.objective, atol=atol, rtol=0)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("rho", [math.inf, 0.5, (0.0, math.inf)])
def test_gradients(cost: str, rho: float | tuple[float, float]) -> None:
    x, y = rand(2, 3, 2).requires_grad_(), rand(4, 2, seed=1).requires_grad_()
    first, second = rand(3, seed=2).requires_grad_(), rand(2, 4, seed=3).requires_grad_()

    def objective(x: Tensor, y: Tensor, first: Tensor, second: Tensor) -> Tensor:
        a, b = first.softmax(dim=-1), second.softmax(dim=-1)
        return sinkhorn_online(x, y, a, b, eps=1.0, cost=cost, rho=rho, tol=1e-9, chunk_size=2).objective

    assert torch.autograd.gradcheck(objective, (x, y, first, second))


def test_gradient_by_masses() -> None:
    x, y = rand(5, 2), rand(4, 2, seed=1)
    a, b = weights(5).requires_grad_(), (2 * weights(4, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: sinkhorn_online(x, y, a, b, eps=0.3, rho=0.5, tol=1e-12).objective, (a, b)
    )


def test_gradient_of_parts() -> None:
    x, y = rand(6, 2), rand(5, 2, seed=1)
    both = [value.clone().requires_grad_() for value in (x, y)]
    together = torch.autograd.grad(sinkhorn_online(*both, eps=0.1).objective, both)
    for side, expected in enumerate(together):
        alone = [value.clone().requires_grad_(i == side) for i, value in enumerate((x, y))]
        (found,) = torch.autograd.grad(sinkhorn_online(*alone, eps=0.1).objective, alone[side])
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("cost", COSTS)
def test_gradient_equals_that_of_dense_objective(cost: str) -> None:
    x, y = rand(2, 12, 3).requires_grad_(), rand(2, 9, 3, seed=1).requires_grad_()
    seeds = torch.tensor([1.0, -3.0], dtype=torch.float64)
    dense = sinkhorn(full_cost(x, y, cost), eps=0.1, tol=1e-11).objective
    online = sinkhorn_online(x, y, eps=0.1, cost=cost, tol=1e-11, chunk_size=5).objective
    for found, expected in zip(
        torch.autograd.grad(online, (x, y), seeds), torch.autograd.grad(dense, (x, y), seeds), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("cost", COSTS)
def test_coinciding_points_have_finite_gradients(cost: str) -> None:
    x = torch.zeros(3, 2).requires_grad_()
    found = sinkhorn_online(x, torch.zeros(4, 2), eps=0.1, cost=cost)
    found.objective.backward()
    assert found.objective.item() == pytest.approx(0, abs=1e-7)
    assert torch.equal(x.grad, torch.zeros(3, 2))


@pytest.mark.parametrize("offset", [0.0, 2.0**13])
def test_near_points_far_from_the_origin(offset: float) -> None:
    # One point on each side: the objective is the cost. |x|^2 + |y|^2 - 2 x y would lose it altogether.
    x = torch.full((1, 2), offset).requires_grad_()
    y = x.detach() + torch.tensor([[2.0**-8, 0.0]])
    found = sinkhorn_online(x, y, eps=1e-3).objective
    found.backward()
    assert found.item() == pytest.approx(2.0**-16, rel=1e-5)
    torch.testing.assert_close(x.grad, torch.tensor([[-(2.0**-7), 0.0]]))


def test_gradient_in_float32_at_small_eps() -> None:
    x, y = rand(40, 2), rand(30, 2, seed=1)
    grads = []
    for dtype in (torch.float64, torch.float32):
        inputs = [value.to(dtype).requires_grad_() for value in (x, y, weights(40), weights(30))]
        found = sinkhorn_online(*inputs, eps=2e-4, max_iter=20000, tol=1e-6)
        grads.append([grad.double() for grad in torch.autograd.grad(found.objective, inputs)])
    for found, expected in zip(grads[1], grads[0], strict=True):
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("cost", COSTS)
def test_memory_is_bounded_by_the_chunk(cost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    n, m, chunk_size = 150, 120, 2
    x, y = rand(n, 2).requires_grad_(), rand(m, 2, seed=1).requires_grad_()
    for chunk in (chunk_size, None):
        monkeypatch.setattr(points, "CPU_ENTRIES", chunk_size * 2 * m)
        with LargestTensor() as sizes:
            found = sinkhorn_online(x, y, eps=0.5, cost=cost, chunk_size=chunk)
            found.objective.backward()
            found.barycentric_projection()
        assert m < sizes.largest <= chunk_size * n < n * m / 40


def test_batch_equals_loop() -> None:
    x, y, a, b = rand(2, 1, 6, 2), rand(3, 5, 2, seed=1), weights(6), weights(2, 3, 5, seed=1)
    found = sinkhorn_online(x, y, a, b, eps=0.1, tol=1e-12)
    assert found.objective.shape == found.converged.shape == (2, 3)
    assert found.potentials[0].shape == (2, 3, 6)
    images = found.barycentric_projection()
    assert images.shape == (2, 3, 6, 2)
    for i in range(2):
        for j in range(3):
            one = sinkhorn_online(x[i, 0], y[j], a, b[i, j], eps=0.1, tol=1e-12)
            torch.testing.assert_close(found.objective[i, j], one.objective)
            torch.testing.assert_close(found.potentials[1][i, j], one.potentials[1])
            torch.testing.assert_close(images[i, j], one.barycentric_projection())


def test_empty_batch() -> None:
    found = sinkhorn_online(torch.zeros(0, 3, 2), torch.zeros(0, 4, 2), eps=0.1)
    assert found.objective.shape == (0,)
    assert found.potentials[1].shape == (0, 4)
    assert found.barycentric_projection().shape == (0, 3, 2)


def test_points_without_weight_do_not_count() -> None:
    x, y = rand(6, 2), rand(5, 2, seed=1)
    a = torch.tensor([0.5, 0, 0.25, 0.25, 0, 0], dtype=torch.float64)
    kept = a > 0
    x[~kept] *= 50
    x.requires_grad_()
    a.requires_grad_()
    for rho in (math.inf, 0.1):
        found = sinkhorn_online(x, y, a, eps=0.01, rho=rho)
        expected = sinkhorn_online(x[kept], y, a[kept], eps=0.01, rho=rho)
        torch.testing.assert_close(found.objective, expected.objective, atol=1e-6, rtol=1e-6)
        assert torch.equal(found.barycentric_projection()[~kept], torch.zeros(3, 2, dtype=torch.float64))
        x_grad, a_grad = torch.autograd.grad(found.objective, (x, a))
        assert torch.equal(x_grad[~kept], torch.zeros(3, 2, dtype=torch.float64))
        assert torch.equal(a_grad[~kept], torch.zeros(3, dtype=torch.float64))
        assert bool((x_grad[kept] != 0).all())


def test_one_point_against_many() -> None:
    x, y, b = rand(1, 3), rand(6, 3, seed=1), weights(6)
    found = sinkhorn_online(x, y, None, b, eps=0.1, tol=1e-12)
    torch.testing.assert_close(found.objective, (b * full_cost(x, y, "sqeuclidean")[0]).sum())
    torch.testing.assert_close(found.barycentric_projection(), b[None] @ y)


def test_non_contiguous_points_and_mixed_dtypes() -> None:
    x, y = rand(3, 8).mT, rand(6, 10, seed=1)[:, 1:7:2]
    expected = sinkhorn_online(x.contiguous(), y.contiguous(), eps=0.1)
    found = sinkhorn_online(x, y, eps=0.1)
    assert torch.equal(found.objective, expected.objective)
    assert sinkhorn_online(x.float(), y, eps=0.1).objective.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    x, y = rand(20, 2, dtype=dtype).requires_grad_(), rand(15, 2, seed=1, dtype=dtype)
    found = sinkhorn_online(x, y, eps=0.1)
    expected = sinkhorn_online(x.detach().float(), y.float(), eps=0.1)
    assert found.objective.dtype == found.barycentric_projection().dtype == dtype
    torch.testing.assert_close(found.objective, expected.objective.to(dtype))
    found.objective.backward()
    assert x.grad.dtype == dtype


def test_autocast_changes_nothing() -> None:
    x, y = rand(20, 2, dtype=torch.float32).requires_grad_(), rand(15, 2, seed=1, dtype=torch.float32)
    expected = sinkhorn_online(x, y, eps=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sinkhorn_online(x, y, eps=0.1)
        images = found.barycentric_projection()
        (grad,) = torch.autograd.grad(found.objective, x)
    assert torch.equal(found.objective, expected.objective)
    assert torch.equal(images, expected.barycentric_projection())
    assert torch.equal(grad, *torch.autograd.grad(expected.objective, x))


def test_no_convergence_is_told_once() -> None:
    x, y = rand(3, 30, 2), rand(3, 30, 2, seed=1)
    with pytest.warns(ConvergenceWarning, match=r"max_iter = 3.*raise max_iter or eps") as caught:
        found = sinkhorn_online(x, y, eps=1e-3, max_iter=3)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert int(found.iterations) == 3
    assert not bool(found.converged.any())
    assert float(torch.stack(found.marginal_errors).max()) > 1e-5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eps": 0.0}, InputError, "eps is 0.0"),
        ({"eps": math.nan}, InputError, "eps is nan"),
        ({"cost": "cosine"}, InputError, "cost is 'cosine'; expected one of"),
        ({"rho": -1.0}, InputError, "rho is -1.0"),
        ({"max_iter": 0}, InputError, "max_iter is 0"),
        ({"chunk_size": 0}, InputError, "chunk_size is 0"),
        ({"chunk_size": 2.5}, InputTypeError, "chunk_size is of type float"),
        ({"x": [[0.0]]}, InputTypeError, "x is of type list"),
        ({"x": torch.zeros(3, 2, dtype=torch.int64)}, InputTypeError, "x has dtype torch.int64"),
        ({"x": torch.zeros(3)}, InputError, r"x has shape \(3,\)"),
        ({"y": torch.zeros(0, 2)}, InputError, r"y has shape \(0, 2\)"),
        ({"y": torch.zeros(4, 0)}, InputError, r"y has shape \(4, 0\)"),
        ({"y": torch.zeros(4, 3)}, InputError, "x has points of dimension 2, y of dimension 3"),
        ({"x": torch.tensor([[0.0, math.nan]])}, InputError, "x has NaN or infinite coordinates"),
        ({"x": torch.full((3, 2), 1e30)}, InputError, "cost has NaN or infinite entries"),
        ({"x": torch.zeros(2, 3, 2), "y": torch.zeros(3, 4, 2)}, InputError, r"y has shape \(3, 4, 2\)"),
        ({"a": torch.ones(4)}, InputError, r"a has shape \(4,\); expected \(3,\)"),
        ({"b": torch.ones(())}, InputError, r"b has shape \(\); expected \(4,\)"),
        ({"a": torch.ones(3)}, InputError, "a sums to 3, b to 1"),
        ({"a": torch.tensor([1.5, -0.5, 0.0])}, InputError, "a has negative weights"),
        ({"b": torch.zeros(4)}, InputError, "b has no positive weight"),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"x": torch.zeros(3, 2), "y": torch.ones(4, 2), "eps": 0.1, **change}
    with pytest.raises(error, match=message):
        sinkhorn_online(arguments.pop("x"), arguments.pop("y"), **arguments)
