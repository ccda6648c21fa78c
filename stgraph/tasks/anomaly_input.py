"""What an anomaly run reads, and how spectra are brought to one grid."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.files import existing, reading
from stgraph.data.graph import observed_entries, series_of
from stgraph.data.spectra import common_wavelengths, read_object_spectra, resample_spectra, to_rest_frame
from stgraph.errors import InputError
from stgraph.tasks.anomaly_options import AnomalyDataOptions
from stgraph.tasks.options import DATASETS, DataOptions
from stgraph.tasks.series import read_series

__all__ = ["anomaly_kind_of", "node_names", "prepare", "read_anomaly_input", "resolve_anomaly_input"]

_AXES = {"wavelength", "loglam"}
_SERIES_ARGUMENTS = ("coords", "coordinates", "key", "null_value")
#: What has an entry for each point of each spectrum.
_POINTS = ("x", "mask", "flux_error", "anomaly_mask")


def anomaly_kind_of(path: str) -> Literal["spectra", "series"]:
    """Look at what a file holds: spectra have a flux and wavelengths, and all else is a series of a network.

    >>> anomaly_kind_of("germany_pm10")
    'series'
    """
    if path in DATASETS:
        return "series"
    file = Path(path)
    suffix = file.suffixes[-2] if file.suffix == ".gz" and len(file.suffixes) > 1 else file.suffix
    if (file.is_dir() and suffix != ".zarr") or suffix in (".fits", ".fit"):
        return "spectra"
    names: set[str] = set()
    if suffix in (".h5", ".hdf5"):
        import h5py

        with reading(file), h5py.File(file, "r") as content:
            names = set(content)
    elif suffix == ".npz":
        with reading(file), np.load(file, allow_pickle=False) as arrays:
            names = set(arrays.files)
    elif suffix == ".csv":
        import pandas as pd

        with reading(file):
            names = {str(name).lower() for name in pd.read_csv(file, nrows=0)}
    return "spectra" if "flux" in names and names & _AXES else "series"


def resolve_anomaly_input(options: AnomalyDataOptions) -> AnomalyDataOptions:
    """Make paths absolute and say what the file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it cannot be read, or an option does not go with what it holds.
    """
    path = str(options.path)
    if path not in DATASETS:
        path = str(existing(path).absolute())
    kind = options.kind or anomaly_kind_of(path)
    if kind == "series":
        for name in ("catalog", "min_wavelength"):
            if getattr(options, name) is not None:
                raise InputError(f"data.{name} is for spectra, and {path} holds a series")
        if options.rest_frame:
            raise InputError(f"data.rest_frame is for spectra, and {path} holds a series")
    elif options.arguments:
        raise InputError(f"data.arguments is for series, and {path} holds spectra")
    catalog = None if options.catalog is None else str(existing(options.catalog).absolute())
    return dataclasses.replace(options, path=path, kind=kind, catalog=catalog)


def read_anomaly_input(options: AnomalyDataOptions) -> Data:
    """Read the spectra or the series of a run; its options are those of :func:`resolve_anomaly_input`.

    Raises:
        InputError: If the file or an option cannot be used.
    """
    path, arguments = str(options.path), options.arguments or {}
    if options.kind == "spectra":
        return read_object_spectra(path, catalog=options.catalog)
    if path in DATASETS:
        data = read_series(path, DataOptions(path=path, arguments=arguments, edges="own"))
    else:
        unknown = sorted(set(arguments) - set(_SERIES_ARGUMENTS))
        if unknown:
            raise InputError(
                f"data.arguments: reading {path} knows no option {unknown[0]!r}; it has {', '.join(_SERIES_ARGUMENTS)}"
            )
        data = read_series(path, DataOptions(path=path, edges="own", **arguments))
    if data.get("time") is not None and data.time.dim() == 2:
        raise InputError(f"each series of {path} has its own times; expected times that all share")
    return data


def prepare(data: Data, options: AnomalyDataOptions, wavelength: Tensor | None = None) -> Data:
    """Bring spectra to the grid and the frame of a run; a series stays as it is.

    Args:
        data: What was read.
        options: The options of the run; ``rest_frame=None`` takes the rest frame if a redshift is known.
        wavelength: Grid of the run; the data's own by default, or one that covers all of it.

    Raises:
        InputError: If nothing is left, or the rest frame is asked for and no redshift is known.
    """
    if options.kind != "spectra":
        series_of(data)
        return data
    if options.min_wavelength is not None:
        data = _without_blue(data, options.min_wavelength)
    redshift = data.get("redshift")
    known = isinstance(redshift, Tensor) and not bool(redshift.isnan().all())
    is_rest = data.get("frame") == "rest"
    rest = (known or is_rest) if options.rest_frame is None else options.rest_frame
    if rest and not is_rest:
        if not known:
            raise InputError("data.rest_frame needs redshifts, and none is known; name a data.catalog with a column z")
        return to_rest_frame(data, wavelength)
    if is_rest and not rest:
        raise InputError("data.rest_frame is false, and the spectra are in the rest frame already")
    if wavelength is None:
        if data.wavelength.dim() == 1:
            return data
        wavelength = common_wavelengths(data)
    return data if _same(data.wavelength, wavelength) else resample_spectra(data, wavelength)


def _without_blue(data: Data, lowest: float) -> Data:
    """Leave out what was observed below a wavelength: drop the columns of a shared grid, mask points of own ones."""
    observed, redshift = data.wavelength, data.get("redshift")
    if data.get("frame") == "rest" and redshift is not None:
        observed = observed * (1 + redshift.double().nan_to_num(0.0)).unsqueeze(1)
    kept = observed >= lowest
    if not bool(kept.any()):
        raise InputError(f"data.min_wavelength is {lowest}; the spectra end at {float(observed.max())} angstrom")
    result = copy.copy(data)
    if kept.dim() == 1:
        for name in _POINTS:
            if data.get(name) is not None:
                result[name] = data[name][:, kept]
        result.wavelength = data.wavelength[kept]
    else:
        result.mask = observed_entries(data) & kept.unsqueeze(2)
        result.x = data.x.masked_fill(~result.mask, 0.0)
    result.no_data = ~observed_entries(result).any(dim=2).any(dim=1)
    return result


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first.double(), second.double())


def node_names(data: Data) -> list[str]:
    """Return the name of each spectrum or node; its number where it has none."""
    names: Any = data.get("node_names")
    return [str(i) for i in range(data.x.shape[0])] if names is None else [str(name) for name in names]
