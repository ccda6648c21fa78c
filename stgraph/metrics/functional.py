"""Masked forecast metrics as functions: what a batch adds to the sums, and what the sums mean.

Forecasts and targets are ``[B, N, Q, C]`` (windows, nodes, horizon, channels). Every ``*_update`` function returns
float64 sums per step and channel, ``[Q, C]``, over the observed targets of the batch. Such sums add up over batches and
processes, so a result never is a mean of means; a metric is a ratio of sums, and the reduction over steps or channels
is chosen when it is computed. Targets that are NaN or masked out never count, whatever the forecast holds there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = [
    "Per",
    "check_quantiles",
    "crps_weights",
    "frame_r2",
    "interval_coverage",
    "interval_pairs",
    "interval_width",
    "masked_crps",
    "masked_mae",
    "masked_mape",
    "masked_pinball",
    "masked_r2",
    "masked_rmse",
    "masked_smape",
]

Per = Literal["all", "channel", "horizon", "none"]
_SUMMED: dict[str, tuple[int, ...]] = {"all": (-2, -1), "channel": (-2,), "horizon": (-1,), "none": ()}
_LEVEL_TOLERANCE = 1e-6


def prepare(prediction: Tensor, target: Tensor, mask: Tensor | None, levels: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Check the shapes and return forecast and target in float64 (zero where unobserved) and the mask of targets.

    Raises:
        InputError: If ``target`` is not ``[B, N, Q, C]`` or another shape does not follow from it.
    """
    if target.dim() != 4:
        raise InputError(f"target has shape {tuple(target.shape)}; expected (B, N, Q, C)")
    expected = (*target.shape, levels) if levels else tuple(target.shape)
    if tuple(prediction.shape) != expected:
        raise InputError(f"prediction has shape {tuple(prediction.shape)}; expected {expected}")
    observed = ~torch.isnan(target)
    if mask is not None:
        if mask.shape != target.shape:
            raise InputError(f"mask has shape {tuple(mask.shape)}; expected {tuple(target.shape)}")
        observed = observed & mask.bool()
    known = observed.unsqueeze(-1) if levels else observed
    return torch.where(known, prediction.double(), 0.0), torch.where(observed, target.double(), 0.0), observed


def reduce_sums(sums: Tensor, per: Per) -> Tensor:
    """Add up sums ``[..., Q, C]`` over what ``per`` does not keep."""
    if per not in _SUMMED:
        raise InputError(f"per is {per!r}; expected one of {sorted(_SUMMED)}")
    dims = _SUMMED[per]
    return sums.sum(dims) if dims else sums


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide sums; nan where the denominator is 0, as nothing can be said there."""
    return torch.where(denominator > 0, numerator, torch.nan) / denominator.clamp(min=torch.finfo(torch.float64).tiny)


def count_update(observed: Tensor) -> Tensor:
    """Return the number of observed targets per step and channel, ``[Q, C]``."""
    return observed.sum((0, 1)).double()


def absolute_error_update(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the sum of absolute errors per step and channel, ``[Q, C]``."""
    return (prediction - target).abs().sum((0, 1))


def squared_error_update(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the sum of squared errors per step and channel, ``[Q, C]``."""
    return (prediction - target).square().sum((0, 1))


def smape_update(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the sum of ``|d| / (|y| + |yhat| + 1e-8)`` per step and channel, ``[Q, C]``."""
    return ((prediction - target).abs() / (target.abs() + prediction.abs() + 1e-8)).sum((0, 1))


def mape_update(prediction: Tensor, target: Tensor, observed: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the sum of ``|d| / |y|`` where ``|y| >= threshold``, and the number of such targets, both ``[Q, C]``."""
    used = observed & (target.abs() >= threshold) & (target != 0)
    relative = (prediction - target).abs() / torch.where(used, target.abs(), 1.0)
    return torch.where(used, relative, 0.0).sum((0, 1)), count_update(used)


def moments_update(target: Tensor, observed: Tensor) -> Tensor:
    """Return count, mean and sum of squares about that mean per step and channel, ``[3, Q, C]``."""
    count = count_update(observed)
    mean = target.sum((0, 1)) / count.clamp(min=1)
    return torch.stack([count, mean, torch.where(observed, target - mean, 0.0).square().sum((0, 1))])


def merge_moments(stacked: Tensor) -> Tensor:
    """Merge the moments ``[K, 3, ...]`` of K groups into those of their union, ``[3, ...]``.

    Sums of squares about each group's own mean, moved to the common mean, lose nothing where the mean is large against
    the spread, as plain sums of squares do (T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for Computing the
    Sample Variance", The American Statistician 37, 1983).
    """
    count, mean, squares = stacked.unbind(1)
    total = count.sum(0)
    common = (count * mean).sum(0) / total.clamp(min=1)
    return torch.stack([total, common, (squares + count * (mean - common).square()).sum(0)])


def reduce_moments(moments: Tensor, per: Per) -> Tensor:
    """Return the sum of squares about the common mean of what ``per`` does not keep, from moments ``[3, Q, C]``."""
    for dim in sorted(_SUMMED[per], reverse=True):
        moments = merge_moments(moments.movedim(dim, 0)).unsqueeze(dim)
    return moments[2].squeeze(_SUMMED[per])


def frame_squares_update(target: Tensor, observed: Tensor) -> Tensor:
    """Return the sum of squares about each frame's mean over its observed nodes, per step and channel, ``[Q, C]``."""
    count = observed.sum(1, keepdim=True)
    mean = target.sum(1, keepdim=True) / count.clamp(min=1)
    return torch.where(observed, target - mean, 0.0).square().sum((0, 1))


def pinball_update(prediction: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Return the sum of pinball losses per level, step and channel, ``[L, Q, C]``, of quantiles ``[B, N, Q, C, L]``."""
    error = target.unsqueeze(-1) - prediction
    return torch.maximum(levels * error, (levels - 1) * error).sum((0, 1)).movedim(-1, 0)


def below_update(prediction: Tensor, target: Tensor, observed: Tensor) -> Tensor:
    """Return how many targets are not above each quantile, ``[L, Q, C]``."""
    below = (target.unsqueeze(-1) <= prediction) & observed.unsqueeze(-1)
    return below.sum((0, 1)).double().movedim(-1, 0)


def inside_update(prediction: Tensor, target: Tensor, observed: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Return how many targets lie in each central interval, ``[I, Q, C]``."""
    low, high = prediction[..., [i for i, _ in pairs]], prediction[..., [j for _, j in pairs]]
    y = target.unsqueeze(-1)
    return ((low <= y) & (y <= high) & observed.unsqueeze(-1)).sum((0, 1)).double().movedim(-1, 0)


def width_update(prediction: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Return the sum of the widths of each central interval, ``[I, Q, C]``."""
    low, high = prediction[..., [i for i, _ in pairs]], prediction[..., [j for _, j in pairs]]
    return (high - low).sum((0, 1)).movedim(-1, 0)


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
    p, y, observed = prepare(prediction, target, mask)
    return ratio(reduce_sums(absolute_error_update(p, y), per), reduce_sums(count_update(observed), per))


def masked_rmse(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all") -> Tensor:
    """Root of the mean squared error over the observed targets; arguments as :func:`masked_mae`.

    >>> masked_rmse(torch.zeros(1, 2, 1, 1), torch.tensor([1.0, 7.0]).view(1, 2, 1, 1))
    tensor(5., dtype=torch.float64)
    """
    p, y, observed = prepare(prediction, target, mask)
    return ratio(reduce_sums(squared_error_update(p, y), per), reduce_sums(count_update(observed), per)).sqrt()


def masked_smape(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all") -> Tensor:
    """Mean of ``|d| / (|y| + |yhat| + 1e-8)``, a fraction between 0 and 1; arguments as :func:`masked_mae`.

    >>> masked_smape(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0)).round(decimals=6)
    tensor(0.5000, dtype=torch.float64)
    """
    p, y, observed = prepare(prediction, target, mask)
    return ratio(reduce_sums(smape_update(p, y), per), reduce_sums(count_update(observed), per))


def masked_mape(
    prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all", threshold: float = 5e-5
) -> Tensor:
    """Mean of ``|d| / |y|`` as a fraction, over targets of at least ``threshold``; arguments as :func:`masked_mae`.

    Targets that are smaller in absolute value are left out, as is the convention for traffic, where 0 is a dead sensor.

    >>> masked_mape(torch.ones(1, 2, 1, 1), torch.tensor([0.0, 2.0]).view(1, 2, 1, 1))
    tensor(0.5000, dtype=torch.float64)
    """
    total, count = mape_update(*prepare(prediction, target, mask), threshold)
    return ratio(reduce_sums(total, per), reduce_sums(count, per))


def masked_r2(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "all") -> Tensor:
    """Coefficient of determination ``1 - SSE / SST``, SST about the mean of all targets that share a value.

    Arguments as :func:`masked_mae`; nan where the targets do not vary.

    >>> y = torch.arange(4.0).view(1, 4, 1, 1)
    >>> masked_r2(y + 0.5, y)
    tensor(0.8000, dtype=torch.float64)
    """
    p, y, observed = prepare(prediction, target, mask)
    return 1 - ratio(reduce_sums(squared_error_update(p, y), per), reduce_moments(moments_update(y, observed), per))


def frame_r2(prediction: Tensor, target: Tensor, mask: Tensor | None = None, per: Per = "channel") -> Tensor:
    """Coefficient of determination with SST about each frame's spatial mean.

    SSE and SST are summed over the nodes of a frame and averaged over frames: a forecast is good where it tells the
    observed nodes of a frame apart. Arguments as :func:`masked_mae`; nan where no frame varies.

    >>> y = torch.arange(4.0).view(1, 4, 1, 1)
    >>> frame_r2(y + 0.5, y)
    tensor([0.8000], dtype=torch.float64)
    """
    p, y, observed = prepare(prediction, target, mask)
    return 1 - ratio(reduce_sums(squared_error_update(p, y), per), reduce_sums(frame_squares_update(y, observed), per))


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
    p, y, observed = prepare(prediction, target, mask, len(levels))
    return ratio(reduce_sums(pinball_update(p, y, levels), per), reduce_sums(count_update(observed), per))


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
    p, y, observed = prepare(prediction, target, mask, len(check_quantiles(quantiles)))
    inside = inside_update(p, y, observed, interval_pairs(quantiles))
    return ratio(reduce_sums(inside, per), reduce_sums(count_update(observed), per))


def interval_width(
    prediction: Tensor, target: Tensor, quantiles: Sequence[float], mask: Tensor | None = None, per: Per = "all"
) -> Tensor:
    """Mean width of each central interval of :func:`interval_pairs` where the target is observed, ``[I, ...]``.

    Arguments as :func:`masked_pinball`.

    >>> y = torch.zeros(1, 2, 1, 1)
    >>> interval_width(torch.tensor([-1.0, 0.0, 1.0]).expand(1, 2, 1, 1, 3), y, [0.1, 0.5, 0.9])
    tensor([2.], dtype=torch.float64)
    """
    p, _, observed = prepare(prediction, target, mask, len(check_quantiles(quantiles)))
    width = width_update(p, interval_pairs(quantiles))
    return ratio(reduce_sums(width, per), reduce_sums(count_update(observed), per))
