"""Errors of point forecasts as torchmetrics classes that accumulate over batches and processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from stgraph.errors import InputError
from stgraph.metrics import sums as S

__all__ = ["MaskedFrameR2", "MaskedMAE", "MaskedMAPE", "MaskedR2", "MaskedRMSE", "MaskedSMAPE", "MaskedWAPE"]


class RatioMetric(Metric):
    """A ratio of two float64 sums per step and channel."""

    full_state_update = False
    is_differentiable = False
    higher_is_better: bool | None = False
    numerator: Tensor
    denominator: Tensor

    def __init__(self, num_channels: int, horizon: int, per: S.Per = "all", levels: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape, self.per = check_sizes(num_channels, horizon), per
        S.reduce_sums(torch.zeros(self.shape), per)  # names the valid values of `per` at once
        lead = (levels,) if levels else ()
        self.add_state("numerator", torch.zeros(*lead, *self.shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("denominator", torch.zeros(self.shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch: forecast and target ``[B, N, Q, C]``, and the mask of observed targets."""
        check_target(target, self.shape)
        numerator, denominator = self._sums(*S.prepare(prediction, target, mask))
        self.numerator += numerator
        self.denominator += denominator

    def compute(self) -> Tensor:
        """Return the metric over all that was added; nan where nothing was observed."""
        return S.ratio(S.reduce_sums(self.numerator, self.per), S.reduce_sums(self.denominator, self.per))

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError  # pragma: no cover - abstract


class MaskedMAE(RatioMetric):
    """Mean absolute error over the observed targets (see :func:`~stgraph.metrics.functional.masked_mae`).

    Args:
        num_channels: Number of channels C.
        horizon: Number of forecast steps Q.
        per: ``"all"``, ``"channel"``, ``"horizon"`` or ``"none"``: what keeps its own value.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** forecast, target and mask ``[B, N, Q, C]``
        - **compute:** ``[]``, ``[C]``, ``[Q]`` or ``[Q, C]``, float64; torchmetrics gives one element as a scalar

    Examples:
        >>> metric = MaskedMAE(num_channels=1, horizon=1)
        >>> metric.update(torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1))
        >>> metric.update(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 4.0))
        >>> metric.compute()
        tensor(2., dtype=torch.float64)
    """

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return S.absolute_error_update(prediction, target), S.count_update(observed)


class MaskedRMSE(RatioMetric):
    """Root of the mean squared error over the observed targets; arguments as :class:`MaskedMAE`.

    Examples:
        >>> metric = MaskedRMSE(num_channels=1, horizon=1)
        >>> metric.update(torch.zeros(1, 2, 1, 1), torch.tensor([1.0, 7.0]).view(1, 2, 1, 1))
        >>> metric.compute()
        tensor(5., dtype=torch.float64)
    """

    def compute(self) -> Tensor:
        """Return the metric over all that was added; nan where nothing was observed."""
        return super().compute().sqrt()

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return S.squared_error_update(prediction, target), S.count_update(observed)


class MaskedSMAPE(RatioMetric):
    """Symmetric mean absolute percentage error as a fraction in [0, 1]; arguments as :class:`MaskedMAE`."""

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return S.smape_update(prediction, target), S.count_update(observed)


class MaskedMAPE(RatioMetric):
    """Mean absolute percentage error as a fraction, without the targets below a threshold.

    Args:
        num_channels: Number of channels C.
        horizon: Number of forecast steps Q.
        per: As in :class:`MaskedMAE`.
        threshold: Targets smaller than this in absolute value are left out, and so are zeros.
        kwargs: Arguments of :class:`torchmetrics.Metric`.
    """

    def __init__(
        self, num_channels: int, horizon: int, per: S.Per = "all", threshold: float = 5e-5, **kwargs: Any
    ) -> None:
        super().__init__(num_channels, horizon, per, **kwargs)
        self.threshold = threshold

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return S.mape_update(prediction, target, observed, self.threshold)


class MaskedWAPE(RatioMetric):
    """Sum of absolute errors over the sum of absolute targets, as a fraction; arguments as :class:`MaskedMAE`.

    Examples:
        >>> metric = MaskedWAPE(num_channels=1, horizon=1)
        >>> metric.update(torch.ones(1, 2, 1, 1), torch.tensor([0.0, 4.0]).view(1, 2, 1, 1))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return S.absolute_error_update(prediction, target), S.magnitude_update(target)


class MaskedFrameR2(RatioMetric):
    """Coefficient of determination about each frame's spatial mean, per channel unless told otherwise.

    Arguments as :class:`MaskedMAE`; see :func:`~stgraph.metrics.functional.frame_r2`.
    """

    higher_is_better = True

    def __init__(self, num_channels: int, horizon: int, per: S.Per = "channel", **kwargs: Any) -> None:
        super().__init__(num_channels, horizon, per, **kwargs)

    def compute(self) -> Tensor:
        """Return the metric over all that was added; nan where no frame varies."""
        return 1 - super().compute()

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return S.squared_error_update(prediction, target), S.frame_squares_update(target, observed)


class MaskedR2(Metric):
    """Coefficient of determination about the mean of all observed targets; arguments as :class:`MaskedMAE`.

    The sum of squares about the mean is merged over batches and processes from each one's own mean, so it stays exact
    where the mean is large against the spread.

    Examples:
        >>> metric = MaskedR2(num_channels=1, horizon=1)
        >>> y = 1e6 + torch.arange(4.0, dtype=torch.float64).view(4, 1, 1, 1)
        >>> for target in y.split(1):
        ...     metric.update(target + 0.5, target)
        >>> metric.compute()
        tensor(0.8000, dtype=torch.float64)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    squares: Tensor
    moments: Tensor

    def __init__(self, num_channels: int, horizon: int, per: S.Per = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape, self.per = check_sizes(num_channels, horizon), per
        S.reduce_sums(torch.zeros(self.shape), per)
        self.add_state("squares", torch.zeros(self.shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("moments", torch.zeros(3, *self.shape, dtype=torch.float64), dist_reduce_fx=S.merge_moments)

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch: forecast and target ``[B, N, Q, C]``, and the mask of observed targets."""
        check_target(target, self.shape)
        p, y, observed = S.prepare(prediction, target, mask)
        self.squares += S.squared_error_update(p, y)
        self.moments = S.merge_moments(torch.stack([self.moments, S.moments_update(y, observed)]))

    def compute(self) -> Tensor:
        """Return the metric over all that was added; nan where the targets do not vary."""
        return 1 - S.ratio(S.reduce_sums(self.squares, self.per), S.reduce_moments(self.moments, self.per))


def check_sizes(num_channels: int, horizon: int) -> tuple[int, int]:
    for name, value in (("num_channels", num_channels), ("horizon", horizon)):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    return horizon, num_channels


def check_target(target: Tensor, shape: tuple[int, int]) -> None:
    if target.dim() != 4 or tuple(target.shape[2:]) != shape:
        raise InputError(f"target has shape {tuple(target.shape)}; expected (B, N, {shape[0]}, {shape[1]})")
