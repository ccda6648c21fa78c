"""Find out what the columns of a table mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError, InputTypeError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "NODE_NAMES",
    "TIME_NAMES",
    "align_coords",
    "find_column",
    "looks_like_dates",
    "numeric_columns",
    "unnamed",
]

TIME_NAMES = ("time", "timestamp", "datetime", "date_time", "date", "valid_time")
NODE_NAMES = (
    *(name + suffix for name in ("node", "station", "sensor", "site", "location") for suffix in ("", "_id", "_name")),
    "id",
)
_POSITION_NAMES = (
    (("lon", "lng", "long", "longitude"), ("lat", "latitude")),
    (("x", "easting"), ("y", "northing")),
)
_HEIGHT_NAMES = ("z", "elevation", "elevation_m", "altitude", "height")


def find_column(frame: pd.DataFrame, name: str | None, usual: Sequence[str], argument: str) -> Any:
    """The column called :obj:`name`, else the first with a usual name (in any case), else None.

    Raises:
        InputError: If :obj:`name` was given and is not there.
    """
    if name is not None:
        if name not in frame.columns:
            raise InputError(f"{argument}={name!r} is no column of the table, which has {_listing(frame)}")
        return name
    known = {column.lower(): column for column in reversed(list(frame.columns)) if isinstance(column, str)}
    return next((known[candidate] for candidate in usual if candidate in known), None)


def unnamed(column: Any) -> bool:
    """Whether pandas made the name up when it read a column without one."""
    return isinstance(column, str) and (column == "" or column.startswith("Unnamed:"))


def looks_like_dates(column: pd.Series) -> bool:
    """Whether a column holds dates, or text of which the first entry reads as one."""
    import pandas as pd

    if column.dtype.kind == "M":
        return True
    if pd.api.types.is_numeric_dtype(column.dtype) or column.isna().all():
        return False
    try:
        pd.Timestamp(column.dropna().iloc[0])
    except (ValueError, TypeError):
        return False
    return True


def numeric_columns(frame: pd.DataFrame) -> npt.NDArray[Any]:
    """The values of all columns as one array of numbers, NaN where missing.

    Raises:
        InputTypeError: If a column holds anything else; it is named.
    """
    import pandas as pd

    for position, dtype in enumerate(frame.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype) or dtype.kind == "c":
            example = frame.iloc[:, position].dropna()
            shown = f", such as {example.iloc[0]!r}" if len(example) else ""
            raise InputTypeError(f"column {frame.columns[position]!r} must hold numbers, but is of type {dtype}{shown}")
    single = len(set(frame.dtypes)) == 1 and isinstance(frame.dtypes.iloc[0], np.dtype)
    return frame.to_numpy() if single else frame.to_numpy(dtype=np.float64, na_value=np.nan)


def align_coords(table: pd.DataFrame, node_names: Sequence[str] | None) -> npt.NDArray[Any]:
    """Coordinates [N, D] from a table of nodes, in the order of the nodes.

    Columns named as longitude and latitude, or x and y, are taken in this order, and an elevation after them; without
    such names all numeric columns are. Rows are joined by the node's name if the table has one, else taken in order.

    Raises:
        InputError: If a node has no coordinates or two rows, or no column holds numbers.
    """
    import pandas as pd

    names = None if node_names is None else list(node_names)
    ids, id_column = (None, None) if names is None else _find_ids(table, set(names))
    values = numeric_columns(table[_position_columns(table, id_column)])
    if names is None or ids is None:
        return values
    index = pd.Index(ids)
    if index.has_duplicates:
        raise InputError(f"coords has two rows for node {index[index.duplicated()][0]!r}")
    rows = index.get_indexer(pd.Index(names))
    if (rows < 0).any():
        missing = [name for name, row in zip(names, rows, strict=True) if row < 0]
        raise InputError(f"coords has no row for {len(missing)} of {len(names)} nodes, the first is {missing[0]!r}")
    return values[rows]


def _find_ids(table: pd.DataFrame, names: set[str]) -> tuple[list[str] | None, Any]:
    """Name of the node in each row, and the column that holds it (None: the index)."""
    usual = find_column(table, None, NODE_NAMES, "coords")
    for column in (None, *([] if usual is None else [usual]), *table.columns):
        ids = _as_text(table.index if column is None else table[column])
        if names <= set(ids):
            return ids, column
    if usual is not None:
        return _as_text(table[usual]), usual
    return (None if table.index.dtype.kind in "iu" else _as_text(table.index)), None


def _as_text(values: Any) -> list[str]:
    return [str(item) for item in values]


def _position_columns(table: pd.DataFrame, id_column: Any) -> list[Any]:
    for first, second in _POSITION_NAMES:
        pair = find_column(table, None, first, "coords"), find_column(table, None, second, "coords")
        if None not in pair:
            height = find_column(table, None, _HEIGHT_NAMES, "coords")
            return [*pair, *([] if height is None else [height])]
    numeric = [name for name in table.select_dtypes("number") if name != id_column and not unnamed(name)]
    if not numeric:
        raise InputError(f"coords must have columns of numbers, got {_listing(table)}")
    return numeric


def _listing(frame: pd.DataFrame) -> str:
    names = [str(name) for name in frame.columns]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
