"""PeMSD7(M): speeds of the STGCN paper on the weekdays of two months."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.coordinates import Coordinates
from stgraph.data.csv_files import read_csv
from stgraph.data.datasets.archives import member
from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.files import existing, reading
from stgraph.data.graph import from_array
from stgraph.data.table_columns import numeric_columns
from stgraph.data.transforms import DistanceKernelGraph
from stgraph.errors import InputError

__all__ = ["PeMSD7M", "read_pemsd7m"]

_STEPS_PER_DAY = 288
_FIRST_DAY = np.datetime64("2012-05-01")
_SIGMA = 10_000 * np.sqrt(0.1)  # metres: the paper's exp(-(d / 10 km)^2 / 0.1)
_THRESHOLD = 0.5
_ARCHIVE, _STATIONS = "PeMSD7_Full.zip", "PeMSD7_M_Station_Info.csv"
_SPEED, _DISTANCE = "PeMSD7_V_228.csv", "PeMSD7_W_228.csv"


def read_pemsd7m(
    speed: str | PathLike[str] | IO[bytes],
    distance: str | PathLike[str] | IO[bytes],
    stations: str | PathLike[str],
    *,
    coordinates: Coordinates = "local_plane",
) -> Data:
    r"""Read the files in which PeMSD7(M) is published.

    The days of the file are the weekdays from 1 May 2012 on, one after another: the times jump over each weekend. Its
    missing values were filled in by linear interpolation before it was published. The graph is that of
    `"Spatio-Temporal Graph Convolutional Networks" <https://arxiv.org/abs/1709.04875>`_: stations at the distance
    :math:`d` kilometres are joined by edges of weight :math:`\exp(-(d / 10)^2 / 0.1)` where this is at least 0.5.

    Args:
        speed: Table without a header, a row for each step and a column for each station.
        distance: Table without a header of the distances in metres.
        stations: Table of the stations' identifiers (column ``ID``), ``Latitude`` and ``Longitude``, in their order.
        coordinates: As in :func:`stgraph.data.from_array`; the stations have longitude and latitude.

    Shapes:
        - **x:** :math:`(N, T, 1)`, **pos:** :math:`(N, D)`, **edge_index:** :math:`(2, E)`, **edge_weight:**
          :math:`(E)`

    Raises:
        FileNotFoundError: If a file is not there.
        InputError: If a file is damaged, days are not whole or the three are not of as many stations.
    """
    values, distances = _read_matrix(speed, "speed"), _read_matrix(distance, "distance")
    num_steps, num_nodes = values.shape
    if num_steps % _STEPS_PER_DAY:
        raise InputError(f"speed must hold whole days of {_STEPS_PER_DAY} steps, got {num_steps} steps")
    if distances.shape != (num_nodes, num_nodes):
        raise InputError(f"distance must be a matrix of the {num_nodes} stations of speed, got {distances.shape}")
    path = existing(stations)
    with reading(path):
        table = read_csv(path, header=True)
    if len(table) != num_nodes or not {"ID", "Latitude", "Longitude"} <= set(table.columns):
        raise InputError(
            f"{path} must have the columns ID, Latitude and Longitude and {num_nodes} rows, got {list(table.columns)} "
            f"and {len(table)} rows"
        )
    data = from_array(
        values,
        coords=table[["Longitude", "Latitude"]].to_numpy(),
        coordinates=coordinates,
        time=_weekdays(num_steps // _STEPS_PER_DAY),
        node_names=table["ID"],
        channel_names=["speed_mph"],
    )
    graph: Data = DistanceKernelGraph(distances, sigma=_SIGMA, threshold=_THRESHOLD)(data)
    return graph


def _read_matrix(source: str | PathLike[str] | IO[bytes], name: str) -> npt.NDArray[Any]:
    import pandas as pd

    path = existing(source) if isinstance(source, str | PathLike) else Path(str(getattr(source, "name", name)))
    with reading(path):
        table = read_csv(path, header=False) if isinstance(source, str | PathLike) else pd.read_csv(source, header=None)
    return numeric_columns(table)


def _weekdays(num_days: int) -> npt.NDArray[np.datetime64]:
    days = np.busday_offset(_FIRST_DAY, np.arange(num_days)).astype("datetime64[m]").astype(np.int64)
    minutes = days[:, None] + 5 * np.arange(_STEPS_PER_DAY)
    return minutes.ravel().astype("datetime64[m]")


class PeMSD7M(SeriesDataset):
    r"""PeMSD7(M): speed (miles an hour) at 228 stations of Caltrans' district 7, the weekdays of May and June 2012.

    44 days of 288 steps of 5 minutes. The archive ``PeMSD7_Full.zip`` is read as it is; its tables
    ``PeMSD7_V_228.csv`` and ``PeMSD7_W_228.csv`` do as well. See :func:`read_pemsd7m` for the times and the graph.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        coordinates: As in :func:`stgraph.data.from_array`; the stations have longitude and latitude.

    Shapes:
        - **x:** :math:`(228, 12672, 1)`, **pos:** :math:`(228, 2)`

    Example:
        >>> PeMSD7M("datasets")[0].x.shape  # doctest: +SKIP
        torch.Size([228, 12672, 1])
    """

    name = "pemsd7m"

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        coordinates: Coordinates = "local_plane",
        processed: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(root, transform, pre_transform, force_reload, processed=processed, coordinates=coordinates)

    @property
    def raw_file_names(self) -> list[str]:
        """The table of stations, and the archive unless its tables are there."""
        return [_STATIONS] if self._unpacked else [_ARCHIVE, _STATIONS]

    @property
    def _unpacked(self) -> bool:
        return all(self.raw_path(name).exists() for name in (_SPEED, _DISTANCE))

    def read(self) -> Data:
        """Parse the tables, in the archive or beside it."""
        archive, unpacked = self.raw_path(_ARCHIVE), self._unpacked
        opened = [
            nullcontext(self.raw_path(name)) if unpacked else member(archive, name) for name in (_SPEED, _DISTANCE)
        ]
        with opened[0] as speed, opened[1] as distance:
            return read_pemsd7m(speed, distance, self.raw_path(_STATIONS), **self.options)
