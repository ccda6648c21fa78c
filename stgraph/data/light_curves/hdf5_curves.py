"""Light curves in HDF5 files."""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import series_of
from stgraph.data.light_curves.arrays import ARRAY_NAMES, source_of_arrays
from stgraph.data.light_curves.hdf5 import (
    LIGHT_CURVE_FORMAT,
    get_array,
    get_metadata,
    open_hdf5,
    put_array,
    put_metadata,
    write_hdf5,
)
from stgraph.data.light_curves.metadata import as_metadata
from stgraph.data.light_curves.sources import Source
from stgraph.errors import InputError

__all__ = ["read_hdf5_source", "restore_light_curves", "write_light_curves"]

_REQUIRED = ("flux", "mask", "time", "length")
_AS_THEY_ARE = ("sky", "pos", "edge_index", "edge_attr", "edge_weight")
_WRITTEN = ("x", "mask", "time", "length", "flux_error", "node_names", "metadata", *_AS_THEY_ARE)

_logger = logging.getLogger("stgraph")


def write_light_curves(path: str | PathLike[str], data: Data) -> None:
    r"""Write light curves to an HDF5 file, from which :func:`read_light_curves` gives back the same graph.

    The file holds ``flux`` and ``mask`` [N, L], ``time`` [N, L] in days (or [T] where all curves share it),
    ``length`` [N] (number of real points), and what there is of ``flux_err`` [N, L], ``targetid`` [N],
    ``sky`` [N, 2], ``pos`` [N, 3], ``metadata`` (a group of vectors) and edges; anything else the graph has is left
    out, with a warning of the logger ``stgraph``. A file of this name is replaced, once the new one is complete.

    Args:
        path: The file, ``.h5`` or ``.hdf5``.
        data: Light curves as :func:`from_light_curves` gives them.

    Raises:
        InputError: If the graph holds no light curves, a name or text cannot stand in an HDF5 file, or there is no
            such folder.

    Examples:
        >>> import tempfile
        >>> from stgraph.data.light_curves import from_light_curves, read_light_curves
        >>> data = from_light_curves([[0.0, 1.0]], [[5.0, 6.0]], names=["KIC 1"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_light_curves(f"{folder}/curves.h5", data)
        ...     read_light_curves(f"{folder}/curves.h5")
        Data(x=[1, 2, 1], time=[1, 2], mask=[1, 2, 1], length=[1], node_names=[1])
    """
    arrays = _arrays_of(data)
    count = arrays["flux"].shape[0]
    metadata = as_metadata(data.metadata, count) if data.get("metadata") is not None else {}
    if Path(path).suffix.lower() not in (".h5", ".hdf5"):
        raise InputError(f"light curves are written to .h5 or .hdf5 files, got {path}")
    left_out = [name for name in data.keys() if name not in _WRITTEN]  # noqa: SIM118 - not a dictionary
    if left_out:
        _logger.warning("%s: not written, as files of light curves do not hold it: %s", path, ", ".join(left_out))
    with write_hdf5(path) as file:
        file.attrs["format"] = LIGHT_CURVE_FORMAT
        file.attrs["n_samples"] = count
        file.attrs["max_length"] = arrays["flux"].shape[1]
        for name, values in arrays.items():
            put_array(file, name, values)
        if metadata:
            put_metadata(file, metadata)


def restore_light_curves(path: Path) -> Data | None:
    """The graph that :func:`write_light_curves` wrote, as it was; None for any other file.

    Raises:
        InputError: If the file is damaged.
    """
    with open_hdf5(path) as file:
        if file.attrs.get("format") != LIGHT_CURVE_FORMAT:
            return None
        found = {name: get_array(file, name) for name in file if hasattr(file[name], "shape")}
        metadata = get_metadata(file)
    missing = [name for name in _REQUIRED if name not in found]
    if missing:
        raise InputError(f"{path} is incomplete: it has no {', '.join(missing)}; there are {', '.join(found)}")
    source_of_arrays(found, str(path))  # checks the shapes
    tensors = {name: torch.from_numpy(found[name]) for name in found if found[name].dtype.kind != "U"}
    data = Data(x=tensors["flux"].unsqueeze(2), mask=tensors["mask"].unsqueeze(2), time=tensors["time"])
    if "flux_err" in tensors:
        data.flux_error = tensors["flux_err"].unsqueeze(2)
    if data.time.dim() == 2:
        data.length = tensors["length"]
    if "targetid" in found:
        data.node_names = found["targetid"].tolist()
    if metadata:
        data.metadata = as_metadata(metadata, data.x.size(0))
    for name in _AS_THEY_ARE:
        if name in tensors:
            data[name] = tensors[name]
    return data


def read_hdf5_source(path: Path) -> Source:
    """Light curves of any HDF5 file that has ``flux`` and ``time``.

    Raises:
        InputError: If the file is damaged or has none; lists what it has.
    """
    with open_hdf5(path) as file:
        names = set(file)
        # Other arrays, such as spectra, may be large: their names are enough.
        arrays = {name: get_array(file, name) if name in ARRAY_NAMES else np.empty(0) for name in sorted(names)}
        source = source_of_arrays(arrays, str(path), get_metadata(file))
        source.cleaned = file.attrs.get("format") == LIGHT_CURVE_FORMAT
    return source


def _arrays_of(data: Data) -> dict[str, Any]:
    x = series_of(data)
    if x.size(2) != 1 or not isinstance(data.get("time"), Tensor):
        raise InputError(f"light curves must have one channel and a time, got x {tuple(x.shape)} and {data.keys()}")
    mask = data.mask if data.get("mask") is not None else torch.ones_like(x, dtype=torch.bool)
    time = data.time
    if time.shape not in (x.shape[:2], x.shape[1:2]) or mask.shape != x.shape:
        raise InputError(
            f"time must have the shape (N, L) or (L), and mask that of x, got {tuple(time.shape)} and "
            f"{tuple(mask.shape)} for x {tuple(x.shape)}"
        )
    length = data.length if data.get("length") is not None else mask.sum(dim=(1, 2))
    arrays: dict[str, Any] = {"flux": x.squeeze(2), "mask": mask.squeeze(2), "time": time.double(), "length": length}
    if data.get("flux_error") is not None:
        arrays["flux_err"] = data.flux_error.squeeze(2)
    arrays |= {name: data[name] for name in _AS_THEY_ARE if data.get(name) is not None}
    arrays = {name: value.detach().cpu().numpy() for name, value in arrays.items()}
    if data.get("node_names") is not None:
        arrays["targetid"] = np.array([str(name) for name in data.node_names], dtype=np.str_)
    return arrays
