"""The solver as one operator, differentiated through the optimality conditions instead of its iterations.

At the solution the potentials satisfy ``f = -lambda_a eps LSE_j(log b_j + (g_j - C_ij) / eps)`` and the same with the
sides exchanged. Linearised, with R and S the row and column sums of the plan P, they are the symmetric system

    [ R / lambda_a      P       ] [df]   [ (P * dC) 1   - eps P   dlog b ]
    [     P^T      S / lambda_b ] [dg] = [ (P * dC)^T 1 - eps P^T dlog a ]

so that a backward pass is one solution of that system, of the size of the smaller side after elimination of the larger.
Where both marginals are exact the system is singular in the direction (1, -1), which changes no plan and is projected
out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stgraph.ops.sinkhorn.problem import Problem, dual_value, shrinkage
from stgraph.ops.sinkhorn.scaling import solve

__all__ = ["mass_price", "transport"]


@torch.library.custom_op("stgraph::sinkhorn", mutates_args=())
def transport(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    f: Tensor | None,
    g: Tensor | None,
    eps: float,
    rho_a: float,
    rho_b: float,
    tol: float,
    max_iter: int,
    relaxation: float | None,
    eps_scaling: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Plan, potentials, objective, marginal errors and number of iterations of a batch ``[B, n, m]`` of problems."""
    problem = Problem.of(a, b, eps, rho_a, rho_b)
    with torch.autocast(cost.device.type, enabled=False):
        plan, f, g, done = solve(
            cost, problem, f, g, tol=tol, max_iter=max_iter, relaxation=relaxation, eps_scaling=eps_scaling
        )
        return plan, f, g, *problem.evaluate(plan, f, g), torch.tensor(done, device=cost.device)


@transport.register_fake
def _transport_fake(
    cost: Tensor, a: Tensor, b: Tensor, *_: object
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    objective, rows, cols = (cost.new_empty(cost.shape[0]) for _ in range(3))
    count = torch.empty((), dtype=torch.int64, device=cost.device)
    plan = torch.empty_like(cost, memory_format=torch.contiguous_format)
    return plan, torch.empty_like(a), torch.empty_like(b), objective, rows, cols, count


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, a, b, _, _, eps, rho_a, rho_b, *_ = inputs
    plan, f, g, *_ = output
    ctx.save_for_backward(a, b, plan, f, g)
    ctx.settings = eps, rho_a, rho_b
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    with torch.autocast(ctx.saved_tensors[0].device.type, enabled=False):
        return _gradients(ctx, *grads)


def _gradients(
    ctx: Any,
    grad_plan: Tensor | None,
    grad_f: Tensor | None,
    grad_g: Tensor | None,
    grad_objective: Tensor | None,
    *_: Any,
) -> tuple[Tensor | None, ...]:
    a, b, plan, f, g = ctx.saved_tensors
    eps, rho_a, rho_b = ctx.settings
    # The gradient by the cost is the plan times x_i + y_j plus a constant, less ``weighted / eps``.
    x, y, weighted = torch.zeros_like(a), torch.zeros_like(b), None
    a_grad, b_grad = torch.zeros_like(a), torch.zeros_like(b)
    if grad_plan is not None or grad_f is not None or grad_g is not None:
        if grad_plan is not None:
            weighted = plan * grad_plan
            a_grad, b_grad = weighted.sum(dim=-1), weighted.sum(dim=-2)
        right_f = a_grad / eps if grad_f is None else a_grad / eps + grad_f
        right_g = b_grad / eps if grad_g is None else b_grad / eps + grad_g
        x, y = _solve(plan, right_f, right_g, shrinkage(eps, rho_a), shrinkage(eps, rho_b))
        a_grad = _per_weight(a_grad - eps * (y.unsqueeze(-2) @ plan.mT).squeeze(-2), a)
        b_grad = _per_weight(b_grad - eps * (x.unsqueeze(-2) @ plan).squeeze(-2), b)
    if grad_objective is not None:
        scale = grad_objective.unsqueeze(-1)
        a_grad = a_grad + scale * mass_price(a, b, f, plan.sum(dim=-1), eps, rho_a)
        b_grad = b_grad + scale * mass_price(b, a, g, plan.sum(dim=-2), eps, rho_b)
        x = x + scale
    cost_grad = (x.unsqueeze(-1) + y.unsqueeze(-2)).mul_(plan)
    if weighted is not None:
        cost_grad.sub_(weighted, alpha=1 / eps)
    return cost_grad, a_grad, b_grad, *[None] * 9


transport.register_autograd(_backward, setup_context=_setup_context)


def _per_weight(value: Tensor, weights: Tensor) -> Tensor:
    """Turn a gradient by the logarithm of weights into one by the weights; zero weights get none."""
    positive = weights > 0
    return torch.where(positive, value / torch.where(positive, weights, 1.0), 0.0)


def mass_price(weights: Tensor, others: Tensor, potential: Tensor, sums: Tensor, eps: float, rho: float) -> Tensor:
    """Derivative of the objective by the weights (envelope theorem)."""
    kept = sums / weights if rho == 0 else torch.exp(-potential / rho)
    price = dual_value(potential, rho) - eps * (kept - others.sum(dim=-1, keepdim=True))
    return torch.where(weights > 0, price, 0.0)


def _solve(plan: Tensor, right_f: Tensor, right_g: Tensor, shrink_f: float, shrink_g: float) -> tuple[Tensor, Tensor]:
    """Solve the symmetric system of the optimality conditions for ``x`` [B, n] and ``y`` [B, m]."""
    if plan.shape[-2] < plan.shape[-1]:
        y, x = _solve(plan.mT, right_g, right_f, shrink_g, shrink_f)
        return x, y
    rows, cols = _inverse_root(plan.sum(dim=-1)), _inverse_root(plan.sum(dim=-2))
    if shrink_f * shrink_g == 1:
        # Potentials are known up to a constant: gradients that ask for more are those of the centred potentials.
        present_f, present_g = (rows > 0).to(plan.dtype), (cols > 0).to(plan.dtype)
        excess = (right_f * present_f).sum(-1, keepdim=True) - (right_g * present_g).sum(-1, keepdim=True)
        excess = excess / (present_f.sum(-1, keepdim=True) + present_g.sum(-1, keepdim=True))
        right_f, right_g = right_f - excess, right_g + excess
    scaled = (plan * rows.unsqueeze(-1)).mul_(cols.unsqueeze(-2))
    right_f, right_g = right_f * rows, right_g * cols
    right = right_g - shrink_f * (right_f.unsqueeze(-2) @ scaled).squeeze(-2)
    y = _solve_reduced(scaled, right, shrink_f, shrink_g, plan.sum(dim=-2).sqrt())
    x = shrink_f * (right_f - (y.unsqueeze(-2) @ scaled.mT).squeeze(-2))
    return x * rows, y * cols


def _solve_reduced(scaled: Tensor, right: Tensor, shrink_f: float, shrink_g: float, root: Tensor) -> Tensor:
    """Solve ``(I / lambda_g - lambda_f N^T N) y = right`` for the normalised plan N, after elimination of the rows."""
    matrix = -shrink_f * shrink_g * (scaled.mT @ scaled)
    if shrink_f * shrink_g == 1:
        direction = root / torch.linalg.vector_norm(root, dim=-1, keepdim=True)
        matrix = torch.baddbmm(matrix, direction.unsqueeze(-1), direction.unsqueeze(-2))
    # Parts of the plan that rounding has disconnected make the matrix singular in directions that change no plan.
    diagonal = 1 + 10 * torch.finfo(matrix.dtype).eps
    matrix.diagonal(dim1=-2, dim2=-1).add_(diagonal)
    factor, _ = torch.linalg.cholesky_ex(matrix)
    return torch.cholesky_solve((shrink_g * right).unsqueeze(-1), factor).squeeze(-1)


def _inverse_root(sums: Tensor) -> Tensor:
    positive = sums > 0
    return torch.where(positive, torch.where(positive, sums, 1.0).rsqrt(), 0.0)
