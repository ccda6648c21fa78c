"""Columns of catalogues of objects, and the names in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError

__all__ = ["catalogue_column", "row_indices", "row_values", "target_names"]

_NAME_COLUMNS = ("targetid", "node_names", "name")


def catalogue_column(catalogue: Any, names: Sequence[str]) -> np.ndarray[Any, Any] | None:
    """Return the first of the named columns that a table has, whatever the case of its letters; ``None`` if none.

    Args:
        catalogue: A mapping of columns, pandas or astropy table, or structured array.
        names: Names of the column, in lower case.

    >>> catalogue_column({"TARGETID": [5, 6]}, ["id", "targetid"])
    array([5, 6])
    """
    columns = getattr(catalogue, "columns", None)
    if columns is None:
        columns = getattr(getattr(catalogue, "dtype", None), "names", None)
    if columns is None:
        columns = catalogue if isinstance(catalogue, Mapping) else ()
    known = {str(column).lower(): column for column in columns}
    found = next((known[name] for name in names if name in known), None)
    return None if found is None else np.asarray(catalogue[found])


def target_names(catalogue: Any) -> list[str]:
    """Return the name of each spectrum: column ``targetid``, the ``node_names`` of a graph, or the entries of a list.

    Args:
        catalogue: A table, a graph of spectra, or names (text or whole numbers).

    Raises:
        InputError: If it has no names, or they are numbers that do not hold an identifier exactly.

    >>> target_names({"targetid": [39627794, 7]}), target_names(["a", "b"])
    (['39627794', '7'], ['a', 'b'])
    """
    if isinstance(catalogue, Data):
        values: Any = catalogue.get("node_names")
    elif isinstance(catalogue, list | tuple | torch.Tensor) or _is_plain_array(catalogue):
        values = np.asarray(catalogue) if isinstance(catalogue, torch.Tensor) else catalogue
    else:
        values = catalogue_column(catalogue, _NAME_COLUMNS)
    if values is None:
        raise InputError(f"catalogue is a {type(catalogue).__name__} without names; expected a column 'targetid'")
    return [_name(value) for value in values]


def row_indices(values: Any, count: int, argument: str) -> list[int]:
    """Check indices of rows of a catalogue of ``count`` rows.

    Raises:
        InputError: If they are not whole numbers, or one is not a row.

    >>> row_indices([2, 0], 3, "chosen")
    [2, 0]
    """
    array = np.asarray(values)
    if array.size == 0:
        return []
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"{argument} holds {array.dtype} of shape {array.shape}; expected a list of indices")
    if array.min() < 0 or array.max() >= count:
        raise InputError(f"{argument} holds {array.min()} to {array.max()}; expected rows 0 to {count - 1}")
    return [int(i) for i in array]


def row_values(values: Any, count: int, argument: str) -> list[float]:
    """Check that there is a number for each of ``count`` rows of a catalogue.

    Raises:
        InputError: If there is not.

    >>> row_values([1, 2.5], 2, "score")
    [1.0, 2.5]
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (count,):
        raise InputError(f"{argument} has shape {array.shape}; expected ({count},), an entry for every spectrum")
    return [float(value) for value in array]


def _is_plain_array(catalogue: Any) -> bool:
    return isinstance(catalogue, np.ndarray) and catalogue.dtype.names is None


def _name(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float | np.floating):
        # Identifiers of 64 bits lose their last digits as floating-point numbers.
        if not (float(value).is_integer() and abs(float(value)) < 2**53):
            raise InputError(f"targetid holds {value!r}; expected text or whole numbers, not rounded ones")
        return str(int(value))
    return str(value)
