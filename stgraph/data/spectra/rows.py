"""Spectra of different lengths as padded arrays, with words for them in messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stgraph.data.checks import as_numeric_array
from stgraph.errors import InputError, InputTypeError

__all__ = ["Rows", "as_rows", "check_lengths", "common_row", "lengths_of", "listed", "pad_rows"]

Rows: TypeAlias = "list[npt.NDArray[Any]] | npt.NDArray[Any]"  # rows of different lengths, or [N, L]

_NAMES_SHOWN = 20


def as_rows(value: Any, name: str) -> Rows:
    """A vector for each spectrum.

    Raises:
        InputError: If the dimensions are wrong.
        InputTypeError: If it is not numeric.
    """
    if isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind != "O"):
        array = _filled(as_numeric_array(value, name))
        if array.ndim != 2:
            raise InputError(f"{name} must be a list of vectors or have the shape (N, L), got {array.shape}")
        return array
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputTypeError(f"{name} must be a list of vectors or an array (N, L), got {type(value).__name__}")
    return [_as_row(row, f"{name}[{i}]") for i, row in enumerate(value)]


def common_row(value: Any, name: str) -> npt.NDArray[Any] | None:
    """The vector that holds for all spectra, if one was given instead of one for each."""
    if isinstance(value, (list, tuple)):
        flat = len(value) > 0 and all(np.ndim(item) == 0 for item in value)
    else:
        # An array of objects holds a vector for each spectrum.
        flat = getattr(value, "ndim", None) == 1 and not (isinstance(value, np.ndarray) and value.dtype.kind == "O")
    return _as_row(value, name) if flat else None


def lengths_of(rows: Rows) -> npt.NDArray[np.int64]:
    """Number of points of each row."""
    if isinstance(rows, np.ndarray):
        return np.full(rows.shape[0], rows.shape[1], dtype=np.int64)
    return np.array([row.size for row in rows], dtype=np.int64)


def check_lengths(rows: Rows, name: str, expected: npt.NDArray[np.int64], names: list[str]) -> None:
    """Compare with the lengths of the fluxes.

    Raises:
        InputError: If there are more or fewer spectra, or some are longer or shorter.
    """
    if len(rows) != expected.size:
        raise InputError(f"{name} must hold {expected.size} spectra, as fluxes does, got {len(rows)}")
    lengths = lengths_of(rows)
    wrong = lengths != expected
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{name} and fluxes must be equally long, but spectrum {names[row]!r} (number {row}) has {lengths[row]} "
            f"points in {name} and {expected[row]} in fluxes"
        )


def pad_rows(rows: Rows, lengths: npt.NDArray[np.int64], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A copy of the rows as one array [N, L], with zeros behind their ends."""
    # A flux too large for the type becomes infinite, and is masked as such.
    with np.errstate(over="ignore"):
        if isinstance(rows, np.ndarray):
            return rows.astype(dtype)
        padded = np.zeros((len(rows), int(lengths.max(initial=0))), dtype=dtype)
        padded[np.arange(padded.shape[1])[None, :] < lengths[:, None]] = np.concatenate(rows)
    return padded


def listed(names: Iterable[str], bad: npt.NDArray[np.bool_] | np.bool_ | None = None) -> str:
    """Words for the spectra of a message: all of them, or the first of many.

    Examples:
        >>> listed(["a", "b", "c"], np.array([True, False, True]))
        "2 spectra: 'a', 'c'"
    """
    chosen = list(names)
    if bad is not None:
        chosen = [chosen[row] for row in np.flatnonzero(bad)]
    shown = ", ".join(repr(name) for name in chosen[:_NAMES_SHOWN])
    count = f"{len(chosen)} {'spectrum' if len(chosen) == 1 else 'spectra'}"
    return f"{count}: {shown}{', ...' if len(chosen) > _NAMES_SHOWN else ''}"


def _as_row(value: Any, name: str) -> npt.NDArray[Any]:
    row = _filled(as_numeric_array(value, name))
    if row.ndim != 1:
        raise InputError(f"{name} must have one dimension, got the shape {row.shape}")
    return row


def _filled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        return np.ma.filled(array.astype(np.float64), np.nan)
    return array
