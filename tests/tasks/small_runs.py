"""Small files and options for whole runs of SpecTra-Net in the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stgraph.tasks.options import RunOptions
from tests.tasks.stand_in import make_series


def write_series(folder: Path, name: str = "series", **arguments) -> Path:
    """Write a series (T, N, C) with NaN where it is missing, and the coordinates of its nodes beside it."""
    series = make_series(**{"nodes": 5, "steps": 60, **arguments})
    values = series.x.numpy().transpose(1, 0, 2)
    if series.get("mask") is not None:
        values = np.where(series.mask.numpy().transpose(1, 0, 2), values, np.nan)
    np.save(folder / f"{name}.npy", values)
    np.save(folder / "coords.npy", series.pos.numpy())
    return folder / f"{name}.npy"


def small_options(folder: Path, output: str = "run", **top) -> RunOptions:
    """Options of a run that takes a second."""
    options = RunOptions(output=str(folder / output), report=False, **top)
    options.data.path, options.data.coords = str(folder / "series.npy"), str(folder / "coords.npy")
    options.data.input_steps, options.data.horizon, options.data.batch_size = 4, 2, 16
    options.model.d_model, options.model.num_prototypes, options.model.mgat_heads = 8, 3, 2
    options.trainer.max_epochs, options.trainer.log_every_n_steps = 2, 1
    options.trainer.accelerator, options.trainer.tensorboard, options.trainer.progress_bar = "cpu", False, False
    return options
