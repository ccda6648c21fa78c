"""All metrics of a forecast in one accumulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from stgraph.errors import InputError
from stgraph.metrics import functional as F
from stgraph.metrics import sums as S
from stgraph.metrics.point import check_sizes, check_target

__all__ = ["ForecastMetrics"]


class ForecastMetrics(Metric):
    """All forecast metrics of a model over a data set.

    Args:
        num_channels: Number of channels C.
        horizon: Number of forecast steps Q.
        quantiles: Levels of a quantile forecast, with 0.5 among them; ``None`` for a point forecast.
        mape_threshold: Targets smaller than this in absolute value do not enter MAPE.
        channel_names: Names of the channels, repeated in the result.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** forecast ``[B, N, Q, C]`` or ``[B, N, Q, C, L]``, target and mask ``[B, N, Q, C]``

    :meth:`compute` returns plain floats and lists, nan where nothing can be said:

    - ``"global"``: ``mae``, ``rmse``, ``smape``, ``mape``, ``wape`` and ``r2`` over all windows, nodes, steps and
      channels;
    - ``"per_channel"``: the same as lists over channels, ``r2`` being that about each frame's spatial mean;
    - ``"per_horizon"``: the same as lists over steps, ``r2`` about the mean of the step;
    - ``"count"``: the number of observed targets, and ``"channel_names"`` if given;
    - with quantiles, ``pinball`` (the mean over levels) and ``crps`` in each of the three, and ``"quantiles"`` with the
      ``levels``, the ``pinball`` loss of each, the share of targets ``below`` each, and for each central interval in
      ``intervals`` its ``low`` and ``high`` level, the ``nominal`` and true ``coverage``, the mean ``width``, and both
      per step.

    Examples:
        >>> metrics = ForecastMetrics(num_channels=1, horizon=2)
        >>> metrics.update(torch.zeros(3, 4, 2, 1), torch.ones(3, 4, 2, 1))
        >>> metrics.compute()["global"]["mae"], metrics.compute()["per_horizon"]["rmse"]
        (1.0, [1.0, 1.0])
    """

    full_state_update = False
    is_differentiable = False
    count: Tensor
    absolute: Tensor
    squared: Tensor
    symmetric: Tensor
    relative: Tensor
    relative_count: Tensor
    magnitude: Tensor
    moments: Tensor
    frame_squares: Tensor
    pinball: Tensor
    below: Tensor
    inside: Tensor
    width: Tensor

    def __init__(
        self,
        num_channels: int,
        horizon: int,
        quantiles: Sequence[float] | None = None,
        mape_threshold: float = 5e-5,
        channel_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shape, self.mape_threshold = check_sizes(num_channels, horizon), mape_threshold
        self.quantiles = None if quantiles is None else F.check_quantiles(quantiles)
        if self.quantiles is not None and 0.5 not in self.quantiles:
            raise InputError(f"quantiles is {list(self.quantiles)}; expected 0.5 among them, for the point metrics")
        if channel_names is not None and len(channel_names) != num_channels:
            raise InputError(f"channel_names has {len(channel_names)} names; expected num_channels = {num_channels}")
        self.channel_names = None if channel_names is None else [str(name) for name in channel_names]
        self.pairs = F.interval_pairs(self.quantiles or ())
        for name in ("count", "absolute", "squared", "symmetric", "relative", "relative_count", "magnitude"):
            self._add_sum(name)
        self._add_sum("frame_squares")
        self.add_state("moments", torch.zeros(3, *self.shape, dtype=torch.float64), dist_reduce_fx=S.merge_moments)
        if self.quantiles is not None:
            self._add_sum("pinball", len(self.quantiles))
            self._add_sum("below", len(self.quantiles))
        if self.pairs:
            self._add_sum("inside", len(self.pairs))
            self._add_sum("width", len(self.pairs))

    def _add_sum(self, name: str, *lead: int) -> None:
        self.add_state(name, torch.zeros(*lead, *self.shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            prediction: Forecast ``[B, N, Q, C]``, or its quantiles ``[B, N, Q, C, L]``.
            target: Target ``[B, N, Q, C]``; NaN counts as missing.
            mask: True where the target is observed.

        Raises:
            InputError: If a shape does not fit.
        """
        check_target(target, self.shape)
        p, y, observed = S.prepare(prediction, target, mask, len(self.quantiles or ()))
        if self.quantiles is not None:
            self._update_quantiles(p, y, observed)
            p = p[..., self.quantiles.index(0.5)]
        relative, relative_count = S.mape_update(p, y, observed, self.mape_threshold)
        self.count += S.count_update(observed)
        self.absolute += S.absolute_error_update(p, y)
        self.squared += S.squared_error_update(p, y)
        self.symmetric += S.smape_update(p, y)
        self.relative += relative
        self.relative_count += relative_count
        self.magnitude += S.magnitude_update(y)
        self.frame_squares += S.frame_squares_update(y, observed)
        self.moments = S.merge_moments(torch.stack([self.moments, S.moments_update(y, observed)]))

    def _update_quantiles(self, quantiles: Tensor, target: Tensor, observed: Tensor) -> None:
        self.pinball += S.pinball_update(quantiles, target, quantiles.new_tensor(self.quantiles))
        self.below += S.below_update(quantiles, target, observed)
        if self.pairs:
            self.inside += S.inside_update(quantiles, target, observed, self.pairs)
            self.width += S.width_update(quantiles, self.pairs)

    def compute(self) -> dict[str, Any]:
        """Return all metrics over all that was added."""
        result: dict[str, Any] = {
            "global": self._values("all"),
            "per_channel": self._values("channel"),
            "per_horizon": self._values("horizon"),
            "count": int(self.count.sum()),
        }
        if self.channel_names is not None:
            result["channel_names"] = list(self.channel_names)
        if self.quantiles is not None:
            result["quantiles"] = self._quantile_values(self.quantiles)
        return result

    def _values(self, per: S.Per) -> dict[str, Any]:
        count, squared = S.reduce_sums(self.count, per), S.reduce_sums(self.squared, per)
        about = S.reduce_sums(self.frame_squares, per) if per == "channel" else S.reduce_moments(self.moments, per)
        absolute = S.reduce_sums(self.absolute, per)
        values = {
            "mae": S.ratio(absolute, count),
            "rmse": S.ratio(squared, count).sqrt(),
            "smape": S.ratio(S.reduce_sums(self.symmetric, per), count),
            "mape": S.ratio(S.reduce_sums(self.relative, per), S.reduce_sums(self.relative_count, per)),
            "wape": S.ratio(absolute, S.reduce_sums(self.magnitude, per)),
            "r2": 1 - S.ratio(squared, about),
        }
        if self.quantiles is not None:
            pinball = S.ratio(S.reduce_sums(self.pinball, per), count)
            values["pinball"] = pinball.mean(0)
            values["crps"] = F.crps_from_pinball(pinball, self.quantiles)
        return {name: value.tolist() for name, value in values.items()}

    def _quantile_values(self, quantiles: tuple[float, ...]) -> dict[str, Any]:
        return {
            "levels": list(quantiles),
            "pinball": self._share(self.pinball, "all"),
            "below": self._share(self.below, "all"),
            "intervals": self._interval_values(quantiles) if self.pairs else [],
        }

    def _interval_values(self, quantiles: tuple[float, ...]) -> list[dict[str, Any]]:
        columns = {
            "coverage": self._share(self.inside, "all"),
            "width": self._share(self.width, "all"),
            "coverage_per_horizon": self._share(self.inside, "horizon"),
            "width_per_horizon": self._share(self.width, "horizon"),
        }
        return [
            {"low": quantiles[i], "high": quantiles[j], "nominal": quantiles[j] - quantiles[i]}
            | {name: values[row] for name, values in columns.items()}
            for row, (i, j) in enumerate(self.pairs)
        ]

    def _share(self, sums: Tensor, per: S.Per) -> list[Any]:
        values: list[Any] = S.ratio(S.reduce_sums(sums, per), S.reduce_sums(self.count, per)).tolist()
        return values
