"""Forecasts of whole periods, their errors, and those of the simple forecasts they have to beat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.datamodule import GraphToDevice, SeriesDataModule
from stgraph.errors import InputError
from stgraph.metrics import ForecastMetrics
from stgraph.models import get_model

if TYPE_CHECKING:
    from stgraph.models import Forecaster

__all__ = ["Forecasts", "evaluate", "evaluate_baselines", "forecast", "new_metrics"]


class Forecasts(NamedTuple):
    """Forecasts of S windows as arrays.

    Shapes:
        - **prediction:** ``[S, N, Q, C]`` or ``[S, N, Q, C, L]``; **target**, **mask:** ``[S, N, Q, C]``
        - **start:** ``[S]``, first input step; **time:** ``[S, Q]`` or ``None``
    """

    prediction: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    start: npt.NDArray[np.int64]
    time: npt.NDArray[Any] | None


def new_metrics(model: Forecaster, channel_names: Sequence[str] | None = None) -> ForecastMetrics:
    """Return empty metrics for the forecasts of ``model``, of this process alone."""
    return ForecastMetrics(
        model.out_channels,
        model.horizon,
        model.quantiles,
        channel_names=None if channel_names is None else list(channel_names)[: model.out_channels],
        # Only the first of several processes evaluates; it must not wait for the others.
        sync_on_compute=False,
    )


@torch.no_grad()
def forecast(
    model: Forecaster,
    batches: Iterable[Data],
    device: torch.device | str = "cpu",
    metrics: ForecastMetrics | None = None,
) -> Forecasts:
    """Forecast all windows and keep the forecasts.

    Args:
        model: The forecaster; left in evaluation mode on ``device``.
        batches: Batches of windows.
        device: Where to compute.
        metrics: Metrics to update on the way.
    """
    model.eval().to(device)
    move = GraphToDevice()
    metrics = None if metrics is None else metrics.to(device)
    rows: list[tuple[Tensor, ...]] = []
    times: list[Tensor] = []
    for batch in batches:
        moved = move(batch, device)
        prediction, target, mask = model(moved), *targets(moved, model.out_channels)
        if metrics is not None:
            metrics.update(prediction, target, mask)
        rows.append(tuple(t.cpu() for t in (prediction, target, mask, batch.start)))
        if batch.get("y_time") is not None:
            times.append(batch.y_time.cpu())
    if not rows:
        raise InputError("there is no window to forecast")
    values, known, observed, first = (torch.cat(column).numpy() for column in zip(*rows, strict=True))
    return Forecasts(values, known, observed, first, torch.cat(times).numpy() if times else None)


@torch.no_grad()
def evaluate(
    model: Forecaster,
    batches: Iterable[Data],
    device: torch.device | str = "cpu",
    channel_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the errors of a model over all windows (see :class:`~stgraph.metrics.ForecastMetrics`)."""
    model.eval().to(device)
    move, metrics = GraphToDevice(), new_metrics(model, channel_names).to(device)
    for batch in batches:
        moved = move(batch, device)
        metrics.update(model(moved), *targets(moved, model.out_channels))
    values: dict[str, Any] = metrics.compute()
    return values


def targets(batch: Data, channels: int) -> tuple[Tensor, Tensor]:
    """Return the targets of the first ``channels`` channels and where they are observed."""
    target, mask = batch.y[..., :channels], batch.get("y_mask")
    return target, torch.ones_like(target, dtype=torch.bool) if mask is None else mask[..., :channels]


def evaluate_baselines(
    names: Sequence[str], datamodule: SeriesDataModule, batches: Iterable[Data], out_channels: int
) -> dict[str, dict[str, Any]]:
    """Fit simple forecasts to the training period and return their errors over the given windows.

    Args:
        names: Names of the baselines.
        datamodule: The training period.
        batches: Batches of windows; read once for each baseline.
        out_channels: Number of channels to forecast.

    Returns:
        dict: The errors by name; ``{"skipped": reason}`` for a baseline that cannot be fitted to this data.
    """
    series = datamodule.train_series
    results: dict[str, dict[str, Any]] = {}
    for name in names:
        try:
            model = get_model(name)(
                series.x.shape[2],
                datamodule.input_steps,
                datamodule.horizon,
                num_nodes=series.x.shape[0],
                out_channels=out_channels,
            )
            results[name] = evaluate(model.fit(series, datamodule.starts["train"]), batches)
        except InputError as error:
            results[name] = {"skipped": str(error)}
    return results
