"""Catalogues of objects, whose rows are joined with spectra by the objects' identifiers."""

from __future__ import annotations

import logging
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.data.files import existing
from stgraph.data.light_curves.metadata import Metadata
from stgraph.data.light_curves.sky import as_sky, unit_vectors
from stgraph.data.spectra.build import as_redshift
from stgraph.data.spectra.columns import read_text_table, take_sky, typed_column
from stgraph.data.spectra.fits_files import open_fits, scalar_columns
from stgraph.data.spectra.parts import identifiers
from stgraph.data.spectra.rows import listed
from stgraph.errors import InputError, InputTypeError

__all__ = ["add_catalog"]

_logger = logging.getLogger("stgraph")


def add_catalog(data: Data, catalog: Any) -> Data:
    """Give spectra the redshift (column ``z``), position and metadata of the rows with their ``targetid``.

    Rows of other objects are not used; how many is logged. The given graph is not changed.

    Raises:
        InputError: If the catalogue has no column ``targetid``, no row for a spectrum, or several; names the spectra.
        InputTypeError: If it is no table, or identifiers are floats.
    """
    where, columns = _columns_of(catalog)
    if "targetid" not in columns:
        raise InputError(f"{where} has no column targetid; there are {', '.join(columns) or 'no columns'}")
    found = identifiers(columns.pop("targetid"), where)
    if data.get("node_names") is None:
        raise InputError("spectra without names cannot be joined with a catalogue")
    names = [str(name) for name in data.node_names]
    rows = _rows_of(names, found, where)
    metadata = {name: vector[rows] for name, vector in columns.items()}
    if len(found) > len(names):
        _logger.info("%s: %d of %d rows are of objects without a spectrum", where, len(found) - len(names), len(found))
    result: Data = data.__copy__()
    sky = take_sky(metadata, where)
    if sky is not None:
        result.sky = torch.from_numpy(as_sky(sky, names))
        result.pos = unit_vectors(result.sky)
    redshift = metadata.pop("z", None)
    if redshift is not None:
        result.redshift = torch.from_numpy(as_redshift(redshift, names))
    result.metadata = {**(data.get("metadata") or {}), **metadata}
    return result


def _rows_of(names: list[str], found: list[str], where: str) -> list[int]:
    place = {name: row for row, name in enumerate(found)}
    missing = [name for name in names if name not in place]
    if missing:
        raise InputError(f"{where} has no row for {listed(missing)}")
    counts = Counter(found)
    repeated = [name for name in names if counts[name] > 1]
    if repeated:
        raise InputError(f"{where} has several rows for {listed(repeated)}; keep one for each")
    return [place[name] for name in names]


def _columns_of(catalog: Any) -> tuple[str, Metadata]:
    """Words for the catalogue, and its columns by their names in small letters."""
    import pandas as pd

    if isinstance(catalog, pd.DataFrame):
        return "catalog", {str(name).lower(): _array(catalog[name]) for name in catalog}
    if not isinstance(catalog, (str, PathLike)):
        raise InputTypeError(f"catalog must be a file or a pandas DataFrame, got {type(catalog).__name__}")
    path = existing(catalog)
    if path.name.lower().endswith((".fits", ".fit", ".fits.gz")):
        return str(path), _fits_columns(path)
    if path.name.lower().endswith((".csv", ".csv.gz")):
        table = read_text_table(path)
        return str(path), {
            name: np.array(cells) if name == "targetid" else typed_column(cells) for name, cells in table.items()
        }
    raise InputError(f"{path} is of an unknown kind; catalogues are read from .csv and .fits")


def _array(column: Any) -> Any:
    values = column.to_numpy()
    if values.dtype.kind in "biuf" or column.name == "targetid":
        return values
    return np.array(["" if missing else str(item) for item, missing in zip(column, column.isna(), strict=True)])


def _fits_columns(path: Path) -> Metadata:
    with open_fits(path) as file:
        for unit in file:
            columns = getattr(unit, "columns", None)
            if columns is not None and "targetid" in {name.lower() for name in columns.names}:
                return scalar_columns(unit)
    raise InputError(f"{path} has no table with a column targetid")
