"""Milan: text messages, calls and internet activity on a grid of 100 x 100 cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.coordinates import Coordinates
from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.files import existing, reading
from stgraph.data.graph import from_array
from stgraph.errors import InputError, InputTypeError

__all__ = ["MilanTelecom", "read_milan_telecom"]

_SIDE = 100
_CELLS = _SIDE * _SIDE
_CELL_KM = 0.235
_SLOTS = 144
_SLOT_MS = 600_000
_UTC_OFFSET = np.timedelta64(1, "h")  # Central European Time; no clock changed between November and January
_CHANNELS = ("sms_in", "sms_out", "call_in", "call_out", "internet")
_COLUMNS = ("cell", "milliseconds", "country", *_CHANNELS)
_FIRST, _LAST = "2013-11-01", "2014-01-01"
_GRID = "milano-grid.geojson"


def read_milan_telecom(
    files: Sequence[str | PathLike[str]],
    *,
    first: str,
    channels: Sequence[str] = ("internet",),
    grid: str | PathLike[str] | None = None,
    coordinates: Coordinates = "local_plane",
) -> Data:
    r"""Read daily files of the Milan grid of the Telecom Italia Big Data Challenge.

    A file holds a line for each cell, 10 minutes and country code: number of the cell (1 to 10000, row by row from the
    south-west), milliseconds since 1970 in UTC, country code, and activity by text messages received and sent, calls
    received and made, and internet, separated by tabs. Countries are added up. Cells without a line had no activity,
    and count 0; ten minutes without a line of any cell are missing. Days and times are local (Central European Time).

    Args:
        files: The files of consecutive days.
        first: First day.
        channels: Which of ``sms_in``, ``sms_out``, ``call_in``, ``call_out`` and ``internet`` to take. All are
            proportional to true numbers by a factor that was not published.
        grid: ``milano-grid.geojson``, with the outlines of the cells in longitude and latitude. (default: positions are
            kilometres east and north of the first cell, from the cells' width of 235 m)
        coordinates: As in :func:`stgraph.data.from_array`, where :obj:`grid` is given.

    Shapes:
        - **x**, **mask:** :math:`(10000, 144 D, C)` for :math:`D` days, **grid:** (100, 100), rows from south to north

    Raises:
        FileNotFoundError: If a file is not there.
        InputError: If a file is damaged or holds another day, or a channel is not known.
    """
    if isinstance(channels, str) or not channels or not set(channels) <= set(_CHANNELS):
        raise InputError(f"channels must be a list of some of {', '.join(_CHANNELS)}, got {channels!r}")
    if not files:
        raise InputError("files must not be empty")
    start = np.datetime64(first, "D")
    values = np.empty((len(files) * _SLOTS, _SIDE, _SIDE, len(channels)), dtype=np.float32)
    seen = np.zeros(len(values), dtype=np.bool_)
    for day, file in enumerate(files):
        part = slice(day * _SLOTS, (day + 1) * _SLOTS)
        values[part], seen[part] = _read_day(existing(file), start + day, channels)
    if grid is None:
        east, north = np.meshgrid(np.arange(_SIDE), np.arange(_SIDE))
        coords, coordinates = _CELL_KM * np.stack([east, north], axis=-1).reshape(_CELLS, 2), "cartesian"
    else:
        coords = _read_grid(existing(grid))
    return from_array(
        values,
        coords=coords,
        coordinates=coordinates,
        time=start.astype("datetime64[ns]") + np.timedelta64(10, "m") * np.arange(len(values)),
        mask=None if seen.all() else np.broadcast_to(seen[:, None, None], values.shape[:3]),
        channel_names=channels,
    )


def _read_day(path: Path, day: np.datetime64, channels: Sequence[str]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Values [144, 100, 100, C] of a day, and which of its 10 minutes have any line."""
    import pandas as pd

    with reading(path):
        table = pd.read_csv(
            path,
            sep="\t",
            header=None,
            names=list(_COLUMNS),
            usecols=["cell", "milliseconds", *channels],
            dtype={"cell": np.int32, "milliseconds": np.int64, **dict.fromkeys(channels, np.float64)},
        )
    if table.empty:
        raise InputError(f"{path} is empty")
    midnight = (day.astype("datetime64[ms]") - _UTC_OFFSET).astype(np.int64)
    since, cell = table["milliseconds"].to_numpy() - midnight, table["cell"].to_numpy() - 1
    slot = since // _SLOT_MS
    wrong = (slot < 0) | (slot >= _SLOTS) | (since % _SLOT_MS != 0) | (cell < 0) | (cell >= _CELLS)
    if wrong.any():
        row = table.iloc[int(wrong.argmax())]
        raise InputError(
            f"{path} must hold cells 1 to {_CELLS} at every 10 minutes of {day}, got in line {int(wrong.argmax()) + 1} "
            f"cell {int(row['cell'])} at {np.datetime64(int(row['milliseconds']), 'ms') + _UTC_OFFSET} local time"
        )
    where = slot * _CELLS + cell
    sums = [np.bincount(where, np.nan_to_num(table[name].to_numpy()), _SLOTS * _CELLS) for name in channels]
    values = np.stack(sums, axis=-1).reshape(_SLOTS, _SIDE, _SIDE, len(channels))
    return values, np.bincount(slot, minlength=_SLOTS) > 0


def _read_grid(path: Path) -> npt.NDArray[np.float64]:
    """Longitudes and latitudes [10000, 2] of the middles of the cells."""
    with reading(path):
        found = json.loads(path.read_text(encoding="utf-8"))
    try:
        cells = [int(feature["properties"]["cellId"]) for feature in found["features"]]
        corners = np.array([feature["geometry"]["coordinates"][0][:4] for feature in found["features"]], np.float64)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(f"{path} must hold outlines of cells with a cellId each, as GeoJSON ({error!r})") from error
    if sorted(cells) != list(range(1, _CELLS + 1)) or corners.shape != (_CELLS, 4, 2):
        raise InputError(f"{path} must hold the cells 1 to {_CELLS} with four corners each, got {len(cells)} cells")
    middles: npt.NDArray[np.float64] = corners.mean(axis=1)[np.argsort(cells)]
    return middles


class MilanTelecom(SeriesDataset):
    r"""Milan: mobile phone activity on a grid of 100 x 100 cells of 235 m, every 10 minutes.

    1 November 2013 to 1 January 2014: 62 days, a file each, 21 GB in all. See :func:`read_milan_telecom`.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        first, last: First and last day to read; the files of these days are needed.
        channels: As in :func:`read_milan_telecom`.
        coordinates: :obj:`None` for kilometres on the grid; else as in :func:`stgraph.data.from_array`, from the
            longitudes and latitudes of ``milano-grid.geojson``.

    Shapes:
        - **x:** :math:`(10000, 8928, C)`, **pos:** :math:`(10000, 2)`, **grid:** (100, 100), rows from south to north

    Raises:
        InputError: If the days are not days of the data set.

    Example:
        >>> MilanTelecom("datasets", last="2013-11-07")[0].x.shape  # doctest: +SKIP
        torch.Size([10000, 1008, 1])
    """

    name = "milan_telecom"

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        first: str = _FIRST,
        last: str = _LAST,
        channels: Sequence[str] = ("internet",),
        coordinates: Coordinates | None = None,
        processed: str | PathLike[str] | None = None,
    ) -> None:
        self._days = _days(first, last)
        options = {
            "first": str(self._days[0]),
            "last": str(self._days[-1]),
            "channels": channels if isinstance(channels, str) else list(channels),
            "coordinates": coordinates,
        }
        super().__init__(root, transform, pre_transform, force_reload, processed=processed, **options)

    @property
    def raw_file_names(self) -> list[str]:
        """The files of the days asked for, and the outlines of the cells where coordinates are."""
        days = [f"sms-call-internet-mi-{day}.txt" for day in self._days]
        return days if self.options["coordinates"] is None else [*days, _GRID]

    def read(self) -> Data:
        """Parse the files, one at a time."""
        coordinates = self.options["coordinates"]
        return read_milan_telecom(
            [self.raw_path(f"sms-call-internet-mi-{day}.txt") for day in self._days],
            first=self.options["first"],
            channels=self.options["channels"],
            grid=None if coordinates is None else self.raw_path(_GRID),
            coordinates=coordinates or "local_plane",
        )


def _days(first: str, last: str) -> npt.NDArray[np.datetime64]:
    try:
        begin, end = np.datetime64(first, "D"), np.datetime64(last, "D")
    except (ValueError, TypeError) as error:
        raise InputTypeError(f"first and last must be days such as {_FIRST}, got {first!r} and {last!r}") from error
    if not np.datetime64(_FIRST) <= begin <= end <= np.datetime64(_LAST):
        raise InputError(f"first and last must be days from {_FIRST} to {_LAST}, in order, got {first!r} and {last!r}")
    return np.arange(begin, end + 1)
