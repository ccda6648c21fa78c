"""Spectra in CSV files: a row for each spectrum, with its points as JSON arrays in the cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.files import reading
from stgraph.data.light_curves.metadata import Metadata
from stgraph.data.spectra.columns import read_text_table, take_sky, typed_column
from stgraph.data.spectra.parts import FileSpectra, identifiers
from stgraph.errors import InputError

__all__ = ["names_of_table", "read_table_spectra"]

_LISTS = ("flux", "wavelength", "error", "ivar", "mask", "anomaly_mask")


def read_table_spectra(path: Path) -> FileSpectra:
    """Read columns ``flux``, ``wavelength`` and what there is of ``error``, ``ivar``, ``mask``, ``targetid``, ``z``.

    The position is found by the usual names of columns; other columns are metadata.

    Raises:
        InputError: If the file is damaged, lacks a column (lists what there is), or a cell is no JSON array of numbers.
    """
    table = read_text_table(path)
    missing = [name for name in ("flux", "wavelength") if name not in table]
    if missing:
        raise InputError(f"{path} has no column {' and no '.join(missing)}; there are {', '.join(table)}")
    lists = {name: _vectors(table.pop(name), name, path) for name in _LISTS if name in table}
    frames = set(table.pop("frame", []))
    if len(frames) > 1:
        raise InputError(f"{path}: frame must be the same in all rows, got {', '.join(sorted(frames))}")
    names = identifiers(table.pop("targetid"), str(path)) if "targetid" in table else None
    metadata = {name: typed_column(cells) for name, cells in table.items()}
    axes = lists["wavelength"]
    shared = all(np.array_equal(axis, axes[0]) for axis in axes)
    error = lists.get("error")
    return FileSpectra(
        str(path),
        axes[0] if shared else axes,
        lists["flux"],
        error,
        None if error is not None else lists.get("ivar"),
        lists.get("mask"),
        names,
        take_sky(metadata, str(path)),
        metadata.pop("z", None),
        anomaly_mask=lists.get("anomaly_mask"),
        anomalous=metadata.pop("anomalous") if _is_label(metadata) else None,
        metadata=metadata,
        frame=frames.pop() if frames else None,
    )


def names_of_table(path: Path) -> list[str]:
    """Identifiers of the spectra of a file; empty if it has none, as a catalogue."""
    import pandas as pd

    with reading(path):
        header = {str(name).lower() for name in pd.read_csv(path, nrows=0)}
    if not {"targetid", "flux"} <= header:
        return []
    return identifiers(read_text_table(path, ["targetid"])["targetid"], str(path))


def _is_label(metadata: Metadata) -> bool:
    return "anomalous" in metadata and metadata["anomalous"].dtype.kind == "b"


def _vectors(cells: list[str], name: str, path: Path) -> list[npt.NDArray[np.float64]]:
    return [_vector(cell, f"{path}: {name} in row {row}") for row, cell in enumerate(cells)]


def _vector(cell: str, where: str) -> npt.NDArray[np.float64]:
    try:
        values: Any = json.loads(cell)
        vector = np.array(values, dtype=np.float64)  # null becomes NaN
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} is no JSON array of numbers: {error}") from error
    if not isinstance(values, list) or vector.ndim != 1:
        raise InputError(f"{where} is no JSON array of numbers, got {cell[:40]!r}")
    return vector
