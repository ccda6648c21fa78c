"""Tables of measurements: wide (a column for each node) and long (a row for each time and node)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.checks import as_names
from stgraph.data.graph import from_array
from stgraph.data.table_columns import (
    NODE_NAMES,
    TIME_NAMES,
    align_coords,
    find_column,
    looks_like_dates,
    numeric_columns,
    unnamed,
)
from stgraph.data.times import as_time, parse_dates
from stgraph.errors import InputError, InputTypeError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Layout", "from_table"]

Layout: TypeAlias = Literal["auto", "wide", "long"]

_LAYOUTS = ("auto", "wide", "long")
_CHANNEL_LEVELS = ("channel", "channels", "variable", "variables", "feature", "features")


@dataclass
class _Parsed:
    """What a table says, as arguments of ``from_array``."""

    values: npt.NDArray[Any]  # [T, N, C]
    time: Any
    node_names: list[str] | None
    channel_names: list[str] | None


def from_table(
    frame: pd.DataFrame,
    *,
    layout: Layout = "auto",
    time: Any = None,
    node: str | None = None,
    value: str | Sequence[str] | None = None,
    coords: Any = None,
    **options: Any,
) -> Data:
    r"""Build the graph of a series from a pandas table.

    A **wide** table has a row for each step and a column for each node; the time is the index or a column. With two
    levels of columns the first is the node and the second the channel, unless the levels' names say otherwise. A
    **long** table has a row for each pair of step and node, in any order, and a column for each channel; pairs that do
    not occur are missing.

    Args:
        frame: The table.
        layout: ``"auto"`` takes a table for long if it has a time column and a node column: those named by the
            arguments, or the usual names (``time``, ``timestamp``, ``date``; ``node``, ``station``, ``sensor_id``).
        time: Column of the time. For a wide table also the times themselves, if it does not hold them. (default:
            found by its name or type; in a wide table also the index, unless this merely counts the rows)
        node: Column of the node in a long table.
        value: Columns of the channels in a long table. (default: all that are left)
        coords: As in :func:`~stgraph.data.from_array`; or a table of coordinates, joined by the node's name (its
            index or a column with a usual name; columns ``lon`` and ``lat`` or ``x`` and ``y`` are found by name); or,
            in a long table, the names of the columns that hold them.
        **options: Further arguments of :func:`~stgraph.data.from_array`.

    Raises:
        InputError: If columns are missing, a pair of time and node occurs twice, or :func:`~stgraph.data.from_array`
            refuses the values.
        InputTypeError: If :obj:`frame` is no table or values are not numeric.

    Examples:
        >>> import pandas as pd
        >>> rows = [("2020-01-01", "a", 1.0), ("2020-01-01", "b", 2.0), ("2020-01-02", "a", 3.0)]
        >>> data = from_table(pd.DataFrame(rows, columns=["time", "station", "ozone"]), coords=[[0, 0], [1, 0]])
        >>> data.node_names, data.channel_names, data.mask[:, :, 0]
        (['a', 'b'], ['ozone'], tensor([[ True,  True],
                [ True, False]]))
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise InputTypeError(f"frame must be a pandas DataFrame, got {type(frame).__name__}")
    if layout not in _LAYOUTS:
        raise InputError(f"layout must be one of {', '.join(_LAYOUTS)}, got {layout!r}")
    if frame.empty:
        raise InputError(f"frame must not be empty, got {frame.shape[0]} rows and {frame.shape[1]} columns")
    time_column = find_column(frame, time if isinstance(time, str) else None, TIME_NAMES, "time")
    node_column = find_column(frame, node, NODE_NAMES, "node")
    if layout == "auto":
        layout = "long" if node_column is not None and time_column is not None else "wide"
    if layout == "long":
        if time_column is None or node_column is None:
            missing = "time" if time_column is None else "node"
            raise InputError(f"a long table needs a {missing} column; name it by {missing}=, there are {list(frame)}")
        parsed, coords = _parse_long(frame, time_column, node_column, value, coords)
    else:
        if node is not None or value is not None:
            raise InputError("node and value name columns of a long table, but this one is wide")
        parsed = _parse_wide(frame, time_column)
    if time is not None and not isinstance(time, str):
        if layout == "long":
            raise InputTypeError(f"time must be the name of a column of a long table, got {type(time).__name__}")
        parsed.time = time
    options["time"] = parsed.time
    options.setdefault("node_names", parsed.node_names)
    options.setdefault("channel_names", parsed.channel_names)
    if isinstance(coords, pd.DataFrame):
        coords = align_coords(coords, parsed.node_names)
    return from_array(parsed.values, coords=coords, **options)


def _parse_wide(frame: pd.DataFrame, time_column: str | None) -> _Parsed:
    time, frame = _take_time(frame, time_column)
    if frame.shape[1] == 0:
        raise InputError("a wide table needs a column for each node besides the time")
    values = numeric_columns(frame)
    if frame.columns.nlevels == 1:
        names = None if _counts(frame.columns) else [str(name) for name in frame.columns]
        return _Parsed(values[:, :, None], time, names, None)
    if frame.columns.nlevels != 2:
        raise InputError(f"columns must have one or two levels (node, channel), got {frame.columns.nlevels}")
    channel_level = 0 if str(frame.columns.names[0]).lower() in _CHANNEL_LEVELS else 1
    node_codes, nodes = frame.columns.get_level_values(1 - channel_level).factorize()
    channel_codes, channels = frame.columns.get_level_values(channel_level).factorize()
    if frame.columns.has_duplicates:
        raise InputError(f"columns must be distinct, but {frame.columns[frame.columns.duplicated()][0]} appears twice")
    full = np.full((len(frame), len(nodes), len(channels)), np.nan)
    full[:, node_codes, channel_codes] = values
    return _Parsed(full, time, [str(name) for name in nodes], [str(name) for name in channels])


def _take_time(frame: pd.DataFrame, time_column: str | None) -> tuple[Any, pd.DataFrame]:
    """The time of a wide table, if it has one, and the table without it."""
    import pandas as pd

    if time_column is not None:
        return frame[time_column], frame.drop(columns=time_column)
    if not _counts(frame.index):
        return frame.index, frame
    first = frame.columns[0]
    if frame.columns.nlevels == 1 and looks_like_dates(frame[first]):
        return frame[first], frame.drop(columns=first)
    if unnamed(first) and _counts(pd.Index(frame[first])):
        return None, frame.drop(columns=first)  # row numbers that a table was saved with
    return None, frame


def _counts(index: pd.Index) -> bool:
    """Whether an index merely counts 0, 1, 2, ... as pandas does where none is given."""
    return index.dtype.kind in "iu" and bool((index == np.arange(len(index))).all())


def _coord_columns(coords: Any, frame: pd.DataFrame) -> list[str]:
    if not isinstance(coords, (list, tuple)) or not coords or not all(isinstance(item, str) for item in coords):
        return []
    return [str(find_column(frame, item, (), "coords")) for item in coords]


def _parse_long(
    frame: pd.DataFrame,
    time_column: str,
    node_column: str,
    value: str | Sequence[str] | None,
    coords: Any,
) -> tuple[_Parsed, Any]:
    """The table, and its coordinates: those given, or read from the columns that :obj:`coords` names."""
    coord_columns = _coord_columns(coords, frame)
    if value is None:
        others = {time_column, node_column, *coord_columns}
        channels = [name for name in frame if name not in others and not unnamed(name)]
    else:
        wanted = [value] if isinstance(value, str) else list(value)
        channels = [find_column(frame, name, (), "value") for name in wanted]
    if not channels:
        raise InputError(f"a long table needs at least one value column besides {time_column!r} and {node_column!r}")
    time, step = _rank_times(frame[time_column])
    node, names = frame[node_column].factorize()
    if (node < 0).any():
        raise InputError(f"column {node_column!r} has no node in row {int((node < 0).argmax())}")
    cell = step * len(names) + node
    order = np.argsort(cell, kind="stable")
    repeated = np.flatnonzero(np.diff(cell[order]) == 0)
    if repeated.size:
        first, second = sorted((int(order[repeated[0]]), int(order[repeated[0] + 1])))
        raise InputError(
            f"rows {first} and {second} are both time {frame[time_column].iloc[first]} and node "
            f"{frame[node_column].iloc[first]!r}; merge or drop duplicated rows first"
        )
    values = np.full((len(time), len(names), len(channels)), np.nan)
    values[step, node] = numeric_columns(frame[channels])
    if coord_columns:
        first_row = np.unique(node, return_index=True)[1]
        coords = numeric_columns(frame[coord_columns])[first_row]
    parsed = _Parsed(values, time, as_names(names, "node_names", len(names)), [str(name) for name in channels])
    return parsed, coords


def _rank_times(column: pd.Series) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Sorted distinct times, in a form that ``as_time`` takes, and the step of each row."""
    import pandas as pd

    if column.isna().any():
        raise InputError(f"column {column.name!r} has no time in row {int(column.isna().to_numpy().argmax())}")
    if column.dtype.kind in "iufmM":
        values = pd.Index(column)
    else:
        values = parse_dates(column.to_numpy(dtype=object), f"column {column.name!r}")
    distinct = values.unique().sort_values()
    as_time(distinct, len(distinct))  # refuses what cannot be a time before anything is built on it
    return np.asarray(distinct), distinct.get_indexer(values).astype(np.int64)
