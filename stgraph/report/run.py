"""The figures of a run, from the files in its folder."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stgraph.errors import InputError
from stgraph.report.figures import error_map, forecasts_at_nodes, horizon_errors, node_errors, save_figure
from stgraph.report.training import training_curves

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["draw_figures"]


def draw_figures(
    run_dir: str | os.PathLike[str],
    data: Data,
    *,
    baselines: Mapping[str, Any] | None = None,
    model_name: str = "SpecTra-Net",
    unit: str | None = None,
    pos_unit: str | None = None,
) -> list[Path]:
    """Draw the figures of a run into its folder ``figures`` and return their paths.

    It reads ``predictions.npz`` (``y_pred``, ``y_true``, ``y_mask``, ``time``), ``results.json`` and ``metrics.csv``.
    With several channels the first is drawn.

    Args:
        run_dir: The folder of the run.
        data: Graph of the series, for ``pos``, ``grid``, ``node_names`` and ``channel_names``.
        baselines: Forecasts ``[S, N, Q, C]`` of the same windows by the name of the baseline, drawn beside the model's.
        model_name: Name of the model in the legends.
        unit: Unit of the first channel.
        pos_unit: Unit of the positions.

    Raises:
        InputError: If a file is missing or damaged.
    """
    folder = Path(run_dir)
    arrays, results = _load(folder / "predictions.npz"), _load_results(folder / "results.json")
    metrics = results["metrics"]
    levels = metrics.get("quantiles", {}).get("levels")
    prediction, target, mask = arrays["y_pred"], arrays["y_true"], arrays["y_mask"]
    point = prediction if levels is None else prediction[..., levels.index(0.5)]
    names = data.get("channel_names")
    channel = None if names is None else str(names[0])
    drawn = {
        "forecasts": forecasts_at_nodes(
            prediction,
            target,
            mask=mask,
            time=arrays.get("time"),
            quantiles=levels,
            baselines=baselines,
            model_name=model_name,
            node_names=data.get("node_names"),
            channel_name=channel,
            unit=unit,
        ),
        "error_map": error_map(
            data.get("pos"),
            node_errors(point[..., :1], target[..., :1], mask[..., :1]),
            grid=data.get("grid"),
            unit=unit,
            pos_unit=pos_unit,
            title=f"MAE of each node{'' if channel is None else f', {channel}'}",
        ),
        "horizon_errors": horizon_errors(_step_errors(metrics, results.get("baselines", {}), model_name), unit=unit),
    }
    log = folder / "metrics.csv"
    if log.is_file() and log.stat().st_size:
        drawn["training"] = training_curves(log, unit=unit)
    return [save_figure(figure, folder / "figures" / f"{name}.png") for name, figure in drawn.items()]


def _step_errors(metrics: Mapping[str, Any], baselines: Mapping[str, Any], model_name: str) -> dict[str, list[float]]:
    """Return the mean absolute error of each step by model; nan where nothing was observed."""
    models = {model_name: metrics, **{k: v for k, v in baselines.items() if "per_horizon" in v}}
    return {k: [np.nan if e is None else float(e) for e in v["per_horizon"]["mae"]] for k, v in models.items()}


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} is not there; expected the forecasts of the run")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _load_results(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} is not there; expected the results of the run")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(results, dict) or not isinstance(results.get("metrics"), dict):
        raise InputError(f"{path} has no metrics; expected those of a run with one seed")
    return results
