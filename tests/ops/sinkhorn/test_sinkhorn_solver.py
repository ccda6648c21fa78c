"""What the solver returns, by the definitions and symmetries of the problem."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.ops.sinkhorn import ConvergenceWarning, SinkhornResult, sinkhorn

INF = math.inf
Rho = float | tuple[float, float]
RHOS: list[Rho] = [INF, (INF, 0.0), (0.0, INF), (INF, 0.3), (0.4, INF), (0.2, 0.7), 1.5, (0.3, 0.0), (0.0, 0.0)]
GRADIENTS = ["implicit", "unrolled"]


def random_problem(*shape: int, seed: int = 0, zeros: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(*shape, generator=generator, dtype=torch.float64)
    a, b = (
        torch.rand(*shape[:-2], size, generator=generator, dtype=torch.float64) + 0.1 for size in (shape[-2], shape[-1])
    )
    if zeros:
        a[..., 0], b[..., -1] = 0.0, 0.0
    return cost, a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)


def scaled(a: Tensor, b: Tensor, rho: Rho) -> tuple[Tensor, Tensor]:
    """Masses may differ unless both marginals are exact."""
    return (a, b) if rho == INF else (1.3 * a, 0.8 * b)


def pair(rho: Rho) -> tuple[float, float]:
    return rho if isinstance(rho, tuple) else (rho, rho)


def divergence(p: Tensor, q: Tensor, dims: tuple[int, ...]) -> Tensor:
    ratio = torch.where(p > 0, p / torch.where(p > 0, q, 1.0), 1.0)
    return (p * ratio.log() - p + q).sum(dims)


def primal(plan: Tensor, cost: Tensor, a: Tensor, b: Tensor, eps: float, rho: Rho) -> Tensor:
    value = (plan * cost).sum((-2, -1))
    value = value + eps * divergence(plan, a.unsqueeze(-1) * b.unsqueeze(-2), (-2, -1))
    for penalty, sums, weights in zip(pair(rho), (plan.sum(-1), plan.sum(-2)), (a, b), strict=True):
        if 0 < penalty < INF:
            value = value + penalty * divergence(sums, weights, (-1,))
    return value


def marginal_errors(result: SinkhornResult, a: Tensor, b: Tensor, rho: Rho) -> list[Tensor]:
    errors = []
    sides = ((a, -1, result.potentials[0]), (b, -2, result.potentials[1]))
    for penalty, (weights, dim, potential) in zip(pair(rho), sides, strict=True):
        target = weights if penalty == INF else weights * (-potential / max(penalty, 1e-300)).exp()
        error = (result.plan.sum(dim) - torch.where(weights > 0, target, 0.0)).abs().sum(-1) / weights.sum(-1)
        errors.append(torch.zeros_like(error) if penalty == 0 else error)
    return errors


def assert_same(result: SinkhornResult, expected: SinkhornResult, atol: float = 1e-9) -> None:
    """The same solution, with potentials known up to a constant."""
    for name in ("plan", "objective", "transport_cost"):
        torch.testing.assert_close(getattr(result, name), getattr(expected, name), rtol=atol, atol=atol)
    (f, g), (f_expected, g_expected) = result.potentials, expected.potentials
    sums = f.unsqueeze(-1) + g.unsqueeze(-2), f_expected.unsqueeze(-1) + g_expected.unsqueeze(-2)
    torch.testing.assert_close(*sums, rtol=0, atol=100 * atol)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("rho", RHOS)
def test_result_by_its_definitions(rho: Rho, gradient: str) -> None:
    cost, a, b = random_problem(3, 6, 4, zeros=True)
    a, b = scaled(a, b, rho)
    result = sinkhorn(cost, a, b, eps=0.1, rho=rho, tol=1e-11, gradient=gradient)
    f, g = result.potentials
    implied = a.unsqueeze(-1) * b.unsqueeze(-2) * ((f.unsqueeze(-1) + g.unsqueeze(-2) - cost) / 0.1).exp()
    torch.testing.assert_close(result.plan, implied, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(result.objective, primal(result.plan, cost, a, b, 0.1, rho), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(result.transport_cost, (result.plan * cost).sum((-2, -1)))
    for reported, true in zip(result.marginal_errors, marginal_errors(result, a, b, rho), strict=True):
        torch.testing.assert_close(reported, true, rtol=0, atol=1e-14)
    assert bool(result.converged.all())
    assert float(torch.maximum(*result.marginal_errors).max()) <= 1e-11
    assert result.iterations.dtype == torch.int64
    assert result.iterations.shape == ()
    # Nothing goes where there is no weight.
    assert not bool(result.plan[:, 0].any())
    assert not bool(result.plan[..., -1].any())


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_errors_of_an_unfinished_solution_are_those_of_its_plan(gradient: str) -> None:
    for rho in (INF, (INF, 0.3), 0.4):
        cost, a, b = random_problem(2, 9, 7)
        with pytest.warns(ConvergenceWarning):
            result = sinkhorn(cost, a, b, eps=0.005, rho=rho, max_iter=4, tol=1e-9, gradient=gradient)
        assert not bool(result.converged.any())
        for reported, true in zip(result.marginal_errors, marginal_errors(result, a, b, rho), strict=True):
            torch.testing.assert_close(reported, true, rtol=1e-9, atol=1e-14)
        # Weak duality: whatever the potentials, the dual is below the optimum.
        best = sinkhorn(cost, a, b, eps=0.005, rho=rho, max_iter=20000, tol=1e-9)
        assert bool((result.objective <= best.objective + 1e-9).all())


def test_converged_is_told_for_each_problem() -> None:
    """Without cost the first iterate is the solution."""
    cost = torch.stack([torch.zeros(8, 8), torch.rand(8, 8, generator=torch.Generator().manual_seed(0))])
    with pytest.warns(ConvergenceWarning, match="1 of 2 problems"):
        result = sinkhorn(cost, eps=0.005, max_iter=2)
    assert result.converged.tolist() == [True, False]


def test_uniform_marginals_are_the_default() -> None:
    cost, *_ = random_problem(2, 4, 3)
    a, b = torch.full((4,), 1 / 4, dtype=torch.float64), torch.full((3,), 1 / 3, dtype=torch.float64)
    assert torch.equal(sinkhorn(cost, eps=0.1).plan, sinkhorn(cost, a, b, eps=0.1).plan)


def test_closed_forms() -> None:
    cost, a, b = random_problem(5, 4)
    product = a.unsqueeze(-1) * b
    # Nothing to choose: the cost is constant, or a side has one entry.
    torch.testing.assert_close(sinkhorn(0 * cost + 3.0, a, b, eps=0.1).plan, product, rtol=1e-12, atol=0)
    result = sinkhorn(cost[:, :1], a, eps=0.01)
    torch.testing.assert_close(result.plan, a.unsqueeze(-1), rtol=1e-12, atol=0)
    torch.testing.assert_close(sinkhorn(cost[:1], b=b, eps=0.01).plan, b.unsqueeze(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(sinkhorn(cost[:1, :1], eps=0.01).objective, cost[0, 0])
    # Semi-relaxed: a soft assignment of each row, weighted by the free marginal.
    weights = b * torch.exp(-cost / 0.1)
    expected = a.unsqueeze(-1) * weights / weights.sum(-1, keepdim=True)
    torch.testing.assert_close(sinkhorn(cost, a, b, eps=0.1, rho=(INF, 0)).plan, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(sinkhorn(cost.mT, b, a, eps=0.1, rho=(0, INF)).plan, expected.mT, rtol=1e-10, atol=0)
    # Both free: the kernel itself.
    expected = product * torch.exp(-cost / 0.1)
    torch.testing.assert_close(sinkhorn(cost, a, b, eps=0.1, rho=0).plan, expected, rtol=1e-12, atol=0)
    # Two by two: the plan keeps the cross ratio of the kernel.
    cost = cost[:2, :2]
    plan = sinkhorn(cost, eps=0.2, tol=1e-12).plan
    ratio = plan[0, 0] * plan[1, 1] / (plan[0, 1] * plan[1, 0])
    swap = cost[0, 1] + cost[1, 0] - cost[0, 0] - cost[1, 1]
    torch.testing.assert_close(ratio, torch.exp(swap / 0.2), rtol=1e-9, atol=0)


def test_large_penalty_tends_to_the_exact_marginal_and_small_to_the_free() -> None:
    cost, a, b = random_problem(6, 5)
    exact, free = (sinkhorn(cost, a, b, eps=0.1, rho=rho, tol=1e-12).plan for rho in (INF, 0))
    last = [INF, INF]
    for factor in (10.0, 100.0, 1000.0):
        large, small = (sinkhorn(cost, a, b, eps=0.1, rho=rho, tol=1e-10).plan for rho in (factor, 1 / factor))
        distances = [float((large - exact).abs().sum()), float((small - free).abs().sum())]
        assert all(now < 0.2 * before for now, before in zip(distances, last, strict=True))
        last = distances
    assert max(last) < 1e-2


@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.4])
def test_batch_is_a_loop_over_problems(rho: Rho) -> None:
    cost, a, b = random_problem(2, 3, 5, 4)
    a, b = a[:, :1], b[0, 0]
    result = sinkhorn(cost, a, b, eps=0.1, rho=rho, tol=1e-12)
    assert result.plan.shape == (2, 3, 5, 4)
    assert [p.shape for p in result.potentials] == [(2, 3, 5), (2, 3, 4)]
    for value in (result.objective, result.transport_cost, result.converged, *result.marginal_errors):
        assert value.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            one = sinkhorn(cost[i, j], a[i, 0], b, eps=0.1, rho=rho, tol=1e-12)
            assert one.plan.shape == (5, 4)
            assert one.objective.shape == one.transport_cost.shape == one.converged.shape == ()
            torch.testing.assert_close(result.plan[i, j], one.plan, rtol=1e-9, atol=1e-10)
            torch.testing.assert_close(result.objective[i, j], one.objective)
            torch.testing.assert_close(result.transport_cost[i, j], one.transport_cost)


def test_marginals_bring_batch_dimensions() -> None:
    cost, a, b = random_problem(5, 4)
    many = torch.stack([b, b.flip(0), b.roll(1)]).unsqueeze(1)
    result = sinkhorn(cost, a, many, eps=0.1, tol=1e-12, row_mask=torch.ones(2, 5, dtype=torch.bool))
    assert result.plan.shape == (3, 2, 5, 4)
    assert result.transport_cost.shape == (3, 2)
    for k in range(3):
        one = sinkhorn(cost, a, many[k, 0], eps=0.1, tol=1e-12)
        torch.testing.assert_close(result.plan[k, 1], one.plan, rtol=1e-9, atol=1e-10)


def test_hard_problem_leaves_an_easy_one_of_its_batch_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    cost = torch.rand(5, 30, 30, generator=generator)
    cost[0], cost[1] = 0.0, cost[1] * 0.01
    result = sinkhorn(cost, eps=0.006, max_iter=3000)
    assert int(result.iterations) > 100
    assert bool(result.converged.all())
    assert torch.allclose(result.plan[0], torch.full((30, 30), 1 / 900), rtol=1e-4)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("garbage", [math.nan, INF, -7.0])
@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.4, (0.0, INF)])
def test_masks_leave_the_unpadded_problem(rho: Rho, garbage: float, gradient: str) -> None:
    cost, a, b = random_problem(2, 4, 3)
    padded = torch.full((2, 6, 5), garbage, dtype=torch.float64)
    padded[:, 1:5, 2:] = cost
    weights = torch.full((2, 6), garbage, dtype=torch.float64), torch.full((2, 5), garbage, dtype=torch.float64)
    weights[0][:, 1:5], weights[1][:, 2:] = a, b
    row_mask = torch.tensor([False, True, True, True, True, False])
    col_mask = torch.tensor([False, False, True, True, True])
    settings = {"eps": 0.1, "rho": rho, "tol": 1e-12, "gradient": gradient}
    result = sinkhorn(padded, *weights, row_mask=row_mask, col_mask=col_mask, **settings)
    expected = sinkhorn(cost, a, b, **settings)
    torch.testing.assert_close(result.plan[:, 1:5, 2:], expected.plan, rtol=1e-10, atol=1e-12)
    assert float(result.plan.sum()) == pytest.approx(float(expected.plan.sum()), rel=1e-10)
    torch.testing.assert_close(result.objective, expected.objective, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.transport_cost, expected.transport_cost, rtol=1e-9, atol=1e-12)
    for values in (result.plan, *result.potentials):
        assert bool(torch.isfinite(values).all())
    assert not bool(result.potentials[0][:, ~row_mask].any())
    assert not bool(result.potentials[1][:, ~col_mask].any())


def test_masks_of_each_problem_share_uniform_weights() -> None:
    cost, *_ = random_problem(2, 5, 4)
    row_mask = torch.tensor([[True, True, True, False, False], [True] * 5])
    result = sinkhorn(cost, eps=0.1, row_mask=row_mask, tol=1e-12)
    for i, size in enumerate((3, 5)):
        one = sinkhorn(cost[i, :size], eps=0.1, tol=1e-12)
        torch.testing.assert_close(result.plan[i, :size], one.plan, rtol=1e-9, atol=1e-12)
    assert not bool(result.plan[0, 3:].any())


@pytest.mark.parametrize("rho", [INF, 0.0, (INF, 0.0), (INF, 0.3), 1.0])
def test_zero_weight_is_as_good_as_absence(rho: Rho) -> None:
    cost, a, b = random_problem(7, 6)
    a[:2], b[-2:] = 0.0, 0.0
    a, b = a / a.sum(), b / b.sum()
    result = sinkhorn(cost, a, b, eps=0.05, rho=rho, tol=1e-10)
    expected = sinkhorn(cost[2:, :-2], a[2:], b[:-2], eps=0.05, rho=rho, tol=1e-10)
    torch.testing.assert_close(result.plan[2:, :-2], expected.plan, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(result.objective, expected.objective, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rho", [1.0, 1e3])
def test_zero_weights_cost_no_iterations(rho: float) -> None:
    cost, a, b = random_problem(7, 30)
    a[:2], b[-2:] = 0.0, 0.0
    a, b = a / a.sum(), b / b.sum()
    with_zeros = sinkhorn(cost, a, b, eps=0.05, rho=rho)
    without = sinkhorn(cost[2:, :-2], a[2:], b[:-2], eps=0.05, rho=rho)
    assert int(with_zeros.iterations) <= int(without.iterations) + 10


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 8), st.sampled_from(RHOS))
def test_equivariance_scaling_and_shift(seed: int, n: int, m: int, rho: Rho) -> None:
    cost, a, b = random_problem(n, m, seed=seed)
    a, b = scaled(a, b, rho)
    solve = {"tol": 1e-12, "max_iter": 5000}
    result = sinkhorn(cost, a, b, eps=0.15, rho=rho, **solve)
    generator = torch.Generator().manual_seed(seed)
    rows, cols = torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
    permuted = sinkhorn(cost[rows][:, cols], a[rows], b[cols], eps=0.15, rho=rho, **solve)
    torch.testing.assert_close(permuted.plan, result.plan[rows][:, cols], rtol=0, atol=1e-9)
    transposed = sinkhorn(cost.mT, b, a, eps=0.15, rho=pair(rho)[::-1], **solve)
    torch.testing.assert_close(transposed.plan, result.plan.mT, rtol=0, atol=1e-9)
    torch.testing.assert_close(transposed.objective, result.objective, rtol=1e-8, atol=1e-9)
    for factor in (1e-6, 1e6):
        large = sinkhorn(
            factor * cost, a, b, eps=0.15 * factor, rho=tuple(factor * value for value in pair(rho)), **solve
        )
        torch.testing.assert_close(large.plan, result.plan, rtol=0, atol=1e-9)
        torch.testing.assert_close(large.objective, factor * result.objective, rtol=1e-7, atol=1e-9 * factor)
    if INF in pair(rho):
        # All mass pays a constant that is added to the cost.
        shifted = sinkhorn(cost + 5.0, a, b, eps=0.15, rho=rho, **solve)
        mass = a.sum() if pair(rho)[0] == INF else b.sum()
        torch.testing.assert_close(shifted.plan, result.plan, rtol=0, atol=1e-9)
        torch.testing.assert_close(shifted.objective, result.objective + 5 * mass, rtol=1e-8, atol=1e-8)


def test_mass_scales_the_plan() -> None:
    cost, a, b = random_problem(5, 4)
    plan = sinkhorn(cost, a, b, eps=0.1, tol=1e-12).plan
    for mass in (1e-6, 1e6):
        torch.testing.assert_close(sinkhorn(cost, mass * a, mass * b, eps=0.1, tol=1e-12).plan, mass * plan)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 1e-3)])
@pytest.mark.parametrize("backend", ["torch", "pot"])
def test_dtypes(dtype: torch.dtype, atol: float, backend: str) -> None:
    cost, *_ = random_problem(2, 6, 5)
    expected = sinkhorn(cost, eps=0.1)
    result = sinkhorn(cost.to(dtype), eps=0.1, backend=backend, max_iter=2000)
    for value in (result.plan, *result.potentials, result.objective):
        assert value.dtype == dtype
    assert bool(result.converged.all())
    torch.testing.assert_close(result.plan.double(), expected.plan, rtol=0, atol=atol)
    torch.testing.assert_close(result.objective.double(), expected.objective, rtol=0, atol=atol)


def test_weights_of_another_dtype_are_converted() -> None:
    cost, a, b = random_problem(6, 5)
    result = sinkhorn(cost, a.float(), b.float(), eps=0.1)
    assert result.plan.dtype == torch.float64
    torch.testing.assert_close(result.plan, sinkhorn(cost, a, b, eps=0.1).plan, rtol=0, atol=1e-6)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_layout_of_the_cost_does_not_matter(gradient: str) -> None:
    cost, a, b = random_problem(3, 6, 5)
    expected = sinkhorn(cost, a, b, eps=0.1, tol=1e-12, gradient=gradient)
    wide = torch.zeros(3, 12, 10, dtype=torch.float64)
    wide[:, ::2, ::2] = cost
    layouts = (cost.mT.contiguous().mT, wide[:, ::2, ::2], cost.permute(1, 2, 0).contiguous().permute(2, 0, 1))
    for layout in layouts:
        assert not layout.is_contiguous()
        before = layout.clone()
        assert_same(sinkhorn(layout, a, b, eps=0.1, tol=1e-12, gradient=gradient), expected)
        assert torch.equal(layout, before)
    repeated = sinkhorn(cost[:1].expand(4, 6, 5), a[0], b[0], eps=0.1, tol=1e-12, gradient=gradient)
    torch.testing.assert_close(repeated.plan[3], expected.plan[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 3, 4)])
def test_empty_batch(shape: tuple[int, ...], gradient: str) -> None:
    cost = torch.zeros(shape, requires_grad=True)
    result = sinkhorn(cost, eps=0.1, gradient=gradient)
    assert result.plan.shape == shape
    assert result.objective.shape == result.transport_cost.shape == result.converged.shape == shape[:-2]
    assert [potential.shape for potential in result.potentials] == [shape[:-1], (*shape[:-2], 4)]
    assert int(result.iterations) == 0
    (result.plan.sum() + result.objective.sum()).backward()
    assert cost.grad is not None


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_autocast_changes_nothing(gradient: str) -> None:
    cost = torch.rand(2, 20, 15, generator=torch.Generator().manual_seed(0))
    expected = sinkhorn(cost, eps=0.05, gradient=gradient)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = sinkhorn(cost, eps=0.05, gradient=gradient)
        transport_cost = result.transport_cost
    assert torch.equal(result.plan, expected.plan)
    assert torch.equal(result.objective, expected.objective)
    assert torch.equal(transport_cost, expected.transport_cost)


def test_inference_mode() -> None:
    cost, a, b = random_problem(6, 5)
    with torch.inference_mode():
        result = sinkhorn(cost, a, b, eps=0.1)
    assert torch.equal(result.plan, sinkhorn(cost, a, b, eps=0.1).plan)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.4])
def test_warm_start(rho: Rho, gradient: str) -> None:
    cost, a, b = random_problem(2, 9, 7)
    settings = {"eps": 0.02, "rho": rho, "max_iter": 5000, "gradient": gradient}
    cold = sinkhorn(cost, a, b, tol=1e-9, **settings)
    assert int(cold.iterations) >= 20
    kept = tuple(potential.clone() for potential in cold.potentials)
    warm = sinkhorn(cost, a, b, tol=1e-8, init=cold.potentials, **settings)
    assert int(warm.iterations) <= 1
    assert all(torch.equal(*pair) for pair in zip(kept, cold.potentials, strict=True))
    torch.testing.assert_close(warm.plan, cold.plan, rtol=0, atol=1e-7)
    # A problem close by starts nearer than nothing does.
    near = sinkhorn(cost + 1e-4 * cost.square(), a, b, tol=1e-6, init=cold.potentials, **settings)
    assert int(near.iterations) < int(sinkhorn(cost, a, b, tol=1e-6, **settings).iterations)


@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.4, (0.0, INF), 0.0])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_wild_potentials_lead_to_the_solution(scale: float, rho: Rho) -> None:
    cost, a, b = random_problem(9, 7)
    generator = torch.Generator().manual_seed(1)
    init = tuple(scale * torch.randn(size, generator=generator, dtype=torch.float64) for size in (9, 7))
    result = sinkhorn(cost, a, b, eps=0.05, rho=rho, tol=1e-9, init=init, max_iter=5000)
    expected = sinkhorn(cost, a, b, eps=0.05, rho=rho, tol=1e-9, max_iter=5000)
    assert bool(result.converged)
    torch.testing.assert_close(result.plan, expected.plan, rtol=0, atol=1e-7)


def test_init_broadcasts() -> None:
    cost, a, b = random_problem(3, 4, 5)
    zeros = torch.zeros(4, dtype=torch.float64), torch.zeros(3, 5, dtype=torch.float64)
    result = sinkhorn(cost, a, b, eps=0.1, init=zeros, tol=1e-10)
    torch.testing.assert_close(result.plan, sinkhorn(cost, a, b, eps=0.1, tol=1e-10).plan, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.4])
def test_acceleration_changes_the_path_and_not_the_solution(rho: Rho) -> None:
    cost, a, b = random_problem(2, 12, 9)
    settings = {"eps": 0.01, "rho": rho, "tol": 1e-9, "max_iter": 50000}
    expected = sinkhorn(cost, a, b, relaxation=1, eps_scaling=False, **settings)
    iterations = [int(expected.iterations)]
    for relaxation in (None, 1, 1.5):
        for eps_scaling in (True, False):
            for gradient in GRADIENTS if relaxation is None else GRADIENTS[:1]:
                result = sinkhorn(
                    cost, a, b, relaxation=relaxation, eps_scaling=eps_scaling, gradient=gradient, **settings
                )
                torch.testing.assert_close(result.plan, expected.plan, rtol=0, atol=1e-6)
                torch.testing.assert_close(result.objective, expected.objective, rtol=1e-8, atol=1e-9)
                iterations.append(int(result.iterations))
    # The chosen factor is worth it.
    assert iterations[1] <= 0.6 * iterations[0]


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("max_iter", [1, 2, 9, 10, 11, 49, 50, 51, 61])
def test_max_iter_is_honoured(max_iter: int, gradient: str) -> None:
    cost = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    for eps in (2e-4, 2e-2):
        with pytest.warns(ConvergenceWarning):
            result = sinkhorn(cost, eps=eps, max_iter=max_iter, tol=0.0, gradient=gradient)
        assert int(result.iterations) == max_iter


@pytest.mark.parametrize("backend", ["torch", "pot"])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_warning_once_with_error_and_advice(gradient: str, backend: str) -> None:
    cost, a, b = random_problem(2, 3, 12, 12)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = sinkhorn(cost, a, b, eps=0.0037, max_iter=6, tol=2e-5, gradient=gradient, backend=backend)
    (warning,) = caught
    assert warning.category is ConvergenceWarning
    assert warning.filename == __file__
    message = str(warning.message)
    worst = float(torch.maximum(*result.marginal_errors).max())
    for part in (f"{worst:.1e}", "max_iter = 6", "0.0037", "2e-05", "6 of 6", "raise max_iter or eps"):
        assert part in message
    assert issubclass(ConvergenceWarning, UserWarning)


def test_no_warning_when_converged() -> None:
    cost, a, b = random_problem(2, 3, 5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bool(sinkhorn(cost, a, b, eps=0.1).converged.all())
