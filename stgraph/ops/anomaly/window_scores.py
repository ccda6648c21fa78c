"""Scores of windows of several widths over standardised deviations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.ops.anomaly.calibration import robust_threshold
from stgraph.ops.anomaly.windows import window_bounds, window_sums

__all__ = [
    "WindowScores",
    "WindowStatistics",
    "default_widths",
    "score_threshold",
    "standardise_windows",
    "window_statistics",
]

_MAD_OF_NORMAL = 1.4826
_NARROWEST = 10
_BLOCK = 1 << 22  # values of which running sums are held at once


def default_widths(length: int) -> tuple[int, ...]:
    """Widths of windows that suit narrow lines and wide steps: 10 points and twice as many, up to a tenth of a series.

    Examples:
        >>> default_widths(1001), default_widths(6)
        ((10, 20, 40, 80), (6,))
    """
    widths = [min(_NARROWEST, length)]
    while 2 * widths[-1] <= length // 10:
        widths.append(2 * widths[-1])
    return tuple(widths)


class WindowStatistics(NamedTuple):
    r"""Two statistics of every window, NaN where less than half of its points are good.

    Args:
        start: First point of each window.
        end: Its end, exclusive.
        power: Root of the mean square of the deviations, which noise raises.
        coherence: Absolute sum of the deviations over the root of their number, which a line or a step raises.

    Shapes:
        - **start**, **end:** :math:`(W)`; **power**, **coherence:** :math:`(N, W)`
    """

    start: Tensor
    end: Tensor
    power: Tensor
    coherence: Tensor


class WindowScores(NamedTuple):
    r"""Scores of windows on one scale.

    Args:
        score: Score of each window, the larger of its two standardised statistics.
        center: What was subtracted from the two statistics of each window.
        scale: What they were divided by.

    Shapes:
        - **score:** :math:`(N, W)`; **center**, **scale:** :math:`(2, W)`
    """

    score: Tensor
    center: Tensor
    scale: Tensor


def window_statistics(z: Tensor, mask: Tensor, widths: int | Sequence[int]) -> WindowStatistics:
    r"""Power and coherence of deviations in windows that go over every series, half a width at a time.

    Args:
        z: Deviations in standard deviations.
        mask: True at good points.
        widths: Points of a window, one width or several.

    Shapes:
        - **z**, **mask:** :math:`(N, L)`

    Raises:
        InputError: If a window has less than 2 points or more than the series.

    Examples:
        >>> found = window_statistics(torch.tensor([[2.0, 2.0, -3.0, 3.0]]), torch.ones(1, 4, dtype=torch.bool), 2)
        >>> found.power, found.coherence
        (tensor([[2.0000, 2.5495, 3.0000]]), tensor([[2.8284, 0.7071, 0.0000]]))
    """
    start, end = window_bounds(z.shape[-1], widths)
    rows = max(1, _BLOCK // z.shape[-1])
    parts = [_statistics(*part, start, end) for part in zip(z.split(rows), mask.split(rows), strict=True)]
    power, coherence = (torch.cat(each) for each in zip(*parts, strict=True))
    return WindowStatistics(start, end, power, coherence)


def _statistics(z: Tensor, mask: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    good = z.masked_fill(~mask, 0.0)
    count = window_sums(mask, start, end)
    enough = count >= 0.5 * (end - start).to(z.device)
    count = torch.where(enough, count, torch.nan)
    power = (window_sums(good.square(), start, end).clamp(min=0) / count).sqrt()
    coherence = window_sums(good, start, end).abs() / count.sqrt()
    return power.to(z.dtype), coherence.to(z.dtype)


def standardise_windows(
    statistics: WindowStatistics, center: Tensor | None = None, scale: Tensor | None = None
) -> WindowScores:
    r"""Bring the statistics of all windows to one scale: distance from the usual value in units of the usual spread.

    Usual is the median over all windows of one width, and 1.4826 times the median absolute deviation from it.

    Args:
        statistics: What :func:`window_statistics` found.
        center: Usual values, to use those of other series; by default those of the series themselves.
        scale: Usual spreads, alike.

    Shapes:
        - **center**, **scale:** :math:`(2, W)`
    """
    both = torch.stack([statistics.power, statistics.coherence])
    if center is None or scale is None:
        center, scale = _usual(both, statistics.end - statistics.start)
    score = ((both - center[:, None]) / scale[:, None]).amax(dim=0)
    return WindowScores(score, center, scale)


def _usual(both: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    center, scale = both.new_empty(2, both.shape[2]), both.new_empty(2, both.shape[2])
    for each in width.unique():
        of_width = (width == each).to(both.device)
        values = both[:, :, of_width].flatten(1)
        middle = values.nanmedian(dim=1).values
        spread = _MAD_OF_NORMAL * (values - middle[:, None]).abs().nanmedian(dim=1).values
        center[:, of_width] = middle.nan_to_num(0.0)[:, None]
        # Where at least half of the windows are alike, any other one stands out by what it differs.
        scale[:, of_width] = torch.where(spread > torch.finfo(both.dtype).eps, spread, 1.0)[:, None]
    return center, scale


def score_threshold(score: Tensor, multiplier: float) -> Tensor:
    r"""Score above which a series stands out: a robust threshold of the logarithms of one plus the scores.

    The highest of many standardised scores has a long tail to the right, which the logarithm shortens. It is near 0 or
    below for few windows, hence the one.

    Args:
        score: Score of each series; those that are NaN do not count.
        multiplier: Number of robust standard deviations above the median.

    Shapes:
        - **score:** :math:`(N)`, **output:** a scalar

    Examples:
        >>> score_threshold(torch.tensor([4.0, 5.0, 6.0]), 0.0)
        tensor(5.)
    """
    return robust_threshold(score.clamp(min=0.0).log1p(), multiplier).expm1()
