"""Read the graph of a series from a file; nothing in a file is ever unpickled."""

from __future__ import annotations

import logging
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.csv_files import read_csv
from stgraph.data.graph import from_array
from stgraph.data.hdf import read_hdf
from stgraph.data.npz_files import read_npz
from stgraph.data.table_columns import align_coords
from stgraph.data.tables import from_table
from stgraph.data.xarrays import from_xarray, import_xarray
from stgraph.errors import InputError

__all__ = ["existing", "from_file", "read_coords", "reading"]

_logger = logging.getLogger("stgraph")
_DAMAGED = (OSError, EOFError, ValueError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)


def from_file(
    path: str | PathLike[str],
    *,
    key: str | None = None,
    mmap: bool = False,
    header: bool | None = None,
    coords: Any = None,
    **options: Any,
) -> Data:
    r"""Build the graph of a series from a file; its kind is told by the ending of its name.

    =======================  =====================================================================================
    ``.npy``                 an array as for :func:`~stgraph.data.from_array`
    ``.npz``                 arrays ``values``, ``time``, ``coords``, ``node_names``, ``channel_names``, ``mask``, ...;
                             or ``data`` as in the PEMS benchmarks
    ``.csv``, ``.csv.gz``    a wide or long table as for :func:`~stgraph.data.from_table`, with or without a time
    ``.h5``, ``.hdf5``       a pandas table in the fixed format, as METR-LA and PEMS-BAY are published, or an array
    ``.nc``, ``.zarr``       as for :func:`~stgraph.data.from_xarray` (extra ``xarray``)
    =======================  =====================================================================================

    Args:
        path: The file (for Zarr, the folder).
        key: What to read in a file that holds several things; for NetCDF and Zarr the group.
        mmap: Keep an ``.npy`` file on disk and read from it what is needed; see :func:`~stgraph.data.from_array` for
            when this is possible. Changes of the values are not written to the file.
        header: Whether a CSV file has a line of column names. (default: looked at)
        coords: As for :func:`~stgraph.data.from_array`, or a file of them (``.npy``, or ``.csv`` with a header,
            joined by the nodes' names where both have names).
        **options: Further arguments of the function named above.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged, of an unknown kind, or holds nothing that can be a series.
        InputTypeError: If its values are not numbers.
        ImportError: If an extra is missing; says how to install it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/speed.npy", np.ones((8, 2, 3, 1)).cumsum(0))
        ...     from_file(f"{folder}/speed.npy")
        Data(x=[6, 8, 1], pos=[6, 2], grid=[2])
    """
    path = existing(path)
    kind = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    reader = _READERS.get(kind.lower())
    if reader is None:
        hint = "; pickled files are never read" if kind in (".pkl", ".pickle", ".pt", ".pth") else ""
        raise InputError(f"{path} is of an unknown kind; there are {', '.join(_READERS)}{hint}")
    if mmap and kind != ".npy":
        raise InputError(f"mmap is for .npy files, got {path}")
    if header is not None and kind != ".csv":
        raise InputError(f"header is for .csv files, got {path}")
    if mmap:
        options["mmap"] = True
    if header is not None:
        options["header"] = header
    if isinstance(coords, (str, PathLike)):
        coords = read_coords(coords)
    if coords is not None:
        options["coords"] = coords
    return reader(path, key, options)


def read_coords(path: str | PathLike[str]) -> Any:
    """Coordinates from a file: an array, or a table that :func:`~stgraph.data.from_table` joins by the nodes' names.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged or neither ``.npy`` nor ``.csv``.
    """
    path = existing(path)
    with reading(path):
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".csv":
            return read_csv(path)
    raise InputError(f"coords must be an .npy or .csv file, got {path}")


def existing(path: str | PathLike[str]) -> Path:
    """The path, which must exist.

    Raises:
        FileNotFoundError: If it does not; names the absolute path.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path.absolute()}")
    return path


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into an error that names the file.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        yield
    except InputError:
        raise
    except _DAMAGED as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}); is it damaged or cut off?"
        ) from error


def _from_npy(path: Path, key: str | None, options: dict[str, Any]) -> Data:
    _no_key(path, key)
    # Copy on write: a map that cannot be written makes torch warn, and crashes a process that tries.
    mode: Literal["c"] | None = "c" if options.pop("mmap", False) else None
    with reading(path):
        values = np.load(path, mmap_mode=mode, allow_pickle=False)
        if not isinstance(values, np.ndarray):
            values.close()
            raise InputError(f"{path} is an .npz archive; give it this ending")
    return _build(values, options)


def _from_npz(path: Path, key: str | None, options: dict[str, Any]) -> Data:
    with reading(path):
        found = read_npz(path, key)
    return _build(found.pop("values"), {**found, **options})


def _build(values: npt.NDArray[Any], options: dict[str, Any]) -> Data:
    import pandas as pd

    if isinstance(options.get("coords"), pd.DataFrame):
        options["coords"] = align_coords(options["coords"], options.get("node_names"))
    return from_array(values, **options)


def _from_csv(path: Path, key: str | None, options: dict[str, Any]) -> Data:
    _no_key(path, key)
    with reading(path):
        frame = read_csv(path, options.pop("header", None))
    return from_table(frame, **options)


def _from_hdf(path: Path, key: str | None, options: dict[str, Any]) -> Data:
    with reading(path):
        found = read_hdf(path, key)
    return _build(found, options) if isinstance(found, np.ndarray) else from_table(found, **options)


def _from_netcdf(path: Path, key: str | None, options: dict[str, Any]) -> Data:
    return _from_store(path, import_xarray().open_dataset, {"group": key}, options)


def _from_zarr(path: Path, key: str | None, options: dict[str, Any]) -> Data:
    arguments = {"group": key, "consolidated": False, "chunks": None}
    return _from_store(path, import_xarray().open_zarr, arguments, options)


def _from_store(path: Path, open_store: Callable[..., Any], arguments: dict[str, Any], options: dict[str, Any]) -> Data:
    with reading(path), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            dataset = open_store(path, **arguments)
        except ValueError as error:
            if "decode time" not in str(error):
                raise
            _logger.warning("%s: the times are kept as numbers, because they cannot be decoded: %s", path, error)
            dataset = open_store(path, **arguments, decode_times=False)
    for warning in caught:
        _logger.warning("%s: %s", path, warning.message)
    with dataset, reading(path):
        return from_xarray(dataset, **options)


def _no_key(path: Path, key: str | None) -> None:
    if key is not None:
        raise InputError(f"key={key!r} chooses within a file that holds several things, but {path} holds one")


_READERS: dict[str, Callable[[Path, str | None, dict[str, Any]], Data]] = {
    ".npy": _from_npy,
    ".npz": _from_npz,
    ".csv": _from_csv,
    ".h5": _from_hdf,
    ".hdf5": _from_hdf,
    ".hdf": _from_hdf,
    ".nc": _from_netcdf,
    ".nc4": _from_netcdf,
    ".zarr": _from_zarr,
}
