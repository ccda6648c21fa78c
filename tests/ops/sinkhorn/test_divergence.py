from __future__ import annotations

import math
from typing import Any

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.sinkhorn import divergence as module
from stgraph.ops.sinkhorn.divergence import sinkhorn_divergence
from stgraph.ops.sinkhorn.result import ConvergenceWarning
from tests.ops.sinkhorn.clouds import COSTS, full_cost, rand, weights


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q) - p + q).sum())


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.sampled_from(COSTS), st.sampled_from([math.inf, 0.3, 3.0]),
    st.sampled_from([0.2, 1.0, 10.0]), st.integers(0, 2**16),
)  # fmt: skip
def test_a_divergence(n: int, m: int, dim: int, cost: str, rho: float, eps: float, seed: int) -> None:
    x, y, a, b = rand(n, dim, seed=seed), rand(m, dim, seed=seed + 1), weights(n, seed=seed), weights(m, seed=seed + 1)
    if rho != math.inf:
        b = 2 * b

    def compute(*arguments: Tensor) -> Tensor:
        return sinkhorn_divergence(*arguments, eps=eps, cost=cost, rho=rho, tol=1e-9, max_iter=5000)

    value = compute(x, y, a, b)
    assert float(value) > -1e-12
    torch.testing.assert_close(compute(y, x, b, a), value, atol=1e-10, rtol=0)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(compute(x[order], y, a[order], b), value, atol=1e-10, rtol=0)
    torch.testing.assert_close(compute(x[order], x, a[order], a), torch.zeros_like(value), atol=1e-10, rtol=0)
    if n != m:
        assert float(value) > 1e-9


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("rho", [math.inf, 0.5])
def test_equal_clouds_have_no_gradient(cost: str, rho: float) -> None:
    x, a = rand(8, 2).requires_grad_(), weights(8).requires_grad_()
    y, b = x.detach().clone().requires_grad_(), a.detach().clone().requires_grad_()
    value = sinkhorn_divergence(x, y, a, b, eps=0.1, cost=cost, rho=rho, tol=1e-10)
    for grad in torch.autograd.grad(value, (x, y, a, b)):
        torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-9, rtol=0)


@pytest.mark.parametrize("cost", COSTS)
def test_equals_pot(cost: str) -> None:
    # ot.bregman.empirical_sinkhorn_divergence leaves the entropies out: POT's plans give the full objectives.
    x, y, a, b, eps = rand(7, 2), rand(9, 2, seed=1), weights(7), weights(9, seed=1), 0.1

    def objective(x: Tensor, y: Tensor, a: np.ndarray, b: np.ndarray) -> float:
        matrix = full_cost(x, y, cost).numpy()
        plan = ot.sinkhorn(a, b, matrix, eps, method="sinkhorn_log", stopThr=1e-13, numItermax=20000)
        return float((plan * matrix).sum()) + eps * kl(plan, np.outer(a, b))

    p, q = a.numpy(), b.numpy()
    expected = objective(x, y, p, q) - (objective(x, x, p, p) + objective(y, y, q, q)) / 2
    found = sinkhorn_divergence(x, y, a, b, eps=eps, cost=cost, tol=1e-11, max_iter=5000)
    assert float(found) == pytest.approx(expected, abs=1e-10)


def test_unbalanced_equals_pot() -> None:
    x, y, a, b, eps, rho = rand(7, 2), rand(9, 2, seed=1), weights(7), 2 * weights(9, seed=1), 0.1, 0.4

    def objective(x: Tensor, y: Tensor, a: np.ndarray, b: np.ndarray) -> float:
        matrix = full_cost(x, y, "sqeuclidean").numpy()
        plan = ot.unbalanced.sinkhorn_unbalanced(
            a, b, matrix, eps, rho, method="sinkhorn_stabilized", reg_type="kl", stopThr=1e-15, numItermax=9999
        )
        marginals = kl(plan.sum(1), a) + kl(plan.sum(0), b)
        return float((plan * matrix).sum()) + eps * kl(plan, np.outer(a, b)) + rho * marginals

    p, q = a.numpy(), b.numpy()
    expected = objective(x, y, p, q) - (objective(x, x, p, p) + objective(y, y, q, q)) / 2 + eps / 2
    found = sinkhorn_divergence(x, y, a, b, eps=eps, rho=rho, tol=1e-12)
    assert float(found) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("cost", COSTS)
def test_free_marginals_give_the_kernel_distance(cost: str) -> None:
    # Without penalties the plan is a b^T times the kernel, and S is eps / 2 times the squared kernel norm of a - b.
    x, y, a, b, eps = rand(5, 2), rand(6, 2, seed=1), weights(5), 3 * weights(6, seed=1), 0.2
    points, signed = torch.cat([x, y]), torch.cat([a, -b])
    expected = eps / 2 * signed @ torch.exp(-full_cost(points, points, cost) / eps) @ signed
    torch.testing.assert_close(sinkhorn_divergence(x, y, a, b, eps=eps, cost=cost, rho=0.0), expected)


def test_translation_of_a_cloud() -> None:
    # The squared cost of a translated cloud splits into the translation and the cloud's divergence from itself, 0.
    x, shift = rand(20, 3), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found = sinkhorn_divergence(x, x + shift, eps=0.1, tol=1e-10)
    torch.testing.assert_close(found, shift.square().sum(), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("cost", "rho", "chunk_size"),
    [
        ("sqeuclidean", math.inf, None),
        ("euclidean", math.inf, 3),
        ("sqeuclidean", 0.5, 3),
        ("euclidean", 0.5, None),
    ],
)
def test_gradients(cost: str, rho: float, chunk_size: int | None) -> None:
    x, y = rand(4, 2).requires_grad_(), rand(3, 2, seed=1).requires_grad_()
    first, second = rand(4, seed=2).requires_grad_(), rand(3, seed=3).requires_grad_()

    def value(x: Tensor, y: Tensor, first: Tensor, second: Tensor) -> Tensor:
        a, b = first.softmax(dim=-1), second.softmax(dim=-1)
        return sinkhorn_divergence(x, y, a, b, eps=1.0, cost=cost, rho=rho, tol=1e-9, chunk_size=chunk_size)

    assert torch.autograd.gradcheck(value, (x, y, first, second))


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("rho", [math.inf, 0.5])
def test_chunks_equal_kept_costs(cost: str, rho: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rand(17, 2), rand(12, 2, seed=1)

    def compute(chunk_size: int | None = None) -> Tensor:
        return sinkhorn_divergence(x, y, eps=0.05, cost=cost, rho=rho, tol=1e-10, chunk_size=chunk_size)

    kept = compute()
    for chunk_size in (1, 5, 100):
        torch.testing.assert_close(compute(chunk_size), kept, atol=1e-11, rtol=0)

    def refuse(*_: object) -> None:
        raise AssertionError("the costs were kept")

    monkeypatch.setattr(module, "solve", refuse)
    monkeypatch.setattr(module, "dense_transforms", refuse)
    monkeypatch.setattr(module, "DENSE_ENTRIES", 12 * 12 - 1)
    torch.testing.assert_close(compute(), kept, atol=1e-11, rtol=0)


def test_descent_reaches_the_target() -> None:
    x, y = rand(10, 2, dtype=torch.float32), rand(10, 2, seed=1, dtype=torch.float32) + 2
    before = float(sinkhorn_divergence(x, y, eps=0.01))
    for _ in range(15):
        x.requires_grad_()
        (grad,) = torch.autograd.grad(sinkhorn_divergence(x, y, eps=0.01), x)
        x = x.detach() - 0.3 * 10 * grad
    assert float(sinkhorn_divergence(x, y, eps=0.01)) < 1e-4 * before


@pytest.mark.parametrize("eps", [1e-3, 0.1, 100.0])
def test_float32(eps: float) -> None:
    x, y = rand(40, 2, dtype=torch.float32), rand(30, 2, seed=1, dtype=torch.float32)
    found = sinkhorn_divergence(x, y, eps=eps, max_iter=5000)
    assert found.dtype == torch.float32
    exact = sinkhorn_divergence(x.double(), y.double(), eps=eps, max_iter=5000)
    torch.testing.assert_close(found.double(), exact, atol=1e-6 * max(1, eps), rtol=0)


def test_bfloat16_and_non_contiguous() -> None:
    x, y = rand(2, 10, dtype=torch.bfloat16).mT.requires_grad_(), rand(12, 2, seed=1, dtype=torch.bfloat16)
    found = sinkhorn_divergence(x, y, eps=0.1)
    expected = sinkhorn_divergence(x.detach().float().contiguous(), y.float(), eps=0.1)
    torch.testing.assert_close(found, expected.bfloat16())
    (grad,) = torch.autograd.grad(found, x)
    assert grad.dtype == torch.bfloat16
    assert bool(grad.isfinite().all())


def test_batch_equals_loop() -> None:
    x, y, a = rand(2, 1, 6, 2), rand(3, 5, 2, seed=1), weights(3, 6)
    found = sinkhorn_divergence(x, y, a, eps=0.1, tol=1e-11)
    assert found.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            one = sinkhorn_divergence(x[i, 0], y[j], a[j], eps=0.1, tol=1e-11)
            torch.testing.assert_close(found[i, j], one, atol=1e-12, rtol=0)


def test_empty_batch_and_single_points() -> None:
    assert sinkhorn_divergence(torch.zeros(0, 3, 2), torch.zeros(0, 4, 2), eps=0.1).shape == (0,)
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(sinkhorn_divergence(x, y, eps=0.1), torch.tensor(25.0))
    torch.testing.assert_close(sinkhorn_divergence(x, y, eps=0.1, cost="euclidean"), torch.tensor(5.0))


@pytest.mark.parametrize("rho", [math.inf, 0.1])
def test_points_without_weight_do_not_count(rho: float) -> None:
    x, y = rand(5, 2), rand(6, 2, seed=1)
    a = torch.tensor([0.5, 0, 0.25, 0.25, 0], dtype=torch.float64)
    x[a == 0] += 30
    found = sinkhorn_divergence(x, y, a, eps=0.02, rho=rho, tol=1e-9)
    expected = sinkhorn_divergence(x[a > 0], y, a[a > 0], eps=0.02, rho=rho, tol=1e-9)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_no_convergence_is_told_once() -> None:
    with pytest.warns(ConvergenceWarning, match="max_iter = 2") as caught:
        sinkhorn_divergence(rand(3, 30, 2), rand(3, 30, 2, seed=1), eps=1e-3, max_iter=2)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eps": -1.0}, InputError, "eps is -1.0"),
        ({"rho": (1.0, 2.0)}, InputError, r"rho is \(1.0, 2.0\); expected one number"),
        ({"cost": "l1"}, InputError, "cost is 'l1'"),
        ({"x": torch.zeros(3, 5)}, InputError, "x has points of dimension 5"),
        ({"y": None}, InputTypeError, "y is of type NoneType"),
        ({"a": torch.ones(3)}, InputError, "different mass"),
        ({"b": torch.ones(3)}, InputError, r"b has shape \(3,\); expected \(4,\)"),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"x": torch.zeros(3, 2), "y": torch.ones(4, 2), "eps": 0.1, **change}
    with pytest.raises(error, match=message):
        sinkhorn_divergence(arguments.pop("x"), arguments.pop("y"), **arguments)
