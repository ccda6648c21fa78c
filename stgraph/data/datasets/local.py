"""Smaller pieces of published data sets, from folders of one's own below ``$STGRAPH_DATA``."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.coordinates import Coordinates
from stgraph.data.datasets.locate import stgraph_data_folder
from stgraph.data.files import existing, reading
from stgraph.data.graph import from_array
from stgraph.data.npz_files import open_npz
from stgraph.errors import InputError

__all__ = ["beijing_air_two_years", "nyc_bike_eight_weeks", "uk_temperature_march_2019"]


def beijing_air_two_years(
    root: str | PathLike[str] | None = None, coordinates: Coordinates = "local_plane", channel: str = "PM2.5"
) -> Data:
    r"""Fine particulate matter (PM2.5, micrograms per cubic metre) at 12 stations in Beijing, hourly.

    1 March 2015 to 28 February 2017: the last two of the four years of :class:`~stgraph.data.datasets.BeijingAir`. The
    folder ``beijing_air`` must hold ``beijing_air.npz``.

    Args:
        root: Folder that holds the folder ``beijing_air``. (default: the environment variable ``STGRAPH_DATA``)
        coordinates: As in :func:`stgraph.data.from_array`; the stations have longitude and latitude.
        channel: Another of the file's channels, such as ``"O3"`` or ``"TEMP"``.

    Shapes:
        - **x**, **mask:** :math:`(12, 17544, 1)`, **pos:** :math:`(12, 2)`

    Raises:
        FileNotFoundError: If the folder or the file is not there.
        InputError: If the file is damaged or has no such channel.

    Example:
        >>> beijing_air_two_years("datasets").x.shape  # doctest: +SKIP
        torch.Size([12, 17544, 1])
    """
    arrays = _load(
        "beijing_air", "beijing_air.npz", ("values", "channels", "hours_since_epoch", "station", "lonlat"), root
    )
    channels = [str(name) for name in arrays["channels"]]
    if channel not in channels:
        raise InputError(f"channel must be one of {', '.join(channels)}, got {channel!r}")
    return from_array(
        arrays["values"][:, :, [channels.index(channel)]],
        coords=arrays["lonlat"],
        coordinates=coordinates,
        time=arrays["hours_since_epoch"].astype("datetime64[h]"),
        node_names=arrays["station"],
        channel_names=[channel],
    )


def nyc_bike_eight_weeks(root: str | PathLike[str] | None = None) -> Data:
    r"""Bicycles entering and leaving the 16 x 8 cells of BikeNYC, the last 1369 of its hours.

    4 August 2014 23:00 to 30 September 2014 23:00, rebuilt from the windows that `"Spatio-Temporal Self-Supervised
    Learning for Traffic Flow Prediction" <https://arxiv.org/abs/2212.04475>`_ publishes; the dates are inferred from
    the end of BikeNYC. Zeros are true zeros. The folder ``nyc_bike_grid`` must hold ``nyc_bike_grid.npz``.

    Args:
        root: Folder that holds the folder ``nyc_bike_grid``. (default: the environment variable ``STGRAPH_DATA``)

    Shapes:
        - **x:** :math:`(128, 1369, 2)`, **pos:** :math:`(128, 2)`, rows and columns, **grid:** (16, 8)

    Raises:
        FileNotFoundError: If the folder or the file is not there.
        InputError: If the file is damaged.

    Example:
        >>> nyc_bike_eight_weeks("datasets").grid  # doctest: +SKIP
        (16, 8)
    """
    arrays = _load("nyc_bike_grid", "nyc_bike_grid.npz", ("flow", "hours_since_epoch"), root)
    return from_array(
        arrays["flow"],
        time=arrays["hours_since_epoch"].astype("datetime64[h]"),
        channel_names=["inflow", "outflow"],
    )


def uk_temperature_march_2019(
    root: str | PathLike[str] | None = None, coordinates: Coordinates = "local_plane"
) -> Data:
    r"""Air temperature at 2 m (kelvin) over Great Britain and Ireland, hourly in March 2019, from the ERA5 reanalysis.

    58 to 50 degrees north (rows, from the north) by 10 degrees west to 2 degrees east, every quarter of a degree. The
    folder ``era5_uk_t2m`` must hold ``era5_uk_t2m_201903.npz``. Contains modified Copernicus Climate Change Service
    information 2019.

    Args:
        root: Folder that holds the folder ``era5_uk_t2m``. (default: the environment variable ``STGRAPH_DATA``)
        coordinates: As in :func:`stgraph.data.from_array`; the cells have longitude and latitude.

    Shapes:
        - **x:** :math:`(33 \cdot 49, 744, 1)`, **pos:** :math:`(33 \cdot 49, 2)`, **grid:** (33, 49)

    Raises:
        FileNotFoundError: If the folder or the file is not there.
        InputError: If the file is damaged.

    Example:
        >>> uk_temperature_march_2019("datasets").grid  # doctest: +SKIP
        (33, 49)
    """
    arrays = _load("era5_uk_t2m", "era5_uk_t2m_201903.npz", ("t2m", "time", "lat", "lon"), root)
    return from_array(
        arrays["t2m"][..., None],
        coords=(arrays["lat"], arrays["lon"]),
        coordinates=coordinates,
        time=arrays["time"].astype("datetime64[h]"),
        channel_names=["t2m_k"],
    )


def _load(
    folder: str, name: str, keys: tuple[str, ...], root: str | PathLike[str] | None
) -> dict[str, npt.NDArray[Any]]:
    path = existing(stgraph_data_folder(folder, root) / name)
    with reading(path), open_npz(path) as archive:
        missing = [key for key in keys if key not in archive]
        if missing:
            raise InputError(f"{path} lacks the arrays {', '.join(missing)}; there are {', '.join(archive) or 'none'}")
        return {key: np.asarray(archive[key]) for key in keys}
