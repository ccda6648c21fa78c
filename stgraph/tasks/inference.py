"""What one does with a finished run: evaluate it again, or forecast with it."""

from __future__ import annotations

import copy
import csv
import dataclasses
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.datamodule import SeriesDataModule
from stgraph.data.windows import WindowLoader
from stgraph.errors import CheckpointError, InputError
from stgraph.models.base import Forecaster
from stgraph.tasks.checkpoints import load_forecaster, read_checkpoint, write_atomically
from stgraph.tasks.evaluation import Forecasts, evaluate, evaluate_baselines, forecast
from stgraph.tasks.folder import RunFolder, read_config
from stgraph.tasks.options import RunOptions
from stgraph.tasks.protocols.protocol import family_of, get_protocol
from stgraph.tasks.protocols.training import as_inputs
from stgraph.tasks.series import load_series, make_datamodule, read_series, share_graph

__all__ = ["LoadedRun", "evaluate_run", "predict_run", "write_forecasts"]


class LoadedRun:
    """A finished run: its options, its trained model and its graph; its data is read when it is asked for.

    Args:
        path: Folder of the run.

    Raises:
        InputError: If the folder holds no run.
        CheckpointError: If a file of it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = RunFolder(path)
        self.options: RunOptions = read_config(self.folder.config)
        self.model: Forecaster = load_forecaster(self.folder.best)
        self.graph = Data(**read_checkpoint(self.folder.graph))

    @functools.cached_property
    def datamodule(self) -> SeriesDataModule:
        """The data that the run was trained on.

        Raises:
            InputError: If it cannot be read any more.
            CheckpointError: If it has changed its shape.
        """
        options = self.options
        series, test_series = load_series(options.data, options.model.num_neighbors)
        check_fit(self.model, series, str(options.data.path))
        return make_datamodule(series, test_series, options.data, options.seed, options.protocol)

    def read(self, path: str, coords: str | None = None) -> Data:
        """Read another period of the same nodes and give it the graph of the run.

        Raises:
            InputError: If the file cannot be used.
            CheckpointError: If it does not fit the model.
        """
        options = dataclasses.replace(self.options.data, path=path, coords=coords)
        series = read_series(path, options, quiet=True)
        check_fit(self.model, series, path)
        return share_graph(self.graph, series, path)

    def loader(self, series: Data, starts: Tensor | None = None) -> WindowLoader:
        """Return windows of another series, all by default, with gaps fed as in the training of the run."""
        protocol, family = get_protocol(self.options.protocol or "strict"), family_of(str(self.options.data.path))
        series, input_mask = as_inputs(series, protocol, family)
        return WindowLoader(
            series,
            self.model.input_steps,
            self.model.horizon,
            starts=starts,
            batch_size=self.options.data.batch_size,
            input_mask=input_mask,
        )


def check_fit(model: Forecaster, series: Data, name: str) -> None:
    """Refuse data that a model was not made for.

    Raises:
        CheckpointError: If the number of channels or nodes differs.
    """
    nodes, steps, channels = series.x.shape
    if channels != model.in_channels:
        raise CheckpointError(
            f"the checkpoint does not fit {name}: it takes {model.in_channels} channels, not {channels}"
        )
    if model.num_nodes is not None and nodes != model.num_nodes:
        raise CheckpointError(f"the checkpoint does not fit {name}: it takes {model.num_nodes} nodes, not {nodes}")
    if steps < model.input_steps:
        raise CheckpointError(f"{name} has {steps} steps; the model needs {model.input_steps}")


def evaluate_run(
    run: LoadedRun, series: Data | None = None, *, baselines: bool = True, device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Return the errors of a run and of its simple forecasts.

    Args:
        run: The run.
        series: Another period; the run's own test period by default.
        baselines: Whether to fit and evaluate the simple forecasts, too.
        device: Where to compute.

    Returns:
        dict: ``model``, ``test`` (errors) and ``baselines``.
    """
    model = run.model
    loader = run.datamodule.loader("test") if series is None else run.loader(series)
    names = run.graph.get("channel_names")
    result: dict[str, Any] = {"model": run.options.model.name, "test": evaluate(model, loader, device, names)}
    result["baselines"] = {}
    if baselines:
        result["baselines"] = evaluate_baselines(run.options.baselines, run.datamodule, loader, model.out_channels)
    return result


def predict_run(
    run: LoadedRun, series: Data, *, windows: str = "last", device: torch.device | str = "cpu"
) -> Forecasts:
    """Forecast what follows a series, or what follows each of its windows.

    Args:
        run: The run.
        series: The measurements, on the run's graph.
        windows: ``"last"`` or ``"all"``.
        device: Where to compute.

    Raises:
        InputError: If the series is shorter than the input of the model.
    """
    model, steps = run.model, series.x.shape[1]
    if windows == "last":
        first = steps - model.input_steps
        starts = torch.tensor([first])
    else:
        starts = torch.arange(steps - model.input_steps + 1)
    return forecast(model, run.loader(extended(series, model.horizon), starts), device)


def extended(series: Data, horizon: int) -> Data:
    """Append ``horizon`` unobserved steps to a series, so that its last windows have a place for their targets."""
    nodes, steps, channels = series.x.shape
    result = copy.copy(series)
    result.x = torch.cat([series.x, series.x.new_zeros(nodes, horizon, channels)], dim=1)
    mask = series.get("mask")
    observed = torch.ones(nodes, steps, channels, dtype=torch.bool) if mask is None else mask
    result.mask = torch.cat([observed, observed.new_zeros(nodes, horizon, channels)], dim=1)
    time = series.get("time")
    if time is not None:
        result.time = torch.cat([time, _continued(time, horizon)], dim=-1)
    covariates = series.get("covariates")
    if covariates is not None:
        result.covariates = torch.cat([covariates, covariates[-1:].expand(horizon, -1)], dim=0)
    return result


def _continued(time: Tensor, horizon: int) -> Tensor:
    if time.shape[-1] < 2:
        raise InputError("time has one step; the times of forecasts need at least two to know the time step")
    step = (time[..., 1:] - time[..., :-1]).median(dim=-1, keepdim=True).values
    return time[..., -1:] + step * torch.arange(1, horizon + 1)


def write_forecasts(path: str | os.PathLike[str], forecasts: Forecasts, run: LoadedRun) -> None:
    """Write forecasts as ``.npz`` (arrays) or ``.csv`` (one row per value).

    Raises:
        InputError: If the name of the file has another ending.
    """
    path = Path(path)
    if path.suffix == ".npz":
        arrays: dict[str, Any] = {"y_pred": forecasts.prediction, "start": forecasts.start}
        if forecasts.time is not None:
            arrays["time"] = forecasts.time
        if run.model.quantiles is not None:
            arrays["quantiles"] = np.array(run.model.quantiles)
        write_atomically(path, lambda temporary: np.savez(temporary, **arrays))
    elif path.suffix == ".csv":
        write_atomically(path, lambda temporary: _write_csv(temporary, forecasts, run))
    else:
        raise InputError(f"output is {str(path)!r}; expected a name that ends in .npz or .csv")


def _write_csv(path: Path, forecasts: Forecasts, run: LoadedRun) -> None:
    graph, model = run.graph, run.model
    node_names = graph.get("node_names") or list(range(forecasts.prediction.shape[1]))
    channel_names = (graph.get("channel_names") or list(range(model.in_channels)))[: model.out_channels]
    values = ["value"] if model.quantiles is None else [f"q{level:g}" for level in model.quantiles]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["window", "step", "time", "node", "channel", *values])
        for window, (start, prediction) in enumerate(zip(forecasts.start, forecasts.prediction, strict=True)):
            times = _times(forecasts, window, int(start) + model.input_steps)
            writer.writerows(_rows(int(start), prediction, times, node_names, channel_names))


def _times(forecasts: Forecasts, window: int, first: int) -> list[Any]:
    """Times of the steps of a window: dates, numbers, or positions in the series where there are no times."""
    if forecasts.time is None:
        return list(range(first, first + forecasts.prediction.shape[2]))
    time = forecasts.time[window]
    time = time if time.ndim == 1 else time[0]
    if time.dtype.kind != "i":
        return list(time.tolist())
    return list(np.datetime_as_string(time.astype("datetime64[ns]"), unit="s"))


def _rows(
    start: int, prediction: npt.NDArray[np.float32], times: list[Any], nodes: list[Any], channels: list[Any]
) -> Iterable[list[Any]]:
    levels = prediction if prediction.ndim == 4 else prediction[..., None]
    for step, time in enumerate(times):
        for n, node in enumerate(nodes):
            for c, channel in enumerate(channels):
                yield [start, step + 1, time, node, channel, *levels[n, step, c].tolist()]
