"""Scores of the windows of series: how improbable their statistics are in normal data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.models.detectors.series_expectation import Residuals
from stgraph.models.detectors.series_state import LearnedState
from stgraph.ops.anomaly.neighbor_regression import cross_fitted_ridge, time_folds
from stgraph.ops.anomaly.series_statistics import (
    Tail,
    agreed_means,
    fit_tail,
    outside_values,
    row_quantile,
    series_windows,
    surprise,
)

__all__ = ["REASONS", "SeriesWindowScores", "WindowScores"]

#: What a window was flagged for.
REASONS = ("spike", "shift", "misfit", "stuck")

_FOLDS = 5
_FAR = 8.0  # standard deviations beyond which a value beside a window counts as this much
_HUBER = 4.0
_UPPER = 0.95
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


class SeriesWindowScores(LearnedState):
    r"""Statistics of windows, compared with those of the training period.

    Short windows (spikes): the smallest deviation, of one sign in all steps, from what the residuals beside the window
    expect. Long windows: the mean residual (drifts and shifts), the mean absolute residual (swapped sensors) and how
    much smaller changes from step to step are than expected (stuck sensors), each as at least three quarters of the
    window have it. A statistic is centred and scaled with its median and 95th percentile of each series and compared
    with the distribution over all series.

    Args:
        short_widths: Steps of the short windows.
        long_widths: Steps of the long ones.
        causal: Whether no step after a window is used.
    """

    def __init__(self, short_widths: Sequence[int], long_widths: Sequence[int], causal: bool) -> None:
        super().__init__()
        self.short_widths, self.long_widths, self.causal = tuple(short_widths), tuple(long_widths), causal
        self.register_state("bridge", "center", "scale", "knots", "tail_shape")
        self.bridge: Tensor
        self.center: Tensor
        self.scale: Tensor
        self.knots: Tensor
        self.tail_shape: Tensor

    def forward(self, residuals: Residuals, observed: Tensor, learn: bool = False) -> WindowScores:
        """Return the scores of all windows; with ``learn`` the windows are those of normal data to compare with."""
        start, end, number = series_windows(observed.shape[1], self.short_widths + self.long_widths)
        outside = residuals.z.clamp(-_FAR, _FAR)
        statistics: list[list[Tensor]] = []
        bridges: list[Tensor] = []
        for which in range(len(self.short_widths + self.long_widths)):
            first, last = start[number == which], end[number == which]
            if which < len(self.short_widths):
                bridge = None if learn else self.bridge[which]
                spike, bridge = self._spike(residuals.z, observed, outside, first, last, bridge)
                bridges.append(bridge)
                statistics.append([spike])
            else:
                statistics.append(_long_statistics(residuals, observed, first, last))
        if learn:
            self.bridge = torch.stack(bridges) if bridges else outside.new_zeros(0)
            self._learn([value for values in statistics for value in values])
        return WindowScores(*self._most_improbable(statistics), start, end)

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

    def _learn(self, statistics: list[Tensor]) -> None:
        centers = [row_quantile(value, 0.5) for value in statistics]
        scales = []
        for value, center in zip(statistics, centers, strict=True):
            spread = (row_quantile(value, _UPPER) - center).clamp(min=1e-4)
            usual = spread[value.isfinite().any(dim=-1)].log()
            pooled = usual.median() if len(usual) else spread.new_zeros(())
            scales.append(((1 - _POOLED) * spread.log() + _POOLED * pooled).exp())
        self.center, self.scale = torch.stack(centers), torch.stack(scales)
        tails = [fit_tail(self._standardised(place, value)) for place, value in enumerate(statistics)]
        self.knots = torch.stack([tail.knots for tail in tails])
        self.tail_shape = torch.stack([tail.parameters for tail in tails])

    def _standardised(self, place: int, value: Tensor) -> Tensor:
        return (value - self.center[place][:, None]) / self.scale[place][:, None]

    def _most_improbable(self, statistics: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
        scores, reasons, place = [], [], 0
        for values in statistics:
            found = []
            for value in values:
                tail = Tail(self.knots[place], self.tail_shape[place])
                found.append(surprise(tail, self._standardised(place, value)))
                place += 1
            stacked = torch.stack(found)
            best = stacked.nan_to_num(nan=-1.0).max(dim=0)
            scores.append(best.values.masked_fill(stacked.isnan().all(dim=0), float("nan")))
            reasons.append(best.indices + (0 if len(values) == 1 else 1))
        return torch.cat(scores, dim=-1), torch.cat(reasons, dim=-1)


def _long_statistics(residuals: Residuals, observed: Tensor, start: Tensor, end: Tensor) -> list[Tensor]:
    above, below = (agreed_means(side, observed, start, end) for side in (residuals.z, -residuals.z))
    misfit = agreed_means(residuals.z.abs(), observed, start, end)
    stuck = agreed_means(residuals.change, residuals.change_known, start, end)
    return [torch.maximum(above, below).clamp(min=0.0), misfit, stuck]
