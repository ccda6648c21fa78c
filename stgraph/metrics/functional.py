"""Masked forecast metrics as functions.

Forecasts and targets are ``[B, N, Q, C]`` (windows, nodes, horizon, channels). Targets that are NaN or masked out never
count, whatever the forecast holds there; a metric is a ratio of float64 sums over all that count.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.metrics import sums as S
from stgraph.metrics.geographic import anomaly_correlation, latitude_weighted_rmse, latitude_weights
from stgraph.metrics.scaled import masked_mase, seasonal_naive_scale
from stgraph.metrics.sums import Per

__all__ = [
    "Per",
    "anomaly_correlation",
    "check_quantiles",
    "crps_weights",
    "frame_r2",
    "interval_coverage",
    "interval_pairs",
    "interval_width",
    "latitude_weighted_rmse",
    "latitude_weights",
    "masked_crps",
    "masked_mae",
    "masked_mape",
    "masked_mase",
    "masked_pinball",
    "masked_r2",
    "masked_rmse",
    "masked_smape",
    "masked_wape",
    "seasonal_naive_scale",
]

_LEVEL_TOLERANCE = 1e-6


def check_quantiles(quantiles: Sequence[float]) -> tuple[float, ...]:
    """Return the levels as floats.

    Raises:
        InputError: If they do not increase strictly between 0 and 1.
    """
    levels = tuple(float(q) for q in quantiles)
    if not levels or any(not 0 < q < 1 for q in levels) or list(levels) != sorted(set(levels)):
        raise InputError(f"quantiles is {list(levels)}; expected increasing levels between 0 and 1")
    return levels


def interval_pairs(quantiles: Sequence[float]) -> list[tuple[int, int]]:
    """Return the index pairs of the levels ``q`` and ``1 - q`` that bound a central interval, the widest first.

    There may be none.

    >>> interval_pairs([0.1, 0.25, 0.5, 0.75, 0.9])
    [(0, 4), (1, 3)]
    """
    return [
        (i, j)
        for i, low in enumerate(quantiles)
        for j, high in enumerate(quantiles)
        if low < 0.5 and abs(low + high - 1) < _LEVEL_TOLERANCE
    ]


def crps_weights(quantiles: Sequence[float]) -> Tensor:
    """Return the weight of each level's pinball loss in the estimate of the CRPS.

    The CRPS is twice the integral of the pinball loss over all levels in (0, 1). Each given level stands for the levels
    nearest to it, so the weights are twice the lengths of the intervals between the midpoints of neighbouring levels,
    the outer ones reaching to 0 and 1. With 0.5 alone it is the absolute error; with many levels it tends to the CRPS.

    >>> crps_weights([0.1, 0.5, 0.9])
    tensor([0.6000, 0.8000, 0.6000], dtype=torch.float64)
    """
    levels = torch.tensor(check_quantiles(quantiles), dtype=torch.float64)
    edges = torch.cat([levels.new_zeros(1), (levels[1:] + levels[:-1]) / 2, levels.new_ones(1)])
    return 2 * edges.diff()


def crps_from_pinball(pinball: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Return the estimate of the CRPS from the mean pinball loss of each level, ``[L, ...]`` to ``[...]``."""
    weights = crps_weights(quantiles).to(pinball.device)
    return (weights.view(-1, *[1] * (pinball.dim() - 1)) * pinball).sum(0)


def masked_mae(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all") -> Tensor:
    """Mean absolute error over the observed targets.

    Args:
        prediction: Forecast.
        target: Target; NaN counts as missing.
        mask: True where the target is observed.
        per: What keeps its own value: ``"all"`` one value, ``"channel"``, ``"horizon"``, or ``"none"`` for each
            step and channel.

    Shapes:
        - **prediction**, **target**, **mask:** ``[B, N, Q, C]``
        - **output:** ``[]``, ``[C]``, ``[Q]`` or ``[Q, C]``, float64; nan where nothing was observed

    Raises:
        InputError: If shapes do not fit.

    >>> masked_mae(torch.zeros(1, 2, 1, 1), torch.tensor([1.0, 3.0]).view(1, 2, 1, 1))
    tensor(2., dtype=torch.float64)
    """
    p, y, observed = S.prepare(prediction, target, mask)
    return S.ratio(S.reduce_sums(S.absolute_error_update(p, y), per), S.reduce_sums(S.count_update(observed), per))


def masked_rmse(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all") -> Tensor:
    """Root of the mean squared error over the observed targets; arguments as :func:`masked_mae`.

    >>> masked_rmse(torch.zeros(1, 2, 1, 1), torch.tensor([1.0, 7.0]).view(1, 2, 1, 1))
    tensor(5., dtype=torch.float64)
    """
    p, y, observed = S.prepare(prediction, target, mask)
    return S.ratio(
        S.reduce_sums(S.squared_error_update(p, y), per), S.reduce_sums(S.count_update(observed), per)
    ).sqrt()


def masked_smape(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all") -> Tensor:
    """Mean of ``|d| / (|y| + |yhat| + 1e-8)``, a fraction between 0 and 1; arguments as :func:`masked_mae`.

    >>> masked_smape(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0)).round(decimals=6)
    tensor(0.5000, dtype=torch.float64)
    """
    p, y, observed = S.prepare(prediction, target, mask)
    return S.ratio(S.reduce_sums(S.smape_update(p, y), per), S.reduce_sums(S.count_update(observed), per))


def masked_mape(
    prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all", threshold: float = 5e-5
) -> Tensor:
    """Mean of ``|d| / |y|`` as a fraction, over targets of at least ``threshold``; arguments as :func:`masked_mae`.

    Targets that are smaller in absolute value are left out, as is the convention for traffic, where 0 is a dead sensor.

    >>> masked_mape(torch.ones(1, 2, 1, 1), torch.tensor([0.0, 2.0]).view(1, 2, 1, 1))
    tensor(0.5000, dtype=torch.float64)
    """
    total, count = S.mape_update(*S.prepare(prediction, target, mask), threshold)
    return S.ratio(S.reduce_sums(total, per), S.reduce_sums(count, per))


def masked_wape(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all") -> Tensor:
    """Sum of ``|d|`` over the sum of ``|y|``, a fraction; arguments as :func:`masked_mae`; nan where all targets are 0.

    Large targets weigh more than small ones, and none is left out, unlike in :func:`masked_mape`.

    >>> masked_wape(torch.ones(1, 2, 1, 1), torch.tensor([0.0, 4.0]).view(1, 2, 1, 1))
    tensor(1., dtype=torch.float64)
    """
    p, y, _ = S.prepare(prediction, target, mask)
    return S.ratio(S.reduce_sums(S.absolute_error_update(p, y), per), S.reduce_sums(S.magnitude_update(y), per))


def masked_r2(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all") -> Tensor:
    """Coefficient of determination ``1 - SSE / SST``, SST about the mean of all targets that share a value.

    Arguments as :func:`masked_mae`; nan where the targets do not vary.

    >>> y = torch.arange(4.0).view(1, 4, 1, 1)
    >>> masked_r2(y + 0.5, y)
    tensor(0.8000, dtype=torch.float64)
    """
    p, y, observed = S.prepare(prediction, target, mask)
    return 1 - S.ratio(
        S.reduce_sums(S.squared_error_update(p, y), per), S.reduce_moments(S.moments_update(y, observed), per)
    )


def frame_r2(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "channel") -> Tensor:
    """Coefficient of determination with SST about each frame's spatial mean.

    SSE and SST are summed over the nodes of a frame and averaged over frames: a forecast is good where it tells the
    observed nodes of a frame apart. Arguments as :func:`masked_mae`; nan where no frame varies.

    >>> y = torch.arange(4.0).view(1, 4, 1, 1)
    >>> frame_r2(y + 0.5, y)
    tensor([0.8000], dtype=torch.float64)
    """
    p, y, observed = S.prepare(prediction, target, mask)
    return 1 - S.ratio(
        S.reduce_sums(S.squared_error_update(p, y), per), S.reduce_sums(S.frame_squares_update(y, observed), per)
    )


def masked_pinball(
    prediction: Tensor, target: Tensor, quantiles: Sequence[float], mask: Tensor | None = None, per: Per = "all"
) -> Tensor:
    """Mean pinball loss of each quantile (R. Koenker and G. Bassett, "Regression Quantiles", Econometrica 46, 1978).

    Args:
        prediction: Quantiles.
        target: Target; NaN counts as missing.
        quantiles: Levels.
        mask: True where the target is observed.
        per: As in :func:`masked_mae`.

    Shapes:
        - **prediction:** ``[B, N, Q, C, L]``
        - **target**, **mask:** ``[B, N, Q, C]``
        - **output:** ``[L]``, ``[L, C]``, ``[L, Q]`` or ``[L, Q, C]``, float64

    Raises:
        InputError: If shapes or levels do not fit.

    >>> masked_pinball(torch.zeros(1, 1, 1, 1, 2), torch.ones(1, 1, 1, 1), [0.1, 0.9])
    tensor([0.1000, 0.9000], dtype=torch.float64)
    """
    levels = torch.tensor(check_quantiles(quantiles), dtype=torch.float64, device=target.device)
    p, y, observed = S.prepare(prediction, target, mask, len(levels))
    return S.ratio(S.reduce_sums(S.pinball_update(p, y, levels), per), S.reduce_sums(S.count_update(observed), per))


def masked_crps(
    prediction: Tensor, target: Tensor, quantiles: Sequence[float], mask: Tensor | None = None, per: Per = "all"
) -> Tensor:
    """Continuous ranked probability score, estimated from quantiles with :func:`crps_weights`.

    Arguments as :func:`masked_pinball`, from T. Gneiting and A. E. Raftery, "Strictly Proper Scoring Rules, Prediction,
    and Estimation", JASA 102, 2007.

    >>> masked_crps(torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1), [0.5])
    tensor(1., dtype=torch.float64)
    """
    return crps_from_pinball(masked_pinball(prediction, target, quantiles, mask, per), quantiles)


def interval_coverage(
    prediction: Tensor, target: Tensor, quantiles: Sequence[float], mask: Tensor | None = None, per: Per = "all"
) -> Tensor:
    """Share of the targets inside each central interval of :func:`interval_pairs`, ``[I, ...]``.

    Arguments as :func:`masked_pinball`.

    >>> y = torch.tensor([0.5, 2.0]).view(1, 2, 1, 1)
    >>> interval_coverage(torch.tensor([-1.0, 0.0, 1.0]).expand(1, 2, 1, 1, 3), y, [0.1, 0.5, 0.9])
    tensor([0.5000], dtype=torch.float64)
    """
    p, y, observed = S.prepare(prediction, target, mask, len(check_quantiles(quantiles)))
    inside = S.inside_update(p, y, observed, interval_pairs(quantiles))
    return S.ratio(S.reduce_sums(inside, per), S.reduce_sums(S.count_update(observed), per))


def interval_width(
    prediction: Tensor, target: Tensor, quantiles: Sequence[float], mask: Tensor | None = None, per: Per = "all"
) -> Tensor:
    """Mean width of each central interval of :func:`interval_pairs` where the target is observed, ``[I, ...]``.

    Arguments as :func:`masked_pinball`.

    >>> y = torch.zeros(1, 2, 1, 1)
    >>> interval_width(torch.tensor([-1.0, 0.0, 1.0]).expand(1, 2, 1, 1, 3), y, [0.1, 0.5, 0.9])
    tensor([2.], dtype=torch.float64)
    """
    p, _, observed = S.prepare(prediction, target, mask, len(check_quantiles(quantiles)))
    width = S.width_update(p, interval_pairs(quantiles))
    return S.ratio(S.reduce_sums(width, per), S.reduce_sums(S.count_update(observed), per))
