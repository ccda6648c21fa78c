"""Entropic transport between point clouds without the matrix of costs."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from stgraph.ops.sinkhorn.checks import check_settings, penalties
from stgraph.ops.sinkhorn.iteration import run, stages
from stgraph.ops.sinkhorn.log_domain import LogDomain
from stgraph.ops.sinkhorn.points import Clouds, Solution, balance, measure, objective, prepare
from stgraph.ops.sinkhorn.problem import Problem
from stgraph.ops.sinkhorn.result import warn_unless_converged
from stgraph.ops.sinkhorn.scaling import STAGE_ITERATIONS, STAGE_TOL

__all__ = ["OnlineSinkhornResult", "sinkhorn_online", "solve_online"]


@dataclasses.dataclass
class OnlineSinkhornResult:
    """Solution of a batch of entropic transport problems between point clouds.

    Args:
        potentials: Dual potentials f ``[..., n]`` and g ``[..., m]`` without gradient, in units of the cost. Where both
            marginals are exact, the constant they leave open gives both sides the same share of the dual.
        objective: Entropic objective ``[...]``.
        marginal_errors: L1 distance of the row and column sums of the plan from what they ought to be, as a share of
            the mass, ``[...]`` each.
        iterations: Number of iterations, of all problems and stages of the regularisation together.
        converged: Whether the marginal errors are at most ``tol``, ``[...]``.
        clouds: The points and weights.
        problem: Marginals, regularisation and penalties.
        solution: The potentials in the precision of the computation.
    """

    potentials: tuple[Tensor, Tensor]
    objective: Tensor
    marginal_errors: tuple[Tensor, Tensor]
    iterations: Tensor
    converged: Tensor
    clouds: Clouds = dataclasses.field(repr=False)
    problem: Problem = dataclasses.field(repr=False)
    solution: Solution = dataclasses.field(repr=False)

    @torch.no_grad()
    def barycentric_projection(self) -> Tensor:
        """Where the plan takes the points of x: the mean of y under each row, ``[..., n, D]``, without gradient.

        Points without weight go to 0, as in :func:`~stgraph.ops.sinkhorn.barycentric_projection`.
        """
        clouds, problem = self.clouds, self.problem
        x, y, space = clouds.x, clouds.y, clouds.space
        g, values = self.solution.g + problem.eps * problem.log_b, y.to(problem.b.dtype)
        with torch.autocast(x.device.type, enabled=False):
            images = values.new_empty(x.shape)
            for part in space.chunks(x, y):
                images[:, part] = space.scores(x[:, part], y, g, problem.eps).softmax(dim=-1) @ values
        return _unflat(torch.where(clouds.a.unsqueeze(-1) > 0, images, 0.0), clouds)


def sinkhorn_online(
    x: Tensor,
    y: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    eps: float,
    cost: str = "sqeuclidean",
    rho: float | tuple[float, float] = math.inf,
    max_iter: int = 1000,
    tol: float = 1e-5,
    chunk_size: int | None = None,
) -> OnlineSinkhornResult:
    r"""Solve entropic optimal transport between point clouds in memory linear in the number of points.

    This is the problem of :func:`~stgraph.ops.sinkhorn.sinkhorn` with the cost :math:`\lVert x_i - y_j \rVert^2` or
    :math:`\lVert x_i - y_j \rVert`, for clouds whose ``n x m`` costs do not fit into memory: they are computed in
    chunks whenever a soft minimum needs them, and so are the costs and the plan in the backward pass. The iteration
    runs in the log domain, with over-relaxation chosen from the observed rate of convergence and stages of falling
    regularisation where ``eps`` is small against the cost. Half precision is computed in float32.

    The objective has the gradient of the envelope theorem in the points and weights, exact where the iteration has
    converged; it cannot be differentiated twice. For the Euclidean cost, pairs of points that coincide add nothing to
    it. Gradients by the weights of a balanced problem are known up to a constant; zero weights get none.

    Args:
        x: Points of the rows ``[..., n, D]``.
        y: Points of the columns ``[..., m, D]``.
        a: Weights of the rows ``[..., n]``; uniform with sum 1 if not given.
        b: Weights of the columns ``[..., m]``; uniform with sum 1 if not given.
        eps: Regularisation :math:`\varepsilon`, in units of the cost.
        cost: ``"sqeuclidean"`` or ``"euclidean"``.
        rho: Penalty of both marginals, or of rows and of columns, in units of the cost; an infinite one makes a
            marginal exact, 0 leaves it free.
        max_iter: Most iterations.
        tol: Marginal error to stop at (see :class:`OnlineSinkhornResult`).
        chunk_size: Number of points of one side, in every problem of the batch, that are compared at once with all
            points of the other: the largest tensors have ``chunk_size`` times n or m entries per problem. If not
            given, as many as keep a chunk in the cache of a processor, or in 128 MiB of float32 on other devices.

    Shapes:
        Leading dimensions of all tensors are batch dimensions that broadcast against each other.

    Returns:
        OnlineSinkhornResult: Potentials, objective, marginal errors, iterations and whether it converged.

    Raises:
        InputError: If a value or shape cannot be used, such as marginals of different mass in the balanced problem.
        InputTypeError: If points or weights are not floating-point tensors.

    Warns:
        ConvergenceWarning: If ``max_iter`` was reached first.

    References:
        Feydy, "Geometric data analysis, beyond convolutions" (2020). Feydy et al., "Interpolating between Optimal
        Transport and MMD using Sinkhorn Divergences" (2019).

    Examples:
        >>> import torch
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> result = sinkhorn_online(x, x + torch.tensor([0.0, 0.5]), eps=0.05)
        >>> bool(result.converged)
        True
        >>> result.barycentric_projection().round(decimals=4)
        tensor([[0.0000, 0.5000],
                [1.0000, 0.5000]])
    """
    check_settings(eps, max_iter, tol, None)
    clouds = prepare(x, y, a, b, cost, chunk_size, penalties(rho))
    batch, device = clouds.batch, clouds.x.device
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        problem = clouds.problem(eps, *penalties(rho), tol)
        found = balance(solve_online(clouds, problem, tol, max_iter), problem)
        rows, cols = (error.reshape(batch) for error in found.errors(problem))
    result = OnlineSinkhornResult(
        (_unflat(found.f, clouds), _unflat(found.g, clouds)),
        objective(clouds, problem, found).reshape(batch).to(clouds.dtype),
        (rows, cols),
        torch.tensor(found.iterations, device=device),
        torch.maximum(rows, cols) <= tol,
        clouds,
        problem,
        found,
    )
    warn_unless_converged(rows, cols, result.converged, max_iter, eps, tol)
    return result


def _unflat(values: Tensor, clouds: Clouds) -> Tensor:
    return values.reshape(*clouds.batch, *values.shape[1:]).to(clouds.dtype)


def solve_online(clouds: Clouds, problem: Problem, tol: float, max_iter: int) -> Solution:
    """Potentials of the problems between two clouds, without gradient."""
    x, y, space = clouds.x.detach(), clouds.y.detach(), clouds.space
    f, g = torch.zeros_like(problem.a), torch.zeros_like(problem.b)
    cost_range = max(clouds.cost_bounds().tolist(), default=0.0)
    done = 0
    for stage in [*stages(problem.eps, cost_range), problem.eps]:
        at_stage, last = problem._replace(eps=stage), stage == problem.eps
        engine = LogDomain(*space.transforms(x, y, at_stage), at_stage, f, g)
        steps = max_iter - done if last else min(STAGE_ITERATIONS, max_iter - done)
        done += run(engine, tol=tol if last else STAGE_TOL, max_iter=steps, relaxation=None, like=f)
        f, g = engine.f, engine.g
    return measure(f, g, space.transforms(x, y, problem), problem, done)
