"""Spectra of light curves in HDF5 files."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import series_of
from stgraph.data.light_curves.hdf5 import get_array, get_metadata, open_hdf5, put_array, put_metadata, write_hdf5
from stgraph.data.light_curves.metadata import as_metadata
from stgraph.data.light_curves.spectral_names import CHANNELS, STATIC_NAMES
from stgraph.data.light_curves.spectral_scaling import restore_spectra
from stgraph.errors import InputError

__all__ = ["read_spectra", "verify_spectra", "write_spectra"]

_FORMAT = "stgraph spectra"
_ALIASES = {"power": "psd", "f_stat": "fstat"}
_AS_THEY_ARE = ("sky", "pos", "edge_index", "edge_attr", "edge_weight")
_ATTRIBUTES = ("NW", "K", "n_failed")
_LABELS = ("lc_type", "sampling_strategy")  # metadata that some files hold beside the spectra
_NAMES_SHOWN = 5


def write_spectra(path: str | PathLike[str], data: Data) -> None:
    r"""Write spectra to an HDF5 file, from which :func:`read_spectra` gives them back.

    The file holds, compressed, an array [N, F] for each channel (``psd``, ``acf``, ``fstat``) and ``pvalues``,
    ``frequency`` [F] or [N, F] in 1/day, ``tabular`` (the static features), ``targetid`` (the names), ``sky``, ``pos``
    and edges where the graph has them, the group ``metadata`` of vectors [N], and the attributes ``n_samples``,
    ``n_bins``, ``NW``, ``K`` and ``n_failed``. A file of this name is replaced, once the new one is complete.

    Args:
        path: The file, ``.h5`` or ``.hdf5``.
        data: Spectra as :func:`spectra_of` gives them.

    Raises:
        InputError: If the graph holds no spectra, a name or text cannot stand in an HDF5 file, or there is no such
            folder.

    Examples:
        >>> import tempfile
        >>> data = Data(x=torch.zeros(2, 8, 1), channel_names=["psd"], node_names=["a", "b"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_spectra(f"{folder}/spectra.h5", data)
        ...     read_spectra(f"{folder}/spectra.h5")
        Data(x=[2, 8, 1], channel_names=[1], node_names=[2])
    """
    x, names = series_of(data).detach().cpu(), data.get("channel_names")
    if names is None or len(names) != x.shape[2] or len(set(names)) != len(names):
        raise InputError(f"spectra must have a distinct name for each of {x.shape[2]} channels, got {names}")
    if Path(path).suffix.lower() not in (".h5", ".hdf5"):
        raise InputError(f"spectra are written to .h5 or .hdf5 files, got {path}")
    arrays = {str(name): x[:, :, channel] for channel, name in enumerate(names)}
    renamed = {"pvalues": "pvalues", "frequency": "frequency", "static": "tabular"}
    renamed |= {name: name for name in _AS_THEY_ARE}
    for key, name in renamed.items():
        if data.get(key) is not None:
            if name in arrays:
                raise InputError(f"{name!r} cannot be the name of a channel; the file holds something else by it")
            arrays[name] = data[key].detach().cpu()
    metadata = as_metadata(data.metadata, x.shape[0]) if data.get("metadata") is not None else {}
    with write_hdf5(path) as file:
        file.attrs.update({"format": _FORMAT, "n_samples": x.shape[0], "n_bins": x.shape[1]})
        file.attrs.update({name: data[name] for name in _ATTRIBUTES if data.get(name) is not None})
        for name, values in arrays.items():
            put_array(file, name, values)
        if "tabular" in file and data.get("static_names") is not None:
            file["tabular"].attrs["names"] = list(data.static_names)
        if data.get("node_names") is not None:
            put_array(file, "targetid", np.array([str(name) for name in data.node_names], dtype=np.str_))
        if metadata:
            put_metadata(file, metadata)


def read_spectra(path: str | PathLike[str], channels: Sequence[str] = ("psd",)) -> Data:
    r"""Read spectra from an HDF5 file: one of :func:`write_spectra`, or any that has the channels as arrays [N, F].

    Args:
        path: The file.
        channels: Names of the arrays to read, in this order; ``power`` and ``psd`` stand for each other, as do
            ``f_stat`` and ``fstat``.

    Shapes:
        - **output:** ``x`` :math:`(N, F, C)` float32 with ``channel_names``; where the file has them ``frequency``
          :math:`(F)` or :math:`(N, F)` float64, ``static`` :math:`(N, S)` with ``static_names``, ``metadata``,
          ``node_names``, ``sky``, ``pos``, edges, and the numbers ``NW``, ``K`` and ``n_failed``

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is damaged or has no such channel (lists what it has), shapes do not fit, or a spectrum
            holds NaN or infinite values (names the stars).

    Examples:
        See :func:`write_spectra`.
    """
    wanted = [channels] if isinstance(channels, str) else list(channels)
    if not wanted or len({_canonical(name) for name in wanted}) != len(wanted):
        raise InputError(f"channels must name at least one channel, and each once, got {wanted}")
    with open_hdf5(path) as file:
        keys = [_key_of(file, name, path) for name in wanted]
        arrays = dict(zip(wanted, (get_array(file, key) for key in keys), strict=True))
        names = get_array(file, "targetid").tolist() if "targetid" in file else None
        data = Data(x=_stack(arrays, path, names), channel_names=[_canonical(name) for name in wanted])
        _add_optional(data, file, path)
        attributes = {name: np.asarray(file.attrs[name]).item() for name in _ATTRIBUTES if name in file.attrs}
    for name, value in attributes.items():
        data[name] = value
    if names is not None:
        data.node_names = [str(name) for name in names]
    return data


def verify_spectra(path: str | PathLike[str]) -> float:
    r"""Undo the normalisation of a file of :func:`write_spectra`, and return the largest error.

    Restored densities are compared with their peaks in ``tabular`` (relative error), autocorrelations
    with their value at lag 0, and F-statistics with the p-values that follow from them.

    Args:
        path: The file, with what :func:`spectra_of` gives.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is damaged, or lacks what is compared.

    Examples:
        >>> import tempfile
        >>> from stgraph.data.light_curves import spectra_of, write_spectra
        >>> from stgraph.data.simulation.light_curves import simulate_light_curves
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_spectra(f"{folder}/spectra.h5", spectra_of(simulate_light_curves(2, points=(40, 60)), bins=16))
        ...     verify_spectra(f"{folder}/spectra.h5") < 1e-5
        True
    """
    data = read_spectra(path, CHANNELS)
    metadata = data.get("metadata") or {}
    keys = [[f"{name}_{part}" for part in ("mean", "std", "scale_factor")] for name in CHANNELS]
    missing = [f"metadata/{key}" for names in keys for key in names if key not in metadata]
    missing += ["K"] if data.get("K") is None else []
    static = dict(zip(data.get("static_names") or (), data.static.double().T if "static" in data else (), strict=True))
    missing += [] if "psd_peak" in static else ["psd_peak in tabular"]
    with open_hdf5(path) as file:
        if missing or "pvalues" not in file:
            raise InputError(
                f"{path} has no {', '.join(missing) or 'pvalues'}; only files of write_spectra can be verified"
            )
        pvalues = torch.from_numpy(get_array(file, "pvalues")).double()
    psd, acf, fstat = (
        restore_spectra(data.x[:, :, channel], *(torch.from_numpy(metadata[key]) for key in names))
        for channel, names in enumerate(keys)
    )
    errors = [
        psd.amax(dim=1) / static["psd_peak"] - 1,
        acf[:, 0] / static["acf_zero"] - 1 if "acf_zero" in static else acf[:, 0] - 1,
        torch.exp((1 - data.K) * torch.log1p(fstat / (data.K - 1))) - pvalues,
    ]
    return max(float(error.abs().max()) for error in errors)


def _canonical(name: str) -> str:
    return _ALIASES.get(name, name)


def _key_of(file: Any, name: str, path: Any) -> str:
    """The array that holds a channel."""
    for key in (name, _canonical(name), *(alias for alias, other in _ALIASES.items() if other == name)):
        if key in file and hasattr(file[key], "shape"):
            return key
    raise InputError(f"{path} has no channel {name!r}; there are {', '.join(file) or 'no data'}")


def _stack(arrays: dict[str, npt.NDArray[Any]], path: Any, names: list[Any] | None) -> Tensor:
    """Channels ``[N, F]`` as ``[N, F, C]``, once they are known to be numbers and to fit together."""
    shape = next(iter(arrays.values())).shape
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape != shape or 0 in shape:
            raise InputError(f"{path}: {name} has the shape {array.shape}; expected (N, F), the same for all channels")
        if array.dtype.kind not in "iuf":
            raise InputError(f"{path}: {name} must hold numbers, got dtype {array.dtype}")
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            named = names is not None and len(names) == len(array)
            shown = ", ".join(repr(names[row]) if named and names else str(row) for row in bad[:_NAMES_SHOWN])
            raise InputError(
                f"{path}: {name} holds NaN or infinite values in {bad.size} of {len(array)} rows: {shown}"
                f"{', ...' if bad.size > _NAMES_SHOWN else ''}"
            )
    return torch.from_numpy(np.stack([array.astype(np.float32) for array in arrays.values()], axis=2))


def _add_optional(data: Data, file: Any, path: Any) -> None:
    """Add what the file has besides the channels."""
    count, bins = data.x.shape[:2]
    shapes = {"frequency": ((bins,), (count, bins)), "targetid": ((count,),)}
    for name, allowed in shapes.items():
        if name in file and file[name].shape not in allowed:
            raise InputError(f"{path}: {name} has the shape {file[name].shape}; expected one of {allowed}")
    if "frequency" in file:
        data.frequency = torch.from_numpy(get_array(file, "frequency").astype(np.float64))
    if "tabular" in file:
        table = get_array(file, "tabular")
        if table.ndim != 2 or len(table) != count:
            raise InputError(f"{path}: tabular has the shape {table.shape}; expected ({count}, number of features)")
        data.static = torch.from_numpy(table.astype(np.float32))
        usual = STATIC_NAMES if table.shape[1] == len(STATIC_NAMES) else range(table.shape[1])
        data.static_names = [str(name) for name in file["tabular"].attrs.get("names", usual)]
    metadata = get_metadata(file)
    metadata |= {name: get_array(file, name) for name in _LABELS if name in file and name not in metadata}
    if metadata:
        data.metadata = as_metadata(metadata, count)
    for name in _AS_THEY_ARE:
        if name in file:
            data[name] = torch.from_numpy(get_array(file, name))
