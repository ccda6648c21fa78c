"""Chronological splits of a series and the windows that fit into them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = [
    "Split",
    "WindowSplit",
    "split_by_date",
    "split_by_ratio",
    "split_windows",
    "train_val_split",
    "window_starts",
]


class Split(NamedTuple):
    """The steps of a series for training, validation and test, in this order in time."""

    train: slice
    val: slice
    test: slice


class WindowSplit(NamedTuple):
    """The starts of the windows for training, validation and test."""

    train: Tensor
    val: Tensor
    test: Tensor


def split_by_ratio(num_steps: int, ratios: Sequence[float] = (7, 1, 2)) -> Split:
    r"""Split the steps of a series in time by ratios such as 7:1:2 or 6:2:2.

    Validation and test get their shares rounded down, training the rest. Cutting windows from each part afterwards
    ("split then window") gives the numbers of windows of BasicTS.

    Args:
        num_steps: Number of steps T.
        ratios: Shares of training, validation and test; only their proportion matters.

    Raises:
        InputError: If there are not three positive ratios, or a part would be empty.

    Example:
        >>> split_by_ratio(100, (7, 1, 2))
        Split(train=slice(0, 70, None), val=slice(70, 80, None), test=slice(80, 100, None))
    """
    shares = _shares(ratios, parts=3)
    val, test = (math.floor(share * num_steps) for share in shares[1:])
    train = num_steps - val - test
    _require_filled("steps", num_steps, {"training": train, "validation": val, "test": test}, ratios)
    return Split(slice(0, train), slice(train, train + val), slice(train + val, num_steps))


def train_val_split(num_steps: int, fraction: float = 0.9) -> tuple[slice, slice]:
    """Split a training period in time into training, its first ``fraction`` rounded down, and validation, the rest.

    Args:
        num_steps: Number of steps T of the training period.
        fraction: Share of training, between 0 and 1.

    Raises:
        InputError: If the fraction is not between 0 and 1, or a part would be empty.

    Example:
        >>> train_val_split(105)
        (slice(0, 94, None), slice(94, 105, None))
    """
    if not 0 < fraction < 1:
        raise InputError(f"fraction is {fraction}; expected a number between 0 and 1")
    train = math.floor(_exact(fraction) * num_steps)
    _require_filled("steps", num_steps, {"training": train, "validation": num_steps - train}, fraction)
    return slice(0, train), slice(train, num_steps)


def split_by_date(time: Any, val_start: Any, test_start: Any) -> Split:
    """Split the steps of a series in time at two dates.

    Args:
        time: Times ``[T]`` as a series has them: int64 nanoseconds since 1970, float64, or NumPy datetimes.
        val_start: First time of validation: a date, datetime, NumPy datetime or ISO string (in UTC where it names no
            time zone), or a number in the unit of ``time``.
        test_start: First time of test.

    Raises:
        InputError: If the times are not increasing or not shared by the nodes, or a part would be empty.
        InputTypeError: If a date is given for times without a calendar.

    Example:
        >>> time = np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]")
        >>> split_by_date(time, "2024-01-08", "2024-01-10").val
        slice(7, 9, None)
    """
    values = _time_vector(time)
    cuts = [_instant(cut, name, values) for cut, name in ((val_start, "val_start"), (test_start, "test_start"))]
    first, second = (int(np.searchsorted(values, cut)) for cut in cuts)
    if not 0 < first < second < len(values):
        raise InputError(
            f"val_start = {val_start} and test_start = {test_start} leave {first}, {second - first} and "
            f"{len(values) - second} of {len(values)} steps for training, validation and test; each needs some"
        )
    return Split(slice(0, first), slice(first, second), slice(second, len(values)))


def split_windows(starts: Tensor, ratios: Sequence[float] = (7, 1, 2)) -> WindowSplit:
    r"""Split windows in time by ratios ("window then split").

    Training and test get their shares rounded to the nearest number, validation the rest, as in `"Diffusion
    Convolutional Recurrent Neural Network" <https://arxiv.org/abs/1707.01926>`_. The first windows of a part
    then begin in the part before it.

    Args:
        starts: Starts of the windows, increasing (see :func:`window_starts`).
        ratios: Shares of training, validation and test; only their proportion matters.

    Raises:
        InputError: If there are not three positive ratios, or a part would be empty.

    Example:
        >>> [len(part) for part in split_windows(window_starts(34272, 12, 12))]
        [23974, 3425, 6850]
    """
    shares = _shares(ratios, parts=3)
    total = int(starts.numel())
    train, test = round(shares[0] * total), round(shares[2] * total)
    val = total - train - test
    _require_filled("windows", total, {"training": train, "validation": val, "test": test}, ratios)
    return WindowSplit(starts[:train], starts[train : train + val], starts[train + val :])


def window_starts(
    num_steps: int,
    input_steps: int,
    horizon: int,
    *,
    within: slice | None = None,
    stride: int = 1,
    time: Any = None,
    max_gap: float | str | timedelta | np.timedelta64 | None = None,
    period_break: int | None = None,
) -> Tensor:
    r"""Return the first steps of all windows of P input and Q target steps that fit into a series.

    Args:
        num_steps: Number of steps T of the series.
        input_steps: Number of input steps P.
        horizon: Number of target steps Q.
        within: Steps that windows must lie in completely, such as a part of :func:`split_by_ratio`.
        stride: Steps from one window to the next, counted from the start of ``within`` and again after each break.
        time: Times of the steps, ``[T]`` or ``[N, T]``; needed for ``max_gap``.
        max_gap: Largest time from one step to the next that a window may contain: a number in the unit of ``time``, a
            duration (``timedelta``, NumPy or a string such as ``"2h"``), or a multiple of the median step (``"1.5x"``).
            Where each node has its own times, a gap at any node counts.
        period_break: Number of steps after which the series breaks, such as the steps of a service day when nights are
            left out; no window crosses a multiple of it.

    Returns:
        Tensor: Increasing int64 indices into the whole series.

    Raises:
        InputError: If an argument is out of range, or no window fits.

    Example:
        >>> window_starts(10, 3, 2).tolist()
        [0, 1, 2, 3, 4, 5]
        >>> window_starts(10, 3, 1, period_break=5).tolist()
        [0, 1, 5, 6]
    """
    for name, value in (("input_steps", input_steps), ("horizon", horizon), ("stride", stride)):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    length = input_steps + horizon
    begin, end, step = (within or slice(None)).indices(num_steps)
    if step != 1:
        raise InputError(f"within is {within}; expected consecutive steps")
    if end - begin < length:
        raise InputError(
            f"there are {max(end - begin, 0)} steps; a window of input_steps = {input_steps} and horizon = {horizon} "
            f"needs {length}"
        )
    # segment[t] counts the breaks up to step t; a window must begin and end in the same segment.
    segment = np.concatenate([[0], np.cumsum(_breaks(num_steps, time, max_gap, period_break)[begin : end - 1])])
    first = np.searchsorted(segment, segment)  # first step of the segment that a step lies in
    offset = np.arange(end - begin - length + 1)
    fits = (segment[length - 1 :] == segment[: len(offset)]) & ((offset - first[: len(offset)]) % stride == 0)
    if not fits.any():
        longest = int(np.bincount(segment).max())
        raise InputError(f"no window of {length} steps fits: the longest run without a gap or break has {longest}")
    return torch.from_numpy(offset[fits] + begin)


def _breaks(num_steps: int, time: Any, max_gap: Any, period_break: int | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell for each step but the last whether the series breaks after it."""
    breaks = np.zeros(max(num_steps - 1, 0), dtype=bool)
    if period_break is not None:
        if period_break < 1:
            raise InputError(f"period_break is {period_break}; expected at least 1")
        breaks[period_break - 1 :: period_break] = True
    if max_gap is not None:
        if time is None:
            raise InputError("max_gap is given without time; pass the times of the steps")
        values = _time_values(time)
        if values.shape[-1] != num_steps or values.ndim > 2:
            raise InputError(f"time has shape {values.shape}; expected [T] or [N, T] with T = {num_steps}")
        difference = np.diff(values, axis=-1)
        _require_increasing(difference)
        wide = difference > _gap_limit(max_gap, difference)
        breaks |= wide if wide.ndim == 1 else wide.any(axis=0)
    return breaks


def _gap_limit(max_gap: Any, difference: np.ndarray[Any, Any]) -> float:
    if isinstance(max_gap, str) and max_gap.strip().endswith("x"):
        limit = _number(max_gap.strip()[:-1], "max_gap") * float(np.median(difference))
    elif isinstance(max_gap, (str, timedelta, np.timedelta64)):
        if difference.dtype != np.int64:
            raise InputTypeError(f"max_gap is the duration {max_gap!r}, but time has no calendar; give a number")
        import pandas as pd

        try:
            limit = float(pd.Timedelta(max_gap).value)
        except ValueError as error:
            raise InputError(
                f"max_gap is {max_gap!r}; expected a duration such as '2h' or a multiple '1.5x'"
            ) from error
    else:
        limit = float(max_gap)
    if not limit > 0:
        raise InputError(f"max_gap is {max_gap!r}; expected more than 0")
    return limit


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{name} has {text!r} where a number is expected") from error


def _exact(ratio: float) -> Fraction:
    """Return the decimal number a ratio was written as, so that 0.7 is 7/10."""
    return Fraction(str(ratio))


def _shares(ratios: Sequence[float], parts: int) -> list[Fraction]:
    if len(ratios) != parts or not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise InputError(f"ratios is {tuple(ratios)}; expected {parts} positive numbers (training, validation, test)")
    exact = [_exact(ratio) for ratio in ratios]
    return [ratio / sum(exact) for ratio in exact]


def _require_filled(what: str, total: int, counts: dict[str, int], ratios: Any) -> None:
    empty = [part for part, count in counts.items() if count < 1]
    if empty:
        raise InputError(f"{total} {what} split by {ratios} leave none for {' and '.join(empty)}")


def _time_values(time: Any) -> np.ndarray[Any, Any]:
    values = np.asarray(time)
    if values.dtype.kind == "M":
        return values.astype("datetime64[ns]").astype(np.int64)
    if values.dtype.kind not in "iuf":
        raise InputTypeError(f"time has dtype {values.dtype}; expected int64 nanoseconds, floats or datetimes")
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64, copy=False)


def _time_vector(time: Any) -> np.ndarray[Any, Any]:
    values = _time_values(time)
    if values.ndim != 1:
        raise InputError(f"time has shape {values.shape}; a split by date needs times [T] that all nodes share")
    _require_increasing(np.diff(values))
    return values


def _require_increasing(difference: np.ndarray[Any, Any]) -> None:
    bad = np.flatnonzero(~(difference > 0).reshape(-1, difference.shape[-1]).all(axis=0))
    if len(bad):
        raise InputError(f"time is not increasing after step {int(bad[0])}; sort the steps and drop repeated times")


def _instant(value: Any, name: str, time: np.ndarray[Any, Any]) -> Any:
    """Return a time as a number in the unit of ``time``."""
    if isinstance(value, (int, float, np.integer, np.floating)):
        return value
    if not isinstance(value, (str, date, np.datetime64)):
        raise InputTypeError(f"{name} is a {type(value).__name__}; expected a date, an ISO string or a number")
    if time.dtype != np.int64:
        raise InputTypeError(f"{name} is the date {value!r}, but time has no calendar; give a number")
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise InputError(f"{name} is {value!r}; expected an ISO date such as '2024-01-31'") from error
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(timezone.utc).replace(tzinfo=None)
    return np.datetime64(value, "ns").astype(np.int64)
