"""Entropic optimal transport for a batch of problems."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.sinkhorn.checks import check_settings, check_tensor, check_values, common_batch, penalties
from stgraph.ops.sinkhorn.implicit import transport
from stgraph.ops.sinkhorn.iteration import run
from stgraph.ops.sinkhorn.log_domain import LogDomain, dense_transforms
from stgraph.ops.sinkhorn.problem import Problem
from stgraph.ops.sinkhorn.result import SinkhornResult, warn_unless_converged

__all__ = ["sinkhorn"]

GRADIENTS = ("implicit", "unrolled")
BACKENDS = ("torch", "pot")


def sinkhorn(
    cost: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    eps: float,
    rho: float | tuple[float, float] = math.inf,
    row_mask: Tensor | None = None,
    col_mask: Tensor | None = None,
    max_iter: int = 1000,
    tol: float = 1e-5,
    gradient: str = "implicit",
    init: tuple[Tensor, Tensor] | None = None,
    relaxation: float | None = None,
    eps_scaling: bool = True,
    backend: str = "torch",
    warn: bool = True,
) -> SinkhornResult:
    r"""Solve entropic optimal transport problems by Sinkhorn's algorithm.

    Each problem is to find the plan :math:`P \ge 0` with the least

    .. math::
        \langle P, C \rangle + \varepsilon\, \mathrm{KL}(P \,|\, a b^\top)
        + \rho_a\, \mathrm{KL}(P \mathbf{1} \,|\, a) + \rho_b\, \mathrm{KL}(P^\top \mathbf{1} \,|\, b)

    with :math:`\mathrm{KL}(p | q) = \sum p \log (p / q) - p + q`. An infinite :math:`\rho` makes a marginal exact
    (balanced transport), 0 leaves it free (semi-relaxed transport), anything between penalises its deviation
    (unbalanced transport). This is POT's convention with ``reg_type="kl"``; the plan of the balanced problem does not
    depend on it.

    The iteration scales a kernel by two batched matrix products, with over-relaxation chosen from the observed rate of
    convergence, stages of falling regularisation where ``eps`` is small against the cost, and absorption of the
    scalings into the potentials before they leave the range of numbers; where that fails it continues in the log
    domain. Half precision is computed in float32. The row sums of the plan are exact to rounding, the column sums
    to ``tol``.

    Args:
        cost: Costs C, at least 0, ``[..., n, m]``.
        a: Weights of the rows ``[..., n]``; uniform with sum 1 if not given.
        b: Weights of the columns ``[..., m]``; uniform with sum 1 if not given.
        eps: Regularisation :math:`\varepsilon`, in units of the cost.
        rho: Penalty of both marginals, or of rows and of columns, in units of the cost.
        row_mask: True where a row takes part, ``[..., n]``. Others have weight 0, whatever their weights and costs are.
        col_mask: True where a column takes part, ``[..., m]``.
        max_iter: Most iterations.
        tol: Marginal error to stop at (see :class:`SinkhornResult`).
        gradient: ``"implicit"`` differentiates the optimality conditions, in memory that does not depend on the number
            of iterations, and gives the objective the gradient of the envelope theorem; ``"unrolled"`` differentiates
            the iterations, in the log domain. Gradients by the weights of a balanced problem are known up to a
            constant, since the sums of both marginals have to stay equal; zero weights get none.
        init: Potentials f ``[..., n]`` and g ``[..., m]`` to start from, such as those of a similar problem.
        relaxation: Factor of over-relaxation between 0 and 2; 1 is the plain iteration. If not given it is adapted, and
            taken back where it does harm; a fixed one above 1 may fail to converge.
        eps_scaling: Start with a larger regularisation where ``eps`` is small against the cost; not with unrolled
            gradients or given potentials.
        backend: ``"pot"`` lets POT solve the problems one by one, without gradient, for comparison.
        warn: Warn if a problem did not converge.

    Returns:
        SinkhornResult: Plan, potentials, objective, marginal errors, iterations and whether it converged.

    Raises:
        InputError: If a value or shape cannot be used, such as marginals of different mass in the balanced problem.
        InputTypeError: If an argument is not a floating-point tensor.

    Warns:
        ConvergenceWarning: If ``max_iter`` was reached first and ``warn`` is set.

    References:
        Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport" (2013). Chizat et al., "Scaling
        Algorithms for Unbalanced Optimal Transport Problems" (2018). Schmitzer, "Stabilized Sparse Scaling Algorithms
        for Entropy Regularized Transport Problems" (2019). Eisenberger et al., "A Unified Framework for Implicit
        Sinkhorn Differentiation" (2022).

    Examples:
        >>> import torch
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.1], [0.9]])
        >>> result = sinkhorn(torch.cdist(x, y), eps=0.1)
        >>> [[round(mass, 4) for mass in row] for row in result.plan.tolist()]
        [[0.4998, 0.0002], [0.0002, 0.4998]]
        >>> bool(result.converged)
        True
    """
    check_settings(eps, max_iter, tol, relaxation)
    rho_a, rho_b = penalties(rho)
    for name, choice, choices in (("gradient", gradient, GRADIENTS), ("backend", backend, BACKENDS)):
        if choice not in choices:
            raise InputError(f"{name} is {choice!r}; expected one of {choices}")
    check_tensor("cost", cost)
    dtype = cost.dtype
    batch, cost, a, b = _prepare(cost, a, b, row_mask, col_mask)
    f, g = _flat_potentials(init, batch, cost, rho_a, rho_b)
    problem = Problem.of(a, b, float(eps), rho_a, rho_b)
    if not torch.compiler.is_compiling():
        check_values(cost, problem)
    if backend == "pot":
        from stgraph.ops.sinkhorn.pot import solve_with_pot

        found = solve_with_pot(cost, problem, tol, max_iter)
    elif gradient == "unrolled":
        found = _unrolled(cost, problem, f, g, tol, max_iter, relaxation)
    else:
        found = transport(cost, a, b, f, g, problem.eps, rho_a, rho_b, tol, max_iter, relaxation, eps_scaling)
    if gradient == "implicit":
        found = found[0], *_complete(cost, problem, *found[1:3]), *found[3:]
    result = _result(found, batch, cost, row_mask, col_mask, tol, dtype)
    if warn:
        warn_unless_converged(*result.marginal_errors, result.converged, max_iter, eps, tol)
    return result


def _prepare(
    cost: Tensor, a: Tensor | None, b: Tensor | None, row_mask: Tensor | None, col_mask: Tensor | None
) -> tuple[tuple[int, ...], Tensor, Tensor, Tensor]:
    """Check shapes and types, apply the masks, and bring everything to one batch dimension and one dtype."""
    if cost.dim() < 2 or 0 in cost.shape[-2:]:
        raise InputError(f"cost has shape {tuple(cost.shape)}; expected (..., n, m) with at least one row and column")
    n, m = cost.shape[-2:]
    sides = (("a", a, "row_mask", row_mask, n), ("b", b, "col_mask", col_mask, m))
    batch = common_batch(cost, sides)
    if row_mask is not None:
        cost = torch.where(row_mask.unsqueeze(-1), cost, 0.0)
    if col_mask is not None:
        cost = torch.where(col_mask.unsqueeze(-2), cost, 0.0)
    work = torch.promote_types(cost.dtype, torch.float32)
    cost = cost.to(work).expand(*batch, n, m).reshape(math.prod(batch), n, m)
    first, second = (
        _weights(weights, mask, cost, size).expand(*batch, size).reshape(cost.shape[0], size)
        for _, weights, _, mask, size in sides
    )
    return batch, cost, first, second


def _weights(weights: Tensor | None, mask: Tensor | None, cost: Tensor, size: int) -> Tensor:
    """Weights with zeros where masked; uniform over the others if not given."""
    if weights is not None:
        weights = weights.to(cost.dtype)
        return weights if mask is None else torch.where(mask, weights, 0.0)
    if mask is None:
        return cost.new_full((size,), 1 / size)
    return mask.to(cost.dtype) / mask.sum(dim=-1, keepdim=True).clamp(min=1)


def _flat_potentials(
    init: tuple[Tensor, Tensor] | None, batch: tuple[int, ...], cost: Tensor, rho_a: float, rho_b: float
) -> tuple[Tensor | None, Tensor | None]:
    """Potentials to start from, without gradient; those of free marginals are zero."""
    if init is None:
        return None, None
    if len(init) != 2:
        raise InputError(f"init has {len(init)} entries; expected the potentials f and g")
    flat = []
    for name, potential, size, rho in zip("fg", init, cost.shape[1:], (rho_a, rho_b), strict=True):
        check_tensor(f"init potential {name}", potential, (*batch, size))
        if not torch.compiler.is_compiling() and not bool(torch.isfinite(potential).all()):
            raise InputError(f"init potential {name} has NaN or infinite entries; expected finite numbers")
        potential = potential.detach().to(cost.dtype).expand(*batch, size).reshape(cost.shape[0], size)
        flat.append(torch.zeros_like(potential) if rho == 0 else potential)
    return flat[0], flat[1]


def _complete(cost: Tensor, problem: Problem, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Give rows and columns without weight the potentials that the others imply."""
    lacking_rows, lacking_cols = problem.a <= 0, problem.b <= 0
    if torch.compiler.is_compiling() or not bool(lacking_rows.any() or lacking_cols.any()):
        return f, g
    rows, cols = dense_transforms(cost, problem)
    whole_f = torch.where(lacking_rows, problem.shrink_rows * rows(g), f)
    return whole_f, torch.where(lacking_cols, problem.shrink_cols * cols(f), g)


def _unrolled(
    cost: Tensor,
    problem: Problem,
    f: Tensor | None,
    g: Tensor | None,
    tol: float,
    max_iter: int,
    relaxation: float | None,
) -> tuple[Tensor, ...]:
    """The iterations in the log domain, all of them on autograd's tape."""
    start = (torch.zeros_like(problem.a), torch.zeros_like(problem.b)) if f is None or g is None else (f, g)
    engine = LogDomain(*dense_transforms(cost, problem), problem, *start)
    done = run(engine, tol=tol, max_iter=max_iter, relaxation=relaxation, like=cost.detach())
    plan = engine.plan(cost)
    found = problem.evaluate(plan, engine.f, engine.g)
    return plan, engine.f, engine.g, *found, torch.tensor(done, device=cost.device)


def _result(
    found: tuple[Tensor, ...],
    batch: tuple[int, ...],
    cost: Tensor,
    row_mask: Tensor | None,
    col_mask: Tensor | None,
    tol: float,
    dtype: torch.dtype,
) -> SinkhornResult:
    """Give the solution the shape and dtype of the problem."""
    plan, f, g, objective, rows, cols, iterations = (
        value.reshape((*batch, *value.shape[1:])) if value.dim() else value for value in found
    )
    rows, cols = rows.detach(), cols.detach()
    if row_mask is not None:
        f = torch.where(row_mask, f, 0.0)
    if col_mask is not None:
        g = torch.where(col_mask, g, 0.0)
    return SinkhornResult(
        plan.to(dtype), (f.to(dtype), g.to(dtype)), objective.to(dtype), (rows, cols), iterations,
        torch.maximum(rows, cols) <= tol, cost.reshape(plan.shape),
    )  # fmt: skip
