"""Entropic optimal transport: batched, differentiable, and in agreement with POT."""

from stgraph.ops.sinkhorn.divergence import sinkhorn_divergence
from stgraph.ops.sinkhorn.online import OnlineSinkhornResult, sinkhorn_online
from stgraph.ops.sinkhorn.projection import barycentric_projection
from stgraph.ops.sinkhorn.result import ConvergenceWarning, SinkhornResult
from stgraph.ops.sinkhorn.solver import sinkhorn

__all__ = [
    "ConvergenceWarning",
    "OnlineSinkhornResult",
    "SinkhornResult",
    "barycentric_projection",
    "sinkhorn",
    "sinkhorn_divergence",
    "sinkhorn_online",
]
