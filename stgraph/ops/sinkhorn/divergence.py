"""The debiased Sinkhorn divergence between point clouds."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.sinkhorn.checks import check_settings, penalties
from stgraph.ops.sinkhorn.log_domain import dense_transforms
from stgraph.ops.sinkhorn.online import solve_online
from stgraph.ops.sinkhorn.points import COSTS, Clouds, Solution, balance, objective, prepare
from stgraph.ops.sinkhorn.problem import Problem
from stgraph.ops.sinkhorn.result import warn_unless_converged
from stgraph.ops.sinkhorn.scaling import solve

__all__ = ["sinkhorn_divergence"]

# Up to this many entries (64 MiB of float32), of all problems together, the costs are kept.
DENSE_ENTRIES = 2**24
# Both kernels are positive definite, so that the slopes of a potential's update lie in [-1, 0]: with this share of the
# update the error of a cloud's transport to itself falls by at least 3 in an iteration, whatever eps is.
SELF_STEP = 2 / 3


def sinkhorn_divergence(
    x: Tensor,
    y: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    eps: float,
    cost: str = "sqeuclidean",
    rho: float = math.inf,
    max_iter: int = 1000,
    tol: float = 1e-5,
    chunk_size: int | None = None,
) -> Tensor:
    r"""How far two weighted point clouds are apart, by entropic optimal transport without its bias.

    .. math::
        S(x, y) = \mathrm{OT}(x, y) - \tfrac{1}{2} \mathrm{OT}(x, x) - \tfrac{1}{2} \mathrm{OT}(y, y)
        + \tfrac{\varepsilon}{2} (m_a - m_b)^2

    with the objective OT of :func:`~stgraph.ops.sinkhorn.sinkhorn_online` and the masses :math:`m`. Unlike OT it is 0,
    with zero gradient, for equal clouds, and positive for others, up to the accuracy of the solution. It tends to the
    cost of optimal transport as ``eps`` falls and to a maximum mean discrepancy as it grows.

    The gradient in points and weights is that of the envelope theorem (see
    :func:`~stgraph.ops.sinkhorn.sinkhorn_online`), in memory linear in the number of points. Costs of up to
    2\ :sup:`24` entries are kept while a problem is solved; larger ones are computed in chunks.

    Args:
        x: First points ``[..., n, D]``.
        y: Second points ``[..., m, D]``.
        a: Weights of x ``[..., n]``; uniform with sum 1 if not given.
        b: Weights of y ``[..., m]``; uniform with sum 1 if not given.
        eps: Regularisation :math:`\varepsilon`, in units of the cost.
        cost: ``"sqeuclidean"`` or ``"euclidean"``.
        rho: Penalty of both marginals, in units of the cost; infinite for exact ones.
        max_iter: Most iterations.
        tol: Marginal error to stop at, as a share of the mass.
        chunk_size: If given, costs are never kept, but computed for this many points of one side at a time.

    Shapes:
        Leading dimensions of all tensors are batch dimensions that broadcast against each other.

    Returns:
        Tensor: The divergence ``[...]``.

    Raises:
        InputError: If a value or shape cannot be used, such as marginals of different mass in the balanced problem.
        InputTypeError: If points or weights are not floating-point tensors.

    Warns:
        ConvergenceWarning: If ``max_iter`` was reached first.

    References:
        Feydy et al., "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences" (2019). Séjourné et
        al., "Sinkhorn Divergences for Unbalanced Optimal Transport" (2019).

    Examples:
        >>> import torch
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> sinkhorn_divergence(x, x + torch.tensor([0.0, 0.5]), eps=0.05)
        tensor(0.2500)
    """
    check_settings(eps, max_iter, tol, None)
    rhos = penalties(rho)
    if rhos[0] != rhos[1]:
        raise InputError(f"rho is {rho}; expected one number, as the divergence treats both sides alike")
    both = prepare(x, y, a, b, cost, chunk_size, rhos)
    first = dataclasses.replace(both, y=both.x, b=both.a)
    second = dataclasses.replace(both, x=both.y, a=both.b)
    values, errors = [], []
    for clouds in (both, first, second):
        with torch.no_grad(), torch.autocast(clouds.x.device.type, enabled=False):
            problem = clouds.problem(eps, *rhos, tol)
            solver = _solve if clouds is both else _solve_self
            solution = solver(clouds, problem, tol, max_iter)
            errors.append(torch.maximum(*solution.errors(problem)))
        values.append(objective(clouds, problem, solution))
    gap = both.a.sum(dim=-1) - both.b.sum(dim=-1)
    value = values[0] - (values[1] + values[2]) / 2 + eps / 2 * gap.square()
    worst = torch.stack(errors).amax(dim=0)
    warn_unless_converged(worst, worst, worst <= tol, max_iter, eps, tol)
    return value.reshape(both.batch).to(both.dtype)


def _kept_costs(clouds: Clouds, problem: Problem) -> Tensor | None:
    """The costs ``[B, n, m]``, unless they have too many entries or chunks are asked for."""
    x, y, space = clouds.x.detach(), clouds.y.detach(), clouds.space
    if space.chunk_size is not None or x.shape[0] * x.shape[1] * y.shape[1] > DENSE_ENTRIES:
        return None
    return COSTS[space.cost](x, y).to(problem.a.dtype)


def _solve(clouds: Clouds, problem: Problem, tol: float, max_iter: int) -> Solution:
    """Transport between two clouds."""
    cost = _kept_costs(clouds, problem)
    if cost is None:
        solution = solve_online(clouds, problem, tol, max_iter)
    else:
        plan, f, g, done = solve(
            cost, problem, None, None, tol=tol, max_iter=max_iter, relaxation=None, eps_scaling=True
        )
        solution = Solution(f, g, plan.sum(dim=-1), plan.sum(dim=-2), done)
    return balance(solution, problem)


def _solve_self(clouds: Clouds, problem: Problem, tol: float, max_iter: int) -> Solution:
    """Transport of a cloud to itself, whose potentials are equal."""
    cost = _kept_costs(clouds, problem)
    if cost is None:
        points = clouds.x.detach()
        soft_minimum = clouds.space.soft_minimum(points, points, problem.log_a, problem.eps)
    else:
        soft_minimum, _ = dense_transforms(cost, problem)
    f = torch.zeros_like(problem.a)
    done = 0
    while True:
        lowest = soft_minimum(f)
        sums = torch.exp(problem.log_a + (f - lowest) / problem.eps)
        solution = Solution(f, f, sums, sums, done)
        error, _ = solution.errors(problem)
        if done >= max_iter or bool((error <= tol).all()):
            return solution
        f = torch.lerp(f, problem.shrink_rows * lowest, SELF_STEP)
        done += 1
