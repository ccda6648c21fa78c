"""METR-LA's first week, which does not come with the package."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.data.adjacency import load_adjacency_pickle
from stgraph.data.coordinates import Coordinates
from stgraph.data.datasets.locate import stgraph_data_folder
from stgraph.data.files import from_file
from stgraph.errors import InputError

__all__ = ["metr_la_week"]


def metr_la_week(
    root: str | PathLike[str] | None = None, coordinates: Coordinates = "local_plane", graph: bool = True
) -> Data:
    r"""Traffic speed (miles an hour) at 207 loop detectors in Los Angeles County, 1 to 7 March 2012, every 5 minutes.

    The folder ``metr_la_week`` must hold ``los_speed.csv`` (from the repository of Zhao et al., 2020, "T-GCN", IEEE
    Transactions on Intelligent Transportation Systems 21, 3848-3858), and ``graph_sensor_locations.csv`` and
    ``adj_mx.pkl`` (from that of Li et al., 2018, "Diffusion convolutional recurrent neural network", ICLR; both
    repositories are under the MIT licence, which says nothing about the data).
    In these speeds the zeros of broken detectors have been replaced by straight lines, so that nothing is missing and
    errors do not compare with those of the masked METR-LA.

    Args:
        root: Folder that holds the folder ``metr_la_week``. (default: the environment variable ``STGRAPH_DATA``)
        coordinates: As in :func:`stgraph.data.from_array`; the sensors have longitude and latitude.
        graph: Whether to add the published road graph without its loops: ``edge_index`` and, as ``edge_weight``, its
            Gaussian kernel of the road distance.

    Shapes:
        - **x:** :math:`(207, 2016, 1)`, **pos:** :math:`(207, 2)`, **edge_index:** :math:`(2, 1515)`, **edge_weight:**
          :math:`(1515)`, **edge_attr:** :math:`(1515, D + 1)`

    Raises:
        FileNotFoundError: If the folder is not there.
        InputError: If a file is damaged or the graph has other sensors.

    Examples:
        >>> metr_la_week("datasets").x.shape  # doctest: +SKIP
        torch.Size([207, 2016, 1])
    """
    folder = stgraph_data_folder("metr_la_week", root)
    data = from_file(
        folder / "los_speed.csv",
        coords=folder / "graph_sensor_locations.csv",
        coordinates=coordinates,
        channel_names=["speed_mph"],
    )
    start, step = np.datetime64("2012-03-01T00:00", "ns"), np.timedelta64(5, "m")
    data.time = torch.from_numpy((start + step * np.arange(data.x.size(1))).astype(np.int64))
    if not graph:
        return data
    ids, _, matrix = load_adjacency_pickle(folder / "adj_mx.pkl")
    if ids != data.node_names:
        raise InputError(f"{folder / 'adj_mx.pkl'} has other sensors, or another order, than los_speed.csv")
    source, target = np.nonzero(matrix * ~np.eye(len(ids), dtype=np.bool_))
    data.edge_index = torch.from_numpy(np.stack([source, target]))
    data.edge_weight = torch.from_numpy(matrix[source, target])
    relative = data.pos[target] - data.pos[source]
    data.edge_attr = torch.cat([relative, relative.norm(dim=1, keepdim=True)], dim=1)
    return data
