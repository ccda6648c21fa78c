"""One batch of transport problems, and what its dual says."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Problem", "log_weights", "shrinkage"]


class Problem(NamedTuple):
    """Marginals ``a`` [B, n] and ``b`` [B, m] with their penalties, at a regularisation ``eps``."""

    a: Tensor
    b: Tensor
    eps: float
    rho_a: float
    rho_b: float
    log_a: Tensor
    log_b: Tensor

    @classmethod
    def of(cls, a: Tensor, b: Tensor, eps: float, rho_a: float, rho_b: float) -> Problem:
        """The problem with these marginals."""
        return cls(a, b, eps, rho_a, rho_b, log_weights(a), log_weights(b))

    @property
    def balanced(self) -> bool:
        """Whether both marginals are exact."""
        return self.rho_a == self.rho_b == math.inf

    @property
    def shrink_rows(self) -> float:
        """Factor on the update of row potentials."""
        return shrinkage(self.eps, self.rho_a)

    @property
    def shrink_cols(self) -> float:
        """Factor on the update of column potentials."""
        return shrinkage(self.eps, self.rho_b)

    def target(self, rows: bool, potential: Tensor) -> Tensor | None:
        """The marginal that the optimality conditions ask for at a potential; nothing where it is free."""
        weights, rho = (self.a, self.rho_a) if rows else (self.b, self.rho_b)
        if rho == 0:
            return None
        if rho == math.inf:
            return weights
        # Nothing is asked of an entry without weight, whose potential may be far below -rho.
        return weights * torch.exp(torch.where(weights > 0, -potential / rho, 0.0))

    def marginal_error(self, rows: bool, marginal: Tensor, potential: Tensor) -> Tensor:
        """L1 distance ``[B]`` of a marginal from what it ought to be, as a share of the mass."""
        target = self.target(rows, potential)
        if target is None:
            return marginal.new_zeros(marginal.shape[0])
        mass = (self.a if rows else self.b).sum(dim=-1)
        return (marginal - target).abs().sum(dim=-1) / mass

    def translation(self, f: Tensor, g: Tensor) -> Tensor | None:
        """What to add to ``f`` and take from ``g`` [B, 1] for the best dual; nothing where that is idle or barred.

        Alternating updates find this constant slowly where a penalty is large against ``eps`` (Séjourné et al., "Faster
        Unbalanced Optimal Transport: Translation invariant Sinkhorn and 1-D Frank-Wolfe", 2022).
        """
        if min(self.rho_a, self.rho_b) == 0 or self.balanced:
            return None
        rows = torch.logsumexp(self.log_a - f / self.rho_a, dim=-1, keepdim=True)
        cols = torch.logsumexp(self.log_b - g / self.rho_b, dim=-1, keepdim=True)
        shift = (rows - cols) / (1 / self.rho_a + 1 / self.rho_b)
        # A large penalty makes much of the rounding of what is balanced already.
        rounding = 16 * torch.finfo(rows.dtype).eps * torch.maximum(rows.abs(), cols.abs()).clamp(min=1)
        return torch.where((rows - cols).abs() > rounding, shift, 0.0)

    def dual_objective(self, plan_mass: Tensor, f: Tensor, g: Tensor) -> Tensor:
        """The entropic objective ``[B]`` as the dual has it, which errors of the potentials change in second order."""
        rows, cols = (
            (weights * dual_value(torch.where(weights > 0, potential, 0.0), rho)).sum(dim=-1)
            for weights, potential, rho in ((self.a, f, self.rho_a), (self.b, g, self.rho_b))
        )
        # Zero weights get no gradient.
        first, second = (torch.where(weights > 0, weights, 0.0).sum(dim=-1) for weights in (self.a, self.b))
        value: Tensor = rows + cols - self.eps * (plan_mass - first * second)
        return value

    def evaluate(self, plan: Tensor, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The objective and the marginal errors ``[B]`` of rows and columns of a plan with its potentials."""
        rows, cols = plan.sum(dim=-1), plan.sum(dim=-2)
        objective = self.dual_objective(rows.sum(dim=-1), f, g)
        with torch.no_grad():
            return objective, self.marginal_error(True, rows, f), self.marginal_error(False, cols, g)


def dual_value(potential: Tensor, rho: float) -> Tensor:
    """What a unit of mass with this potential adds to the dual."""
    if rho == 0:
        return torch.zeros_like(potential)
    return potential if rho == math.inf else -rho * torch.expm1(-potential / rho)


def shrinkage(eps: float, rho: float) -> float:
    """Factor on the update of a potential under a KL penalty: 1 for an exact marginal, 0 for a free one."""
    return 1.0 if rho == math.inf else rho / (rho + eps)


def log_weights(weights: Tensor) -> Tensor:
    """Logarithm with -inf at zero weights, where the gradient is zero instead of NaN."""
    positive = weights > 0
    return torch.where(positive, torch.where(positive, weights, 1.0).log(), -torch.inf)
