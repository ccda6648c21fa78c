"""The four data sets that come with the package."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.coordinates import Coordinates
from stgraph.data.datasets.locate import locate
from stgraph.data.files import reading
from stgraph.data.graph import from_array
from stgraph.data.npz_files import open_npz

__all__ = ["colorado_climate", "germany_pm10", "ireland_wind", "north_america_temperature"]

_METRES_PER_KM = 1000.0


def germany_pm10(root: str | PathLike[str] | None = None, coordinates: Coordinates = "local_plane") -> Data:
    r"""Particulate matter (PM10, micrograms per cubic metre) at 70 rural background stations in Germany.

    Daily means from 1 January 1998 to 31 December 2009, 49 % observed (stations open and close, and have gaps).

    Source: data set ``air`` of the R package ``spacetime`` (Pebesma, 2012, Journal of Statistical Software 51(7)),
    taken from AirBase, the air quality database of the European Environment Agency. Licence: GPL-2 or later, that of
    the package.

    Args:
        root: Folder of ``germany_pm10.npz``. (default: where the package keeps it)
        coordinates: As in :func:`stgraph.data.from_array`; the stations have longitude and latitude.

    Shapes:
        - **x**, **mask:** :math:`(70, 4383, 1)`, **pos:** :math:`(70, 2)`, kilometres for ``"local_plane"``

    Raises:
        FileNotFoundError: If the file is not there.

    Examples:
        >>> data = germany_pm10()
        >>> data.x.shape, data.channel_names
        (torch.Size([70, 4383, 1]), ['pm10_ug_m3'])
    """
    return _stations("germany_pm10.npz", root, coordinates)


def colorado_climate(root: str | PathLike[str] | None = None, coordinates: Coordinates = "local_plane") -> Data:
    r"""Monthly climate at 376 stations in Colorado: mean daily maximum and minimum temperature, total precipitation.

    January 1895 to December 1997, 39 % observed (stations open and close; half of them have less than 34 %).
    Temperatures are in degrees Celsius. The source gives precipitation in millimetres and its channel is named so, but
    the values (at most 48.5, on average near 3.5) would fit centimetres: treat this unit as unverified.

    Source: data set ``COmonthlyMet`` of the R package ``fields`` (Nychka, Furrer, Paige, Sain), extracted there from
    the monthly records of the United States kept at NCAR. Licence: GPL-2 or later, that of the package.

    Args:
        root: Folder of ``colorado_climate.npz``. (default: where the package keeps it)
        coordinates: As in :func:`stgraph.data.from_array`; the stations have longitude, latitude and elevation. The
            elevation is in metres for ``"cartesian"``, in kilometres for ``"local_plane"``, and left out for
            ``"great_circle"``.

    Shapes:
        - **x**, **mask:** :math:`(376, 1236, 3)`, **pos:** :math:`(376, 3)`

    Raises:
        FileNotFoundError: If the file is not there.

    Examples:
        >>> colorado_climate().channel_names
        ['tmax_c', 'tmin_c', 'precip_mm']
    """
    return _stations("colorado_climate.npz", root, coordinates)


def ireland_wind(root: str | PathLike[str] | None = None, coordinates: Coordinates = "local_plane") -> Data:
    r"""Daily mean wind speed (knots) at 12 synoptic stations in Ireland.

    1 January 1961 to 31 December 1978, all observed.

    Source: data set ``wind`` of the R package ``gstat`` (Pebesma, 2004, Computers and Geosciences 30, 683-691), the
    data of Haslett and Raftery (1989), "Space-time modelling with long-memory dependence: assessing Ireland's wind
    power resource", Applied Statistics 38, 1-50. Licence: GPL-2 or later, that of the package.

    Args:
        root: Folder of ``ireland_wind.npz``. (default: where the package keeps it)
        coordinates: As in :func:`stgraph.data.from_array`; the stations have longitude and latitude.

    Shapes:
        - **x:** :math:`(12, 6574, 1)`, **pos:** :math:`(12, 2)`, kilometres for ``"local_plane"``

    Raises:
        FileNotFoundError: If the file is not there.

    Examples:
        >>> ireland_wind().node_names[:2]
        ["Roche's Point", 'Valentia']
    """
    return _stations("ireland_wind.npz", root, coordinates)


def north_america_temperature(
    root: str | PathLike[str] | None = None, coordinates: Coordinates = "local_plane"
) -> Data:
    r"""Annual mean air temperature (kelvin) over North America on a grid: **model output, not observation**.

    1860 to 2099, all cells; each year stands on its first of January. Rows run from 15 to 60 degrees north, columns
    from 225 to 315 degrees east.

    Source: file ``A1B_north_america`` of the package ``iris-sample-data``: a run of a climate model of the Met Office
    under the SRES scenario A1B. Licence: UK Open Government Licence. Contains public sector information licensed under
    the Open Government Licence; British Crown copyright, Met Office.

    Args:
        root: Folder of ``north_america_temperature.npz``. (default: where the package keeps it)
        coordinates: As in :func:`stgraph.data.from_array`; the cells have longitude and latitude.

    Shapes:
        - **x:** :math:`(37 \cdot 49, 240, 1)`, **pos:** :math:`(37 \cdot 49, 2)`, **grid:** (37, 49)

    Raises:
        FileNotFoundError: If the file is not there.

    Examples:
        >>> north_america_temperature().grid
        (37, 49)
    """
    arrays = _load("north_america_temperature.npz", root)
    return from_array(
        arrays["values"],
        coords=(arrays["latitude"], arrays["longitude"]),
        coordinates=coordinates,
        time=(arrays["time"] - 1970).astype("datetime64[Y]"),
        channel_names=arrays["channels"],
    )


def _stations(name: str, root: str | PathLike[str] | None, coordinates: Coordinates) -> Data:
    arrays = _load(name, root)
    coords = arrays["coords"].astype(np.float64)
    if coordinates == "great_circle":
        coords = coords[:, :2]
    elif coordinates == "local_plane":
        coords[:, 2:] /= _METRES_PER_KM
    return from_array(
        arrays["values"],
        coords=coords,
        coordinates=coordinates,
        time=arrays["time"],
        node_names=arrays["station"],
        channel_names=arrays["channels"],
    )


def _load(name: str, root: str | PathLike[str] | None) -> dict[str, npt.NDArray[Any]]:
    path = locate(name, root)
    with reading(path), open_npz(path) as archive:
        return dict(archive)
