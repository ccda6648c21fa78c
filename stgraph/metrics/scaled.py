"""Errors scaled by those of the seasonal naive forecast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.metrics import sums as S
from stgraph.metrics.point import RatioMetric

__all__ = ["MaskedMASE", "masked_mase", "seasonal_naive_scale"]


def seasonal_naive_scale(x: Tensor, mask: Tensor | None = None, season: int = 1) -> Tensor:
    """Mean absolute error of the seasonal naive forecast inside the training series, of each node and channel.

    The forecast of a value is the one a season before; a pair counts where both are observed.

    Args:
        x: Training series; NaN counts as missing.
        mask: True where the series is observed.
        season: Steps in a season, 1 for the last value.

    Shapes:
        - **x**, **mask:** ``[N, T, C]``
        - **output:** ``[N, C]``, float64; nan where no pair is observed

    Raises:
        InputError: If a shape does not fit, or the series is not longer than the season.

    >>> seasonal_naive_scale(torch.tensor([1.0, 5.0, 2.0, 8.0]).view(1, 4, 1), season=2)
    tensor([[2.]], dtype=torch.float64)
    """
    if x.dim() != 3:
        raise InputError(f"x has shape {tuple(x.shape)}; expected (N, T, C)")
    if mask is not None and mask.shape != x.shape:
        raise InputError(f"mask has shape {tuple(mask.shape)}; expected {tuple(x.shape)}")
    if not 1 <= season < x.shape[1]:
        raise InputError(f"season is {season}; expected 1 to {x.shape[1] - 1}, less than the steps of the series")
    observed = ~torch.isnan(x) if mask is None else ~torch.isnan(x) & mask.bool()
    pairs = observed[:, season:] & observed[:, :-season]
    values = torch.where(observed, x.double(), 0.0)
    change = torch.where(pairs, (values[:, season:] - values[:, :-season]).abs(), 0.0)
    return S.ratio(change.sum(1), pairs.sum(1).double())


def masked_mase(
    prediction: Tensor, target: Tensor, scale: Tensor, mask: Tensor | None = None, per: S.Per = "all"
) -> Tensor:
    r"""Mean absolute scaled error: the mean of :math:`|d| / s` with the scale :math:`s` of each node and channel.

    Below 1, a forecast errs less than the seasonal naive forecast did on the training series, one season ahead (R. J.
    Hyndman and A. B. Koehler, "Another look at measures of forecast accuracy", International Journal of Forecasting 22,
    2006). Nodes and channels that were constant or unobserved in training have no scale and are left out.

    Args:
        prediction: Forecast.
        target: Target; NaN counts as missing.
        scale: Scale, from :func:`seasonal_naive_scale` on the training series.
        mask: True where the target is observed.
        per: As in :func:`~stgraph.metrics.functional.masked_mae`.

    Shapes:
        - **prediction**, **target**, **mask:** ``[B, N, Q, C]``
        - **scale:** ``[N, C]``
        - **output:** ``[]``, ``[C]``, ``[Q]`` or ``[Q, C]``, float64; nan where nothing was observed

    Raises:
        InputError: If shapes do not fit.

    >>> y = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    >>> masked_mase(torch.zeros(1, 2, 1, 1), y, scale=torch.tensor([[1.0], [2.0]]))
    tensor(1.2500, dtype=torch.float64)
    """
    total, count = scaled_error_update(*S.prepare(prediction, target, mask), scale)
    return S.ratio(S.reduce_sums(total, per), S.reduce_sums(count, per))


def scaled_error_update(prediction: Tensor, target: Tensor, observed: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of scaled absolute errors and the number of targets that have a scale, both ``[Q, C]``."""
    expected = (target.shape[1], target.shape[3])
    if tuple(scale.shape) != expected:
        raise InputError(f"scale has shape {tuple(scale.shape)}; expected (N, C) = {expected}")
    scale = scale.to(target).unsqueeze(1)
    used = observed & (scale > 0)
    scaled = (prediction - target).abs() / torch.where(scale > 0, scale, 1.0)
    return torch.where(used, scaled, 0.0).sum((0, 1)), S.count_update(used)


class MaskedMASE(RatioMetric):
    """Mean absolute scaled error over the observed targets (see :func:`masked_mase`).

    Args:
        num_channels: Number of channels C.
        horizon: Number of forecast steps Q.
        scale: Scale ``[N, C]``, from :func:`seasonal_naive_scale` on the training series.
        per: ``"all"``, ``"channel"``, ``"horizon"`` or ``"none"``: what keeps its own value.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** forecast, target and mask ``[B, N, Q, C]``
        - **compute:** ``[]``, ``[C]``, ``[Q]`` or ``[Q, C]``, float64

    Examples:
        >>> series = torch.tensor([1.0, 5.0, 2.0, 8.0]).view(1, 4, 1)
        >>> metric = MaskedMASE(num_channels=1, horizon=1, scale=seasonal_naive_scale(series, season=2))
        >>> metric.update(torch.full((1, 1, 1, 1), 9.0), torch.full((1, 1, 1, 1), 10.0))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    def __init__(self, num_channels: int, horizon: int, scale: Tensor, per: S.Per = "all", **kwargs: Any) -> None:
        super().__init__(num_channels, horizon, per, **kwargs)
        if scale.dim() != 2 or scale.shape[1] != num_channels:
            raise InputError(f"scale has shape {tuple(scale.shape)}; expected (N, {num_channels})")
        # No state: it is the same in all processes, and no buffer: halving a module must not halve it.
        self.scale = scale.double()

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return scaled_error_update(prediction, target, observed, self.scale)
