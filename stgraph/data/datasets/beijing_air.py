"""Beijing: air quality and weather at twelve stations, hourly over four years."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch_geometric.data import Data

from stgraph.data.coordinates import Coordinates
from stgraph.data.datasets.archives import member
from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.files import existing, reading
from stgraph.data.graph import from_array
from stgraph.errors import InputError

__all__ = ["BEIJING_STATIONS", "BeijingAir", "read_beijing_air"]

#: Longitude and latitude of the stations, from the table of stations of "PM2.5-GNN" (Wang et al., 2020, SIGSPATIAL):
#: the published files name the stations only.
BEIJING_STATIONS = {
    "Aotizhongxin": (116.407, 40.0031),
    "Changping": (116.23, 40.1952),
    "Dingling": (116.17, 40.2865),
    "Dongsi": (116.434, 39.9522),
    "Guanyuan": (116.361, 39.9425),
    "Gucheng": (116.225, 39.9279),
    "Huairou": (116.644, 40.3937),
    "Nongzhanguan": (116.473, 39.9716),
    "Shunyi": (116.72, 40.1438),
    "Tiantan": (116.434, 39.8745),
    "Wanliu": (116.315, 39.9934),
    "Wanshouxigong": (116.366, 39.8673),
}

_CHANNELS = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "WSPM")
_DATE = ("year", "month", "day", "hour")
_ARCHIVE, _FOLDER = "beijing+multi+site+air+quality+data.zip", "PRSA_Data_20130301-20170228"


def read_beijing_air(
    files: Sequence[str | PathLike[str] | IO[bytes]],
    *,
    channels: Sequence[str] = ("PM2.5",),
    coordinates: Coordinates = "local_plane",
) -> Data:
    r"""Read files of the Beijing multi-site air quality data of the UCI repository, one for each station.

    Each has the columns ``year``, ``month``, ``day``, ``hour``, ``station``, and the measurements; missing ones are
    written ``NA``. Times are local. Hours that a station has no row of are missing there.

    Args:
        files: The files, in the order of the nodes.
        channels: Which of ``PM2.5``, ``PM10``, ``SO2``, ``NO2``, ``CO``, ``O3`` (micrograms per cubic metre), ``TEMP``,
            ``DEWP`` (degrees Celsius), ``PRES`` (hectopascal), ``RAIN`` (millimetres) and ``WSPM`` (metres a second)
            to take; the direction of the wind is text and is not among them.
        coordinates: As in :func:`stgraph.data.from_array`; the stations have longitude and latitude.

    Shapes:
        - **x**, **mask:** :math:`(N, T, C)`, **pos:** :math:`(N, D)`

    Raises:
        FileNotFoundError: If a file is not there.
        InputError: If a file is damaged, lacks a column, repeats an hour or is of an unknown station.
    """
    import pandas as pd

    if isinstance(channels, str) or not channels or not set(channels) <= set(_CHANNELS):
        raise InputError(f"channels must be a list of some of {', '.join(_CHANNELS)}, got {channels!r}")
    if not files:
        raise InputError("files must not be empty")
    tables = [_read_station(file, channels) for file in files]
    names = [name for name, _ in tables]
    first, last = (choose(table.index[end] for _, table in tables) for choose, end in ((min, 0), (max, -1)))
    hours = pd.date_range(first, last, freq="h")
    return from_array(
        np.stack([table.reindex(hours).to_numpy() for _, table in tables], axis=1),
        coords=np.array([BEIJING_STATIONS[name] for name in names]),
        coordinates=coordinates,
        time=hours,
        node_names=names,
        channel_names=channels,
    )


def _read_station(file: str | PathLike[str] | IO[bytes], channels: Sequence[str]) -> tuple[str, Any]:
    """Name of the station and its measurements by hour."""
    import pandas as pd

    path = existing(file) if isinstance(file, str | PathLike) else Path(str(getattr(file, "name", "a file")))
    with reading(path):
        table = pd.read_csv(path if isinstance(file, str | PathLike) else file)
    missing = [name for name in (*_DATE, "station", *channels) if name not in table]
    if missing or table.empty:
        raise InputError(f"{path} lacks {'the columns ' + ', '.join(missing) if missing else 'rows'}")
    stations = table["station"].unique().tolist()
    if len(stations) != 1 or stations[0] not in BEIJING_STATIONS:
        raise InputError(f"{path} must be of one of the stations {', '.join(BEIJING_STATIONS)}, got {stations[:3]}")
    with reading(path):
        table.index = pd.DatetimeIndex(pd.to_datetime(table[list(_DATE)]))
        measured = table[list(channels)].astype(np.float64).sort_index()
    if measured.index.has_duplicates:
        raise InputError(f"{path} has two rows for {measured.index[measured.index.duplicated()][0]}")
    return str(stations[0]), measured


class BeijingAir(SeriesDataset):
    r"""Beijing: air quality and weather at 12 stations, every hour from 1 March 2013 to 28 February 2017.

    35064 steps; gaps are clustered and often common to all stations. The weather is that of the nearest weather
    station, so that some stations share it. The archive of the UCI repository is read as it is; the folder
    ``PRSA_Data_20130301-20170228`` that it holds does as well. See :func:`read_beijing_air`.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        channels, coordinates: As in :func:`read_beijing_air`.

    Shapes:
        - **x**, **mask:** :math:`(12, 35064, C)`, **pos:** :math:`(12, 2)`

    Example:
        >>> BeijingAir("datasets", channels=["PM2.5", "TEMP"])[0].x.shape  # doctest: +SKIP
        torch.Size([12, 35064, 2])
    """

    name = "beijing_air"

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        channels: Sequence[str] = ("PM2.5",),
        coordinates: Coordinates = "local_plane",
        processed: str | PathLike[str] | None = None,
    ) -> None:
        options = {"channels": channels if isinstance(channels, str) else list(channels), "coordinates": coordinates}
        super().__init__(root, transform, pre_transform, force_reload, processed=processed, **options)

    @property
    def raw_file_names(self) -> list[str]:
        """The archive, unless the folder that it holds is there."""
        return [] if self.raw_path(_FOLDER).is_dir() else [_ARCHIVE]

    def read(self) -> Data:
        """Parse the files of the stations, in the archive or in the folder."""
        names = [f"PRSA_Data_{station}_20130301-20170228.csv" for station in BEIJING_STATIONS]
        folder, archive = self.raw_path(_FOLDER), self.raw_path(_ARCHIVE)
        with ExitStack() as stack:
            files: list[Any] = [
                folder / name if folder.is_dir() else stack.enter_context(member(archive, name)) for name in names
            ]
            return read_beijing_air(files, **self.options)
