"""What a reconstruction run reads: light curves, spectra, or the series of a network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from torch_geometric.data import Data

from stgraph.data.csv_files import read_csv
from stgraph.data.files import existing, reading
from stgraph.data.light_curves import read_light_curves, read_spectra
from stgraph.errors import InputError
from stgraph.tasks.options import DATASETS, DataOptions
from stgraph.tasks.reconstruction_options import ReconstructionDataOptions
from stgraph.tasks.series import read_series

__all__ = ["kind_of", "read_input", "resolve_input"]

Kind = Literal["light_curves", "spectra", "series"]

_SPECTRA = {"psd", "acf", "fstat", "power", "f_stat"}


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
    scaling = options.scaling or ("none" if kind == "spectra" else "robust")
    return dataclasses.replace(options, path=path, kind=kind, scaling=scaling)


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
        return read_series(path, DataOptions(path=path, arguments=options.arguments))
    try:
        if options.kind == "spectra":
            return read_spectra(path, options.channels, **arguments)
        return read_light_curves(path, **arguments)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        unknown = str(error).rpartition("argument ")[2]
        raise InputError(f"data.arguments: reading {options.kind} knows no option {unknown}") from error
