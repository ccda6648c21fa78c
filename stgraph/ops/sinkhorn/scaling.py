"""Sinkhorn's iteration as scalings of a kernel: two batched matrix products, rescaled before they leave the range."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.ops.sinkhorn.iteration import NEAR, run, stages
from stgraph.ops.sinkhorn.log_domain import LogDomain, dense_transforms
from stgraph.ops.sinkhorn.problem import Problem

__all__ = ["STAGE_ITERATIONS", "STAGE_TOL", "Scaling", "solve"]

# Scalings beyond exp(RANGE) are absorbed into the potentials: far from where products of the kernel lose small entries.
RANGE = {torch.float32: 40.0, torch.float64: 400.0}
# Entries of the kernel below count as 0.
SMALLEST = {torch.float32: 1e-30, torch.float64: 1e-290}
# Costs may be as large as eps times this share of the digits before rows and columns are reduced.
DIGITS = 1e-3
# While the regularisation is lowered in stages, each stage but the last is solved roughly.
STAGE_TOL, STAGE_ITERATIONS = 1e-2, 50


def solve(
    cost: Tensor,
    problem: Problem,
    f: Tensor | None,
    g: Tensor | None,
    *,
    tol: float,
    max_iter: int,
    relaxation: float | None,
    eps_scaling: bool,
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Plan, potentials and number of iterations for costs ``[B, n, m]``, without gradient.

    Args:
        cost: Costs.
        problem: Marginals, regularisation and penalties.
        f: First potentials ``[B, n]`` to start from.
        g: Second potentials ``[B, m]`` to start from.
        tol: Largest marginal error to stop at.
        max_iter: Most iterations, of all stages together.
        relaxation: Fixed factor of over-relaxation; chosen from the observed rate if not given.
        eps_scaling: Lower the regularisation in stages, where it is small and no potentials are given.
    """
    low, high = cost.flatten(1).aminmax(dim=1) if cost.numel() else (cost.new_zeros(cost.shape[0]),) * 2
    largest, cost_range = (float(x.max()) if cost.numel() else 0.0 for x in (high, high - low))
    # What a whole row or column costs more changes no balanced plan, but takes digits from the rest.
    reduced = problem.balanced and largest > problem.eps * DIGITS / torch.finfo(cost.dtype).eps
    low_f, low_g = torch.zeros_like(problem.a), torch.zeros_like(problem.b)
    if reduced:
        low_f = cost.amin(dim=-1)
        cost = cost - low_f.unsqueeze(-1)
        low_g = cost.amin(dim=-2)
        cost, low = cost.sub_(low_g.unsqueeze(-2)), torch.zeros_like(low)
    # While there are stages, or the costs are small, the kernel at constant potentials does not vanish.
    falling = stages(problem.eps, cost_range) if eps_scaling and f is None else []
    far = cost.numel() > 0 and (f is not None or (not falling and cost_range > NEAR * problem.eps))
    f, g = _first_potentials(problem, low) if f is None or g is None else (f - low_f, g - low_g)
    done = 0
    for stage in [*falling, problem.eps]:
        at_stage, last = problem._replace(eps=stage), stage == problem.eps
        engine = Scaling(cost, at_stage, *_start(cost, at_stage, f, g, far))
        steps = max_iter - done if last else min(STAGE_ITERATIONS, max_iter - done)
        done += run(engine, tol=tol if last else STAGE_TOL, max_iter=steps, relaxation=relaxation, like=cost)
        f, g = engine.potentials()
    return engine.plan(), f + low_f, g + low_g, done


def _start(cost: Tensor, problem: Problem, f: Tensor, g: Tensor, far: bool) -> tuple[Tensor, Tensor]:
    """Potentials at which the kernel of a stage neither vanishes nor loses digits."""
    if problem.balanced:
        # The constant that is free takes digits where it is large.
        shift = torch.where(problem.b > 0, g, torch.nan).nanmedian(dim=-1, keepdim=True).values
        f, g = f + shift, g - shift
    if far:
        # One update in the log domain brings a vanished kernel back.
        rows, cols = dense_transforms(cost, problem)
        f = problem.shrink_rows * rows(g)
        g = problem.shrink_cols * cols(f)
    return f, g


def _first_potentials(problem: Problem, lowest: Tensor) -> tuple[Tensor, Tensor]:
    """Constants that make the largest entry of the kernel about 1, where a marginal leaves that free."""
    f, g = torch.zeros_like(problem.a), torch.zeros_like(problem.b)
    if problem.rho_a > 0:
        return f + problem.shrink_rows * lowest.unsqueeze(-1), g
    return f, g + problem.shrink_cols * lowest.unsqueeze(-1)


class Scaling:
    """Potentials ``f + eps log u`` and ``g + eps log v`` with the plan ``u K v``, where K is the plan at f and g.

    Vectors are rows, [B, 1, n] and [B, 1, m]: the product of a row with a matrix is several times as fast as that of a
    matrix with a column. Where numbers overflow in spite of rescaling (potentials far from the solution), everything
    goes on in the log domain.
    """

    def __init__(self, cost: Tensor, problem: Problem, f: Tensor, g: Tensor) -> None:
        self.cost, self.problem = cost, problem
        self.f, self.g = f, g
        # A row or column without weight must neither divide by zero nor count: it gets the sum 1 and the target 1.
        self.no_a, self.no_b = ((w <= 0).to(w.dtype).unsqueeze(-2) for w in (problem.a, problem.b))
        self.kernel = torch.empty_like(cost, memory_format=torch.contiguous_format)
        self.log_domain: LogDomain | None = None
        self._build()

    def _build(self) -> None:
        """Make the plan at ``f`` and ``g`` the kernel and start from scalings of 1."""
        eps = self.problem.eps
        torch.sub((self.f + eps * self.problem.log_a).unsqueeze(-1), self.cost, out=self.kernel)
        self.kernel.add_((self.g + eps * self.problem.log_b).unsqueeze(-2)).div_(eps).exp_()
        # Products with denormal numbers are a hundred times slower, and no scaling in range brings them back to count.
        torch.threshold_(self.kernel, SMALLEST[self.cost.dtype], 0.0)
        self.log_u, self.log_v = torch.zeros_like(self.no_a), torch.zeros_like(self.no_b)
        self.v = torch.ones_like(self.no_b)
        self.log_target_a = _log_target(self.problem.log_a, self.f, self.problem.rho_a)
        self.log_target_b = _log_target(self.problem.log_b, self.g, self.problem.rho_b)
        self._safe = self.log_u, self.log_v

    def _new_log_u(self) -> Tensor:
        if self.problem.rho_a == 0:
            return self.log_u
        sums = torch.baddbmm(self.no_a, self.v, self.kernel.mT)
        return self.problem.shrink_rows * (self.log_target_a - sums.log())

    def _column_sums(self) -> Tensor:
        return torch.baddbmm(self.no_b, self.log_u.exp(), self.kernel)

    def exact_rows(self) -> Tensor:
        """Update the row scalings and return the error of the columns."""
        if self.log_domain is not None:
            return self.log_domain.exact_rows()
        f, g = self._current(self.log_u, self.log_v)
        shift = self.problem.translation(f, g)
        if shift is not None:
            self.log_v = self.log_v - (1 - self.no_b) * shift.unsqueeze(-2) / self.problem.eps
            self.v, g = self.log_v.exp(), g - shift
        self.log_u = self._new_log_u()
        self._sums = self._column_sums()
        marginal = (self._sums * self.v - self.no_b).squeeze(-2)
        return self.problem.marginal_error(False, marginal, g)

    def advance(self, steps: int, omega: Tensor) -> None:
        """Update the columns, then both sides ``steps - 1`` times."""
        if self.log_domain is not None:
            self.log_domain.advance(steps, omega)
            return
        self._safe = self.log_u, self.log_v
        for step in range(steps):
            if step > 0:
                self.log_u = torch.lerp(self.log_u, self._new_log_u(), omega)
                self._sums = self._column_sums()
            if self.problem.rho_b > 0:
                new = self.problem.shrink_cols * (self.log_target_b - self._sums.log())
                self.log_v = torch.lerp(self.log_v, new, omega)
                self.v = self.log_v.exp()

    def keep_in_range(self, error: Tensor) -> bool:
        """Absorb large scalings into the potentials, or leave for the log domain if they have overflowed."""
        if self.log_domain is not None or error.numel() == 0:
            return False
        largest = self.log_u.abs().amax() + self.log_v.abs().amax() + 0 * error.sum()
        size = float(largest)
        if size <= RANGE[self.cost.dtype]:
            return False
        if size == size and size != torch.inf:
            self._absorb(self.log_u, self.log_v)
            self._build()
        else:
            self._absorb(*self._safe)
            self._enter_log_domain()
        return True

    def _current(self, log_u: Tensor, log_v: Tensor) -> tuple[Tensor, Tensor]:
        eps = self.problem.eps
        return self.f + eps * log_u.squeeze(-2), self.g + eps * log_v.squeeze(-2)

    def _absorb(self, log_u: Tensor, log_v: Tensor) -> None:
        self.f, self.g = self._current(log_u, log_v)

    def _enter_log_domain(self) -> None:
        transforms = dense_transforms(self.cost, self.problem)
        self.log_domain = LogDomain(*transforms, self.problem, self.f, self.g)

    def potentials(self) -> tuple[Tensor, Tensor]:
        """The potentials; those of rows and columns without weight have no meaning."""
        if self.log_domain is not None:
            return self.log_domain.f, self.log_domain.g
        return self._current(self.log_u, self.log_v)

    def plan(self) -> Tensor:
        """The plan, which takes the kernel's memory: nothing may follow."""
        if self.log_domain is not None:
            return self.log_domain.plan(self.cost)
        return self.kernel.mul_(self.log_u.exp().mT).mul_(self.v)


def _log_target(log_weights: Tensor, potential: Tensor, rho: float) -> Tensor:
    """Logarithm ``[B, 1, n]`` of what a marginal is scaled to, 0 without weight."""
    log_target = log_weights if rho in (0, torch.inf) else log_weights - potential / rho
    return torch.where(log_weights > -torch.inf, log_target, 0.0).unsqueeze(-2)
