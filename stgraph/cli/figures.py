"""Figures and the HTML report at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stgraph.report import (
    error_map,
    forecasts_at_nodes,
    horizon_errors,
    node_errors,
    save_figure,
    training_curves,
    write_report,
)
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.inference import LoadedRun

__all__ = ["draw_run"]


def draw_run(path: Path, results: dict[str, Any]) -> Path:
    """Draw forecasts at a few nodes, a map of the error, errors by step and the training, and write the report.

    Args:
        path: Folder of the run.
        results: Content of its ``results.json``.

    Returns:
        Path: The report.
    """
    folder, run = RunFolder(path), LoadedRun(path)
    with np.load(folder.predictions) as arrays:
        saved = {name: arrays[name] for name in arrays.files}
    names = run.graph.get("channel_names")
    target, mask = np.nan_to_num(saved["y_true"]), saved["y_mask"]
    figures = {
        "forecasts": forecasts_at_nodes(
            saved["y_pred"],
            target,
            mask=mask,
            time=saved.get("time") if saved.get("time", target).ndim == 2 else None,
            quantiles=run.model.quantiles,
            model_name=results["model"],
            node_names=run.graph.get("node_names"),
            channel_name=None if names is None else names[0],
        )
    }
    quantiles = run.model.quantiles
    point = saved["y_pred"] if quantiles is None else saved["y_pred"][..., quantiles.index(0.5)]
    errors = node_errors(point[..., :1], target[..., :1], mask[..., :1])
    figures["error_map"] = error_map(run.graph.pos.numpy(), errors, grid=run.graph.get("grid"))
    per_step = {results["model"]: results["test"], **results["baselines"]}
    figures["horizon"] = horizon_errors(
        {name: value["per_horizon"]["mae"] for name, value in per_step.items() if "skipped" not in value}
    )
    if folder.metrics.is_file():
        figures["training"] = training_curves(folder.metrics)
    for name, figure in figures.items():
        save_figure(figure, folder.figures / f"{name}.png")
    return write_report(folder.path)
