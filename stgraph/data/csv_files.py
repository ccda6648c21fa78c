"""CSV files of measurements, with or without a header."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stgraph.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["has_header", "read_csv"]

_LINES_LOOKED_AT = 50


def read_csv(path: Path, header: bool | None = None) -> pd.DataFrame:
    """Read a comma-separated file, also compressed; without a header the columns are 0, 1, 2, ...

    Raises:
        InputError: If the file is empty or its last line is cut off.
        ValueError: If pandas cannot parse it.
    """
    import pandas as pd

    if path.suffix == ".csv":
        _check_last_line(path)
    if header is None:
        start = pd.read_csv(path, header=None, nrows=_LINES_LOOKED_AT, dtype=str, skipinitialspace=True)
        header = has_header(start.fillna("").to_numpy().tolist())
    return pd.read_csv(path, header=0 if header else None, skipinitialspace=True)


def has_header(lines: list[list[str]]) -> bool:
    """Whether the first line names the columns.

    It does if a cell is no number. A line of numbers does only if they are distinct whole numbers that either count
    the columns from 0 or 1, or are all larger than every number that follows (identifiers of sensors).

    Examples:
        >>> has_header([["773869", "767541"], ["64.4", "67.6"]]), has_header([["1", "7"], ["64.4", "67.6"]])
        (True, False)
    """
    first = lines[0]
    if not all(_is_number(cell) for cell in first):
        return True
    if len(lines) == 1 or len(set(first)) < len(first) or not all(cell.isdecimal() for cell in first):
        return False
    ids = [int(cell) for cell in first]
    if len(ids) > 1 and ids in (list(range(len(ids))), list(range(1, len(ids) + 1))):
        return True
    values = np.array([float(cell) for line in lines[1:] for cell in line if _is_number(cell) and cell])
    return values.size > 0 and min(ids) > float(np.nanmax(values))


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _check_last_line(path: Path) -> None:
    """Refuse a file that ends in the middle of a line, whose missing cells pandas would take for NaN."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        width = len(next(reader, []))
        if width == 0:
            raise InputError(f"{path} is empty")
        last = width
        for line in reader:
            last = len(line) or last
    if last < width:
        raise InputError(f"{path} is cut off: its last line has {last} of {width} cells")
