"""Results of a benchmark made by hand, with forecasts of tiny data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stgraph.tasks.benchmark.results import CellResult

WINDOWS, NODES, STEPS = 80, 2, 12


def targets():
    y = 50 + np.random.default_rng(0).normal(size=(WINDOWS, NODES, STEPS, 1))
    y[::7, 0] = np.nan
    return y


def scores(mae, horizons=("3", "6", "12", "average"), protocols=("strict", "dcrnn")):
    return {p: {h: {"mae": mae, "rmse": 2 * mae, "mape": 10 * mae} for h in horizons} for p in protocols}


def with_forecasts(folder: Path, model: str, seed: int, scale: float, dataset: str = "week", **arrays) -> CellResult:
    """A cell whose errors are of about the given size, with its forecasts in a file."""
    random = np.random.default_rng([seed, *model.encode()])
    y = targets()
    error = scale * random.uniform(0.9, 1.1, y.shape) * random.choice([-1, 1], y.shape)
    saved = {
        "y_pred": 50 + np.nan_to_num(y - 50) + error,
        "y_true": y,
        "y_mask": ~np.isnan(y),
        "start": np.arange(WINDOWS) + 900,
    }
    path = folder / f"{dataset}-{model}-{seed}.npz"
    np.savez(path, **(saved | arrays))
    mae = float(np.abs(error)[~np.isnan(y)].mean())
    return done(model, seed, mae, dataset, predictions=path)


def done(model, seed=1, mae=1.0, dataset="week", *, seconds=None, predictions=None, protocol="strict") -> CellResult:
    return CellResult(
        dataset, model, seed, protocol, "done", None, 120000, seconds, 8, 30.0, 900.0, scores(mae), predictions
    )
