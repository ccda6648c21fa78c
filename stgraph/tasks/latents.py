"""Tables of latent vectors: one row for each light curve, with its identifier and what else is known of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stgraph.data.files import existing, reading
from stgraph.errors import InputError, InputTypeError
from stgraph.tasks.checkpoints import write_atomically

__all__ = ["LatentTable", "read_latents", "write_latents"]

Array = npt.NDArray[Any]


class LatentTable(NamedTuple):
    """Latent vectors with their identifiers.

    Args:
        ids: Identifier of each row.
        latents: Latent vector of each row.
        metadata: Further columns by name.

    Shapes:
        - **ids:** :math:`(N)`, **latents:** :math:`(N, d)`, every column of **metadata:** :math:`(N)`
    """

    ids: Array
    latents: Array
    metadata: dict[str, Array]


def write_latents(
    path: str | os.PathLike[str],
    ids: Sequence[Any] | Array,
    latents: Any,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    r"""Write a table of latent vectors; the kind of file is told by the ending of its name.

    ===========  ====================================================================================================
    ``.npy``     a structured array with the fields ``id``, ``latent`` and one for each column of metadata
    ``.h5``      data sets ``id`` and ``latent`` and a group ``metadata`` with a data set for each column (``.hdf5``)
    ``.csv``     columns ``id``, ``latent_0``, ``latent_1``, ... and one for each column of metadata
    ===========  ====================================================================================================

    The file is written under a temporary name and renamed. Identifiers are kept as text.

    Args:
        path: The file; its folder is made if it is not there.
        ids: Identifier of each row; they may repeat, as for a star observed in several sectors.
        latents: Latent vector of each row, an array or a tensor.
        metadata: Further columns by name: numbers, booleans or text.

    Shapes:
        - **ids:** :math:`(N)`, **latents:** :math:`(N, d)`, every column of **metadata:** :math:`(N)`

    Returns:
        The path.

    Raises:
        InputError: If the ending is unknown, or lengths or names do not fit.
        InputTypeError: If a column is neither of numbers nor of text.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_latents(f"{folder}/latents.csv", ["a", "b"], np.eye(2), {"period": [1.5, 20.0]})
        ...     table = read_latents(path)
        >>> table.ids.tolist(), table.latents.tolist(), table.metadata["period"].tolist()
        (['a', 'b'], [[1.0, 0.0], [0.0, 1.0]], [1.5, 20.0])
    """
    path = Path(path).expanduser()
    _, write = _format(path)
    values = np.asarray(latents.detach().cpu() if hasattr(latents, "detach") else latents)
    if values.dtype.kind != "f":
        raise InputTypeError(f"latents is of {values.dtype}; expected floating-point numbers")
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"latents has shape {values.shape}; expected (N, d); pool sequences first")
    names = np.asarray([str(i) for i in ids], dtype=np.str_)
    if len(names) != len(values):
        raise InputError(f"ids has {len(names)} entries; latents has {len(values)} rows")
    columns = {name: _column(name, column, len(values)) for name, column in (metadata or {}).items()}
    table = LatentTable(names, values, columns)
    write_atomically(path, lambda temporary: write(temporary, table))
    return path


def read_latents(path: str | os.PathLike[str]) -> LatentTable:
    """Read a table that :func:`write_latents` wrote.

    Nothing is unpickled. In a CSV file, columns of metadata that hold numbers alone are read as numbers.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged or no table of latent vectors.
    """
    path = existing(path)
    read, _ = _format(path)
    with reading(path):
        return read(path)


def _format(path: Path) -> tuple[Callable[[Path], LatentTable], Callable[[Path, LatentTable], None]]:
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise InputError(f"{path} is of an unknown kind; there are {', '.join(_FORMATS)}")
    return found


def _column(name: str, values: Any, rows: int) -> Array:
    column = np.asarray(values)
    if column.dtype.kind == "O" and all(isinstance(v, str) for v in column.flat):
        column = column.astype(np.str_)
    if column.dtype.kind not in "biufU":
        raise InputTypeError(f"metadata {name!r} is of {column.dtype}; expected numbers, booleans or text")
    if column.shape != (rows,):
        raise InputError(f"metadata {name!r} has shape {column.shape}; expected {(rows,)}")
    if name in ("id", "latent") or name.startswith("latent_") or not name or "/" in name:
        raise InputError(f"metadata has a column {name!r}; the name is reserved, empty or holds a slash")
    return column


def _write_npy(path: Path, table: LatentTable) -> None:
    fields: list[Any] = [("id", table.ids.dtype), ("latent", table.latents.dtype, table.latents.shape[1:])]
    rows = np.empty(len(table.ids), dtype=fields + [(name, column.dtype) for name, column in table.metadata.items()])
    rows["id"], rows["latent"] = table.ids, table.latents
    for name, column in table.metadata.items():
        rows[name] = column
    np.save(path, rows, allow_pickle=False)


def _read_npy(path: Path) -> LatentTable:
    rows = np.load(path, allow_pickle=False)
    names = (rows.dtype.names or ()) if isinstance(rows, np.ndarray) else ()
    if "id" not in names or "latent" not in names:
        raise InputError(f"{path} is no table of latent vectors: it has no fields 'id' and 'latent'")
    metadata = {name: np.ascontiguousarray(rows[name]) for name in names if name not in ("id", "latent")}
    return LatentTable(np.ascontiguousarray(rows["id"]), np.ascontiguousarray(rows["latent"]), metadata)


def _write_hdf(path: Path, table: LatentTable) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["id"] = np.char.encode(table.ids, "utf-8")
        file.create_dataset("latent", data=table.latents, compression="gzip" if table.latents.size else None)
        group = file.create_group("metadata", track_order=True)
        for name, column in table.metadata.items():
            group[name] = np.char.encode(column, "utf-8") if column.dtype.kind == "U" else column


def _read_hdf(path: Path) -> LatentTable:
    import h5py

    with h5py.File(path, "r") as file:
        if "id" not in file or "latent" not in file:
            raise InputError(f"{path} is no table of latent vectors: it has no data sets 'id' and 'latent'")
        columns = {name: item[()] for name, item in file.get("metadata", {}).items()}
        ids, latents = file["id"][()], file["latent"][()]
    return LatentTable(_decoded(ids), latents, {name: _decoded(column) for name, column in columns.items()})


def _decoded(column: Array) -> Array:
    decoded: Array = np.char.decode(column, "utf-8") if column.dtype.kind == "S" else column
    return decoded


def _write_csv(path: Path, table: LatentTable) -> None:
    import pandas as pd

    frame = pd.DataFrame(table.latents, columns=[f"latent_{i}" for i in range(table.latents.shape[1])])
    frame.insert(0, "id", table.ids)
    frame = pd.concat([frame, pd.DataFrame(table.metadata)], axis=1)
    frame.to_csv(path, index=False, na_rep="nan")


def _read_csv(path: Path) -> LatentTable:
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    names = [name for name in frame.columns if name.startswith("latent_")]
    if "id" not in frame.columns or not names:
        raise InputError(f"{path} is no table of latent vectors: it has no columns 'id' and 'latent_0'")
    columns = {name: np.asarray(frame[name].tolist(), dtype=np.str_) for name in frame.columns}
    latents = np.stack([columns[name].astype(np.float64) for name in names], axis=1)
    metadata = {name: _numbers(columns[name]) for name in columns if name not in ("id", *names)}
    return LatentTable(columns["id"], latents, metadata)


def _numbers(column: Array) -> Array:
    """The column as booleans or numbers if it holds nothing else."""
    if len(column) and np.isin(column, ["True", "False"]).all():
        return np.asarray(column == "True")
    for dtype in (np.int64, np.float64):
        try:
            return column.astype(dtype)
        except (ValueError, OverflowError):
            continue
    return column


_FORMATS: dict[str, tuple[Callable[[Path], LatentTable], Callable[[Path, LatentTable], None]]] = {
    ".npy": (_read_npy, _write_npy),
    ".h5": (_read_hdf, _write_hdf),
    ".hdf5": (_read_hdf, _write_hdf),
    ".csv": (_read_csv, _write_csv),
}
