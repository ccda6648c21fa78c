"""Columns of tables of objects: what is their name, position and redshift, and what is text or numbers."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.files import reading
from stgraph.data.light_curves.metadata import Metadata
from stgraph.errors import InputError

__all__ = ["SKY_COLUMNS", "read_text_table", "take_sky", "typed_column"]

_logger = logging.getLogger("stgraph")

#: Pairs of columns that hold the position, the best first.
SKY_COLUMNS = (
    ("mean_fiber_ra", "mean_fiber_dec"),
    ("target_ra", "target_dec"),
    ("fiber_ra", "fiber_dec"),
    ("plug_ra", "plug_dec"),
    ("ra", "dec"),
)
_WHOLE = re.compile(r"-?(0|[1-9]\d*)")
_LARGEST = np.iinfo(np.int64).max
_EXACT = 2**53  # whole numbers up to here are exact as floats
_DECIMAL = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan|NaN|")
_TRUTH = {"True": True, "False": False}


def read_text_table(path: Path, columns: list[str] | None = None) -> dict[str, list[str]]:
    """Columns of a CSV file as text, under their names in small letters; nothing passes through a float.

    Args:
        path: The file.
        columns: Read only these columns, where they exist.

    Raises:
        InputError: If the file is damaged or has no rows.
    """
    import pandas as pd

    with reading(path):
        frame = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            usecols=None if columns is None else lambda name: str(name).lower() in columns,
        )
    if columns is None and frame.empty:
        raise InputError(f"{path} has no rows")
    return {str(name).lower(): frame[name].tolist() for name in frame}


def typed_column(cells: list[str]) -> npt.NDArray[Any]:
    """Cells of a table as whole numbers, floats (NaN where a cell is empty), truth values, or text.

    Examples:
        >>> typed_column(["1", "2"]), typed_column(["1.5", ""]), typed_column(["007", "8"])
        (array([1, 2]), array([1.5, nan]), array(['007', '8'], dtype='<U3'))
    """
    whole = [int(cell) for cell in cells if _WHOLE.fullmatch(cell)]
    largest = max(map(abs, whole), default=0)
    if len(whole) == len(cells) and largest <= _LARGEST:
        return np.array(whole, dtype=np.int64)
    if largest > _EXACT:
        return np.array(cells, dtype=np.str_)
    if any(cells) and all(_DECIMAL.fullmatch(cell) for cell in cells):
        return np.array([float(cell or "nan") for cell in cells])
    if all(cell in _TRUTH for cell in cells):
        return np.array([_TRUTH[cell] for cell in cells])
    return np.array(cells, dtype=np.str_)


def take_sky(columns: Metadata, where: str) -> npt.NDArray[np.float64] | None:
    """Take the position [N, 2] out of the columns; those of the first pair that is known for all objects."""
    found = [pair for pair in SKY_COLUMNS if all(name in columns for name in pair)]
    for pair in found:
        vectors = [columns[name] for name in pair]
        if all(vector.dtype.kind in "iuf" and bool(np.isfinite(vector).all()) for vector in vectors):
            for name in pair:
                del columns[name]
            return np.stack(vectors, axis=1).astype(np.float64)
    if found:
        _logger.warning("%s: sky positions are left out, as %s and %s are not known for all objects", where, *found[0])
    return None
