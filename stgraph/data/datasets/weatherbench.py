"""WeatherBench: global weather on a grid of longitudes and latitudes, from NetCDF files or a Zarr store."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Data

from stgraph.data.coordinates import Coordinates
from stgraph.data.datasets.archives import member, member_names
from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.files import existing, reading
from stgraph.data.xarrays import from_xarray, import_xarray
from stgraph.errors import InputError

__all__ = ["WeatherBench", "read_weather_grid"]

_ARCHIVE = "2m_temperature_5.625deg.zip"
_LEVELS = ("level", "pressure_level", "isobaricInhPa", "plev")
_LATITUDE, _LONGITUDE = ("latitude", "lat"), ("longitude", "lon")


def read_weather_grid(
    stores: Sequence[str | PathLike[str]],
    *,
    variables: Sequence[str] = ("t2m",),
    levels: Sequence[int] = (),
    start: str | None = None,
    end: str | None = None,
    every: int = 1,
    stride: int = 1,
    coordinates: Coordinates = "great_circle",
) -> Data:
    r"""Read variables of ERA5, WeatherBench or WeatherBench 2 from NetCDF files or Zarr stores.

    Only what is selected is read from disk, one store after another.

    Args:
        stores: NetCDF files (``.nc``) or Zarr stores (folders), in the order of their times.
        variables: Variables to take.
        levels: Pressure levels to take of each variable that has levels; a channel of its own each.
        start: First time to take, such as ``"2017"`` or ``"2017-01-01T06"``. (default: the first there is)
        end: Last time to take; ``"2018"`` takes all of that year. (default: the last there is)
        every: Take every so many steps: 6 makes six hours of hourly data.
        stride: Take every so many rows and columns, from the first on.
        coordinates: As in :func:`stgraph.data.from_array`; the cells have longitude and latitude.

    Shapes:
        - **x:** :math:`(H W, T, C)`, **pos:** :math:`(H W, D)`, **grid:** (H, W), rows along the latitude

    Raises:
        FileNotFoundError: If a store is not there.
        InputError: If a store is damaged, lacks a variable or level, or nothing is selected.
        ImportError: If xarray is not installed.

    Examples:
        >>> import tempfile, pathlib, xarray as xr
        >>> times = np.datetime64("2018-01-01", "ns") + np.timedelta64(1, "h") * np.arange(12)
        >>> axes = {"time": times, "lat": [-45.0, 45.0], "lon": [0.0, 120.0, 240.0]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = pathlib.Path(folder, "t2m.nc")
        ...     xr.DataArray(np.ones((12, 2, 3)).cumsum(0), axes, list(axes), "t2m").to_netcdf(store)
        ...     data = read_weather_grid([store], every=6)
        >>> data.x[0, :, 0], data.grid
        (tensor([1., 7.]), (2, 3))
    """
    for name, value in (("every", every), ("stride", stride)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number from 1, got {value!r}")
    if isinstance(variables, str) or not variables:
        raise InputError(f"variables must be a list of names, got {variables!r}")
    if not stores:
        raise InputError("stores must not be empty")
    xr = import_xarray()
    parts, offset = [], 0
    for store in stores:
        with _open(existing(store)) as dataset, reading(existing(store)):
            fields = _select_fields(dataset, variables, levels, stride, Path(store))
            fields = fields.sel(time=slice(start, end))
            # Every so many steps of the whole, also where a store ends between two of them.
            parts.append(fields.isel(time=slice(-offset % every, None, every)).astype(np.float32).load())
            offset += fields.sizes["time"]
    if not any(part.sizes["time"] for part in parts):
        raise InputError(f"no step lies from start={start!r} to end={end!r}")
    whole = xr.concat([part for part in parts if part.sizes["time"]], dim="time", join="exact")
    return from_xarray(whole, variables=list(whole.data_vars), coordinates=coordinates)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    xr = import_xarray()
    with reading(path):
        dataset = xr.open_zarr(path, chunks=None, consolidated=False) if path.is_dir() else xr.open_dataset(path)
    with dataset:
        yield dataset


def _select_fields(dataset: Any, variables: Sequence[str], levels: Sequence[int], stride: int, path: Path) -> Any:
    """The variables at each level as fields of time, latitude and longitude."""
    unknown = [name for name in variables if name not in dataset]
    if unknown:
        raise InputError(f"{path} has no variable {unknown[0]!r}; there are {', '.join(map(str, dataset.data_vars))}")
    fields = {}
    for name in variables:
        field = dataset[name]
        level = next((str(dim) for dim in field.dims if dim in _LEVELS), None)
        if level is None:
            fields[name] = field.drop_vars([item for item in _LEVELS if item in field.coords])
            continue
        there = field[level].values.tolist()
        missing = [item for item in levels if item not in there]
        if missing or not levels:
            raise InputError(f"levels must name some of {there}, which {name!r} of {path} has, got {list(levels)}")
        for item in levels:
            fields[f"{name}_{item}"] = field.sel({level: item}, drop=True)
    strides = {str(dim): slice(None, None, stride) for dim in dataset.dims if dim in (*_LATITUDE, *_LONGITUDE)}
    if len(strides) != 2 or "time" not in dataset.dims:
        raise InputError(f"{path} must have the dimensions time, latitude and longitude, got {tuple(dataset.dims)}")
    return import_xarray().Dataset(fields).isel(strides)


class WeatherBench(SeriesDataset):
    r"""WeatherBench: ERA5 on a global grid of 32 x 64 cells, 1979 to 2018, hourly.

    By default the 2 m temperature (kelvin) of the years 2014 to 2018 every 6 hours, from the archive of
    `"WeatherBench: A Benchmark Data Set for Data-Driven Weather Forecasting"
    <https://doi.org/10.1029/2020MS002203>`_. Any other NetCDF file or Zarr store that lies in the raw folder (another
    variable of WeatherBench, a part of WeatherBench 2 or of ERA5) is read by its name.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        store: Name of a NetCDF file or Zarr store in the raw folder to read instead of the archive.
        variables, levels, start, end, every, stride, coordinates: As in :func:`read_weather_grid`.

    Shapes:
        - **x:** :math:`(2048, 7304, 1)`, **pos:** :math:`(2048, 3)`, **grid:** (32, 64)

    Raises:
        FileNotFoundError: If :obj:`store` is not there.

    Example:
        >>> WeatherBench("datasets", start="2018", end="2018")[0].x.shape  # doctest: +SKIP
        torch.Size([2048, 1460, 1])
    """

    name = "weatherbench"

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        store: str | None = None,
        variables: Sequence[str] = ("t2m",),
        levels: Sequence[int] = (),
        start: str | None = "2014",
        end: str | None = "2018",
        every: int = 6,
        stride: int = 1,
        coordinates: Coordinates = "great_circle",
        processed: str | PathLike[str] | None = None,
    ) -> None:
        options = {
            "store": store,
            "variables": variables if isinstance(variables, str) else list(variables),
            "levels": list(levels),
            "start": start,
            "end": end,
            "every": every,
            "stride": stride,
            "coordinates": coordinates,
        }
        super().__init__(root, transform, pre_transform, force_reload, processed=processed, **options)

    @property
    def raw_file_names(self) -> list[str]:
        """The archive, unless another store was named."""
        return [_ARCHIVE] if self.options["store"] is None else []

    def read(self) -> Data:
        """Parse the archive or the store."""
        options = {name: value for name, value in self.options.items() if name != "store"}
        if self.options["store"] is not None:
            return read_weather_grid([self.raw_path(self.options["store"])], **options)
        with tempfile.TemporaryDirectory() as folder:
            return read_weather_grid(_unpack(self.raw_path(_ARCHIVE), Path(folder), options), **options)


def _year(name: str) -> str:
    found = re.search(r"_(\d{4})_", name)
    if found is None:
        raise InputError(f"the names of files must hold a year, as 2m_temperature_1979_5.625deg.nc does, got {name}")
    return found[1]


def _unpack(archive: Path, folder: Path, options: dict[str, Any]) -> list[Path]:
    """Unpack the years that are wanted, as NetCDF can only be read from files; a name ends in ``_1979_5.625deg.nc``."""
    names = member_names(archive, ".nc")
    if not names:
        raise InputError(f"{archive} holds no NetCDF file")
    low, high = (options[key] and str(options[key])[:4] for key in ("start", "end"))
    wanted = [name for name in names if (low or "") <= _year(name) <= (high or "9999")]
    if not wanted:
        raise InputError(f"{archive} has no year from {low} to {high}; it holds {names[0]} to {names[-1]}")
    for name in wanted:
        with member(archive, name) as packed, (folder / name).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    return [folder / name for name in wanted]
