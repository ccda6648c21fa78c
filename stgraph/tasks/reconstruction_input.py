"""What a reconstruction run reads: light curves, spectra, or the series of a network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.data.csv_files import read_csv
from stgraph.data.files import existing, reading
from stgraph.data.light_curves import read_light_curves, read_spectra
from stgraph.errors import InputError
from stgraph.tasks.options import DATASETS, DataOptions
from stgraph.tasks.reconstruction_options import ReconstructionDataOptions
from stgraph.tasks.series import read_series

__all__ = ["kind_of", "read_input", "resolve_input", "spectra_in", "with_spectra"]

Kind = Literal["light_curves", "spectra", "series"]

# Reading options of the series of a network; for other files, those of the reading function.
_SERIES_ARGUMENTS = ("coords", "coordinates", "key", "null_value")
_ALIASES = {"power": "psd", "f_stat": "fstat"}
_SPECTRA = {"psd", "acf", "fstat", "f_stat"}


def resolve_input(options: ReconstructionDataOptions) -> ReconstructionDataOptions:
    """Make paths absolute, and fill in what depends on what the file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it cannot be read.
    """
    path, kind = str(options.path), options.kind
    if path not in DATASETS:
        path = str(existing(path).absolute())
    kind = kind or kind_of(path)
    spectra = None if options.spectra is None else str(existing(options.spectra).absolute())
    if spectra is not None and kind != "light_curves":
        raise InputError(f"data.spectra goes with light curves, and {path} holds {kind}")
    scaling = options.scaling or ("none" if kind == "spectra" else "robust")
    return dataclasses.replace(options, path=path, kind=kind, spectra=spectra, scaling=scaling)


def kind_of(path: str) -> Kind:
    """Look at what a file holds: light curves have a flux, spectra a power, and all else is a series of a network.

    >>> kind_of("colorado_climate")
    'series'
    """
    if path in DATASETS:
        return "series"
    file = Path(path)
    suffix = file.suffixes[-2] if file.suffix == ".gz" and len(file.suffixes) > 1 else file.suffix
    if file.is_dir() and suffix != ".zarr":
        return "light_curves"
    if suffix in (".fits", ".fit", ".parquet"):
        return "light_curves"
    if suffix in (".h5", ".hdf5", ".hdf"):
        import h5py

        with reading(file), h5py.File(file, "r") as content:
            names = set(content)
        if "flux" in names:
            return "light_curves"
        return "spectra" if names & _SPECTRA else "series"
    if suffix == ".npz":
        with reading(file), np.load(file, allow_pickle=False) as content:
            fluxes = any(name == "flux" or name.endswith("_flux") for name in content.files)
        return "light_curves" if fluxes else "series"
    if suffix == ".csv":
        with reading(file):
            return "light_curves" if "flux" in map(str, read_csv(file).columns) else "series"
    return "series"


def read_input(options: ReconstructionDataOptions) -> Data:
    """Read the series of a run; its options are those of :func:`resolve_input`.

    Raises:
        InputError: If the file or an option cannot be used.
    """
    path, arguments = str(options.path), options.arguments or {}
    if options.kind == "series":
        return read_series(path, _series_options(path, arguments))
    try:
        if options.kind == "spectra":
            return read_spectra(path, options.channels, **arguments)
        data = read_light_curves(path, **arguments)
        return data if options.spectra is None else with_spectra(data, options.spectra)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        unknown = str(error).rpartition("argument ")[2]
        raise InputError(f"data.arguments: reading {options.kind} knows no option {unknown}") from error


def _series_options(path: str, arguments: dict[str, Any]) -> DataOptions:
    if path in DATASETS:
        return DataOptions(path=path, arguments=arguments)
    unknown = sorted(set(arguments) - set(_SERIES_ARGUMENTS))
    if unknown:
        raise InputError(
            f"data.arguments: reading {path} knows no option {unknown[0]!r}; it has {', '.join(_SERIES_ARGUMENTS)}"
        )
    return DataOptions(path=path, **arguments)


def spectra_in(path: str) -> list[str]:
    """Return which of the spectra psd, acf and fstat a file has.

    Raises:
        InputError: If it cannot be read, or has none.
    """
    import h5py

    file = existing(path)
    with reading(file), h5py.File(file, "r") as content:
        names = {_ALIASES.get(name, name) for name in content}
    found = [name for name in ("psd", "acf", "fstat") if name in names]
    if not found:
        raise InputError(f"{path} has none of psd, acf and fstat; it has {', '.join(sorted(names)) or 'nothing'}")
    return found


def with_spectra(data: Data, path: str) -> Data:
    """Add to light curves the spectra of the same stars: ``spectra`` [N, F, M], ``spectra_names``, ``present`` [N].

    Raises:
        InputError: If the file lacks names or spectra, or names no star of the light curves.
    """
    found = read_spectra(path, spectra_in(path))
    names, known = data.get("node_names"), found.get("node_names")
    if names is None or known is None:
        raise InputError(f"{path if names is not None else 'data.path'} names no stars; spectra are joined by name")
    rows = {str(name): row for row, name in enumerate(known)}
    row = torch.tensor([rows.get(str(name), -1) for name in names])
    data.present = row >= 0
    if not data.present.any():
        raise InputError(f"{path} has spectra of none of the {len(names)} light curves, such as {str(names[0])!r}")
    data.spectra = found.x[row.clamp(min=0)] * data.present[:, None, None]
    data.spectra_names = list(found.channel_names)
    return data
