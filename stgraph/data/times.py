"""Time indices: whatever says when a step was becomes int64 nanoseconds since 1970, or float64 without a calendar."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.data.checks import first_position
from stgraph.errors import InputError, InputTypeError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_time", "parse_dates", "to_datetime64"]

_SECOND = 1_000_000_000
_STANDARD_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")


def as_time(time: Any, num_steps: int, num_nodes: int | None = None) -> Tensor:
    """Check a time index and bring it to the form of ``Data.time``.

    Dates (``datetime64``, pandas indices, ``datetime`` objects, ISO text) become int64 nanoseconds since 1970, in UTC
    where they have a time zone. Floats, and time differences in seconds, become float64: times without a calendar.
    Integers are nanoseconds since 1970 as in ``Data.time``, except where this would put steps less than a second apart
    on 1 January 1970 (step numbers, years, hours or seconds): these become float64.

    Args:
        time: One entry a step, or one row of entries a node.
        num_steps: Length of the series T.
        num_nodes: Number of nodes N where rows of times [N, T] are allowed.

    Raises:
        InputError: If the length is wrong, an entry is missing, or times are unsorted or duplicated; the first
            offending position is named.
        InputTypeError: If it cannot be read as times.

    Examples:
        >>> as_time(["1970-01-01", "1970-01-02"], 2)
        tensor([             0, 86400000000000])
        >>> as_time([0.0, 0.5], 2)
        tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    array, is_date = _as_numbers(time)
    allowed = [(num_steps,)] if num_nodes is None else [(num_steps,), (num_nodes, num_steps)]
    if array.shape not in allowed:
        wanted = " or ".join(str(shape) for shape in allowed)
        raise InputError(f"time must have the shape {wanted}, one entry for each step, got {array.shape}")
    _check_increasing(array)
    if array.dtype == np.int64 and not is_date and _is_without_calendar(array):
        array = array.astype(np.float64)
    return torch.from_numpy(np.array(array))


def to_datetime64(time: Tensor) -> npt.NDArray[np.datetime64]:
    """Calendar dates of ``Data.time``.

    Raises:
        InputTypeError: If the times have no calendar.

    Examples:
        >>> to_datetime64(torch.tensor([86400 * 10**9])).astype("datetime64[D]")
        array(['1970-01-02'], dtype='datetime64[D]')
    """
    if time.dtype != torch.int64:
        raise InputTypeError(f"times of dtype {time.dtype} have no calendar; dates are int64 nanoseconds since 1970")
    return time.detach().cpu().numpy().view("datetime64[ns]")


def _is_without_calendar(array: npt.NDArray[Any]) -> bool:
    if np.abs(array).max() >= 86400 * _SECOND:
        return False
    return array.shape[-1] == 1 or int(np.diff(array, axis=-1).min()) < _SECOND


def _as_numbers(time: Any) -> tuple[npt.NDArray[Any], bool]:
    """int64 or float64, not yet checked for order, and whether they are dates."""
    if isinstance(time, Tensor):
        time = time.detach().cpu().numpy()
    if type(time).__name__ == "PeriodIndex":
        time = time.to_timestamp()
    if getattr(time, "tz", None) is not None:
        time = time.tz_convert("UTC").tz_localize(None)
    array = np.asarray(time)
    if array.dtype.kind in "OSUT":
        array = _from_objects(array)
    kind = array.dtype.kind
    if kind not in "iufmM":
        raise InputTypeError(f"time must hold dates or numbers, got dtype {array.dtype}")
    missing = np.isnat(array) if kind in "mM" else ~np.isfinite(array)
    if missing.any():
        raise InputError(f"time must have no missing entry, but time[{_join(first_position(missing))}] is missing")
    if kind == "M":
        return _nanoseconds(array), True
    if kind == "m":
        return array / np.timedelta64(1, "s"), False
    if kind in "iu" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InputError(f"time does not fit int64: {array.max()}")
    return array.astype(np.int64 if kind in "iu" else np.float64), False


def _nanoseconds(array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    nanoseconds = array.astype("datetime64[ns]")
    wrapped = nanoseconds.astype(array.dtype) != array  # NumPy overflows silently
    if wrapped.any():
        position = first_position(wrapped)
        raise InputError(
            f"time[{_join(position)}] is {array[position]}, outside the years 1678 to 2261 that int64 nanoseconds "
            "hold; pass floats (years, say) instead"
        )
    return nanoseconds.astype(np.int64)


def _from_objects(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Read text, ``datetime`` objects and the dates of other calendars (cftime)."""
    first = array.flat[0] if array.size else None
    if type(first).__module__.partition(".")[0] == "cftime":
        return _from_cftime(array)
    if isinstance(first, (int, float, np.number)):
        return np.asarray(array.tolist(), dtype=np.float64 if array.dtype.kind == "O" else None)
    if array.dtype.kind == "S":
        array = array.astype(str)
    dates = parse_dates(array.ravel(), "time")
    if dates.tz is not None:
        dates = dates.tz_convert("UTC").tz_localize(None)
    return np.asarray(dates).reshape(array.shape)


def parse_dates(values: npt.NDArray[Any], name: str) -> pd.DatetimeIndex:
    """Read text or ``datetime`` objects, all in one format.

    Raises:
        InputTypeError: If they are no dates.
    """
    import pandas as pd

    with warnings.catch_warnings():
        # pandas warns where it finds no common format and guesses for each entry, day and month anyhow.
        warnings.simplefilter("error", UserWarning)
        try:
            return pd.DatetimeIndex(pd.to_datetime(values))
        except (ValueError, TypeError, OverflowError, UserWarning) as error:
            first = values[0] if len(values) else None
            raise InputTypeError(f"{name} cannot be read as dates, its first entry is {first!r}: {error}") from error


def _from_cftime(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    first = array.flat[0]
    if first.calendar in _STANDARD_CALENDARS:
        return np.array([np.datetime64(date.isoformat()) for date in array.flat]).reshape(array.shape)
    # A year of 360 days has no place in a real calendar: days since 1970 of its own.
    origin = first.replace(year=1970, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    days: npt.NDArray[np.float64] = (array - origin).astype("timedelta64[us]") / np.timedelta64(1, "D")
    return days


def _check_increasing(array: npt.NDArray[Any]) -> None:
    wrong = array[..., 1:] <= array[..., :-1]
    if not wrong.any():
        return
    *row, before = first_position(wrong)
    here = _join((*row, before + 1))
    earlier = array[(*row, before)]
    value = array[(*row, before + 1)]
    if value == earlier:
        raise InputError(
            f"time must be strictly increasing, but time[{here}] repeats the entry before it ({_show(value)}); "
            "merge or drop the duplicated steps first"
        )
    raise InputError(
        f"time must be strictly increasing, but time[{here}] ({_show(value)}) is earlier than the entry before it "
        f"({_show(earlier)}); sort the steps of time and values first"
    )


def _show(value: Any) -> str:
    if isinstance(value, np.int64) and abs(int(value)) >= 86400 * _SECOND:
        return str(value.astype("datetime64[ns]").astype("datetime64[s]"))
    return str(value)


def _join(position: tuple[int, ...]) -> str:
    return ", ".join(str(i) for i in position)
