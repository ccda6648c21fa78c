"""The nearest rows of one set of vectors to those of another."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest_rows"]

_BLOCK = 1 << 22  # distances held at once


def nearest_rows(query: Tensor, reference: Tensor, k: int, usable: Tensor, *, own: bool = False) -> Tensor:
    r"""Find the nearest usable vectors of a reference, nearest first.

    Args:
        query: Vectors whose neighbours are wanted.
        reference: Vectors among which they are.
        k: Number of neighbours; at least as many must be usable (one more with :obj:`own`).
        usable: Which vectors of the reference may be neighbours.
        own: Whether the two sets are the same, so that a vector is no neighbour of itself.

    Shapes:
        - **query:** :math:`(N, D)`, **reference:** :math:`(M, D)`, **usable:** :math:`(M)` bool
        - **output:** :math:`(N, k)` int64

    Examples:
        >>> points = torch.tensor([[0.0], [1.0], [3.0], [4.5]])
        >>> nearest_rows(points, points, 2, torch.tensor([True, True, True, False]), own=True)
        tensor([[1, 2],
                [0, 2],
                [1, 0],
                [2, 1]])
    """
    query, reference = query.double(), reference.double()
    found = torch.empty(query.shape[0], k, dtype=torch.int64, device=query.device)
    step = max(1, _BLOCK // max(reference.shape[0], 1))
    for first in range(0, query.shape[0], step):
        rows = torch.arange(first, min(first + step, query.shape[0]), device=query.device)
        # Differences, not products of norms: neighbours must not depend on where the origin is.
        distance = torch.cdist(query[rows], reference, compute_mode="donot_use_mm_for_euclid_dist")
        distance.masked_fill_(~usable, torch.inf)
        if own:
            distance[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        found[rows] = distance.topk(k, dim=1, largest=False).indices
    return found
