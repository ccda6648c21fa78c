"""Single precision over the whole range of regularisation, penalties and scales of the cost."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor

from stgraph.ops.sinkhorn import ConvergenceWarning, SinkhornResult, sinkhorn

INF = math.inf
Rho = float | tuple[float, float]
# In units of the cost.
RHOS: list[Rho] = [
    INF, (INF, 0.0), (0.0, INF), (INF, 0.3), (0.3, INF), (0.0, 0.0), (0.1, 0.0), (0.05, 2.0), 1e-3, 0.05, 1e3,
]  # fmt: skip


def problems(n: int, m: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """One batch of all kinds of costs between 0 and about 1, some with rows and columns of no weight."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.rand(7, n, m, generator=generator)
    points = torch.rand(n, 2, generator=generator), torch.rand(m, 2, generator=generator)
    random[1] = torch.cdist(*points)
    random[2] = torch.cdist(points[0], points[0].repeat(m // n + 1, 1)[:m])  # equal points
    random[3] = 0.0
    random[4] = (random[4] > 0.5).float()
    random[5, 0] += 4.0  # far from everything
    a, b = torch.rand(7, n, generator=generator) + 0.05, torch.rand(7, m, generator=generator) + 0.05
    if min(n, m) > 2:
        a[4:, :2], b[3:6, -2:] = 0.0, 0.0
    return random, a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)


def pair(rho: Rho) -> tuple[float, float]:
    return rho if isinstance(rho, tuple) else (rho, rho)


def true_errors(result: SinkhornResult, a: Tensor, b: Tensor, rho: Rho) -> list[Tensor]:
    """The marginal errors of the plan, in double precision."""
    plan, errors = result.plan.double(), []
    sides = ((a.double(), -1, result.potentials[0].double()), (b.double(), -2, result.potentials[1].double()))
    for penalty, (weights, dim, potential) in zip(pair(rho), sides, strict=True):
        target = weights if penalty in (0, INF) else weights * (-potential / penalty).exp()
        error = (plan.sum(dim) - torch.where(weights > 0, target, 0.0)).abs().sum(-1) / weights.sum(-1)
        errors.append(torch.zeros_like(error) if penalty == 0 else error)
    return errors


def solve(cost: Tensor, a: Tensor | None = None, b: Tensor | None = None, **settings: object) -> SinkhornResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sinkhorn(cost, a, b, **settings)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("size", [(12, 7), (1, 6), (6, 1)])
def test_everything_is_finite_and_errors_are_true(size: tuple[int, int], rho: Rho, scale: float) -> None:
    cost, a, b = problems(*size)
    units = tuple(value * scale for value in pair(rho))
    for eps in (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0):
        result = solve(cost * scale, a, b, eps=eps * scale, rho=units, max_iter=60)
        values = (result.plan, *result.potentials, result.objective, result.transport_cost, *result.marginal_errors)
        assert all(bool(torch.isfinite(value).all()) for value in values), eps
        assert bool((result.plan >= 0).all())
        errors = true_errors(result, a, b, units)
        for reported, true in zip(result.marginal_errors, errors, strict=True):
            torch.testing.assert_close(reported.double(), true, rtol=1e-3, atol=5e-6)
        assert bool((torch.maximum(*errors)[result.converged] < 1.5e-5).all()), eps
        assert bool((torch.maximum(*errors)[~result.converged] > 5e-6).all()), eps


@pytest.mark.parametrize("rho", RHOS)
def test_large_regularisation_converges_in_no_time(rho: Rho) -> None:
    cost, a, b = problems(12, 7)
    for eps in (0.1, 0.5, 2.0):
        assert int(sinkhorn(cost, a, b, eps=eps, rho=rho).iterations) <= 100


@pytest.mark.parametrize("rho", RHOS)
def test_plan_is_that_of_double_precision(rho: Rho) -> None:
    cost, a, b = problems(12, 7)
    a64, b64 = (value.double() / value.double().sum(-1, keepdim=True) for value in (a, b))
    for eps in (1e-2, 0.1, 1.0):
        result = solve(cost, a, b, eps=eps, rho=rho, max_iter=3000)
        expected = solve(cost.double(), a64, b64, eps=eps, rho=rho, max_iter=3000, tol=1e-9)
        both = result.converged & expected.converged
        assert int(both.sum()) >= 5
        distance = (result.plan - expected.plan).abs().sum((-2, -1)) / expected.plan.sum((-2, -1))
        assert bool((distance[both] < 3e-3).all()), eps
        torch.testing.assert_close(
            result.objective[both].double(), expected.objective[both], rtol=1e-4, atol=2e-6 * max(1.0, eps)
        )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_small_regularisation_converges_where_the_plan_is_an_assignment(scale: float) -> None:
    """Points that have to go to their own copies; the kernel exp(-C / eps) alone has no other entry above 0."""
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    cost = torch.cdist(points, points[order], compute_mode="donot_use_mm_for_euclid_dist").square() * scale
    result = sinkhorn(cost, eps=1e-4 * scale, max_iter=3000)
    assert bool(result.converged)
    assert torch.equal(result.plan.argmax(0), order)
    assert float(result.plan.amax(0).mean()) > 0.9 / 40


@pytest.mark.parametrize("seed", range(3))
def test_scalings_are_absorbed_before_they_overflow(seed: int) -> None:
    """The log domain would not come to this tolerance in single precision."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.cdist(torch.rand(20, 2, generator=generator), torch.rand(12, 2, generator=generator))
    assert bool(sinkhorn(cost, eps=0.003, eps_scaling=False, max_iter=3000).converged)


def test_relaxed_far_row_loses_its_mass() -> None:
    """The marginal of a row that is far from everything underflows; the rest is as without it."""
    cost = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    far = torch.cat([torch.full((1, 5), 1e3), cost])
    a = torch.cat([torch.tensor([0.5]), torch.full((6,), 0.5 / 6)])
    result = sinkhorn(far, a, eps=0.05, rho=0.2)
    expected = sinkhorn(cost, a[1:], eps=0.05, rho=0.2)
    assert float(result.plan[0].sum()) == 0
    torch.testing.assert_close(result.plan[1:], expected.plan, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("mass", [1e-12, 1e-6, 1e6])
@pytest.mark.parametrize("rho", [INF, (INF, 0.3), 0.3])
def test_mass_of_any_size(mass: float, rho: Rho) -> None:
    cost, a, b = problems(12, 7)
    result = solve(cost, mass * a, mass * b, eps=0.05, rho=rho, max_iter=3000)
    expected = solve(cost.double(), mass * a.double(), mass * b.double(), eps=0.05, rho=rho, max_iter=3000, tol=1e-6)
    assert bool(result.converged.all())
    distance = (result.plan - expected.plan).abs().sum((-2, -1)) / expected.plan.sum((-2, -1))
    assert bool((distance < 1e-3).all())


def test_weights_of_any_size() -> None:
    cost, a, b = problems(12, 7)
    a = a**15 + 1e-37
    result = solve(cost, a / a.sum(-1, keepdim=True), b, eps=0.02, max_iter=3000)
    assert bool(result.converged.all())
    assert bool(torch.isfinite(result.plan).all())
    assert all(bool(torch.isfinite(potential).all()) for potential in result.potentials)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(("rho", "eps"), [(1e3, 1e-2), (1e4, 1e-2), (1e9, 1e-1)])
def test_large_penalty(rho: float, eps: float) -> None:
    cost = torch.tensor([[0.4963, 0.7682], [0.0885, 0.1320]])
    result = solve(cost, eps=eps, rho=rho, max_iter=3000)
    expected = sinkhorn(cost.double(), eps=eps, rho=rho, tol=1e-9, max_iter=20000)
    assert bool(result.converged)
    torch.testing.assert_close(result.plan.double(), expected.plan, rtol=0, atol=1e-3)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(("rho", "eps"), [(1e6, 1e-3)])
def test_very_large_penalty_comes_to_an_end(rho: float, eps: float) -> None:
    cost = torch.tensor([[0.4963, 0.7682], [0.0885, 0.1320]])
    result = solve(cost, eps=eps, rho=rho, max_iter=100)
    assert int(result.iterations) <= 100
    assert bool(torch.isfinite(result.plan).all())


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e4, 1e6])
def test_warm_start_whatever_the_constant_in_the_potentials(offset: float) -> None:
    cost, a, b = (value[0] for value in problems(12, 7))
    expected = sinkhorn(cost, a, b, eps=0.01)
    f, g = expected.potentials
    result = sinkhorn(cost, a, b, eps=0.01, init=(f + offset, g - offset))
    assert bool(result.converged)
    torch.testing.assert_close(result.plan, expected.plan, rtol=0, atol=1e-4)


@pytest.mark.parametrize("offset", [1e3, 1e6])
@pytest.mark.parametrize("side", ["row", "col"])
def test_one_expensive_row_or_column_leaves_the_plan_exact(offset: float, side: str) -> None:
    """A constant on a row or column only moves its potential: the plan is that of the cost without it."""
    cost = torch.cdist(*(torch.rand(size, 2, generator=torch.Generator().manual_seed(size)) for size in (30, 20)))
    # Both costs are on the grid of single precision at the offset, so that adding it rounds nothing.
    cost = (cost * 8).round() / 8
    offsets = torch.zeros_like(cost)
    (offsets[:, 0] if side == "col" else offsets[0]).fill_(offset)
    result = sinkhorn(cost + offsets, eps=0.05)
    expected = sinkhorn(cost, eps=0.05)
    assert bool(result.converged)
    assert float((result.plan - expected.plan).abs().sum()) < 1e-3


@pytest.mark.parametrize("forbidden", [1e6, 1e9])
def test_forbidden_entries_cost_no_digits(forbidden: float) -> None:
    """Entries that are too expensive to be used leave the others to single precision."""
    generator = torch.Generator().manual_seed(3)
    cost = torch.cdist(torch.rand(30, 2, generator=generator), torch.rand(20, 2, generator=generator))
    cost = torch.where(torch.rand(30, 20, generator=generator) < 0.2, forbidden, cost)
    result, expected = sinkhorn(cost, eps=0.02), sinkhorn(cost.double(), eps=0.02, tol=1e-10)
    assert bool(result.converged)
    assert float((result.plan - expected.plan).abs().sum()) < 1e-4


@pytest.mark.parametrize("rho", [(0.0, INF), (0.0, 0.1)])
def test_free_rows_are_a_closed_form(rho: tuple[float, float]) -> None:
    cost = torch.cdist(*(torch.rand(size, 2, generator=torch.Generator().manual_seed(size)) for size in (20, 13)))
    assert bool(sinkhorn(cost, eps=1e-4, rho=rho).converged)


def test_free_columns_are_a_closed_form() -> None:
    cost = torch.cdist(*(torch.rand(size, 2, generator=torch.Generator().manual_seed(size)) for size in (20, 13)))
    for rho in ((INF, 0.0), (0.1, 0.0)):
        result = sinkhorn(cost, eps=1e-4, rho=rho)
        assert bool(result.converged)
        assert int(result.iterations) == 0


@pytest.mark.parametrize(("rho", "eps"), [(1e-6, 1.0), (1e-4, 100.0), (1e-3, 1e3)])
def test_penalty_far_below_the_regularisation_converges(rho: float, eps: float) -> None:
    cost = torch.rand(30, 20, generator=torch.Generator().manual_seed(0)) + 1.0
    assert bool(solve(cost, eps=eps, rho=rho).converged)
