"""Light curves in long tables (a row for each point) and NumPy archives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stgraph.data.csv_files import read_csv
from stgraph.data.files import reading
from stgraph.data.light_curves.arrays import source_of_arrays
from stgraph.data.light_curves.sources import Source
from stgraph.data.npz_files import open_npz
from stgraph.errors import InputError, InputTypeError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnNames", "read_npz_source", "read_table_source"]

_SUFFIXES = ("_time", "_flux", "_flux_err")


@dataclass(frozen=True)
class ColumnNames:
    """Columns of a long table; an error column of None is ``flux_err`` if there is one."""

    star: str = "id"
    time: str = "time"
    flux: str = "flux"
    error: str | None = None


def read_table_source(path: Path, columns: ColumnNames) -> Source:
    """Read a CSV or Parquet table with a row for each point of each star, the stars' rows in any order.

    Columns ``ra`` and ``dec``, and ``quality`` (points where it is not 0 are dropped), are read where they are.

    Raises:
        InputError: If the file is damaged, or a column is missing (lists what there is) or holds no numbers.
        ImportError: If pyarrow is missing for Parquet.
    """
    with reading(path):
        frame = _read_parquet(path) if path.suffix.lower() == ".parquet" else read_csv(path, header=True)
    error = columns.error or ("flux_err" if "flux_err" in frame else None)
    needed = [columns.star, columns.time, columns.flux, *([error] if error else [])]
    missing = [name for name in needed if name not in frame]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; there are {', '.join(map(str, frame))}. Name the columns by "
            "id_column, time_column, flux_column and error_column"
        )
    if frame.empty:
        raise InputError(f"{path} has no rows")
    order, ends, names = _group(frame[columns.star], f"{path}: {columns.star}")

    def rows(name: str) -> list[npt.NDArray[np.float64]]:
        return np.split(_numbers(frame, name, path)[order], ends)

    sky = None
    if "ra" in frame and "dec" in frame:
        sky = np.array([[part[0] for part in rows(name)] for name in ("ra", "dec")]).T
    quality = rows("quality") if "quality" in frame else None
    return Source(
        str(path), rows(columns.time), rows(columns.flux), rows(error) if error else None, quality, names, sky
    )


def read_npz_source(path: Path) -> Source:
    """Read an archive of padded arrays ``flux``, ``time``, ...; or of vectors ``NAME_time``, ``NAME_flux``, ....

    Raises:
        InputError: If the file is damaged, or holds neither; lists what it holds.
    """
    with reading(path), open_npz(path) as archive:
        stars = [name[: -len("_flux")] for name in archive if name.endswith("_flux")]
        if "flux" in archive or not stars:
            return source_of_arrays(dict(archive.items()), str(path))
        time, flux, error = ([archive.get(star + suffix) for star in stars] for suffix in _SUFFIXES)
    for star, vector in zip(stars, time, strict=True):
        if vector is None:
            raise InputError(f"{path} has {star}_flux, but no {star}_time")
    errors = None if any(vector is None for vector in error) else error
    return Source(str(path), time, flux, errors, names=stars)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError('reading Parquet files needs pyarrow: pip install "stgraph-pyg[parquet]"') from error
    return pd.read_parquet(path, engine="pyarrow")


def _group(stars: pd.Series[Any], where: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[str]]:
    """Order of the rows by star, where the next star begins, and the stars' names as they first appear."""
    import pandas as pd

    codes, found = pd.factorize(stars, sort=False)
    if bool((codes < 0).any()):
        raise InputError(f"{where} is missing in row {int((codes < 0).argmax())}")
    ends = np.cumsum(np.bincount(codes))[:-1]
    return np.argsort(codes, kind="stable"), ends, [str(name) for name in found]


def _numbers(frame: pd.DataFrame, name: str, path: Path) -> npt.NDArray[np.float64]:
    try:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"{path}: column {name!r} must hold numbers (times in days): {error}") from error
