"""What a solver of transport problems tells."""

from __future__ import annotations

import dataclasses
import warnings

import torch
from torch import Tensor

__all__ = ["ConvergenceWarning", "SinkhornResult", "warn_unless_converged"]


class ConvergenceWarning(UserWarning):
    """A solver stopped before the marginals were met."""


@dataclasses.dataclass
class SinkhornResult:
    r"""Solution of a batch of entropic transport problems.

    Args:
        plan: Plan :math:`P_{ij} = a_i b_j \exp((f_i + g_j - C_{ij}) / \varepsilon)`, ``[..., n, m]``.
        potentials: Dual potentials f ``[..., n]`` and g ``[..., m]``, in units of the cost. In the balanced problem
            they are known up to a constant that moves from one to the other; where a weight is zero, the others
            imply them.
        objective: Entropic objective ``[...]`` (see :func:`~stgraph.ops.sinkhorn.sinkhorn`).
        marginal_errors: L1 distance of the row and column sums of the plan from what they ought to be, as a share of
            the mass, ``[...]`` each.
        iterations: Number of iterations, of all problems and stages of the regularisation together.
        converged: Whether the marginal errors are at most ``tol``, ``[...]``.
        cost: The cost, for :attr:`transport_cost`.
    """

    plan: Tensor
    potentials: tuple[Tensor, Tensor]
    objective: Tensor
    marginal_errors: tuple[Tensor, Tensor]
    iterations: Tensor
    converged: Tensor
    cost: Tensor = dataclasses.field(repr=False)

    @property
    def transport_cost(self) -> Tensor:
        r"""Cost :math:`\langle P, C \rangle` of the plan, ``[...]``."""
        return (self.plan * self.cost).sum(dim=(-2, -1))


def warn_unless_converged(rows: Tensor, cols: Tensor, converged: Tensor, max_iter: int, eps: float, tol: float) -> None:
    """Warn once of all problems that did not converge; silent in compiled code."""
    if torch.compiler.is_compiling() or bool(converged.all()):
        return
    worst = float(torch.maximum(rows, cols).max())
    warnings.warn(
        f"Sinkhorn's iteration stopped (max_iter = {max_iter}) with a marginal error of {worst:.1e}, above "
        f"tol = {tol:g}, in {int((~converged).sum())} of {converged.numel()} problems; raise max_iter or eps ({eps:g})",
        ConvergenceWarning,
        stacklevel=3,
    )
