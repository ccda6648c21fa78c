"""Checks of what is to be drawn, and the choice of what is worth drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError

__all__ = [
    "Array",
    "Floats",
    "as_array",
    "best_stretch",
    "check_levels",
    "check_node",
    "choose_nodes",
    "known_targets",
    "masked_mean",
    "node_errors",
    "times",
]

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


def node_errors(prediction: Any, target: Any, mask: Any = None) -> Floats:
    """Return the mean absolute error of each node over windows, steps and channels; nan where nothing was observed.

    Args:
        prediction: Point forecasts.
        target: Targets.
        mask: True where the target is observed.

    Shapes:
        - **prediction**, **target**, **mask:** ``[S, N, Q, C]``
        - **output:** ``[N]``

    >>> node_errors(np.zeros((1, 2, 1, 1)), np.array([1.0, 3.0]).reshape(1, 2, 1, 1)).tolist()
    [1.0, 3.0]
    """
    y = as_array(target, "target")
    error = np.abs(as_array(prediction, "prediction", y.shape) - y)
    known = known_targets(y, None if mask is None else as_array(mask, "mask", y.shape))
    return masked_mean(error, known, (0, 2, 3))


def masked_mean(values: Array, known: npt.NDArray[np.bool_], axes: int | tuple[int, ...]) -> Floats:
    """Return the mean of the known values; nan where there is none."""
    count = known.sum(axes)
    total = np.sum(values, axes, dtype=np.float64, where=known)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def choose_nodes(point: Floats, observed: Floats, count: int = 4) -> list[int]:
    """Return nodes from a small to a large error, among those observed at least as often as the median node."""
    seen = np.isfinite(observed).sum(0)
    often = np.flatnonzero((seen >= np.median(seen)) & (seen > 0))
    if len(often) == 0:
        return list(range(min(count, len(seen))))
    error = masked_mean(np.abs(point - observed), np.isfinite(observed), 0)[often]
    ranks = np.linspace(0.1, 0.9, min(count, len(often))) * (len(often) - 1)
    return [int(often[i]) for i in np.argsort(error, kind="stable")[np.unique(ranks.round().astype(int))]]


def best_stretch(seen: npt.NDArray[np.int64], length: int) -> slice:
    """Return the stretch of at most ``length`` windows with the most observations, the last of equals."""
    if len(seen) <= length:
        return slice(0, len(seen))
    total = np.concatenate([[0], np.cumsum(seen)])
    sums = total[length:] - total[:-length]
    start = len(sums) - 1 - int(np.argmax(sums[::-1]))
    return slice(start, start + length)


def times(time: Any, shape: tuple[int, ...], step: int) -> npt.NDArray[Any]:
    """Return the times of one step: dates where they are a calendar, window numbers where there are none."""
    if time is None:
        return np.arange(shape[0])
    at = np.asarray(time)
    if at.shape != (shape[0], shape[2]):
        raise InputError(f"time has shape {at.shape}; expected {(shape[0], shape[2])}")
    return at[:, step].astype("datetime64[ns]") if np.issubdtype(at.dtype, np.integer) else at[:, step]


def known_targets(target: Array, mask: Array | None) -> npt.NDArray[np.bool_]:
    """Return where the target is observed."""
    known = np.isfinite(target)
    return known if mask is None else known & mask.astype(bool)


def as_array(values: Any, name: str, shape: tuple[int, ...] | None = None) -> Array:
    """Return values as an array, without a copy where possible.

    Raises:
        InputError: If the shape is not ``shape``, or not of four dimensions.
    """
    array = np.asarray(values)
    if shape is not None and array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}; expected {shape}")
    if shape is None and array.ndim != 4:
        raise InputError(f"{name} has shape {array.shape}; expected (S, N, Q, C)")
    return array


def check_levels(quantiles: Sequence[float]) -> list[float]:
    """Return the levels of quantiles as floats; 0.5 must be among them."""
    levels = [float(q) for q in quantiles]
    if 0.5 not in levels:
        raise InputError(f"quantiles is {levels}; expected 0.5 among them")
    return levels


def check_node(node: int, count: int) -> int:
    """Return the index of a node, which must exist."""
    if not 0 <= node < count:
        raise InputError(f"nodes names {node}; expected 0 to {count - 1}")
    return int(node)
