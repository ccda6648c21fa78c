"""The graph of a set of spectra as named arrays, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import series_of
from stgraph.data.light_curves.metadata import Metadata, as_metadata
from stgraph.errors import InputError

__all__ = ["STORED_FORMAT", "arrays_of", "metadata_of", "restored"]

#: ``format`` of our own files, which are taken as they are.
STORED_FORMAT = "stgraph object spectra"

#: Attributes of the graph by their names in a file; those [N, L, 1] lose their last dimension.
_SERIES = {"x": "flux", "mask": "mask", "flux_error": "error", "anomaly_mask": "anomaly_mask"}
_VECTORS = {"redshift": "z", "wavelength": "wavelength"}
_AS_THEY_ARE = ("sky", "pos", "no_data", "anomalous", "edge_index", "edge_attr", "edge_weight")
_WRITTEN = (*_SERIES, *_VECTORS, *_AS_THEY_ARE, "node_names", "metadata", "frame")
_REQUIRED = ("flux", "wavelength")

_logger = logging.getLogger("stgraph")


def arrays_of(data: Data, path: Any) -> dict[str, npt.NDArray[Any]]:
    """Arrays under the names of the file; what it cannot hold is named in a warning.

    Raises:
        InputError: If the graph holds no spectra.
    """
    x = series_of(data)
    if x.size(2) != 1 or not isinstance(data.get("wavelength"), Tensor):
        raise InputError(
            f"spectra must have one channel and a wavelength, got x {tuple(x.shape)} and {', '.join(data.keys())}"
        )
    if data.wavelength.shape not in (x.shape[:2], x.shape[1:2]):
        raise InputError(f"wavelength must have the shape (L) or (N, L), got {tuple(data.wavelength.shape)}")
    left_out = [name for name in data.keys() if name not in _WRITTEN]  # noqa: SIM118 - not a dictionary
    if left_out:
        _logger.warning("%s: not written, as files of spectra do not hold it: %s", path, ", ".join(left_out))
    tensors = {name: data[key].squeeze(2) for key, name in _SERIES.items() if data.get(key) is not None}
    tensors |= {name: data[key] for key, name in _VECTORS.items() if data.get(key) is not None}
    tensors |= {name: data[name] for name in _AS_THEY_ARE if data.get(name) is not None}
    arrays: dict[str, npt.NDArray[Any]] = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    if data.get("node_names") is not None:
        arrays["targetid"] = np.array([str(name) for name in data.node_names], dtype=np.str_)
    if data.get("frame") is not None:
        arrays["frame"] = np.array([str(data.frame)])
    return arrays


def metadata_of(data: Data) -> Metadata:
    """The metadata, checked."""
    return {} if data.get("metadata") is None else as_metadata(data.metadata, int(data.x.size(0)))


def restored(arrays: Mapping[str, npt.NDArray[Any]], metadata: Metadata, where: str) -> Data:
    """The graph whose arrays these are.

    Raises:
        InputError: If something is missing or shapes do not fit.
    """
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise InputError(f"{where} is incomplete: it has no {', '.join(missing)}; there are {', '.join(arrays)}")
    shape = arrays["flux"].shape
    allowed: dict[str, tuple[tuple[int, ...], ...]] = dict.fromkeys(_SERIES.values(), (shape,))
    allowed |= {"z": (shape[:1],), "targetid": (shape[:1],)}
    allowed |= {"wavelength": (shape, shape[1:]), "sky": ((shape[0], 2),), "pos": ((shape[0], 3),)}
    allowed |= {"no_data": (shape[:1],), "anomalous": (shape[:1],), "frame": ((1,),)}
    for name, shapes in allowed.items():
        if name in arrays and arrays[name].shape not in shapes:
            raise InputError(f"{where}: {name} has the shape {arrays[name].shape}, expected {shapes[0]}")
    data = Data()
    for key, name in {**_SERIES, **_VECTORS, **{name: name for name in _AS_THEY_ARE}}.items():
        if name in arrays:
            tensor = torch.from_numpy(arrays[name])
            data[key] = tensor.unsqueeze(2) if key in _SERIES else tensor
    if "targetid" in arrays:
        data.node_names = arrays["targetid"].tolist()
    if "frame" in arrays:
        data.frame = str(arrays["frame"][0])
    if metadata:
        data.metadata = as_metadata(metadata, shape[0])
    return data
