"""Curves of different lengths as padded arrays, so that they can be cleaned all at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stgraph.data.checks import as_names, as_numeric_array, first_position
from stgraph.errors import InputError, InputTypeError

__all__ = ["FloatArray", "PaddedCurves", "common_times", "pad_curves"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
_Rows: TypeAlias = "list[npt.NDArray[Any]] | npt.NDArray[Any]"  # rows of different lengths, or [N, L]


@dataclass
class PaddedCurves:
    """N curves in rows of L entries, of which those that :attr:`valid` marks are points."""

    time: FloatArray  # [N, L]
    flux: FloatArray  # [N, L]
    error: FloatArray | None  # [N, L]
    valid: npt.NDArray[np.bool_]  # [N, L]
    names: list[str]

    def __getitem__(self, rows: npt.NDArray[Any]) -> PaddedCurves:
        """Some of the curves."""
        error = None if self.error is None else self.error[rows]
        names = [self.names[i] for i in np.arange(len(self.names))[rows]]
        return PaddedCurves(self.time[rows], self.flux[rows], error, self.valid[rows], names)

    def arrange(self, order: npt.NDArray[np.int64]) -> PaddedCurves:
        """The entries of each row in another order [N, L']."""

        def taken(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.take_along_axis(values, order, axis=1)

        error = None if self.error is None else taken(self.error)
        return PaddedCurves(taken(self.time), taken(self.flux), error, taken(self.valid), self.names)

    def describe(self, row: int) -> str:
        """Words for a curve in a message."""
        return f"curve {self.names[row]!r} (number {row})"


def pad_curves(times: Any, fluxes: Any, flux_errors: Any, quality: Any, names: Iterable[Any] | None) -> PaddedCurves:
    """Check what the user gave and put it into padded arrays; points with a quality flag are no points.

    Raises:
        InputError: If lengths do not fit together, an error is negative, or there are no curves.
        InputTypeError: If something is not numeric.
    """
    flux_rows = _as_rows(fluxes, "fluxes")
    count = len(flux_rows)
    if count == 0:
        raise InputError("fluxes must hold at least one curve, got none")
    known = [str(i) for i in range(count)] if names is None else as_names(names, "names", count)
    lengths = _lengths(flux_rows)
    given: dict[str, _Rows] = {"fluxes": flux_rows, "times": _as_time_rows(times, count)}
    given |= {
        name: _as_rows(rows, name)
        for name, rows in (("flux_errors", flux_errors), ("quality", quality))
        if rows is not None
    }
    for name, rows in given.items():
        _check_lengths(rows, name, lengths, known)
    padded = {name: _pad_rows(rows, lengths) for name, rows in given.items()}
    valid = np.arange(int(lengths.max(initial=0)))[None, :] < lengths[:, None]
    if "quality" in padded:
        valid &= padded["quality"] == 0
    curves = PaddedCurves(padded["times"], padded["fluxes"], padded.get("flux_errors"), valid, known)
    _check_errors(curves)
    return curves


def common_times(times: Any) -> npt.NDArray[Any] | None:
    """The vector of times that holds for all curves, if the user gave one instead of one for each."""
    if isinstance(times, (list, tuple)):
        flat = len(times) > 0 and all(np.ndim(time) == 0 for time in times)
    else:
        flat = getattr(times, "ndim", None) == 1 and not _holds_arrays(times)
    return _as_row(times, "times") if flat else None


def _pad_rows(rows: _Rows, lengths: npt.NDArray[np.int64]) -> FloatArray:
    """Rows of different lengths as one array [N, L] in float64, NaN at their ends."""
    if isinstance(rows, np.ndarray):
        return np.array(rows, dtype=np.float64)
    padded = np.full((len(rows), int(lengths.max(initial=0))), np.nan)
    padded[np.arange(padded.shape[1])[None, :] < lengths[:, None]] = np.concatenate(rows)
    return padded


def _as_time_rows(times: Any, count: int) -> _Rows:
    row = common_times(times)
    return _as_rows(times, "times") if row is None else np.broadcast_to(row, (count, row.size))


def _as_rows(value: Any, name: str) -> _Rows:
    if isinstance(value, (np.ndarray, Tensor)) and not _holds_arrays(value):
        array = _filled(as_numeric_array(value, name))
        if array.ndim != 2:
            raise InputError(f"{name} must be a list of arrays or have the shape (N, L), got {array.shape}")
        return array
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputTypeError(f"{name} must be a list of arrays or an array (N, L), got {type(value).__name__}")
    return [_as_row(row, f"{name}[{i}]") for i, row in enumerate(value)]


def _as_row(value: Any, name: str) -> npt.NDArray[Any]:
    row = _filled(as_numeric_array(value, name))
    if row.ndim != 1:
        raise InputError(f"{name} must have one dimension, got the shape {row.shape}")
    return row


def _filled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        return np.ma.filled(array.astype(np.float64), np.nan)
    return array


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "O"


def _lengths(rows: _Rows) -> npt.NDArray[np.int64]:
    if isinstance(rows, np.ndarray):
        return np.full(rows.shape[0], rows.shape[1], dtype=np.int64)
    return np.array([row.size for row in rows], dtype=np.int64)


def _check_lengths(rows: _Rows, name: str, expected: npt.NDArray[np.int64], names: list[str]) -> None:
    if len(rows) != expected.size:
        raise InputError(f"{name} must hold {expected.size} curves, as fluxes does, got {len(rows)}")
    lengths = _lengths(rows)
    wrong = lengths != expected
    if wrong.any():
        (row,) = first_position(wrong)
        raise InputError(
            f"{name} and fluxes must be equally long, but curve {names[row]!r} (number {row}) has {lengths[row]} "
            f"entries in {name} and {expected[row]} in fluxes"
        )


def _check_errors(curves: PaddedCurves) -> None:
    if curves.error is None:
        return
    negative = curves.valid & (curves.error < 0)
    if negative.any():
        row, position = first_position(negative)
        raise InputError(
            f"flux_errors must not be negative, but {curves.describe(row)} has {curves.error[row, position]} at "
            f"position {position}"
        )
