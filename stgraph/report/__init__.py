"""Figures and the HTML report of a run, and those of a benchmark."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.report.benchmark import write_benchmark_report
    from stgraph.report.figures import (
        error_map,
        forecasts_at_nodes,
        horizon_errors,
        node_errors,
        save_figure,
        training_curves,
    )
    from stgraph.report.html import write_report
    from stgraph.report.latents import latent_picture
    from stgraph.report.reconstruction import error_boxes, reconstruction_grid

__all__ = [
    "error_boxes",
    "error_map",
    "forecasts_at_nodes",
    "horizon_errors",
    "latent_picture",
    "node_errors",
    "reconstruction_grid",
    "save_figure",
    "training_curves",
    "write_benchmark_report",
    "write_report",
]

_MODULES = dict.fromkeys(__all__, "figures") | {
    "error_boxes": "reconstruction",
    "latent_picture": "latents",
    "reconstruction_grid": "reconstruction",
    "write_benchmark_report": "benchmark",
    "write_report": "html",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that matplotlib is loaded only when something is drawn.
    if name in _MODULES:
        return getattr(importlib.import_module(f"stgraph.report.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'stgraph.report' has no attribute {name!r}")
