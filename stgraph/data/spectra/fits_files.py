"""Open FITS files, with errors that name the file, and take tables out of them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.files import reading
from stgraph.errors import InputError, InputTypeError

__all__ = ["native", "open_fits", "scalar_columns"]

_logger = logging.getLogger("stgraph")


@contextmanager
def open_fits(path: Path) -> Iterator[Any]:
    """Open a file for reading.

    Raises:
        InputError: If it is damaged or cut off, here or while it is read.
        ImportError: If astropy is missing.
    """
    try:
        from astropy.io import fits
    except ImportError as error:
        raise ImportError('reading FITS files needs astropy: pip install "stgraph-pyg[astronomy]"') from error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with reading(path), fits.open(path, memmap=False) as file:
                yield file
        except InputTypeError:
            raise
        except (fits.VerifyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); is it damaged?") from error
    for warning in caught:
        if "truncated" in str(warning.message):
            raise InputError(f"{path} is cut off: {warning.message}")
        _logger.warning("%s: %s", path, warning.message)


def native(values: Any) -> npt.NDArray[Any]:
    """A copy in the byte order of this machine (FITS is big-endian), text without blanks around it.

    Examples:
        >>> native(np.array([1, 2], dtype=">i4")).dtype.isnative
        True
    """
    array = np.array(values)
    if array.dtype.kind in "SU":
        return np.char.strip(array.astype(np.str_))
    return array.astype(array.dtype.newbyteorder("="))


def scalar_columns(unit: Any) -> dict[str, npt.NDArray[Any]]:
    """Columns of numbers, truth values or text with one entry in each row, under their names in small letters."""
    found = {}
    for name in unit.columns.names:
        values = np.asarray(unit.data[name])
        if values.ndim == 1 and values.dtype.kind in "biufSU":
            found[name.lower()] = native(values)
    return found
