"""Metrics of forecasts on the globe, where the nodes of a grid stand for areas that shrink towards the poles."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.metrics import sums as S
from stgraph.metrics.point import RatioMetric, check_target

__all__ = [
    "AnomalyCorrelation",
    "LatitudeWeightedRMSE",
    "Root",
    "Weighting",
    "anomaly_correlation",
    "latitude_weighted_rmse",
    "latitude_weights",
]

Weighting = Literal["cosine", "area"]
Root = Literal["last", "first"]


def latitude_weights(latitude: Tensor, weighting: Weighting = "cosine") -> Tensor:
    r"""Weight of each node, 1 on average.

    Args:
        latitude: Latitude of each node in degrees.
        weighting: ``"cosine"``: :math:`\cos(\phi)`, for stations and grids alike (S. Rasp et al., "WeatherBench: A
            Benchmark Data Set for Data-Driven Weather Forecasting", JAMES 12, 2020). ``"area"``: the area of the band
            of latitudes nearest to the node's, :math:`\sin(\phi_{upper}) - \sin(\phi_{lower})`, shared by the nodes in
            it (S. Rasp et al., "WeatherBench 2: A Benchmark for the Next Generation of Data-Driven Global Weather
            Models", JAMES 16, 2024). On a global grid of equal steps without rows at the poles both are the same; rows
            at the poles have an area, but no cosine.

    Shapes:
        - **latitude:** ``[N]``
        - **output:** ``[N]``, float64

    Raises:
        InputError: If ``latitude`` is no vector of values in -90..90 or ``weighting`` is unknown.

    >>> latitude_weights(torch.tensor([0.0, 60.0])).round(decimals=6)
    tensor([1.3333, 0.6667], dtype=torch.float64)
    >>> latitude_weights(torch.tensor([-90.0, 0.0, 90.0]), "area").round(decimals=4)
    tensor([0.4393, 2.1213, 0.4393], dtype=torch.float64)
    """
    if latitude.dim() != 1 or not latitude.numel():
        raise InputError(f"latitude has shape {tuple(latitude.shape)}; expected (N,), one for each node")
    if not bool((latitude.abs() <= 90).all()):
        raise InputError("latitude has values outside -90..90; expected degrees")
    radians = torch.deg2rad(latitude.double())
    if weighting == "cosine":
        weights = radians.cos()
    elif weighting == "area":
        rows, row, size = radians.unique(return_inverse=True, return_counts=True)
        poles = rows.new_tensor([-torch.pi / 2, torch.pi / 2])
        bounds = torch.cat([poles[:1], (rows[1:] + rows[:-1]) / 2, poles[1:]])
        weights = (bounds.sin().diff() / size)[row]
    else:
        raise InputError(f"weighting is {weighting!r}; expected 'cosine' or 'area'")
    return weights / weights.mean()


def latitude_weighted_rmse(
    prediction: Tensor,
    target: Tensor,
    latitude: Tensor,
    mask: Tensor | None = None,
    per: S.Per = "all",
    weighting: Weighting = "cosine",
    root: Root = "last",
) -> Tensor:
    """Root of the mean squared error, weighted over the nodes of a frame and averaged over frames.

    A frame is a step of a window in one channel; its error is the weighted mean over its observed nodes. Frames without
    an observed node do not count.

    Args:
        prediction: Forecast.
        target: Target; NaN counts as missing.
        latitude: Latitude of each node in degrees; for a grid ``latitude.repeat_interleave(W)``.
        mask: True where the target is observed.
        per: As in :func:`~stgraph.metrics.functional.masked_mae`.
        weighting: As in :func:`latitude_weights`.
        root: ``"last"`` takes the root of the mean over frames, as WeatherBench 2 defines RMSE; ``"first"`` the mean of
            the roots of the frames, as the paper of WeatherBench does.

    Shapes:
        - **prediction**, **target**, **mask:** ``[B, N, Q, C]``
        - **latitude:** ``[N]``
        - **output:** ``[]``, ``[C]``, ``[Q]`` or ``[Q, C]``, float64; nan where nothing was observed

    Raises:
        InputError: If shapes or latitudes do not fit, or a choice is unknown.

    >>> y = torch.tensor([5.0, 5.0, 1.0, 1.0]).view(2, 2, 1, 1)
    >>> latitude_weighted_rmse(torch.zeros_like(y), y, torch.tensor([0.0, 60.0]), root="first")
    tensor(3., dtype=torch.float64)
    """
    check_root(root)
    weights = latitude_weights(latitude, weighting)
    total, count = frame_error_update(*S.prepare(prediction, target, mask), weights, root)
    mean = S.ratio(S.reduce_sums(total, per), S.reduce_sums(count, per))
    return mean.sqrt() if root == "last" else mean


def anomaly_correlation(
    prediction: Tensor,
    target: Tensor,
    climatology: Tensor,
    latitude: Tensor,
    mask: Tensor | None = None,
    per: S.Per = "all",
    weighting: Weighting = "cosine",
) -> Tensor:
    r"""Anomaly correlation coefficient, weighted over the nodes of a frame and averaged over frames.

    Of the anomalies :math:`f' = f - c` and :math:`o' = o - c` of a frame against the climatology :math:`c`, it is
    :math:`\sum w f' o' / \sqrt{\sum w f'^2 \sum w o'^2}`, without the mean of the anomalies taken off, as WeatherBench
    2 defines it. (WeatherBench of 2020 takes off that mean and forms one correlation over all frames.) A forecast of
    the climatology itself scores 0; frames whose targets are the climatology do not count.

    Args:
        prediction: Forecast.
        target: Target; NaN counts as missing.
        climatology: Expected value of each target; where it is NaN, the target does not count.
        latitude: Latitude of each node in degrees; for a grid ``latitude.repeat_interleave(W)``.
        mask: True where the target is observed.
        per: As in :func:`~stgraph.metrics.functional.masked_mae`.
        weighting: As in :func:`latitude_weights`.

    Shapes:
        - **prediction**, **target**, **mask:** ``[B, N, Q, C]``
        - **climatology:** ``[B, N, Q, C]``, or what expands to it, such as ``[N, 1, C]``
        - **latitude:** ``[N]``
        - **output:** ``[]``, ``[C]``, ``[Q]`` or ``[Q, C]``, float64; nan where nothing can be said

    Raises:
        InputError: If shapes or latitudes do not fit, or ``weighting`` is unknown.

    >>> y = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1)
    >>> anomaly_correlation(3 * y, y, torch.zeros(1, 2, 1, 1), torch.tensor([0.0, 60.0])).round(decimals=6)
    tensor(1., dtype=torch.float64)
    """
    weights = latitude_weights(latitude, weighting)
    total, count = correlation_update(*prepare_anomalies(prediction, target, climatology, mask), weights)
    return S.ratio(S.reduce_sums(total, per), S.reduce_sums(count, per))


def frame_error_update(
    prediction: Tensor, target: Tensor, observed: Tensor, weights: Tensor, root: Root
) -> tuple[Tensor, Tensor]:
    """Return the sum of the frames' weighted mean squared errors, or of their roots, and the number of frames."""
    weights = node_weights(weights, observed)
    weight = weights.sum(1)
    error = (weights * (prediction - target).square()).sum(1) / torch.where(weight > 0, weight, 1.0)
    return (error.sqrt() if root == "first" else error).sum(0), (weight > 0).sum(0).double()


def correlation_update(prediction: Tensor, target: Tensor, observed: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of the frames' correlations of anomalies, and the number of frames that have one."""
    weights = node_weights(weights, observed)
    product = (weights * prediction * target).sum(1)
    squares = (weights * prediction.square()).sum(1).sqrt(), (weights * target.square()).sum(1).sqrt()
    norm, used = squares[0] * squares[1], squares[1] > 0
    # A forecast of NaN gives a norm of NaN, which must show in the result.
    correlation = torch.where(norm == 0, 0.0, product / torch.where(norm == 0, 1.0, norm))
    return torch.where(used, correlation, 0.0).sum(0), used.sum(0).double()


def node_weights(weights: Tensor, observed: Tensor) -> Tensor:
    """Return the weight ``[B, N, Q, C]`` of each target, 0 where it is not observed."""
    if len(weights) != observed.shape[1]:
        raise InputError(f"latitude has {len(weights)} values; expected one for each of {observed.shape[1]} nodes")
    return weights.to(observed.device).view(-1, 1, 1) * observed


def prepare_anomalies(
    prediction: Tensor, target: Tensor, climatology: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the anomalies of forecast and target in float64 (zero where unobserved) and the mask of targets."""
    p, y, observed = S.prepare(prediction, target, mask)
    try:
        expected = climatology.double().broadcast_to(y.shape)
    except RuntimeError:
        raise InputError(
            f"climatology has shape {tuple(climatology.shape)}; expected {tuple(y.shape)} or what expands to it"
        ) from None
    observed = observed & ~torch.isnan(expected)
    return torch.where(observed, p - expected, 0.0), torch.where(observed, y - expected, 0.0), observed


def check_root(root: str) -> None:
    if root not in ("last", "first"):
        raise InputError(f"root is {root!r}; expected 'last' or 'first'")


class LatitudeWeightedRMSE(RatioMetric):
    """Root of the mean squared error weighted by latitude (see :func:`latitude_weighted_rmse`).

    Args:
        num_channels: Number of channels C.
        horizon: Number of forecast steps Q.
        latitude: Latitude ``[N]`` of each node in degrees.
        per: ``"all"``, ``"channel"``, ``"horizon"`` or ``"none"``: what keeps its own value.
        weighting: ``"cosine"`` or ``"area"``.
        root: ``"last"`` as in WeatherBench 2, or ``"first"``.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** forecast, target and mask ``[B, N, Q, C]``
        - **compute:** ``[]``, ``[C]``, ``[Q]`` or ``[Q, C]``, float64

    Examples:
        >>> metric = LatitudeWeightedRMSE(num_channels=1, horizon=1, latitude=torch.tensor([0.0, 60.0]))
        >>> metric.update(torch.zeros(1, 2, 1, 1), torch.full((1, 2, 1, 1), 2.0))
        >>> metric.compute()
        tensor(2., dtype=torch.float64)
    """

    def __init__(
        self,
        num_channels: int,
        horizon: int,
        latitude: Tensor,
        per: S.Per = "all",
        weighting: Weighting = "cosine",
        root: Root = "last",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_channels, horizon, per, **kwargs)
        check_root(root)
        # No state: they are the same in all processes, and no buffer: halving a module must not halve them.
        self.weights, self.root = latitude_weights(latitude, weighting), root

    def compute(self) -> Tensor:
        """Return the metric over all that was added; nan where nothing was observed."""
        return super().compute().sqrt() if self.root == "last" else super().compute()

    def _sums(self, prediction: Tensor, target: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return frame_error_update(prediction, target, observed, self.weights, self.root)


class AnomalyCorrelation(RatioMetric):
    """Anomaly correlation coefficient (see :func:`anomaly_correlation`).

    Args:
        num_channels: Number of channels C.
        horizon: Number of forecast steps Q.
        latitude: Latitude ``[N]`` of each node in degrees.
        per: ``"all"``, ``"channel"``, ``"horizon"`` or ``"none"``: what keeps its own value.
        weighting: ``"cosine"`` or ``"area"``.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** forecast, target, climatology and mask ``[B, N, Q, C]``
        - **compute:** ``[]``, ``[C]``, ``[Q]`` or ``[Q, C]``, float64

    Examples:
        >>> metric = AnomalyCorrelation(num_channels=1, horizon=1, latitude=torch.tensor([0.0, 60.0]))
        >>> y = torch.tensor([11.0, 8.0]).view(1, 2, 1, 1)
        >>> metric.update(20 - y, y, climatology=torch.full((1, 2, 1, 1), 10.0))
        >>> metric.compute().round(decimals=6)
        tensor(-1., dtype=torch.float64)
    """

    higher_is_better = True

    def __init__(
        self,
        num_channels: int,
        horizon: int,
        latitude: Tensor,
        per: S.Per = "all",
        weighting: Weighting = "cosine",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_channels, horizon, per, **kwargs)
        self.weights = latitude_weights(latitude, weighting)

    def update(  # type: ignore[override]
        self, prediction: Tensor, target: Tensor, climatology: Tensor, mask: Tensor | None = None
    ) -> None:
        """Add a batch: forecast, target and climatology ``[B, N, Q, C]``, and the mask of observed targets."""
        check_target(target, self.shape)
        anomalies = prepare_anomalies(prediction, target, climatology, mask)
        numerator, denominator = correlation_update(*anomalies, self.weights)
        self.numerator += numerator
        self.denominator += denominator
