"""Read the values of a series: put nodes first, find what is missing, and refuse what cannot be a series."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.data.checks import as_numeric_array, first_position
from stgraph.errors import InputError, InputTypeError

__all__ = ["Series", "read_series"]

_logger = logging.getLogger("stgraph")

_CHUNK_VALUES = 1 << 23  # values looked at together (8.4 million), so that a memory map is never read as a whole

_Array = npt.NDArray[Any]
_Mask = npt.NDArray[np.bool_]


class Series(NamedTuple):
    """Values ``x`` [N, T, C], ``mask`` [N, T, C] or None where all is observed, ``grid`` (H, W) or None for nodes."""

    x: Tensor
    mask: Tensor | None
    grid: tuple[int, int] | None


def read_series(
    values: Any,
    mask: Any = None,
    null_value: float | None = None,
    grid: bool | tuple[int, int] | None = None,
) -> Series:
    """Values with nodes first and a mask; see :func:`stgraph.data.from_array` for the arguments.

    Raises:
        InputError: If the shape is wrong, an observed value is infinite, or a channel was never observed.
        InputTypeError: If the values are not numbers.
    """
    array = as_numeric_array(values, "values")
    series, shape = _nodes_second(array, grid)
    observed = _read_mask(array, mask, series.shape)
    if isinstance(array, np.ma.MaskedArray):
        series = np.ma.getdata(series)
    null = _read_null_value(null_value)
    summary = _scan(series, observed, null)
    summary.check()
    if summary.complete and isinstance(series, np.memmap) and series.dtype == np.float32 and series.dtype.isnative:
        return Series(_share(series), None, shape)
    return Series(*_copy(series, observed, null, summary.complete), shape)


def _nodes_second(array: _Array, grid: bool | tuple[int, int] | None) -> tuple[_Array, tuple[int, int] | None]:
    """The values as [T, N, C], and (H, W) if they are a grid."""
    if array.ndim not in (2, 3, 4):
        raise InputError(f"values must have the shape (T, N), (T, N, C) or (T, H, W, C), got {array.shape}")
    if array.size == 0:
        raise InputError(f"values must not be empty, got the shape {array.shape}")
    if grid is None or isinstance(grid, bool):
        if grid and array.ndim != 4:
            raise InputError(f"grid=True needs values of the shape (T, H, W, C), got {array.shape}; give grid=(H, W)")
        is_grid = array.ndim == 4 and (grid or (grid is None and min(array.shape[1:3]) > 1))
        shape = (array.shape[1], array.shape[2]) if is_grid else None
    else:
        shape = _read_grid_shape(grid)
        nodes = shape[0] * shape[1]
        if array.ndim == 3 and array.shape[1] != nodes and array.shape[1:] == shape:
            array = array[..., None]
        fits = array.shape[1:3] == shape if array.ndim == 4 else array.shape[1] == nodes
        if not fits:
            raise InputError(f"grid={shape} does not fit values of the shape {array.shape}")
    channels = array.shape[-1] if array.ndim > 2 else 1
    return array.reshape(array.shape[0], -1, channels), shape


def _read_grid_shape(grid: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in grid)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"grid must be None, True, False or (H, W), got {grid!r}") from error
    if height < 1 or width < 1:
        raise InputError(f"grid must have at least one row and one column, got {(height, width)}")
    return height, width


def _read_mask(array: _Array, mask: Any, shape: tuple[int, ...]) -> _Mask | None:
    """What the user and a masked array say is observed, as [T, N, C]; NaN and the null value come on top."""
    observed: _Mask | None = None
    if mask is not None:
        given = as_numeric_array(mask, "mask")
        if given.dtype != np.bool_:
            raise InputTypeError(f"mask must be boolean, True where a value was observed, got dtype {given.dtype}")
        if given.shape not in (array.shape, array.shape[:-1]):
            raise InputError(f"mask must have the shape {array.shape} of the values, got {given.shape}")
        full = given if given.ndim == array.ndim else np.broadcast_to(given[..., None], array.shape)
        observed = full.reshape(shape)
    if isinstance(array, np.ma.MaskedArray):
        unmasked = ~np.ma.getmaskarray(array).reshape(shape)
        observed = unmasked if observed is None else observed & unmasked
    return observed


def _read_null_value(null_value: Any) -> float | None:
    if null_value is None:
        return None
    if isinstance(null_value, (bool, np.bool_)) or not isinstance(null_value, (int, float, np.number)):
        raise InputTypeError(f"null_value must be a number, got {type(null_value).__name__}")
    return float(null_value)


def _chunks(series: _Array) -> Iterator[slice]:
    num_steps = series.shape[0]
    length = max(1, _CHUNK_VALUES // (series.shape[1] * series.shape[2]))
    return (slice(start, min(start + length, num_steps)) for start in range(0, num_steps, length))


def _observed(chunk: _Array, given: _Mask | None, null: float | None) -> _Mask:
    observed = np.ones(chunk.shape, dtype=np.bool_) if given is None else given.copy()
    if chunk.dtype.kind == "f":
        observed &= ~np.isnan(chunk)
    if null is not None:
        observed &= chunk != null
    return observed


@dataclass
class _Summary:
    """What one pass over the values tells."""

    complete: bool
    low: _Array  # per channel, over observed values
    high: _Array
    seen: _Mask  # [N, C]: observed at least once

    def check(self) -> None:
        never = np.flatnonzero(~self.seen.any(axis=0))
        if never.size == self.seen.shape[1]:
            raise InputError("values has no observed value: all are NaN, equal to null_value or masked")
        if never.size:
            raise InputError(
                f"values[..., {never[0]}]: {never.size} of {self.seen.shape[1]} channels have no observed value; "
                f"leave out channels {never.tolist()}"
            )
        dead = np.flatnonzero(~self.seen.any(axis=1))
        if dead.size:
            _logger.warning("%d of %d nodes were never observed (first: %d)", dead.size, self.seen.shape[0], dead[0])
        constant = np.flatnonzero(self.low == self.high)
        if constant.size:
            _logger.warning("channels %s have one and the same value everywhere", constant.tolist())


def _scan(series: _Array, given: _Mask | None, null: float | None) -> _Summary:
    channels = series.shape[2]
    summary = _Summary(
        True, np.full(channels, np.inf), np.full(channels, -np.inf), np.zeros(series.shape[1:], dtype=np.bool_)
    )
    for part in _chunks(series):
        chunk = np.asarray(series[part])
        observed = _observed(chunk, None if given is None else given[part], null)
        with np.errstate(over="ignore"):
            infinite = observed & ~np.isfinite(chunk.astype(np.float32, copy=False))
        if infinite.any():
            step, node, channel = first_position(infinite)
            raise InputError(
                f"values must be finite in float32 where they are observed, but at step {part.start + step}, node "
                f"{node}, channel {channel} stands {chunk[step, node, channel]}"
            )
        summary.complete &= bool(observed.all())
        summary.seen |= observed.any(axis=0)
        summary.low = np.minimum(summary.low, np.where(observed, chunk, np.inf).min(axis=(0, 1)))
        summary.high = np.maximum(summary.high, np.where(observed, chunk, -np.inf).max(axis=(0, 1)))
    return summary


def _share(series: np.memmap[Any, Any]) -> Tensor:
    with warnings.catch_warnings():
        # torch warns that a map opened with mode "r" cannot be written; the docstring of from_array says so.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(series).permute(1, 0, 2)


def _copy(series: _Array, given: _Mask | None, null: float | None, complete: bool) -> tuple[Tensor, Tensor | None]:
    steps, nodes, channels = series.shape
    # Time comes first in memory: a window is then one run of it, and a batch of windows the fastest gather there is.
    x = np.zeros((steps, nodes, channels), dtype=np.float32)
    mask = None if complete else np.zeros(x.shape, dtype=np.bool_)
    for part in _chunks(series):
        chunk = np.asarray(series[part])
        if mask is None:
            x[part] = chunk
        else:
            observed = _observed(chunk, None if given is None else given[part], null)
            np.copyto(x[part], chunk, where=observed, casting="unsafe")
            mask[part] = observed
    return torch.from_numpy(x).transpose(0, 1), None if mask is None else torch.from_numpy(mask).transpose(0, 1)
