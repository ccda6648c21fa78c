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

__all__ = [
    "error_map",
    "forecasts_at_nodes",
    "horizon_errors",
    "node_errors",
    "save_figure",
    "training_curves",
    "write_benchmark_report",
    "write_report",
]

_MODULES = dict.fromkeys(__all__, "figures") | {
    "write_benchmark_report": "benchmark",
    "write_report": "html",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that matplotlib is loaded only when something is drawn.
    if name in _MODULES:
        return getattr(importlib.import_module(f"stgraph.report.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'stgraph.report' has no attribute {name!r}")
