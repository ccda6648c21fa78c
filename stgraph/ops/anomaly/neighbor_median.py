"""Medians over the neighbours of every node, without the bad points among them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["NeighborStatistics", "neighbor_median"]

# Values of one neighbour that are compared at a time. PyTorch does not spread so few over several cores: waiting for
# each other after every comparison would take longer than the comparisons.
_CHUNK = 1 << 15
_MAD_OF_NORMAL = 1.4826


class NeighborStatistics(NamedTuple):
    """What the neighbours of every node are like.

    Args:
        median: Median over the neighbours' good points, 0 where there are none.
        spread: 1.4826 times their median absolute deviation from it.
        number: Number of neighbours with a good point, int16.

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
        >>> found.median, found.number.tolist()
        (tensor([[2.0000],
                [1.5000]]), [[3], [2]])
    """
    rows, length = neighbors.shape[0], values.shape[1]
    median, spread = values.new_empty(rows, length), values.new_empty(rows, length)
    number = torch.empty(rows, length, dtype=torch.int16, device=values.device)
    step = max(1, _CHUNK // max(length, 1))
    for first in range(0, rows, step):
        part = slice(first, first + step)
        near, hidden = list(values[neighbors[part].T]), _Hidden.of(mask[neighbors[part].T])
        median[part] = _middle([value.clone() for value in near], hidden)
        deviations = [value.sub_(median[part]).abs_() for value in near]
        spread[part] = _middle(deviations, hidden).mul_(_MAD_OF_NORMAL)
        number[part] = hidden.number
    return NeighborStatistics(median, spread, number)


class _Hidden(NamedTuple):
    """Bad points of neighbours, in turn below and above all others, so that the middle of the good ones stays in place.

    Args:
        number: Number of neighbours with a good point.
        bad: Bad points of each neighbour; of none where all are good.
        below: Those of them that are below all others.
        more: Where one more is below than above.
    """

    number: Tensor
    bad: list[Tensor]
    below: list[Tensor]
    more: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> _Hidden:
        number = torch.full(mask.shape[1:], mask.shape[0], dtype=torch.int16, device=mask.device)
        more = torch.zeros_like(mask[0])
        if bool(mask.all()):
            return cls(number, [], [], more)
        bad, below = list(~mask), []
        for one in bad:
            number -= one.to(number.dtype)
            more = more ^ one
            below.append(one & more)
        return cls(number, bad, below, more)


def _middle(values: list[Tensor], hidden: _Hidden) -> Tensor:
    """Median of the good ones of some values, which are overwritten; 0 where there are none."""
    for value, bad, below in zip(values, hidden.bad, hidden.below, strict=False):
        value.masked_fill_(bad, torch.inf).masked_fill_(below, -torch.inf)
    odd = len(values) % 2 == 1
    if odd:  # one more above, so that the two in the middle are always the same two
        values = [*values, torch.full_like(values[0], torch.inf)]
    lower, upper = _two_in_the_middle(values)
    if odd:
        upper = torch.where(hidden.more, upper, lower)
    elif hidden.bad:
        lower = torch.where(hidden.more, upper, lower)
    middle = (lower + upper).mul_(0.5)
    return middle.masked_fill_(hidden.number == 0, 0.0) if hidden.bad else middle


def _two_in_the_middle(values: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The two values in the middle of an even number of them, which are overwritten."""
    ordered, spare = list(values), torch.empty_like(values[0])
    for low, high, lower_used, upper_used in _median_network(len(values)):
        first, second = ordered[low], ordered[high]
        if lower_used:
            ordered[low], spare = torch.minimum(first, second, out=spare), first
        if upper_used:
            # The minimum is elsewhere by now, so that both are still there.
            torch.maximum(first, second, out=second)
    return ordered[len(values) // 2 - 1], ordered[len(values) // 2]


@functools.cache
def _median_network(size: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """The comparisons that the two values in the middle depend on, and whether minimum and maximum are used.

    >>> _median_network(2)
    ((0, 1, True, True),)
    """
    used, comparisons = {size // 2 - 1, size // 2}, []
    for low, high in reversed(_sorting_network(size)):
        if low in used or high in used:
            comparisons.append((low, high, low in used, high in used))
            used |= {low, high}
    return tuple(reversed(comparisons))


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
