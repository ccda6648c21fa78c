"""What the neighbours and the season expect of each series, and how far off that usually is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.models.detectors.base import LearnedState
from stgraph.ops.anomaly.neighbor_regression import cross_fitted_ridge, shift_steps, time_folds
from stgraph.ops.anomaly.series_statistics import robust_scale

__all__ = ["Residuals", "SeriesExpectation"]

_BLOCK = 1 << 24  # numbers in one temporary array of features
_FOLDS = 5
_HUBER = 4.0
_OUTLIER = 3.0  # times the limit
_TINY = 1e-9
_FILLINGS = 3
_SMOOTHING = 2  # steps on either side that say how unsettled the neighbours are
_MAX_LOG_SCALE = 3.0


class Residuals(NamedTuple):
    r"""Standardised residuals of series.

    Args:
        z: Deviation from what the neighbours and the season expect, in standard deviations, 0 where missing.
        change: How much smaller than expected a change from the step before is (logarithms), in standard deviations.
        change_known: Where both values of a change were observed.
        expected: What was expected, in units of the standardised series.
        size: Absolute residual in units of its usual size, whatever the neighbours do.

    Shapes:
        - all: :math:`(M, T)`
    """

    z: Tensor
    change: Tensor
    change_known: Tensor
    expected: Tensor
    size: Tensor


class SeriesExpectation(LearnedState):
    r"""Ridge regressions of each series on season and neighbours, and of the size of what is left on their unrest.

    The first regression is that on the season, the second that of what is left on the neighbours' values at the same
    step and those next to it. Regressions of the logarithms of the absolute residual and of the change from step to
    step, on the expected value and on how large residuals and changes of the neighbours are just then, say how far off
    a series usually is in such a situation. A value of the series itself is nowhere among its own features.

    Args:
        causal: Whether no later step is used.

    Shapes:
        - **values**, **observed:** :math:`(M, T)`; **season:** :math:`(T, S)`; **index**, **exists:** :math:`(M, k)`
    """

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.lags = (0, 1, 2) if causal else (0, 1, -1)
        self.register_state("season_weight", "neighbor_weight", "scale_weight", "change_weight")
        self.register_state("floor", "z_scale", "change_floor", "change_scale", "change_center", "usual_scale")
        self.floor: Tensor
        self.change_floor: Tensor
        self.usual_scale: Tensor
        self.z_scale: Tensor
        self.change_center: Tensor
        self.change_scale: Tensor

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        season: Tensor,
        index: Tensor,
        exists: Tensor,
        doubtful: Tensor | None = None,
        learn: bool = False,
    ) -> Residuals:
        """Return residuals; doubtful values are not shown to the neighbours.

        With ``learn`` weights are fitted first, and the residuals are those of folds that were left out.
        """
        fold = time_folds(values.shape[1], _FOLDS) if learn else None
        weight = observed.to(values.dtype)
        profile = self._regression("season_weight", lambda rows: season[None], values, weight, fold)
        away = (values - profile).masked_fill(~observed, 0.0)
        around = (profile, index, exists, away)
        hidden = ~observed if doubtful is None else doubtful | ~observed
        expected = self._from_neighbors(away.masked_fill(hidden, 0.0), *around, weight, fold)
        if learn:
            # Once more, with the outliers of the first fit out of sight of the neighbours and of less weight.
            left = (away - expected).abs()
            limit = _HUBER * robust_scale(away - expected, observed).scale[:, None]
            hidden = hidden | (left > _OUTLIER * limit)
            weight = weight * (limit / left.clamp(min=_TINY)).clamp(max=1.0)
        if not learn and bool(hidden.any()):
            # Hidden neighbours of hidden values: each is filled with what the others, filled before, expect.
            for _ in range(_FILLINGS):
                shown = torch.where(hidden, expected, away)
                expected = self._from_neighbors(shown, *around, weight, fold)
        shown = torch.where(hidden, expected, away)
        expected = self._from_neighbors(shown, *around, weight, fold)
        left = (away - expected).masked_fill(~observed, 0.0)
        return self._standardise(left, observed, shown + profile, profile + expected, values, index, exists, fold)

    def neighbor_weights(self, exists: Tensor) -> Tensor:
        r"""Number of weights of each series in the regression on the neighbours.

        Shapes:
            - **exists:** :math:`(M, k)`, **output:** :math:`(M)`
        """
        return 2 + len(self.lags) * exists.sum(dim=1)

    def _from_neighbors(
        self,
        shown: Tensor,
        profile: Tensor,
        index: Tensor,
        exists: Tensor,
        target: Tensor,
        weight: Tensor,
        fold: Tensor | None,
    ) -> Tensor:
        def features(rows: slice) -> Tensor:
            columns = [torch.ones_like(profile[rows, :, None]), profile[rows, :, None]]
            for lag in self.lags:
                near = shift_steps(shown, lag)[index[rows]].masked_fill(~exists[rows, :, None], 0.0)
                columns.append(near.transpose(1, 2))
            return torch.cat(columns, dim=-1)

        return self._regression("neighbor_weight", features, target, weight, fold)

    def _standardise(
        self,
        left: Tensor,
        observed: Tensor,
        shown: Tensor,
        expected: Tensor,
        values: Tensor,
        index: Tensor,
        exists: Tensor,
        fold: Tensor | None,
    ) -> Residuals:
        learn = fold is not None
        change = (values - shift_steps(values, 1)).abs()
        change_known = observed & shift_steps(observed, 1)
        change_known[:, 0] = False
        if learn:
            self.floor = 0.1 * robust_scale(left, observed).scale
            size = change.masked_fill(~change_known, float("nan"))
            self.change_floor = (0.05 * size.nanmean(dim=-1).nan_to_num(0.0)).clamp(min=1e-6)
        log_left = (left.abs() + self.floor[:, None]).log()
        log_change = (change + self.change_floor[:, None]).log()
        shown_change = (shown - shift_steps(shown, 1)).abs()
        shown_log_change = (shown_change + self.change_floor[:, None]).log()
        unsettled = [
            self._smooth(torch.where(observed, log_left, self.floor.log()[:, None] + 2.0)),
            self._smooth(shown_log_change),
        ]

        def features(rows: slice) -> Tensor:
            there = exists[rows, :, None]
            columns = [torch.ones_like(expected[rows]), expected[rows], expected[rows].square().clamp(max=25.0)]
            for value in unsettled:
                near = value[index[rows]].masked_fill(~there, 0.0)
                columns.append(near.sum(1) / there.sum(1).clamp(min=1))
            return torch.stack(columns, dim=-1)

        log_scale = self._regression("scale_weight", features, log_left, observed.to(left.dtype), fold)
        log_usual = self._regression("change_weight", features, log_change, change_known.to(left.dtype), fold)
        if learn:
            self.usual_scale = robust_scale(log_scale).center
        usual = self.usual_scale[:, None]
        log_scale = log_scale.clamp(usual - _MAX_LOG_SCALE, usual + _MAX_LOG_SCALE)
        z = left / log_scale.exp()
        calm = log_usual - log_change
        if learn:
            self.z_scale = robust_scale(z, observed).scale
            self.change_center, self.change_scale = robust_scale(calm, change_known)
        z = z / self.z_scale[:, None]
        calm = (calm - self.change_center[:, None]) / self.change_scale[:, None]
        return Residuals(
            z.masked_fill(~observed, 0.0),
            calm.masked_fill(~change_known, 0.0),
            change_known,
            expected,
            left.abs() / usual.exp(),
        )

    def _smooth(self, value: Tensor) -> Tensor:
        """Mean over some steps on either side, or over as many before."""
        reach = range(2 * _SMOOTHING + 1) if self.causal else range(-_SMOOTHING, _SMOOTHING + 1)
        return torch.stack([shift_steps(value, step) for step in reach]).mean(0)

    def _regression(
        self, name: str, features: Callable[[slice], Tensor], target: Tensor, weight: Tensor, fold: Tensor | None
    ) -> Tensor:
        """Apply the weights of that name, block by block, after fitting them where folds are given."""
        expected, weights = torch.empty_like(target), []
        size = features(slice(0, 1)).shape[-1]
        block = max(1, _BLOCK // (target.shape[1] * size))
        for first in range(0, len(target), block):
            rows = slice(first, first + block)
            if fold is None:
                expected[rows] = (features(rows) @ getattr(self, name)[rows, :, None]).squeeze(-1)
            else:
                fit = cross_fitted_ridge(features(rows), target[rows], weight[rows], fold)
                expected[rows] = fit.fitted
                weights.append(fit.weight)
        if fold is not None:
            setattr(self, name, torch.cat(weights))
        return expected
