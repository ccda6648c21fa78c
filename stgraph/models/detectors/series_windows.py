"""Scores of the windows of series: how improbable their statistics are in normal data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.models.detectors.base import LearnedState
from stgraph.models.detectors.series_expectation import Residuals
from stgraph.ops.anomaly.neighbor_regression import cross_fitted_ridge, time_folds
from stgraph.ops.anomaly.result import RegionRecord
from stgraph.ops.anomaly.series_statistics import (
    SeriesWindows,
    Tail,
    agreed_means,
    fit_tail,
    outside_values,
    row_quantile,
    series_windows,
    surprise,
    window_folds,
    window_stride,
)

__all__ = ["REASONS", "SeriesWindowScores", "WindowScores", "highest_scores", "node_scores", "window_records"]

#: What a window was flagged for.
REASONS = ("spike", "shift", "misfit", "stuck")

_FOLDS = 5
_FAR = 8.0  # standard deviations beyond which a value beside a window counts as this much
_HUBER = 4.0
_UPPER = 0.95
_LEAST = 5  # windows of a series that its usual statistics are learned from, or all if there are fewer
_POOLED = 0.3  # weight of the median over the series in the spread of a statistic of one


class WindowScores(NamedTuple):
    r"""Scores of windows.

    Args:
        score: Minus the decimal logarithm of the probability of the most improbable statistic; NaN without data.
        reason: Which statistic that is, an index into :data:`REASONS`.
        start: First step of each window.
        end: End of each window, exclusive.

    Shapes:
        - **score**, **reason:** :math:`(M, W)`; **start**, **end:** :math:`(W)`
    """

    score: Tensor
    reason: Tensor
    start: Tensor
    end: Tensor


class _Statistic(NamedTuple):
    """A statistic of the windows of one width, the number of its width and what a high value is a reason for."""

    value: Tensor
    width: int
    reason: int


class SeriesWindowScores(LearnedState):
    r"""Statistics of windows, compared with those of the training period.

    Short windows (spikes): the smallest deviation, of one sign in all steps, from what the residuals beside the window
    expect. Long windows: the mean residual (drifts and shifts), the mean absolute residual (swapped sensors) and how
    much smaller changes from step to step are than expected (stuck sensors), each as at least three quarters of the
    window have it. A statistic is centred and scaled with its median and 95th percentile of each series, those of
    the training period by windows that share no step with their fifth of it, and compared with the distribution over
    all series in the worst fifth. The probability of a long window is three times that of its most improbable
    statistic.

    Args:
        short_widths: Steps of the short windows.
        long_widths: Steps of the long ones.
        causal: Whether no step after a window is used.
    """

    def __init__(self, short_widths: Sequence[int], long_widths: Sequence[int], causal: bool) -> None:
        super().__init__()
        self.short_widths, self.long_widths, self.causal = tuple(short_widths), tuple(long_widths), causal
        self.register_state("bridge", "center", "scale", "knots", "tail_parameters")
        self.bridge: Tensor
        self.center: Tensor
        self.scale: Tensor
        self.knots: Tensor
        self.tail_parameters: Tensor

    def forward(self, residuals: Residuals, observed: Tensor, learn: bool = False) -> WindowScores:
        """Return the scores of all windows; with ``learn`` the windows are those of normal data to compare with."""
        windows = series_windows(observed.shape[1], self.short_widths + self.long_widths)
        found = self._statistics(residuals, observed, windows, learn)
        if learn:
            found = self._learn_usual(found, windows)
            self._learn_tails(found, windows)
        else:
            found = self._standardised(found)
        return WindowScores(*self._most_improbable(found), *windows[:2])

    def compare_with(self, residuals: Residuals, observed: Tensor) -> WindowScores:
        """Take other normal data to compare with; returns the scores of their windows."""
        windows = series_windows(observed.shape[1], self.short_widths + self.long_widths)
        found = self._standardised(self._statistics(residuals, observed, windows, learn=False))
        self._learn_tails(found, windows)
        return WindowScores(*self._most_improbable(found), *windows[:2])

    def _statistics(
        self, residuals: Residuals, observed: Tensor, windows: SeriesWindows, learn: bool
    ) -> list[_Statistic]:
        outside = residuals.z.clamp(-_FAR, _FAR)
        statistics: list[_Statistic] = []
        bridges: list[Tensor] = []
        for width in range(len(self.short_widths + self.long_widths)):
            first, last = windows.start[windows.width == width], windows.end[windows.width == width]
            if width < len(self.short_widths):
                bridge = None if learn else self.bridge[width]
                spike, bridge = self._spike(residuals.z, observed, outside, first, last, bridge)
                bridges.append(bridge)
                statistics.append(_Statistic(spike, width, 0))
            else:
                values = _long_statistics(residuals, observed, first, last)
                statistics += [_Statistic(value, width, reason) for reason, value in enumerate(values, start=1)]
        if learn:
            self.bridge = torch.stack(bridges) if bridges else outside.new_zeros(0)
        return statistics

    def _spike(
        self, z: Tensor, observed: Tensor, outside: Tensor, start: Tensor, end: Tensor, bridge: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        steps = start[:, None] + torch.arange(int(end[0] - start[0]))
        values, known = z[:, steps], observed[:, steps]
        count = known.sum(dim=-1)
        mean = values.sum(dim=-1) / count.clamp(min=1)  # residuals are 0 where nothing was observed
        beside = outside_values(outside, start, end, *((3, 0) if self.causal else (2, 2)))
        features = torch.cat([torch.ones_like(mean)[..., None], beside], dim=-1)
        if bridge is None:
            share = count / steps.shape[1]
            weight = share * (_HUBER / mean.abs().clamp(min=_HUBER)).square()
            fit = cross_fitted_ridge(features, mean, weight, time_folds(mean.shape[1], _FOLDS))
            bridge, expected = fit.weight, fit.fitted
        else:
            expected = (features @ bridge[..., None]).squeeze(-1)
        away = values - expected[..., None]
        above, below = (side.masked_fill(~known, float("inf")).amin(dim=-1) for side in (away, -away))
        return torch.maximum(above, below).clamp(min=0.0).masked_fill(count == 0, float("nan")), bridge

    def _learn_usual(self, statistics: list[_Statistic], windows: SeriesWindows) -> list[_Statistic]:
        """Learn the centre and spread of each series; returns the statistics standardised by those of other folds."""
        usual, standardised = [], []
        for value, width, reason in statistics:
            start, end = windows.start[windows.width == width], windows.end[windows.width == width]
            fold = window_folds(start, end, int(windows.end.max()), _FOLDS)
            center, scale = _usual(value)
            usual.append((center, scale))
            left = (value - center[:, None]) / scale[:, None]
            for number in fold.unique().tolist():
                inside = fold == number
                apart = (end <= start[inside].min()) | (start >= end[inside].max())
                if bool(apart.any()):
                    center, scale = _usual(value[:, apart])
                    left[:, inside] = (value[:, inside] - center[:, None]) / scale[:, None]
            standardised.append(_Statistic(left, width, reason))
        self.center, self.scale = (torch.stack(parts) for parts in zip(*usual, strict=True))
        return standardised

    def _standardised(self, statistics: list[_Statistic]) -> list[_Statistic]:
        return [
            found._replace(value=(found.value - center[:, None]) / scale[:, None])
            for found, center, scale in zip(statistics, self.center, self.scale, strict=True)
        ]

    def _learn_tails(self, standardised: list[_Statistic], windows: SeriesWindows) -> None:
        tails = []
        for value, width, _ in standardised:
            start, end = windows.start[windows.width == width], windows.end[windows.width == width]
            steps = int(end[0] - start[0])
            fold = window_folds(start, end, int(windows.end.max()), _FOLDS)
            tails.append(fit_tail(value, fold, overlap=steps // window_stride(steps)))
        self.knots = torch.stack([tail.knots for tail in tails])
        self.tail_parameters = torch.stack([tail.parameters for tail in tails])

    def _most_improbable(self, standardised: list[_Statistic]) -> tuple[Tensor, Tensor]:
        scores, reasons = [], []
        tails = [Tail(*parts) for parts in zip(self.knots, self.tail_parameters, strict=True)]
        for width in range(len(self.short_widths + self.long_widths)):
            found = [(tail, part) for tail, part in zip(tails, standardised, strict=True) if part.width == width]
            stacked = torch.stack([surprise(tail, part.value) for tail, part in found])
            best = stacked.nan_to_num(nan=-1.0).max(dim=0)
            score = (best.values - math.log10(len(found))).clamp(min=0.0)
            scores.append(score.masked_fill(stacked.isnan().all(dim=0), float("nan")))
            reasons.append(best.indices + found[0][1].reason)
        return torch.cat(scores, dim=-1), torch.cat(reasons, dim=-1)


def _usual(value: Tensor) -> tuple[Tensor, Tensor]:
    """Median of each series, and how far above it the 95th percentile is, drawn towards that of the others.

    The median is NaN, and with it every score, where too few windows tell what is usual.
    """
    enough = (~value.isnan()).sum(dim=-1) >= min(_LEAST, value.shape[1])
    center = row_quantile(value, 0.5)
    spread = (row_quantile(value, _UPPER) - center).clamp(min=1e-4)
    known = spread[enough].log()
    pooled = known.median() if len(known) else spread.new_zeros(())
    return center.masked_fill(~enough, float("nan")), ((1 - _POOLED) * spread.log() + _POOLED * pooled).exp()


def _long_statistics(residuals: Residuals, observed: Tensor, start: Tensor, end: Tensor) -> list[Tensor]:
    above, below = (agreed_means(side, observed, start, end) for side in (residuals.z, -residuals.z))
    misfit = agreed_means(residuals.z.abs(), observed, start, end)
    stuck = agreed_means(residuals.change, residuals.change_known, start, end)
    return [torch.maximum(above, below).clamp(min=0.0), misfit, stuck]


def node_scores(score: Tensor, channels: int) -> Tensor:
    """Score of the most improbable of a node's channels ``[N, W]``, NaN where all are."""
    by_node = score.unflatten(0, (-1, channels))
    largest: Tensor = (by_node.nan_to_num(nan=-1.0).amax(dim=1) - math.log10(channels)).clamp(min=0.0)
    return largest.masked_fill(by_node.isnan().all(dim=1), float("nan"))


def highest_scores(window: Tensor) -> Tensor:
    """Largest score of each node, NaN where no window has one."""
    largest: Tensor = window.nan_to_num(nan=-1.0).amax(dim=1)
    return largest.masked_fill(window.isnan().all(dim=1), float("nan"))


def window_records(flagged: Tensor, window: Tensor, reason: Tensor, scores: WindowScores) -> list[list[RegionRecord]]:
    """The flagged windows of each node, in the order of the windows."""
    node, place = flagged.nonzero(as_tuple=True)
    found = (node, scores.start[place], scores.end[place], reason[node, place], window[node, place])
    records: list[list[RegionRecord]] = [[] for _ in range(len(flagged))]
    for of, start, end, why, value in zip(*(values.tolist() for values in found), strict=True):
        record = {"range_start": start, "range_end": end, "reason_type": REASONS[why], "trigger_value": value}
        records[of].append(record)
    return records
