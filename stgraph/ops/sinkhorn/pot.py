"""The same problems solved by POT, one by one."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor

from stgraph.ops.sinkhorn.problem import Problem

__all__ = ["solve_with_pot"]


def solve_with_pot(cost: Tensor, problem: Problem, tol: float, max_iter: int) -> tuple[Tensor, ...]:
    """Plan, potentials, objective, marginal errors and the most iterations of any problem ``[B, n, m]``, in float64."""
    costs, first, second = (value.detach().cpu().double().numpy() for value in (cost, problem.a, problem.b))
    solutions = [_best(*one, problem, tol, max_iter) for one in zip(costs, first, second, strict=True)]
    empty = (np.zeros(cost.shape), np.zeros(problem.a.shape), np.zeros(problem.b.shape))
    stacked = [np.stack(parts) for parts in zip(*(s[:3] for s in solutions), strict=True)] if solutions else empty
    plan, f, g = (torch.from_numpy(part) for part in stacked)
    exact = problem._replace(a=torch.from_numpy(first), b=torch.from_numpy(second))
    iterations = torch.tensor(max((s[3] for s in solutions), default=0), device=cost.device)
    return *(value.to(cost) for value in (plan, f, g, *exact.evaluate(plan, f, g))), iterations


Solution = tuple[np.ndarray, np.ndarray, np.ndarray, int]


def _best(cost: np.ndarray, a: np.ndarray, b: np.ndarray, problem: Problem, tol: float, max_iter: int) -> Solution:
    """Solve one problem to the tolerance: POT's rules for unbalanced problems look at its scalings, not marginals."""
    exact = problem._replace(a=torch.from_numpy(a[None]), b=torch.from_numpy(b[None]))
    for lower in (1.0, 1e-2, 1e-4, 1e-6):
        solution = _one(cost, a, b, problem, lower * tol, max_iter)
        plan, f, g = (torch.from_numpy(part[None]) for part in solution[:3])
        _, *errors = exact.evaluate(plan, f, g)
        if max(map(float, errors)) <= tol or solution[3] >= max_iter:
            break
    return solution


def _one(cost: np.ndarray, a: np.ndarray, b: np.ndarray, problem: Problem, tol: float, max_iter: int) -> Solution:
    """Solve one problem on the support of its marginals; potentials elsewhere are 0."""
    import ot

    rows, cols = np.flatnonzero(a), np.flatnonzero(b)
    inside = np.ix_(rows, cols)
    settings = {"numItermax": max_iter, "log": True, "warn": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether it converged is measured on the plan
        if problem.balanced:
            # POT's rule is the L2 norm of the marginal error, at least the L1 norm over the root of the size.
            found, log = ot.bregman.sinkhorn_log(
                a[rows], b[cols], cost[inside], problem.eps, stopThr=tol / math.sqrt(len(cols)), **settings
            )
            done = log["niter"] + 1
            f, g = problem.eps * (log["log_u"] - np.log(a[rows])), problem.eps * (log["log_v"] - np.log(b[cols]))
        else:
            # POT's stabilised solver adds a small number to sums of the kernel, which small sums do not bear.
            method = "sinkhorn" if cost[inside].max() < 600 * problem.eps else "sinkhorn_stabilized"
            found, log = ot.unbalanced.sinkhorn_unbalanced(
                a[rows], b[cols], cost[inside], problem.eps, (problem.rho_a, problem.rho_b),
                method=method, reg_type="kl", stopThr=tol, **settings,
            )  # fmt: skip
            done = len(log["err"])
            f, g = problem.eps * log["logu"], problem.eps * log["logv"]
    plan, f_all, g_all = np.zeros_like(cost), np.zeros_like(a), np.zeros_like(b)
    plan[inside], f_all[rows], g_all[cols] = found, f, g
    return plan, f_all, g_all, int(done)
