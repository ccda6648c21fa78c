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
    "Tail",
    "agreed_means",
    "fit_tail",
    "largest_over_windows",
    "outside_values",
    "robust_scale",
    "row_quantile",
    "series_windows",
    "surprise",
    "window_means",
]

_KNOTS = 257
_TAIL_SHARE = 0.01
_LEAST_TAIL = 20  # values that a tail is fitted to
_LOG_TEN = math.log(10.0)
_TINY = 1e-12
_MAX_SHAPE = 0.2  # of the generalised Pareto tail


class RobustScale(NamedTuple):
    r"""Centre and spread of each row.

    Shapes:
        - **center**, **scale:** :math:`(M)`
    """

    center: Tensor
    scale: Tensor


class Tail(NamedTuple):
    r"""Distribution of a statistic: quantiles, and a generalised Pareto tail beyond the last of them.

    Args:
        knots: Quantiles at levels that are equally far apart in the logarithm of the survival probability.
        parameters: Share of the values in the tail, scale of the tail, and its shape, 0 for an exponential one.

    Shapes:
        - **knots:** :math:`(257)`, **parameters:** :math:`(3)`
    """

    knots: Tensor
    parameters: Tensor


def series_windows(length: int, widths: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    r"""First steps, ends (exclusive) and number of the width of windows of a quarter of a width from one to the next.

    Unlike :func:`~stgraph.ops.anomaly.windows.window_bounds` windows may hold a single step.

    Shapes:
        - **output:** three tensors :math:`(W)`, int64

    Raises:
        InputError: If a width is less than 1 or more than ``length``.

    Examples:
        >>> series_windows(10, [8])
        (tensor([0, 2]), tensor([ 8, 10]), tensor([0, 0]))
    """
    starts, ends, numbers = [], [], []
    for number, width in enumerate(widths):
        if not 1 <= width <= length:
            raise InputError(f"a window of {width} steps does not fit; expected 1 to {length}, the steps of the series")
        start = torch.arange(0, length - width + 1, max(1, width // 4))
        if int(start[-1]) + width < length:
            start = torch.cat([start, start.new_tensor([length - width])])
        starts.append(start)
        ends.append(start + width)
        numbers.append(torch.full_like(start, number))
    return torch.cat(starts), torch.cat(ends), torch.cat(numbers)


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


def fit_tail(values: Tensor) -> Tail:
    r"""Distribution of the values of normal data, of which the largest hundredth makes the tail.

    The tail is fitted by probability-weighted moments (Hosking and Wallis, 1987, "Parameter and quantile estimation for
    the generalized Pareto distribution", Technometrics 29, 339-349), with a shape between 0 and 0.2.

    Shapes:
        - **values:** any, NaN left out

    Raises:
        InputError: If there are no values.

    Examples:
        >>> tail = fit_tail(torch.arange(1001.0))
        >>> surprise(tail, torch.tensor([500.0, 900.0])).round(decimals=2)
        tensor([0.3000, 1.0000])
    """
    found = values[~values.isnan()].flatten().double().sort().values
    count = len(found)
    if count == 0:
        raise InputError("values holds nothing but NaN; expected the statistics of normal data")
    share = min(1.0, max(_TAIL_SHARE, _LEAST_TAIL / count))
    level = 1 - share ** torch.linspace(0, 1, _KNOTS, dtype=torch.float64, device=found.device)
    place = level * (count - 1)
    low = place.long()
    knots = torch.lerp(found[low], found[(low + 1).clamp(max=count - 1)], place - low)
    excess = torch.cat([found.new_zeros(1), found[found > knots[-1]] - knots[-1]])[-max(1, int(share * count)) :]
    weight = 1 - (torch.arange(len(excess), device=found.device) + 0.65) / len(excess)
    mean, moment = excess.mean().clamp(min=_TINY), (weight * excess).mean()
    shape = (2 - mean / (mean - 2 * moment).clamp(min=_TINY)).clamp(0.0, _MAX_SHAPE)
    scale = mean * (1 - shape)  # with which the tail has the mean that was found
    return Tail(knots.float(), torch.stack([found.new_tensor(share), scale, shape]).float())


def surprise(tail: Tail, values: Tensor) -> Tensor:
    r"""Minus the decimal logarithm of the probability of at least such a value in normal data; NaN stays NaN.

    Shapes:
        - **values**, **output:** any

    Examples:
        >>> surprise(fit_tail(torch.arange(1001.0)), torch.tensor([-5.0, 0.0]))
        tensor([0., 0.])
    """
    share, scale, shape = tail.parameters.unbind()
    step = -share.log10() / (len(tail.knots) - 1)
    flat = values.contiguous()
    upper = torch.searchsorted(tail.knots, flat, right=True).clamp(1, len(tail.knots) - 1)
    below, above = tail.knots[upper - 1], tail.knots[upper]
    part = ((flat - below) / (above - below).clamp(min=_TINY)).clamp(0.0, 1.0)
    body = (upper - 1 + part) * step
    excess = (flat - tail.knots[-1]).clamp(min=0.0) / scale
    # The tail (1 + shape excess) ** (-1 / shape), and its limit, the exponential one.
    safe = shape.clamp(min=1e-3)
    beyond = torch.log1p(safe * excess) / safe / _LOG_TEN
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
