"""Spectral-spatiotemporal learning on graphs with PyTorch Geometric.

The package imports nothing heavy by itself: ``stgraph.data``, ``stgraph.nn``, ``stgraph.models`` and their siblings are
loaded when first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

_SUBPACKAGES = ("data", "metrics", "models", "nn", "ops", "report", "tasks", "testing")

__all__ = ["__version__", *_SUBPACKAGES]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"stgraph.{name}")
    raise AttributeError(f"module 'stgraph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
