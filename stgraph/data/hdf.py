"""HDF5 files as METR-LA and PEMS-BAY are published: a pandas table in the fixed format, read without pandas' reader.

That reader needs PyTables and unpickles attributes of the file; here only numbers and text are read, through h5py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_hdf"]

_USUAL_KEYS = ("df", "speed", "values", "data")


def read_hdf(path: Path, key: str | None = None) -> pd.DataFrame | npt.NDArray[Any]:
    """Read a table that pandas wrote in its fixed format, or a plain data set.

    Args:
        path: The file.
        key: Name inside the file. (default: ``df``, ``speed``, ``values`` or ``data`` if there is one, else the only
            one)

    Raises:
        InputError: If there is nothing, or not just one thing, to read, or pandas stored it in a form that only
            unpickling can read (the table format, columns of objects).
        OSError: If the file is damaged.
    """
    import h5py

    with h5py.File(path, "r") as file:
        found = [name for name in file if _is_readable(file[name])]
        if key is None:
            usual = [name for name in _USUAL_KEYS if name in found]
            if not usual and len(found) != 1:
                raise InputError(f"{path} holds {', '.join(file) or 'nothing'}; choose what to read by key=")
            key = (usual or found)[0]
        elif key.strip("/") not in file:
            raise InputError(f"{path} holds no key {key!r}; there are {', '.join(file) or 'none'}")
        item = file[key]
        if isinstance(item, h5py.Dataset):
            values: npt.NDArray[Any] = item[()]
            return values
        return _read_frame(item, f"{path}: {key}")


def _is_readable(item: Any) -> bool:
    return "pandas_type" in item.attrs or (hasattr(item, "shape") and item.ndim >= 2)


def _read_frame(group: Any, where: str) -> pd.DataFrame:
    import pandas as pd

    kind = _text(group.attrs.get("pandas_type", ""))
    if kind == "frame_table":
        raise InputError(
            f"{where} was written in pandas' table format, whose column names are pickled and are not read; write it "
            "with format='fixed', or as .npz or .csv"
        )
    if kind != "frame":
        raise InputError(f"{where} is no pandas table in the fixed format (its pandas_type is {kind!r})")
    columns, index = _read_axis(group, "axis0", where), _read_axis(group, "axis1", where)
    values = np.full((len(index), len(columns)), np.nan, dtype=_value_type(group))
    for block in range(int(group.attrs["nblocks"])):
        stored = group[f"block{block}_values"]
        if stored.dtype.kind not in "biuf":
            raise InputError(f"{where}: columns of dtype {stored.dtype} are no numbers and are not read")
        part = stored[()] if stored.attrs.get("transposed", 1) else stored[()].T
        items = _read_axis(group, f"block{block}_items", where)
        values[:, pd.Index(columns).get_indexer(pd.Index(items))] = part
    return pd.DataFrame(values, index=pd.Index(index), columns=pd.Index(columns))


def _value_type(group: Any) -> np.dtype[Any]:
    types = [group[f"block{block}_values"].dtype for block in range(int(group.attrs["nblocks"]))]
    return np.result_type(np.float32, *(dtype for dtype in types if dtype.kind in "biuf"))


def _read_axis(group: Any, name: str, where: str) -> npt.NDArray[Any]:
    """Labels of rows or columns: dates, numbers or text."""
    if _text(group.attrs.get(f"{name}_variety", "regular")) != "regular":
        raise InputError(f"{where}: labels with several levels are not read; flatten the columns and the index first")
    stored = group[name]
    kind = _text(stored.attrs.get("kind", ""))
    if kind.startswith("datetime64"):
        return np.asarray(stored[()]).view(kind if "[" in kind else "datetime64[ns]")
    if stored.dtype.kind == "S":
        return np.char.decode(stored[()], "utf-8")
    if stored.dtype.kind in "iuf" and kind in ("", "integer", "float"):
        return np.asarray(stored[()])
    raise InputError(f"{where}: labels of kind {kind or stored.dtype} are pickled objects and are not read")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
