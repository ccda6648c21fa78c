"""The solver against POT, the reference of the field, in float64."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import ot
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.ops.sinkhorn import ConvergenceWarning, SinkhornResult, sinkhorn

INF = math.inf
RHOS = [INF, (INF, 0.0), (0.0, INF), (INF, 0.3), (0.4, INF), (0.2, 0.7), 1.5, (0.3, 0.0), (0.0, 0.3), (0.0, 0.0)]


class Case(NamedTuple):
    cost: Tensor
    a: Tensor
    b: Tensor
    eps: float


def make_case(seed: int, n: int, m: int, eps: float, *, zeros: bool = False, batch: tuple[int, ...] = ()) -> Case:
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(*batch, n, m, generator=generator, dtype=torch.float64)
    a, b = (torch.rand(*batch, size, generator=generator, dtype=torch.float64) + 0.05 for size in (n, m))
    if zeros:
        # The last entry keeps its weight, so that some mass is left.
        a[..., :-1] *= torch.rand(*batch, n - 1, generator=generator) < 0.7
        b[..., :-1] *= torch.rand(*batch, m - 1, generator=generator) < 0.7
    return Case(cost, a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True), eps)


@st.composite
def cases(draw: st.DrawFn, batch: tuple[int, ...] = (), smallest: float = 0.02) -> Case:
    n, m = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    eps = math.exp(draw(st.floats(math.log(smallest), math.log(2))))
    return make_case(draw(st.integers(0, 2**31)), n, m, eps, zeros=draw(st.booleans()), batch=batch)


def solve(case: Case, **settings: object) -> SinkhornResult:
    """Solve to rounding; problems that contract too slowly for either solver say nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = sinkhorn(case.cost, case.a, case.b, eps=case.eps, **{"tol": 1e-12, "max_iter": 5000, **settings})
    assume(bool(result.converged.all()))
    return result


def pair(rho: float | tuple[float, float]) -> tuple[float, float]:
    return rho if isinstance(rho, tuple) else (rho, rho)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    positive = p > 0
    return float((p[positive] * np.log(p[positive] / q[positive])).sum() - p.sum() + q.sum())


def primal(plan: np.ndarray, case: Case, rho: float | tuple[float, float] = INF) -> float:
    """The objective of a plan, by its definition."""
    cost, a, b = (value.numpy() for value in case[:3])
    value = (plan * cost).sum() + case.eps * divergence(plan, np.outer(a, b))
    for penalty, sums, weights in zip(pair(rho), (plan.sum(1), plan.sum(0)), (a, b), strict=True):
        value += 0.0 if penalty in (0, INF) else penalty * divergence(sums, weights)
    return float(value)


def on_support(case: Case) -> tuple[Case, tuple[np.ndarray, np.ndarray]]:
    """The problem without the rows and columns of no weight, which some of POT's solvers divide by."""
    rows, cols = case.a.nonzero().squeeze(-1), case.b.nonzero().squeeze(-1)
    return Case(case.cost[rows][:, cols], case.a[rows], case.b[cols], case.eps), np.ix_(rows.numpy(), cols.numpy())


def check_plan(result: SinkhornResult, case: Case, expected: np.ndarray, where: tuple[np.ndarray, np.ndarray]) -> None:
    plan = result.plan.numpy()
    full = np.zeros_like(plan)
    full[where] = expected
    np.testing.assert_allclose(plan, full, rtol=0, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_equals_sinkhorn(case: Case) -> None:
    result = solve(case)
    inner, where = on_support(case)
    cost = inner.cost.numpy()
    plan, log = ot.sinkhorn(
        inner.a.numpy(), inner.b.numpy(), cost, case.eps,
        method="sinkhorn", numItermax=5000, stopThr=1e-12, log=True, warn=False,
    )  # fmt: skip
    assume(log["err"][-1] < 1e-11)
    check_plan(result, case, plan, where)
    np.testing.assert_allclose(float(result.objective), primal(plan, inner), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(float(result.transport_cost), (plan * cost).sum(), rtol=1e-6, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_equals_log_domain_sinkhorn(case: Case) -> None:
    result = solve(case)
    inner, where = on_support(case)
    plan, log = ot.bregman.sinkhorn_log(
        inner.a.numpy(), inner.b.numpy(), inner.cost.numpy(), case.eps,
        numItermax=5000, stopThr=1e-12, log=True, warn=False,
    )  # fmt: skip
    assume(log["err"][-1] < 1e-11)
    check_plan(result, case, plan, where)
    # POT's scalings are those of exp(-C / eps) without the weights: exp(f / eps) a and exp(g / eps) b.
    f, g = (potential.numpy() for potential in result.potentials)
    rows, cols = where
    ours = f[rows] + g[cols]
    theirs = case.eps * (
        (log["log_u"] - np.log(inner.a.numpy()))[:, None] + (log["log_v"] - np.log(inner.b.numpy()))[None]
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(cases(smallest=0.05), st.sampled_from(RHOS[1:]), st.floats(0.2, 3.0))
def test_equals_unbalanced_sinkhorn(case: Case, rho: float | tuple[float, float], mass: float) -> None:
    case = case._replace(a=case.a * mass)
    result = solve(case, rho=rho)
    inner, where = on_support(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence, which is checked
        plan, log = ot.unbalanced.sinkhorn_unbalanced(
            inner.a.numpy(), inner.b.numpy(), inner.cost.numpy(), case.eps, pair(rho),
            reg_type="kl", numItermax=5000, stopThr=1e-13, log=True,
        )  # fmt: skip
    assume(log["err"][-1] < 1e-11)
    check_plan(result, case, plan, where)
    np.testing.assert_allclose(float(result.objective), primal(plan, inner, rho), rtol=1e-6, atol=1e-8)


@pytest.mark.skipif(not hasattr(ot, "solve_batch"), reason="this version of POT has no solve_batch")
@settings(max_examples=15, deadline=None)
@given(cases(batch=(3,), smallest=0.05))
def test_equals_solve_batch(case: Case) -> None:
    assume(bool((case.a > 0).all() and (case.b > 0).all()))
    result = solve(case)
    theirs = ot.solve_batch(case.cost, case.eps, case.a, case.b, max_iter=5000, tol=1e-13, reg_type="kl")
    assume(float((theirs.plan.sum(-2) - case.b).abs().max()) < 1e-11)
    torch.testing.assert_close(result.plan, theirs.plan, rtol=0, atol=1e-7)
    torch.testing.assert_close(result.transport_cost, theirs.value_linear, rtol=1e-6, atol=1e-9)
    problems = zip(theirs.plan.numpy(), *case[:3], strict=True)
    expected = torch.tensor([primal(plan, Case(*one, case.eps)) for plan, *one in problems], dtype=torch.float64)
    torch.testing.assert_close(result.objective, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_cost_tends_to_that_of_exact_transport(seed: int) -> None:
    """The excess is at most eps times the divergence of the exact plan, which the entropy of a marginal bounds."""
    case = make_case(seed, 8, 11, 1.0)
    exact = ot.emd2(case.a.numpy(), case.b.numpy(), case.cost.numpy())
    entropy = min(float(-(w * w.log()).sum()) for w in (case.a, case.b))
    last = INF
    for eps in (0.3, 0.1, 0.03, 0.01, 0.003):
        result = sinkhorn(case.cost, case.a, case.b, eps=eps, tol=1e-9, max_iter=20000)
        excess = float(result.transport_cost) - exact
        assert -1e-8 <= excess <= eps * entropy
        assert excess < last
        last = excess
    assert last < 0.02 * exact


def check_same(ours: SinkhornResult, theirs: SinkhornResult, case: Case, row_mask: Tensor, col_mask: Tensor) -> None:
    for name in ("plan", "objective", "transport_cost"):
        torch.testing.assert_close(getattr(theirs, name), getattr(ours, name), rtol=1e-6, atol=1e-8)
    sums = [f.unsqueeze(-1) + g.unsqueeze(-2) for f, g in (ours.potentials, theirs.potentials)]
    support = ((case.a > 0) & row_mask).unsqueeze(-1) & ((case.b > 0) & col_mask).unsqueeze(-2)
    torch.testing.assert_close(sums[1][support], sums[0][support], rtol=1e-6, atol=1e-6)
    for one, other in zip(ours.marginal_errors, theirs.marginal_errors, strict=True):
        assert one.shape == other.shape
        assert float(torch.maximum(one, other).max()) <= 1e-8
    for result in (ours, theirs):
        assert result.converged.dtype == torch.bool
        assert bool(result.converged.all())
        assert result.iterations.dtype == torch.int64
        assert result.iterations.dim() == 0


@pytest.mark.parametrize("rho", RHOS)
def test_backend_pot_gives_the_same_result(rho: float | tuple[float, float]) -> None:
    case = make_case(3, 5, 7, 0.2, zeros=True, batch=(2, 3))
    row_mask, col_mask = torch.ones(3, 5, dtype=torch.bool), torch.ones(7, dtype=torch.bool)
    row_mask[1, 0], col_mask[2] = False, False
    a, b = torch.where(row_mask, case.a, 0.0), torch.where(col_mask, case.b, 0.0)
    scale = [1.0, 1.0] if rho == INF else [1.4, 0.6]
    case = case._replace(a=a / a.sum(-1, keepdim=True) * scale[0], b=b / b.sum(-1, keepdim=True) * scale[1])
    common = {"rho": rho, "row_mask": row_mask, "col_mask": col_mask, "max_iter": 5000}
    ours = sinkhorn(case.cost, case.a, case.b, eps=case.eps, tol=1e-8, **common)
    theirs = sinkhorn(case.cost, case.a, case.b, eps=case.eps, tol=1e-8, backend="pot", **common)
    ours_exact = sinkhorn(case.cost, case.a, case.b, eps=case.eps, tol=1e-12, **common)
    assert theirs.plan.shape == (2, 3, 5, 7)
    assert theirs.objective.shape == (2, 3)
    check_same(ours, theirs, case, row_mask, col_mask)
    torch.testing.assert_close(theirs.plan, ours_exact.plan, rtol=0, atol=1e-7)


def test_backend_pot_of_one_problem_and_of_none() -> None:
    case = make_case(0, 4, 3, 0.1)
    everything = torch.ones(4, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    ours, theirs = (
        sinkhorn(*case[:3], eps=case.eps, tol=1e-9, max_iter=5000, backend=backend) for backend in ("torch", "pot")
    )
    check_same(ours, theirs, case, *everything)
    empty = sinkhorn(case.cost.new_empty(0, 4, 3), eps=case.eps, backend="pot")
    assert empty.plan.shape == (0, 4, 3)
    assert empty.objective.shape == (0,)


def test_backend_pot_keeps_dtype() -> None:
    case = make_case(0, 4, 3, 0.2)
    exact = sinkhorn(*case[:3], eps=case.eps, backend="pot")
    single = sinkhorn(*(value.float() for value in case[:3]), eps=case.eps, backend="pot")
    assert single.plan.dtype == single.potentials[0].dtype == single.objective.dtype == torch.float32
    torch.testing.assert_close(single.plan.double(), exact.plan, rtol=0, atol=1e-5)


def test_backend_pot_reports_what_did_not_converge() -> None:
    case = make_case(1, 6, 6, 0.01)
    with pytest.warns(ConvergenceWarning, match="max_iter = 3"):
        result = sinkhorn(*case[:3], eps=case.eps, max_iter=3, backend="pot")
    assert not bool(result.converged)
    worst = max(float((result.plan.sum(1) - case.a).abs().sum()), float((result.plan.sum(0) - case.b).abs().sum()))
    assert float(torch.maximum(*result.marginal_errors)) == pytest.approx(worst, rel=1e-9)
    assert int(result.iterations) <= 3


@pytest.mark.parametrize("mass", [1e-4, 1e-2, 1e3])
@pytest.mark.parametrize("rho", [INF, (0.0, INF), (0.3, INF), 0.3])
def test_backend_pot_meets_the_tolerance_at_any_mass(mass: float, rho: float | tuple[float, float]) -> None:
    case = make_case(2, 4, 5, 0.1)
    a, b = case.a * mass, case.b * mass
    ours = sinkhorn(case.cost, a, b, eps=case.eps, rho=rho, tol=1e-7, max_iter=5000)
    theirs = sinkhorn(case.cost, a, b, eps=case.eps, rho=rho, tol=1e-7, max_iter=5000, backend="pot")
    assert bool(ours.converged)
    assert bool(theirs.converged)
    torch.testing.assert_close(theirs.plan / mass, ours.plan / mass, rtol=0, atol=1e-5)
