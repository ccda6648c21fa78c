"""The wavelengths of spectra: one axis for all, or one for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.spectra.rows import as_rows, check_lengths, common_row, lengths_of, listed, pad_rows
from stgraph.errors import InputError

__all__ = ["as_wavelengths"]


def as_wavelengths(
    value: Any, lengths: npt.NDArray[np.int64], names: list[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Wavelengths [L] or [N, L] in float64 that rise strictly, and which of them are points instead of padding [N, L].

    Behind the end of a spectrum (and where a row ends in NaN) the axis continues by the spectrum's last step.

    Raises:
        InputError: If lengths do not fit, or wavelengths do not rise strictly or are not positive; names the spectra.
    """
    width = int(lengths.max())
    common = common_row(value, "wavelengths")
    if common is not None:
        axis = common.astype(np.float64)
        if (lengths != axis.size).any():
            raise InputError(
                f"wavelengths is one vector of {axis.size} points for all spectra, but fluxes has "
                f"{_counts(lengths)} points; give the wavelengths of each spectrum (resample_spectra then puts them "
                "on a common grid)"
            )
        _check(axis[None], np.ones((1, width), dtype=np.bool_), ["of all spectra"])
        return axis, np.ones((lengths.size, width), dtype=np.bool_)
    rows = as_rows(value, "wavelengths")
    check_lengths(rows, "wavelengths", lengths, names)
    axes = pad_rows(rows, lengths_of(rows), np.float64)
    valid = np.arange(width)[None, :] < lengths[:, None]
    ended = np.logical_and.accumulate((~valid | np.isnan(axes))[:, ::-1], axis=1)[:, ::-1]
    valid &= ~ended
    if not valid.any(axis=1).all():
        raise InputError(f"wavelengths must hold a point for each spectrum; {listed(names, ~valid.any(axis=1))}")
    _check(axes, valid, names)
    return _continued(axes, valid), valid


def _counts(lengths: npt.NDArray[np.int64]) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return str(low) if low == high else f"from {low} to {high}"


def _check(axes: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_], names: list[str]) -> None:
    bad = (valid & ~(np.isfinite(axes) & (axes > 0))).any(axis=1)
    if bad.any():
        raise InputError(f"wavelengths must be positive and finite (angstrom), but are not in {listed(names, bad)}")
    bad = (valid[:, 1:] & ~(np.diff(axes, axis=1) > 0)).any(axis=1)
    if bad.any():
        raise InputError(f"wavelengths must rise strictly, but do not in {listed(names, bad)}")


def _continued(axes: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    if valid.all():
        return axes
    count = valid.sum(axis=1)[:, None]
    last, before = (np.take_along_axis(axes, np.maximum(count - back, 0), axis=1) for back in (1, 2))
    step = np.where(count > 1, last - before, 1.0)
    further = np.arange(axes.shape[1])[None, :] - (count - 1)
    return np.where(valid, axes, last + further * step)
