"""Clean padded light curves: bad points, outliers, order, repeated times; all curves at once."""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from stgraph.data.checks import first_position
from stgraph.data.light_curves.padded import FloatArray, PaddedCurves
from stgraph.errors import InputError

__all__ = [
    "ClipUnit",
    "Duplicates",
    "clip_outliers",
    "continue_times",
    "drop_not_finite",
    "named",
    "put_in_order",
    "row_quantiles",
    "warn_of_poor_curves",
]

ClipUnit: TypeAlias = Literal["iqr", "std"]
Duplicates: TypeAlias = Literal["error", "mean"]

_logger = logging.getLogger("stgraph")
_LEAST_TO_CLIP = 10  # curves with more points than this are clipped
_NAMES_SHOWN = 5


def drop_not_finite(curves: PaddedCurves) -> None:
    """Keep only points whose time, flux and error are finite (the flux also in float32, as it will be stored)."""
    with np.errstate(over="ignore"):
        curves.valid &= np.isfinite(curves.time) & np.isfinite(curves.flux.astype(np.float32))
        if curves.error is not None:
            curves.valid &= np.isfinite(curves.error.astype(np.float32))


def clip_outliers(curves: PaddedCurves, clip: float, unit: ClipUnit) -> None:
    r"""Drop points at least ``clip`` interquartile ranges or standard deviations from the curve's median.

    Curves of at most 10 points, and those whose range is 0, are left alone.

    Raises:
        InputError: If ``clip`` is not positive or there is no such unit.
    """
    if not clip > 0:
        raise InputError(f"clip must be positive, or None for no clipping, got {clip}")
    if unit not in get_args(ClipUnit):
        raise InputError(f"clip_unit must be one of {', '.join(get_args(ClipUnit))}, got {unit!r}")
    count = curves.valid.sum(axis=1)
    low, median, high = row_quantiles(curves.flux, curves.valid, (0.25, 0.5, 0.75))
    width = high - low if unit == "iqr" else _row_std(curves.flux, curves.valid)
    clipped = (count > _LEAST_TO_CLIP) & (width > 0)
    distance = np.abs(np.where(curves.valid, curves.flux, 0.0) - median[:, None])
    curves.valid &= ~(clipped[:, None] & (distance >= clip * width[:, None]))


def put_in_order(curves: PaddedCurves, *, sort: bool, duplicates: Duplicates) -> PaddedCurves:
    """Points first and in the order of time, padding (time NaN, flux and error 0) after them.

    Raises:
        InputError: If times are unsorted and ``sort`` is False, or repeated and ``duplicates`` is ``"error"``; names
            the curve and the position in what was given.
    """
    if duplicates not in get_args(Duplicates):
        raise InputError(f"duplicates must be one of {', '.join(get_args(Duplicates))}, got {duplicates!r}")
    length = int(curves.valid.sum(axis=1).max())
    key = np.where(curves.valid, curves.time, np.inf) if sort else ~curves.valid
    order = np.argsort(key, axis=1, kind="stable")[:, :length]
    curves = curves.arrange(order)
    _blank(curves)
    step = np.diff(curves.time, axis=1)
    both = curves.valid[:, 1:]
    if bool((both & (step < 0)).any()):
        row, position = first_position(both & (step < 0))
        raise InputError(
            f"times must be in rising order, but {curves.describe(row)} has {curves.time[row, position + 1]} at "
            f"position {order[row, position + 1]} after {curves.time[row, position]}; sort=True sorts them"
        )
    repeated = both & (step == 0)
    if repeated.any():
        if duplicates == "error":
            row, position = first_position(repeated)
            raise InputError(
                f"times must be distinct, but {curves.describe(row)} has {curves.time[row, position]} again at "
                f"position {order[row, position + 1]}; duplicates='mean' averages such points"
            )
        curves = _average(curves, repeated)
    return curves


def continue_times(curves: PaddedCurves) -> FloatArray:
    """Times [N, L] that go on in the padding by the curve's median step (one day where it has none)."""
    length = curves.valid.sum(axis=1)
    steps = np.where(curves.valid[:, 1:], np.diff(curves.time, axis=1), 0.0)
    (step,) = row_quantiles(steps, curves.valid[:, 1:], (0.5,))
    last = np.take_along_axis(curves.time, (length - 1)[:, None], axis=1)
    # A step below the resolution of float64 would leave the times standing still.
    step = np.maximum(np.where(length > 1, step, 1.0)[:, None], 4 * np.spacing(np.abs(last)))
    further = np.arange(curves.time.shape[1])[None, :] - (length - 1)[:, None]
    return np.where(curves.valid, curves.time, last + further * step)


def row_quantiles(values: FloatArray, valid: npt.NDArray[np.bool_], levels: tuple[float, ...]) -> list[FloatArray]:
    """Quantiles of each row's valid entries, by linear interpolation; NaN where there are none.

    Examples:
        >>> row_quantiles(np.array([[4.0, 2.0, 9.0]]), np.array([[True, True, False]]), (0.5,))
        [array([3.])]
    """
    count = valid.sum(axis=1)
    if values.shape[1] == 0:
        return [np.full(count.size, np.nan) for _ in levels]
    ordered = np.sort(np.where(valid, values, np.inf), axis=1)
    quantiles = []
    for level in levels:
        place = level * np.maximum(count - 1, 0)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(count - 1, 0))
        low, high = (np.take_along_axis(ordered, at[:, None], axis=1)[:, 0] for at in (below, above))
        low, high = (np.where(count > 0, end, np.nan) for end in (low, high))
        quantiles.append(low + (high - low) * (place - below))
    return quantiles


def warn_of_poor_curves(curves: PaddedCurves) -> None:
    """Log which curves have a single point, and which never change."""
    count = curves.valid.sum(axis=1)
    highest = np.where(curves.valid, curves.flux, -np.inf).max(axis=1)
    lowest = np.where(curves.valid, curves.flux, np.inf).min(axis=1)
    for bad, what in ((count < 2, "fewer than 2 points"), ((count > 1) & (highest == lowest), "zero variance")):
        if bad.any():
            _logger.warning("light curves with %s: %s", what, named(curves, bad))


def named(curves: PaddedCurves, chosen: npt.NDArray[np.bool_]) -> str:
    """How many curves are chosen, and the names of the first ones."""
    rows = np.flatnonzero(chosen)
    names = ", ".join(repr(curves.names[row]) for row in rows[:_NAMES_SHOWN])
    return f"{rows.size} of {chosen.size} ({names}{', ...' if rows.size > _NAMES_SHOWN else ''})"


def _row_std(values: FloatArray, valid: npt.NDArray[np.bool_]) -> FloatArray:
    count = np.maximum(valid.sum(axis=1), 1)
    mean = np.where(valid, values, 0.0).sum(axis=1) / count
    deviation = np.where(valid, values - mean[:, None], 0.0)
    std: FloatArray = np.sqrt(np.square(deviation).sum(axis=1) / count)
    return std


def _average(curves: PaddedCurves, repeated: npt.NDArray[np.bool_]) -> PaddedCurves:
    """One point in place of those at the same time: mean flux, and the error of this mean."""
    count, length = curves.time.shape
    group = np.concatenate([np.zeros((count, 1), dtype=np.int64), np.cumsum(~repeated, axis=1)], axis=1)
    flat = (group + np.arange(count)[:, None] * length)[curves.valid]

    def total(values: FloatArray) -> FloatArray:
        sums = np.bincount(flat, values[curves.valid], minlength=count * length)
        return sums.reshape(count, length).astype(np.float64)

    points = total(np.ones_like(curves.flux))
    valid = points > 0
    time = np.full(count * length, np.nan)
    time[flat] = curves.time[curves.valid]
    divisor = np.maximum(points, 1)
    error = None if curves.error is None else np.sqrt(total(np.square(curves.error))) / divisor
    averaged = PaddedCurves(time.reshape(count, length), total(curves.flux) / divisor, error, valid, curves.names)
    longest = int(valid.sum(axis=1).max())
    return averaged.arrange(np.broadcast_to(np.arange(longest), (count, longest)))


def _blank(curves: PaddedCurves) -> None:
    curves.time[~curves.valid] = np.nan
    curves.flux[~curves.valid] = 0.0
    if curves.error is not None:
        curves.error[~curves.valid] = 0.0
