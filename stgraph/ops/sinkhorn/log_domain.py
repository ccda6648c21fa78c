"""Sinkhorn's iteration on the potentials themselves: slow, and safe at any scale."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stgraph.ops.sinkhorn.problem import Problem

__all__ = ["LogDomain", "Transform", "dense_transforms"]

# A soft minimum of the cost less the other side's potential: from [B, m] to [B, n] or back.
Transform = Callable[[Tensor], Tensor]


def dense_transforms(cost: Tensor, problem: Problem) -> tuple[Transform, Transform]:
    """The soft minima over columns and over rows of a cost ``[B, n, m]``."""
    eps = problem.eps

    def rows(g: Tensor) -> Tensor:
        return -eps * torch.logsumexp(((g + eps * problem.log_b).unsqueeze(-2) - cost) / eps, dim=-1)

    def cols(f: Tensor) -> Tensor:
        return -eps * torch.logsumexp(((f + eps * problem.log_a).unsqueeze(-1) - cost) / eps, dim=-2)

    return rows, cols


class LogDomain:
    """Potentials ``f`` [B, n] and ``g`` [B, m] under two soft minima; differentiable where those are.

    Args:
        rows: Soft minimum over columns.
        cols: Soft minimum over rows.
        problem: Marginals and penalties.
        f: First potentials.
        g: Second potentials.
    """

    def __init__(self, rows: Transform, cols: Transform, problem: Problem, f: Tensor, g: Tensor) -> None:
        self.rows, self.cols, self.problem = rows, cols, problem
        self.f, self.g = f, g
        self._soft_cols = g

    def exact_rows(self) -> Tensor:
        """Update the row potentials and return the error of the columns."""
        shift = self.problem.translation(self.f, self.g)
        if shift is not None:
            self.g = self.g - shift
        self.f = self.problem.shrink_rows * self.rows(self.g)
        self._soft_cols = self.cols(self.f)
        with torch.no_grad():
            marginal = torch.exp(self.problem.log_b + (self.g - self._soft_cols) / self.problem.eps)
            return self.problem.marginal_error(False, marginal, self.g)

    def advance(self, steps: int, omega: Tensor) -> None:
        """Update the columns, then both sides ``steps - 1`` times."""
        omega = omega.squeeze(-1)
        for step in range(steps):
            if step > 0:
                self.f = torch.lerp(self.f, self.problem.shrink_rows * self.rows(self.g), omega)
                self._soft_cols = self.cols(self.f)
            self.g = torch.lerp(self.g, self.problem.shrink_cols * self._soft_cols, omega)

    def keep_in_range(self, error: Tensor) -> bool:
        """Potentials do not overflow."""
        return False

    def plan(self, cost: Tensor) -> Tensor:
        """The plan ``[B, n, m]`` of these potentials."""
        eps, rows, cols = self.problem.eps, self.problem.log_a, self.problem.log_b
        exponent = (self.f + eps * rows).unsqueeze(-1) - cost + (self.g + eps * cols).unsqueeze(-2)
        return torch.exp(exponent / eps)
