"""Metrics of quantile forecasts as torchmetrics classes that accumulate over batches and processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from stgraph.errors import InputError
from stgraph.metrics import functional as F
from stgraph.metrics import sums as S
from stgraph.metrics.point import RatioMetric, check_target

__all__ = ["IntervalCoverage", "IntervalWidth", "MaskedCRPS", "MaskedPinball"]


class MaskedPinball(RatioMetric):
    """Mean pinball loss of each quantile (see :func:`~stgraph.metrics.functional.masked_pinball`).

    Args:
        num_channels: Number of channels C.
        horizon: Number of forecast steps Q.
        quantiles: The L levels.
        per: As in :class:`MaskedMAE`.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** forecast ``[B, N, Q, C, L]``, target and mask ``[B, N, Q, C]``
        - **compute:** ``[L]``, ``[L, C]``, ``[L, Q]`` or ``[L, Q, C]``, float64
    """

    def __init__(
        self, num_channels: int, horizon: int, quantiles: Sequence[float], per: S.Per = "all", **kwargs: Any
    ) -> None:
        self.quantiles = F.check_quantiles(quantiles)
        super().__init__(num_channels, horizon, per, levels=len(self.quantiles), **kwargs)

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch: quantiles ``[B, N, Q, C, L]``, target ``[B, N, Q, C]``, and the mask of observed targets."""
        check_target(target, self.shape)
        p, y, observed = S.prepare(prediction, target, mask, len(self.quantiles))
        self.numerator += S.pinball_update(p, y, p.new_tensor(self.quantiles))
        self.denominator += S.count_update(observed)


class MaskedCRPS(MaskedPinball):
    """Continuous ranked probability score estimated from quantiles; arguments as :class:`MaskedPinball`.

    See :func:`~stgraph.metrics.functional.crps_weights` for the estimate.

    Examples:
        >>> import torch
        >>> metric = MaskedCRPS(num_channels=1, horizon=1, quantiles=[0.1, 0.5, 0.9])
        >>> metric.update(torch.zeros(1, 1, 1, 1, 3), torch.ones(1, 1, 1, 1))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    def compute(self) -> Tensor:
        """Return the score over all that was added, in data units; nan where nothing was observed."""
        return F.crps_from_pinball(super().compute(), self.quantiles)


class IntervalCoverage(RatioMetric):
    """Share of the targets inside each central interval of a quantile forecast, to compare with its nominal coverage.

    Arguments as :class:`MaskedPinball`; the intervals are those of :func:`~stgraph.metrics.functional.interval_pairs`.

    Examples:
        >>> import torch
        >>> metric = IntervalCoverage(num_channels=1, horizon=1, quantiles=[0.1, 0.5, 0.9])
        >>> metric.update(torch.tensor([-1.0, 0.0, 1.0]).expand(1, 2, 1, 1, 3), torch.tensor([0.5, 2]).view(1, 2, 1, 1))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better: bool | None = None

    def __init__(
        self, num_channels: int, horizon: int, quantiles: Sequence[float], per: S.Per = "all", **kwargs: Any
    ) -> None:
        self.quantiles, self.pairs = F.check_quantiles(quantiles), F.interval_pairs(quantiles)
        if not self.pairs:
            raise InputError(f"quantiles is {list(self.quantiles)}; expected at least one pair of levels q and 1 - q")
        super().__init__(num_channels, horizon, per, levels=len(self.pairs), **kwargs)

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch: quantiles ``[B, N, Q, C, L]``, target ``[B, N, Q, C]``, and the mask of observed targets."""
        check_target(target, self.shape)
        p, y, observed = S.prepare(prediction, target, mask, len(self.quantiles))
        self.numerator += self._interval_sums(p, y, observed)
        self.denominator += S.count_update(observed)

    def _interval_sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> Tensor:
        return S.inside_update(prediction, target, observed, self.pairs)


class IntervalWidth(IntervalCoverage):
    """Mean width of each central interval of a quantile forecast; arguments as :class:`IntervalCoverage`."""

    higher_is_better = False

    def _interval_sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> Tensor:
        return S.width_update(prediction, self.pairs)
