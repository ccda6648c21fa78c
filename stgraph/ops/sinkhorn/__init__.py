"""Entropic optimal transport: batched, differentiable, and in agreement with POT."""

from stgraph.ops.sinkhorn.result import ConvergenceWarning, SinkhornResult
from stgraph.ops.sinkhorn.solver import sinkhorn

__all__ = ["ConvergenceWarning", "SinkhornResult", "sinkhorn"]
