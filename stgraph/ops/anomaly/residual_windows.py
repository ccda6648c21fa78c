"""How far spectra are from their reconstruction in each window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.ops.anomaly.windows import window_bounds

__all__ = ["FLOOR", "ResidualWindows", "chunks", "residual_windows"]

#: Added to a flux, and to a range, before dividing by it.
FLOOR = 1e-5

#: Points that are worked on at once, 8 MB in float64.
_CHUNK = 2**20


class ResidualWindows(NamedTuple):
    """Windows of spectra and of their reconstruction; NaN where a window has no good point.

    Shapes:
        - **start**, **end:** :math:`(W)`; all others :math:`(N, W)` float64
    """

    start: Tensor
    end: Tensor
    absolute: Tensor
    relative: Tensor
    original_range: Tensor
    reconstructed_range: Tensor


def residual_windows(
    original: Tensor, reconstructed: Tensor, mask: Tensor, width: int, *, cover_tail: bool
) -> ResidualWindows:
    """Mean absolute and mean relative residual, and the ranges, over the good points of each window.

    The means are sums over the points of each window itself: differences of running sums would round, and a window
    that equals a threshold would be flagged or not by chance.

    Shapes:
        - **original**, **reconstructed**, **mask:** :math:`(N, L)`
    """
    start, end = window_bounds(original.shape[1], width, cover_tail=cover_tail)
    statistics = original.new_empty(4, original.shape[0], len(start), dtype=torch.float64)

    def per_window(values: Tensor, reduce: Callable[..., Tensor]) -> Tensor:
        reduced = reduce(values.unfold(-1, width, max(1, width // 2)), dim=-1)
        if reduced.shape[-1] == len(start):
            return reduced
        return torch.cat([reduced, reduce(values[..., None, -width:], dim=-1)], dim=-1)

    def extent(values: Tensor, bad: Tensor) -> Tensor:
        high = per_window(values.masked_fill(bad, -torch.inf), torch.amax)
        return high - per_window(values.masked_fill(bad, torch.inf), torch.amin)

    for rows in chunks(*original.shape):
        good = mask[rows]
        bad = ~good
        x, expected = original[rows].double(), reconstructed[rows].double()
        absolute = (x - expected).abs_().masked_fill_(bad, 0)
        # A flux of exactly -1e-5 would make a quotient infinite, or NaN where the residual is 0.
        relative = (absolute / (x + FLOOR).abs_()).masked_fill_(bad, 0).nan_to_num_(nan=0.0, posinf=1e300)
        count = per_window(good.double(), torch.sum)
        statistics[0, rows] = per_window(absolute, torch.sum) / count
        statistics[1, rows] = per_window(relative, torch.sum) / count
        statistics[2, rows] = extent(x, bad).masked_fill_(count == 0, torch.nan)
        statistics[3, rows] = extent(expected, bad).masked_fill_(count == 0, torch.nan)
    absolute, relative, original_range, reconstructed_range = statistics.unbind()
    return ResidualWindows(start, end, absolute, relative, original_range, reconstructed_range)


def chunks(spectra: int, length: int) -> Iterator[slice]:
    """Parts of the spectra that are small enough to be worked on at once."""
    rows = max(1, _CHUNK // length)
    return (slice(first, first + rows) for first in range(0, spectra, rows))
