"""Statistics of windows of standardised residuals, and how probable they are in normal data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.anomaly.windows import window_sums

__all__ = [
    "RobustScale",
    "SeriesWindows",
    "Tail",
    "agreed_means",
    "fit_tail",
    "largest_over_windows",
    "outside_values",
    "robust_scale",
    "row_quantile",
    "series_windows",
    "surprise",
    "window_folds",
    "window_means",
    "window_stride",
]

_KNOTS = 257
_LEAST_TAIL = 5  # independent values of each group that a tail begins with
_SHAPE = 0.7  # of the tail: the probability falls with the power 1 / 0.7 of the value
_LOG_TEN = math.log(10.0)
_TINY = 1e-12


class RobustScale(NamedTuple):
    r"""Centre and spread of each row.

    Shapes:
        - **center**, **scale:** :math:`(M)`
    """

    center: Tensor
    scale: Tensor


class Tail(NamedTuple):
    r"""Distribution of a statistic: quantiles, and a generalised Pareto tail of shape 0.7 beyond the last of them.

    Args:
        knots: Quantiles at levels that are equally far apart in the logarithm of the survival probability.
        parameters: Share of the values in the tail, and scale of the tail.

    Shapes:
        - **knots:** :math:`(257)`, **parameters:** :math:`(2)`
    """

    knots: Tensor
    parameters: Tensor


class SeriesWindows(NamedTuple):
    r"""Windows of several widths, one width after another.

    Args:
        start: First step of each window.
        end: End of each window, exclusive.
        width: Number of its width.

    Shapes:
        - all: :math:`(W)`, int64
    """

    start: Tensor
    end: Tensor
    width: Tensor


def series_windows(length: int, widths: Sequence[int]) -> SeriesWindows:
    r"""Windows that begin a quarter of a width after one another.

    Unlike :func:`~stgraph.ops.anomaly.windows.window_bounds` windows may hold a single step.

    Raises:
        InputError: If a width is less than 1 or more than ``length``.

    Examples:
        >>> series_windows(10, [8]).end
        tensor([ 8, 10])
    """
    starts, ends, numbers = [], [], []
    for number, width in enumerate(widths):
        if not 1 <= width <= length:
            raise InputError(f"a window of {width} steps does not fit; expected 1 to {length}, the steps of the series")
        start = torch.arange(0, length - width + 1, window_stride(width))
        if int(start[-1]) + width < length:
            start = torch.cat([start, start.new_tensor([length - width])])
        starts.append(start)
        ends.append(start + width)
        numbers.append(torch.full_like(start, number))
    return SeriesWindows(torch.cat(starts), torch.cat(ends), torch.cat(numbers))


def window_stride(width: int) -> int:
    """Steps from a window of :func:`series_windows` to the next: a quarter of the width, at least one."""
    return max(1, width // 4)


def window_folds(start: Tensor, end: Tensor, length: int, folds: int) -> Tensor:
    r"""Number of the part of a series in which the middle of each window is; the parts are equally long.

    Shapes:
        - **start**, **end**, **output:** :math:`(W)`, int64

    Examples:
        >>> window_folds(torch.tensor([0, 4, 8]), torch.tensor([4, 8, 12]), 12, 2)
        tensor([0, 1, 1])
    """
    return (start + end) // 2 * folds // length


def window_means(values: Tensor, known: Tensor, start: Tensor, end: Tensor, share: float = 0.5) -> Tensor:
    r"""Mean of the known values of each window, NaN where less than a share of them is known, or none.

    Shapes:
        - **values**, **known:** :math:`(*, T)`, **start**, **end:** :math:`(W)`, **output:** :math:`(*, W)`

    Examples:
        >>> window_means(torch.tensor([1.0, 3.0]), torch.tensor([True, True]), torch.tensor([0]), torch.tensor([2]))
        tensor([2.])
    """
    count = window_sums(known.to(torch.float32), start, end)
    total = window_sums(values.masked_fill(~known, 0.0), start, end)
    enough = (count >= share * (end - start).to(count)) & (count > 0)
    return torch.where(enough, total / count.clamp(min=1), float("nan")).to(values.dtype)


def robust_scale(values: Tensor, known: Tensor | None = None, least: float = _TINY) -> RobustScale:
    r"""Median and 1.4826 times the median absolute deviation of each row, leaving out NaN and what is not known.

    Where more than half of the values are equal, the standard deviation takes the place of a spread of 0, and 1 that
    of a standard deviation of 0.

    Shapes:
        - **values**, **known:** :math:`(M, T)`

    Examples:
        >>> robust_scale(torch.tensor([[0.0, 1.0, 2.0, 3.0, 100.0]])).center
        tensor([2.])
    """
    values = values if known is None else values.masked_fill(~known, float("nan"))
    center = values.nanmedian(dim=-1).values.nan_to_num(0.0)
    away = values - center[:, None]
    spread = 1.4826 * away.abs().nanmedian(dim=-1).values.nan_to_num(0.0)
    deviation = away.square().nanmean(dim=-1).nan_to_num(0.0).sqrt()
    scale = torch.where(spread > least, spread, deviation)
    return RobustScale(center, torch.where(scale > least, scale, 1.0))


def agreed_means(values: Tensor, known: Tensor, start: Tensor, end: Tensor) -> Tensor:
    r"""Second smallest of the means of a window's quarters: what at least three of them reach.

    Unlike the mean of the window it is not raised by a few large values, nor by a window half of which is usual.
    A quarter without enough known values is left out; NaN where there is more than one such.

    Shapes:
        - **values**, **known:** :math:`(M, T)`, **start**, **end:** :math:`(W)`, **output:** :math:`(M, W)`

    Examples:
        >>> values = torch.tensor([[1.0, 2.0, 3.0, 90.0]])
        >>> agreed_means(values, values > 0, torch.tensor([0]), torch.tensor([4]))
        tensor([[2.]])
    """
    width = end - start
    bounds = [start + width * quarter // 4 for quarter in range(5)]
    means = torch.stack([window_means(values, known, bounds[i], bounds[i + 1]) for i in range(4)], dim=-1)
    second = means.nan_to_num(nan=float("inf"), posinf=float("inf")).sort(dim=-1).values[..., 1]
    return second.masked_fill(means.isnan().sum(dim=-1) > 1, float("nan"))


def outside_values(values: Tensor, start: Tensor, end: Tensor, before: int, after: int) -> Tensor:
    r"""Values just before and just after each window, 0 beyond the series.

    Shapes:
        - **values:** :math:`(M, T)`, **start**, **end:** :math:`(W)`, **output:** :math:`(M, W, before + after)`

    Examples:
        >>> outside_values(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1]), torch.tensor([3]), 1, 1)
        tensor([[[1., 0.]]])
    """
    places = [start - 1 - step for step in range(before)] + [end + step for step in range(after)]
    place = torch.stack(places, dim=-1).to(values.device)
    beyond = (place < 0) | (place >= values.shape[-1])
    return values[:, place.clamp(0, values.shape[-1] - 1)].masked_fill(beyond, 0.0)


def row_quantile(values: Tensor, level: float) -> Tensor:
    r"""Quantile of each row (the lower of two), leaving out NaN; 0 where a row holds nothing else.

    Shapes:
        - **values:** :math:`(M, W)`, **output:** :math:`(M)`

    Examples:
        >>> row_quantile(torch.tensor([[3.0, 1.0, float("nan"), 2.0]]), 0.5)
        tensor([2.])
    """
    count = (~values.isnan()).sum(dim=-1)
    place = ((count - 1).clamp(min=0) * level).long()
    return values.sort(dim=-1).values.gather(-1, place[:, None]).squeeze(-1).nan_to_num(0.0)


def fit_tail(values: Tensor, group: Tensor, overlap: int = 1) -> Tail:
    r"""Distribution of the values of normal data, as it is in the group of columns that has the largest values.

    Normal deviations come in clusters: what is rare on the whole may be frequent in one period. Each quantile is the
    largest of those of the groups (periods, say). Quantiles end where a group has 5 independent values left; the tail
    beyond is a heavy one, through the median of those values, as so few do not tell how fast it falls.

    Args:
        values: A statistic of each series (row) and window (column).
        group: Number of the group of each column.
        overlap: Number of neighbouring columns that make one independent value.

    Shapes:
        - **values:** :math:`(M, W)`, NaN left out; **group:** :math:`(W)`

    Raises:
        InputError: If there are no values.

    Examples:
        >>> tail = fit_tail(torch.arange(1001.0)[None], torch.zeros(1001))
        >>> surprise(tail, torch.tensor([500.0, 900.0])).round(decimals=2)
        tensor([0.3000, 1.0000])
    """
    parts = [values[:, group == number] for number in group.unique().tolist()]
    ordered = [part[~part.isnan()].double().sort().values for part in parts]
    ordered = [part for part in ordered if len(part)]
    if not ordered:
        raise InputError("values holds nothing but NaN; expected the statistics of normal data")
    share = min(0.5, _LEAST_TAIL * overlap * len(ordered) / sum(len(part) for part in ordered))
    level = 1 - share ** torch.linspace(0, 1, _KNOTS, dtype=torch.float64, device=values.device)
    level = torch.cat([level, level.new_tensor([1 - share / 2])])
    found = torch.stack([_quantiles(part, level) for part in ordered]).amax(dim=0)
    scale = (found[-1] - found[-2]).clamp(min=1e-6) * _SHAPE / (2**_SHAPE - 1)
    return Tail(found[:-1].float(), torch.stack([scale.new_tensor(share), scale]).float())


def _quantiles(ordered: Tensor, level: Tensor) -> Tensor:
    place = level * (len(ordered) - 1)
    low = place.long()
    return torch.lerp(ordered[low], ordered[(low + 1).clamp(max=len(ordered) - 1)], place - low)


def surprise(tail: Tail, values: Tensor) -> Tensor:
    r"""Minus the decimal logarithm of the probability of at least such a value in normal data; NaN stays NaN.

    Shapes:
        - **values**, **output:** any

    Examples:
        >>> surprise(fit_tail(torch.arange(1001.0)[None], torch.zeros(1001)), torch.tensor([-5.0, 0.0]))
        tensor([0., 0.])
    """
    share, scale = tail.parameters.unbind()
    step = -share.log10() / (len(tail.knots) - 1)
    flat = values.contiguous()
    upper = torch.searchsorted(tail.knots, flat, right=True).clamp(1, len(tail.knots) - 1)
    below, above = tail.knots[upper - 1], tail.knots[upper]
    part = ((flat - below) / (above - below).clamp(min=_TINY)).clamp(0.0, 1.0)
    body = (upper - 1 + part) * step
    excess = (flat - tail.knots[-1]).clamp(min=0.0) / scale
    beyond = torch.log1p(_SHAPE * excess) / (_SHAPE * _LOG_TEN)
    return body + beyond


def largest_over_windows(score: Tensor, start: Tensor, end: Tensor, length: int) -> Tensor:
    r"""For each step the largest score of the windows that hold it; NaN where none has a score.

    Shapes:
        - **score:** :math:`(M, W)`, **start**, **end:** :math:`(W)`, **output:** :math:`(M, length)`

    Examples:
        >>> largest_over_windows(torch.tensor([[1.0, 2.0]]), torch.tensor([0, 1]), torch.tensor([2, 3]), 4)
        tensor([[1., 2., 2., nan]])
    """
    filled = score.nan_to_num(nan=-float("inf"))
    best = filled.new_full((*score.shape[:-1], length), -float("inf"))
    width = end - start
    for value in width.unique().tolist():
        of_width = width == value
        at_start = best.new_full(best.shape, -float("inf"))
        at_start[..., start[of_width]] = filled[..., of_width]
        padded = torch.nn.functional.pad(at_start, (value - 1, 0), value=-float("inf"))
        best = torch.maximum(best, torch.nn.functional.max_pool1d(padded, value, stride=1))
    return best.masked_fill(best.isinf(), float("nan"))
