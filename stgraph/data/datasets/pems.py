"""PEMS03, PEMS04, PEMS07 and PEMS08: traffic flow of four districts of Caltrans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch_geometric.data import Data

from stgraph.data.adjacency import load_distance_table
from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.datasets.road_layout import road_layout
from stgraph.data.files import existing, reading
from stgraph.data.graph import from_array
from stgraph.data.npz_files import open_npz
from stgraph.data.transforms import AdjacencyGraph
from stgraph.errors import InputError

__all__ = ["PEMS03", "PEMS04", "PEMS07", "PEMS08", "read_pems"]

_CHANNELS = ("flow", "occupancy", "speed")
_STEP = np.timedelta64(5, "m")


def read_pems(
    values: str | PathLike[str],
    links: str | PathLike[str],
    *,
    start: str,
    sensor_ids: str | PathLike[str] | None = None,
    channels: Sequence[str] = ("flow",),
    null_value: float | None = 0.0,
) -> Data:
    r"""Read the files in which PEMS03, PEMS04, PEMS07 and PEMS08 are published.

    The files hold no times: the steps are counted from the start that the papers state, every five minutes. They hold
    no coordinates either: positions are made from the lengths of the links by
    :func:`~stgraph.data.datasets.road_layout.road_layout` and have no unit. Every link becomes an edge each way of
    weight 1, as in `"Spatial-Temporal Synchronous Graph Convolutional Networks"
    <https://ojs.aaai.org/index.php/AAAI/article/view/5438>`_, which published the four; links that are listed twice or
    both ways count once, and loops are left out.

    Args:
        values: Archive with an array ``data``.
        links: Table of links, with the columns ``from``, ``to`` and ``cost`` or ``distance``.
        start: Time of the first step.
        sensor_ids: Text file of the identifiers in the order of the values, one a line, where the table of links names
            nodes by them. (default: it counts them from 0)
        channels: Which of ``flow`` (vehicles in five minutes), ``occupancy`` and ``speed`` (miles an hour) to take;
            PEMS03 and PEMS07 have flow alone.
        null_value: Value that stands for a missing one; :obj:`None` to take zeros for measurements. The protocols of
            the literature differ in this.

    Shapes:
        - **data:** :math:`(T, N, C)`
        - **x**, **mask:** :math:`(N, T, C)`, **pos:** :math:`(N, 2)`, **edge_index:** :math:`(2, E)`

    Raises:
        FileNotFoundError: If a file is not there.
        InputError: If a file is damaged, a channel is not there, or the links are of other nodes.
    """
    array = _read_values(values, channels)
    num_steps, num_nodes = array.shape[:2]
    names = [str(i) for i in range(num_nodes)] if sensor_ids is None else _read_ids(sensor_ids, num_nodes)
    edge_index, length = _read_links(links, names)
    data = from_array(
        array,
        coords=road_layout(num_nodes, edge_index, length),
        time=np.datetime64(start, "ns") + _STEP * np.arange(num_steps),
        null_value=null_value,
        node_names=names,
        channel_names=channels,
    )
    linked = np.zeros((num_nodes, num_nodes), dtype=np.float32)
    linked[edge_index[0], edge_index[1]] = 1
    np.fill_diagonal(linked, 0)
    graph: Data = AdjacencyGraph(np.maximum(linked, linked.T))(data)
    return graph


def _read_values(path: str | PathLike[str], channels: Sequence[str]) -> npt.NDArray[Any]:
    path = existing(path)
    with reading(path), open_npz(path) as archive:
        if "data" not in archive:
            raise InputError(f"{path} must hold an array 'data', got {', '.join(archive) or 'none'}")
        array = archive["data"]
    if array.ndim != 3 or array.shape[2] not in (1, len(_CHANNELS)):
        raise InputError(f"{path}: data must have the shape (T, N, 1) or (T, N, 3), got {array.shape}")
    known = _CHANNELS[: array.shape[2]]
    unknown = [name for name in channels if name not in known]
    if unknown or not channels or isinstance(channels, str):
        raise InputError(f"channels must be a list of some of {', '.join(known)}, which {path} has, got {channels!r}")
    taken: npt.NDArray[Any] = array[:, :, [known.index(name) for name in channels]]
    return taken


def _read_ids(path: str | PathLike[str], num_nodes: int) -> list[str]:
    path = existing(path)
    with reading(path):
        ids = path.read_text(encoding="utf-8").split()
    if len(ids) != num_nodes or len(set(ids)) != num_nodes:
        raise InputError(f"{path} must hold {num_nodes} distinct identifiers, got {len(ids)}, {len(set(ids))} distinct")
    return ids


def _read_links(path: str | PathLike[str], names: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    table = load_distance_table(path)
    position = {name: i for i, name in enumerate(names)}
    unknown = [name for name in table.node_ids if name not in position]
    if unknown:
        raise InputError(f"{path} has links of node {unknown[0]}, which is none of the {len(names)} of the series")
    order = torch.tensor([position[name] for name in table.node_ids])
    return order[table.edge_index].numpy(), table.distance.numpy()


class _PEMS(SeriesDataset):
    """What the four have in common."""

    start: ClassVar[str]
    has_ids: ClassVar[bool] = False

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        channels: Sequence[str] = ("flow",),
        null_value: float | None = 0.0,
        processed: str | PathLike[str] | None = None,
    ) -> None:
        options = {"channels": channels if isinstance(channels, str) else list(channels), "null_value": null_value}
        super().__init__(root, transform, pre_transform, force_reload, processed=processed, **options)

    def read(self) -> Data:
        """Parse the archive and the table of links."""
        stem = self.name.upper()
        return read_pems(
            self.raw_path(f"{stem}.npz"),
            self.raw_path(f"{stem}.csv"),
            start=self.start,
            sensor_ids=self.raw_path(f"{stem}.txt") if self.has_ids else None,
            **self.options,
        )


class PEMS03(_PEMS):
    r"""PEMS03: flow (vehicles in 5 minutes) at 358 detectors of Caltrans' district 3, September to November 2018.

    See :func:`read_pems` for the times, the positions and the graph.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        channels, null_value: As in :func:`read_pems`.

    Shapes:
        - **x**, **mask:** :math:`(358, 26208, 1)`, **pos:** :math:`(358, 2)`

    Example:
        >>> PEMS03("datasets")[0].x.shape  # doctest: +SKIP
        torch.Size([358, 26208, 1])
    """

    name = "pems03"
    start = "2018-09-01"
    has_ids = True


class PEMS04(_PEMS):
    r"""PEMS04: flow (vehicles in 5 minutes) at 307 detectors of Caltrans' district 4, January and February 2018.

    Occupancy and speed are there as well. See :func:`read_pems` for the times, the positions and the graph.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        channels, null_value: As in :func:`read_pems`.

    Shapes:
        - **x**, **mask:** :math:`(307, 16992, C)`, **pos:** :math:`(307, 2)`

    Example:
        >>> PEMS04("datasets", channels=["flow", "speed"])[0].x.shape  # doctest: +SKIP
        torch.Size([307, 16992, 2])
    """

    name = "pems04"
    start = "2018-01-01"


class PEMS07(_PEMS):
    r"""PEMS07: flow (vehicles in 5 minutes) at 883 detectors of Caltrans' district 7, May to August 2017.

    See :func:`read_pems` for the times, the positions and the graph.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        channels, null_value: As in :func:`read_pems`.

    Shapes:
        - **x**, **mask:** :math:`(883, 28224, 1)`, **pos:** :math:`(883, 2)`

    Example:
        >>> PEMS07("datasets")[0].x.shape  # doctest: +SKIP
        torch.Size([883, 28224, 1])
    """

    name = "pems07"
    start = "2017-05-01"


class PEMS08(_PEMS):
    r"""PEMS08: flow (vehicles in 5 minutes) at 170 detectors of Caltrans' district 8, July and August 2016.

    Occupancy and speed are there as well. See :func:`read_pems` for the times, the positions and the graph.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        channels, null_value: As in :func:`read_pems`.

    Shapes:
        - **x**, **mask:** :math:`(170, 17856, C)`, **pos:** :math:`(170, 2)`

    Example:
        >>> PEMS08("datasets")[0].x.shape  # doctest: +SKIP
        torch.Size([170, 17856, 1])
    """

    name = "pems08"
    start = "2016-07-01"
