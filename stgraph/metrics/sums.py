"""What a batch of forecasts adds to the sums of a metric, and what the sums mean.

Forecasts and targets are ``[B, N, Q, C]`` (windows, nodes, horizon, channels). Every ``*_update`` function returns
float64 sums per step and channel, ``[Q, C]``, over the observed targets of the batch. Such sums add up over batches and
processes, so a result never is a mean of means; a metric is a ratio of sums, and the reduction over steps or channels
is chosen when it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = [
    "Per",
    "absolute_error_update",
    "below_update",
    "count_update",
    "frame_squares_update",
    "inside_update",
    "magnitude_update",
    "mape_update",
    "merge_moments",
    "moments_update",
    "pinball_update",
    "prepare",
    "ratio",
    "reduce_moments",
    "reduce_sums",
    "smape_update",
    "squared_error_update",
    "width_update",
]

Per = Literal["all", "channel", "horizon", "none"]
_SUMMED: dict[str, tuple[int, ...]] = {"all": (-2, -1), "channel": (-2,), "horizon": (-1,), "none": ()}


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


def magnitude_update(target: Tensor) -> Tensor:
    """Return the sum of absolute targets per step and channel, ``[Q, C]``."""
    return target.abs().sum((0, 1))


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
