"""METR-LA and PEMS-BAY: the speeds and road graphs of the DCRNN paper."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch_geometric.data import Data

from stgraph.data.adjacency import load_adjacency_pickle
from stgraph.data.coordinates import Coordinates
from stgraph.data.csv_files import read_csv
from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.files import existing, from_file, reading
from stgraph.data.transforms import AdjacencyGraph
from stgraph.errors import InputError

__all__ = ["METRLA", "PEMSBAY", "read_traffic_speed"]

_LOCATION_COLUMNS = ("sensor_id", "latitude", "longitude")


def read_traffic_speed(
    speed: str | PathLike[str],
    locations: str | PathLike[str],
    adjacency: str | PathLike[str],
    *,
    coordinates: Coordinates = "local_plane",
    null_value: float | None = 0.0,
) -> Data:
    r"""Read the three files in which METR-LA and PEMS-BAY are published.

    The times are those of the file, in local time without a zone. PEMS-BAY lacks the hour from 2:00 to 3:00 of 12 March
    2017, when clocks went forward, so that its steps are not all five minutes apart.

    Args:
        speed: ``metr-la.h5`` or ``pems-bay.h5``: a pandas table in HDF5, a row for each step, a column for each sensor.
        locations: Table of the sensors' identifiers, latitudes and longitudes, with or without a line of names, in any
            order.
        adjacency: ``adj_mx.pkl`` or ``adj_mx_bay.pkl``: a pickle of the identifiers, their positions and the matrix of
            weights. It is read without unpickling.
        coordinates: As in :func:`stgraph.data.from_array`; the sensors have longitude and latitude.
        null_value: Speed that stands for a missing one; :obj:`None` to take zeros for speeds.

    Shapes:
        - **x**, **mask:** :math:`(N, T, 1)`, **pos:** :math:`(N, D)`, **edge_index:** :math:`(2, E)`, without loops,
          **edge_weight:** :math:`(E)`

    Raises:
        FileNotFoundError: If a file is not there.
        InputError: If a file is damaged, or the three are not of the same sensors.
    """
    ids, _, matrix = load_adjacency_pickle(adjacency)
    data = from_file(
        speed,
        coords=_read_locations(existing(locations)),
        coordinates=coordinates,
        null_value=null_value,
        channel_names=["speed_mph"],
    )
    if data.get("node_names") != ids:
        raise InputError(f"{adjacency} has other sensors, or another order, than {speed}")
    if "time" not in data:
        raise InputError(f"{speed} must have the times of the steps as its index, got row numbers")
    graph: Data = AdjacencyGraph(np.where(np.eye(len(ids), dtype=np.bool_), 0, matrix))(data)
    return graph


def _read_locations(path: Path) -> Any:
    with reading(path):
        table = read_csv(path)
    if set(_LOCATION_COLUMNS) <= set(table.columns):
        return table[list(_LOCATION_COLUMNS)]
    if table.shape[1] != len(_LOCATION_COLUMNS):
        raise InputError(f"{path} must have the columns {', '.join(_LOCATION_COLUMNS)}, got {list(table.columns)}")
    return table.set_axis(list(_LOCATION_COLUMNS), axis=1)


class _TrafficSpeed(SeriesDataset):
    """What the two have in common: they differ in the names of their files."""

    speed: ClassVar[str]
    locations: ClassVar[str]
    adjacency: ClassVar[str]

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        coordinates: Coordinates = "local_plane",
        null_value: float | None = 0.0,
        processed: str | PathLike[str] | None = None,
    ) -> None:
        options = {"coordinates": coordinates, "null_value": null_value}
        super().__init__(root, transform, pre_transform, force_reload, processed=processed, **options)

    def read(self) -> Data:
        """Parse the three files."""
        paths = [self.raw_path(name) for name in (self.speed, self.locations, self.adjacency)]
        return read_traffic_speed(*paths, **self.options)


class METRLA(_TrafficSpeed):
    r"""METR-LA: speed (miles an hour) at 207 loop detectors in Los Angeles County, every 5 minutes.

    1 March to 27 June 2012, 34272 steps. Zeros are missing readings (8.1 % of the values). The graph is the published
    one of `"Diffusion Convolutional Recurrent Neural Network" <https://arxiv.org/abs/1707.01926>`_: 1515 directed edges
    whose weights are a Gaussian kernel of the road distance, its loops left out.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        coordinates: As in :func:`stgraph.data.from_array`; the sensors have longitude and latitude.
        null_value: Speed that stands for a missing one; :obj:`None` to take zeros for speeds.

    Shapes:
        - **x**, **mask:** :math:`(207, 34272, 1)`, **pos:** :math:`(207, 2)`, **edge_index:** :math:`(2, 1515)`

    Example:
        >>> METRLA("datasets")[0].x.shape  # doctest: +SKIP
        torch.Size([207, 34272, 1])
    """

    name = "metr_la"
    speed = "metr-la.h5"
    locations = "graph_sensor_locations.csv"
    adjacency = "adj_mx.pkl"


class PEMSBAY(_TrafficSpeed):
    r"""PEMS-BAY: speed (miles an hour) at 325 detectors of Caltrans in the San Francisco Bay Area, every 5 minutes.

    1 January to 30 June 2017, 52116 steps: the hour from 2:00 to 3:00 of 12 March, when clocks went forward, is not
    there. Zeros are missing readings (0.003 % of the values). The graph is the published one of
    `"Diffusion Convolutional Recurrent Neural Network" <https://arxiv.org/abs/1707.01926>`_: 2369 directed edges whose
    weights are a Gaussian kernel of the road distance, its loops left out.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        coordinates: As in :func:`stgraph.data.from_array`; the sensors have longitude and latitude.
        null_value: Speed that stands for a missing one; :obj:`None` to take zeros for speeds.

    Shapes:
        - **x**, **mask:** :math:`(325, 52116, 1)`, **pos:** :math:`(325, 2)`, **edge_index:** :math:`(2, 2369)`

    Example:
        >>> PEMSBAY("datasets")[0].x.shape  # doctest: +SKIP
        torch.Size([325, 52116, 1])
    """

    name = "pems_bay"
    speed = "pems-bay.h5"
    locations = "graph_sensor_locations_bay.csv"
    adjacency = "adj_mx_bay.pkl"
