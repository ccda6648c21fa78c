"""What one trains for: Lightning modules, and the folder that holds all about a run."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.tasks.calibration import calibrate_quantiles
    from stgraph.tasks.checkpoints import AtomicCheckpointIO, load_forecaster
    from stgraph.tasks.forecasting import Forecasting
    from stgraph.tasks.inference import LoadedRun
    from stgraph.tasks.options import RunOptions
    from stgraph.tasks.run import train

__all__ = [
    "AtomicCheckpointIO",
    "Forecasting",
    "LoadedRun",
    "RunOptions",
    "calibrate_quantiles",
    "load_forecaster",
    "train",
]

_MODULES = {
    "AtomicCheckpointIO": "checkpoints",
    "Forecasting": "forecasting",
    "LoadedRun": "inference",
    "RunOptions": "options",
    "calibrate_quantiles": "calibration",
    "load_forecaster": "checkpoints",
    "train": "run",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that reading the options of a run does not load torch.
    if name in _MODULES:
        return getattr(importlib.import_module(f"stgraph.tasks.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'stgraph.tasks' has no attribute {name!r}")
