"""Light curves from named arrays, as HDF5 files and NumPy archives hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.light_curves.metadata import Metadata, as_text
from stgraph.data.light_curves.sources import Source
from stgraph.errors import InputError

__all__ = ["ARRAY_NAMES", "source_of_arrays"]

#: Names that are looked for.
ARRAY_NAMES = ("flux", "time", "flux_err", "flux_error", "mask", "quality", "length", "targetid", "sky", "ra", "dec")
_SPECTRA = ("psd", "acf", "fstat", "f_stat", "power")


def source_of_arrays(arrays: Mapping[str, npt.NDArray[Any]], where: str, metadata: Metadata | None = None) -> Source:
    """Light curves from ``flux``, ``time`` and what else of :data:`ARRAY_NAMES` there is.

    Padding is what ``mask`` or ``length`` says; without them NaN and the zeros at the end of a row where flux and time
    are both 0.

    Raises:
        InputError: If ``flux`` or ``time`` is missing (lists what there is), or shapes do not fit together.
    """
    missing = [name for name in ("flux", "time") if name not in arrays]
    if missing:
        raise InputError(f"{where} has no {' and no '.join(missing)}; {_what_there_is(list(arrays))}")
    flux = _matrix(arrays["flux"], "flux", where)
    time = np.asarray(arrays["time"])
    if time.shape != flux.shape[1:]:
        time = _matrix(time, "time", where, flux.shape)
    error = next((arrays[name] for name in ("flux_err", "flux_error") if name in arrays), None)
    return Source(
        where,
        time,
        flux,
        None if error is None else _matrix(error, "flux_err", where, flux.shape),
        _flags(arrays, flux, time, where),
        _names(arrays, len(flux), where),
        _sky(arrays),
        metadata or {},
        shared_time=time.ndim == 1,
    )


def _what_there_is(names: list[str]) -> str:
    hint = "; read_spectra reads spectra" if any(name in _SPECTRA for name in names) else ""
    return f"there are {', '.join(names) or 'no data'}{hint}"


def _matrix(array: npt.NDArray[Any], name: str, where: str, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 or (shape is not None and array.shape != shape):
        expected = "(N, L)" if shape is None else f"{shape} of flux"
        raise InputError(f"{where}: {name} must have the shape {expected}, got {array.shape}")
    return array


def _flags(
    arrays: Mapping[str, npt.NDArray[Any]], flux: npt.NDArray[Any], time: npt.NDArray[Any], where: str
) -> npt.NDArray[np.bool_]:
    """True where there is no good point."""
    flags = np.zeros(flux.shape, dtype=np.bool_)
    if "mask" in arrays:
        flags |= _matrix(arrays["mask"], "mask", where, flux.shape) == 0
    elif "length" in arrays and time.ndim == 2:
        length = np.asarray(arrays["length"])
        if length.shape != flux.shape[:1]:
            raise InputError(f"{where}: length must have the shape ({len(flux)},), got {length.shape}")
        flags |= np.arange(flux.shape[1])[None, :] >= length[:, None]
    elif time.ndim == 2:
        empty = np.isnan(flux) | np.isnan(time) | ((flux == 0) & (time == 0))
        flags |= np.logical_and.accumulate(empty[:, ::-1], axis=1)[:, ::-1]
    if "quality" in arrays:
        flags |= _matrix(arrays["quality"], "quality", where, flux.shape) != 0
    return flags


def _names(arrays: Mapping[str, npt.NDArray[Any]], count: int, where: str) -> list[str] | None:
    if "targetid" not in arrays:
        return None
    names = as_text(np.asarray(arrays["targetid"]))
    if names.shape != (count,):
        raise InputError(f"{where}: targetid must have the shape ({count},), got {names.shape}")
    return [str(name) for name in names.tolist()]


def _sky(arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    if "sky" in arrays:
        return np.asarray(arrays["sky"])
    if "ra" in arrays and "dec" in arrays:
        return np.stack([np.asarray(arrays[name], dtype=np.float64).ravel() for name in ("ra", "dec")], axis=1)
    return None
