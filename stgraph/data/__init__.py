"""From any input to the graph of a series, its edges, splits and windows.

The parts are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.data import datasets as datasets
    from stgraph.data import images as images
    from stgraph.data import light_curves as light_curves
    from stgraph.data import spectra as spectra
    from stgraph.data.adjacency import DistanceTable, load_adjacency_pickle, load_distance_table, load_matrix
    from stgraph.data.cropping import crop
    from stgraph.data.datamodule import SeriesDataModule
    from stgraph.data.files import from_file, read_coords
    from stgraph.data.graph import from_array, to_array, windows_to_array
    from stgraph.data.masking import Masking
    from stgraph.data.selection import select_channels, select_nodes, select_time
    from stgraph.data.series_loader import SeriesLoader
    from stgraph.data.series_scaling import ScaleSeries, unscale
    from stgraph.data.splits import (
        Split,
        split_by_date,
        split_by_ratio,
        split_windows,
        train_val_split,
        window_starts,
    )
    from stgraph.data.tables import from_table
    from stgraph.data.times import as_time, to_datetime64
    from stgraph.data.transforms import (
        AdjacencyGraph,
        DistanceKernelGraph,
        GridStencilGraph,
        KNNGraph,
        RadiusGraph,
    )
    from stgraph.data.windows import WindowBatch, WindowLoader
    from stgraph.data.xarrays import from_xarray

_MODULES = {
    "adjacency": ("DistanceTable", "load_adjacency_pickle", "load_distance_table", "load_matrix"),
    "cropping": ("crop",),
    "datamodule": ("SeriesDataModule",),
    "files": ("from_file", "read_coords"),
    "graph": ("from_array", "to_array", "windows_to_array"),
    "masking": ("Masking",),
    "selection": ("select_channels", "select_nodes", "select_time"),
    "series_loader": ("SeriesLoader",),
    "series_scaling": ("ScaleSeries", "unscale"),
    "splits": ("Split", "split_by_date", "split_by_ratio", "split_windows", "train_val_split", "window_starts"),
    "tables": ("from_table",),
    "times": ("as_time", "to_datetime64"),
    "transforms": ("AdjacencyGraph", "DistanceKernelGraph", "GridStencilGraph", "KNNGraph", "RadiusGraph"),
    "windows": ("WindowBatch", "WindowLoader"),
    "xarrays": ("from_xarray",),
}
_SUBPACKAGES = ("datasets", "images", "light_curves", "spectra")
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AdjacencyGraph",
    "DistanceKernelGraph",
    "DistanceTable",
    "GridStencilGraph",
    "KNNGraph",
    "Masking",
    "RadiusGraph",
    "ScaleSeries",
    "SeriesDataModule",
    "SeriesLoader",
    "Split",
    "WindowBatch",
    "WindowLoader",
    "as_time",
    "crop",
    "datasets",
    "from_array",
    "from_file",
    "from_table",
    "from_xarray",
    "light_curves",
    "load_adjacency_pickle",
    "load_distance_table",
    "load_matrix",
    "read_coords",
    "select_channels",
    "select_nodes",
    "select_time",
    "split_by_date",
    "split_by_ratio",
    "split_windows",
    "to_array",
    "to_datetime64",
    "train_val_split",
    "unscale",
    "window_starts",
    "windows_to_array",
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"stgraph.data.{name}")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"stgraph.data.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'stgraph.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
