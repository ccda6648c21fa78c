"""Medians over the neighbours of every node, without the bad points among them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["NeighborStatistics", "neighbor_median"]

# Values of one neighbour that are sorted at a time; with all neighbours they stay in a processor's cache.
_CHUNK = 1 << 14
_MAD_OF_NORMAL = 1.4826


class NeighborStatistics(NamedTuple):
    """What the neighbours of every node are like.

    Args:
        median: Median over the neighbours' good points, 0 where there are none.
        spread: 1.4826 times their median absolute deviation from it.
        number: Number of neighbours with a good point.

    Shapes:
        - all: :math:`(N, L)`
    """

    median: Tensor
    spread: Tensor
    number: Tensor


def neighbor_median(values: Tensor, mask: Tensor, neighbors: Tensor) -> NeighborStatistics:
    r"""Median and spread over the neighbours of every node at every point.

    Args:
        values: Values of the nodes among which the neighbours are.
        mask: True at their good points.
        neighbors: Which nodes are neighbours, as many for every node.

    Shapes:
        - **values**, **mask:** :math:`(M, L)`, **neighbors:** :math:`(N, k)` int64
        - **output:** three tensors :math:`(N, L)`

    Examples:
        >>> values = torch.tensor([[1.0], [2.0], [6.0], [90.0]])
        >>> found = neighbor_median(values, values < 50, torch.tensor([[0, 1, 2], [0, 1, 3]]))
        >>> found.median, found.number
        (tensor([[2.0000],
                [1.5000]]), tensor([[3],
                [2]]))
    """
    rows, length = neighbors.shape[0], values.shape[1]
    hidden = values.masked_fill(~mask, torch.inf)
    median, spread = values.new_empty(rows, length), values.new_empty(rows, length)
    count = torch.empty(rows, length, dtype=torch.int64, device=values.device)
    step = max(1, _CHUNK // max(length, 1))
    for first in range(0, rows, step):
        part = slice(first, first + step)
        near = list(hidden[neighbors[part].T])
        good = torch.stack(near).isfinite().sum(dim=0)
        middle = _middle(near, good)
        deviations = [(value - middle).abs() for value in near]  # infinite where the neighbour is bad
        median[part], count[part] = middle, good
        spread[part] = _MAD_OF_NORMAL * _middle(deviations, good)
    return NeighborStatistics(median, spread, count)


def _middle(values: list[Tensor], count: Tensor) -> Tensor:
    """Median of the finite ones of some values, 0 where there are none."""
    ordered = list(values)
    for low, high in _sorting_network(len(values)):
        ordered[low], ordered[high] = (
            torch.minimum(ordered[low], ordered[high]),
            torch.maximum(ordered[low], ordered[high]),
        )
    stacked = torch.stack(ordered)
    last = (count - 1).clamp(min=0)
    lower = stacked.gather(0, (last // 2).unsqueeze(0))[0]
    upper = stacked.gather(0, ((last + 1) // 2).unsqueeze(0))[0]
    return torch.where(count > 0, 0.5 * (lower + upper), 0.0)


@functools.cache
def _sorting_network(size: int) -> tuple[tuple[int, int], ...]:
    """Comparisons that sort ``size`` values (K. E. Batcher, "Sorting networks and their applications", 1968).

    Elementwise minima and maxima of few long vectors are an order of magnitude faster than a sort along a short axis.

    >>> _sorting_network(3)
    ((0, 1), (0, 2), (1, 2))
    """
    comparisons = []
    full = 1 << max(size - 1, 0).bit_length()
    p = 1
    while p < full:
        k = p
        while k >= 1:
            for j in range(k % p, full - k, 2 * k):
                comparisons += [(i + j, i + j + k) for i in range(k) if (i + j) // (2 * p) == (i + j + k) // (2 * p)]
            k //= 2
        p *= 2
    # Values beyond the end would be infinite, and never move.
    return tuple((low, high) for low, high in comparisons if high < size)
