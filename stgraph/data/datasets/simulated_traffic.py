"""Traffic that is computed instead of measured: as long, as dense and as clean as wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.graph import from_array
from stgraph.data.simulation import simulate_traffic
from stgraph.data.transforms import DistanceKernelGraph
from stgraph.errors import InputError

__all__ = ["SimulatedTraffic"]

_CHANNELS = {"speed_mph": "speed", "flow": "flow", "occupancy": "occupancy"}
_REACH_KM = 10.0  # METR-LA's table of road distances, from which its kernel takes its width, ends there too
_THRESHOLD = 0.1


class SimulatedTraffic(SeriesDataset):
    r"""Traffic at the detectors of a random network of motorways, every 5 minutes: **computed, not measured**.

    Vehicles move by the cell transmission model (`Daganzo, 1994 <https://doi.org/10.1016/0191-2615(94)90002-7>`_)
    under a demand with daily and weekly patterns that differs from day to day, with incidents, rain, and detectors that
    err and fail; see :func:`stgraph.data.simulation.simulate_traffic`. Nothing is fetched: the series is computed from
    the seed when it is first asked for (the default one within a minute), and kept like that of any other data set.

    The graph is made as those of METR-LA and PEMS-BAY were (`Li et al., 2018 <https://arxiv.org/abs/1707.01926>`_):
    an edge leads from a detector to each that vehicles reach from it, with the weight
    :math:`\exp(-(d / \sigma)^2)` for the road distance :math:`d` where this is at least 0.1, and the standard deviation
    :math:`\sigma` of the distances up to 10 km. Congestion moves against the edges.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        channels: Which of ``"speed_mph"``, ``"flow"`` (vehicles in 5 minutes, all lanes together) and ``"occupancy"``
            (share of time, 0 to 1), in which order.
        num_detectors, num_days, start, seed, demand, incidents_per_day, noise, missing_rate: As in
            :func:`~stgraph.data.simulation.simulate_traffic`.

    Shapes:
        - **x**, **mask:** :math:`(N, 288 \cdot days, channels)`, **pos:** :math:`(N, 2)` in km, **edge_index:**
          :math:`(2, E)`, **edge_weight** and **edge_distance** (by road, in km): :math:`(E)`, **edge_attr:**
          :math:`(E, 3)`

    Raises:
        InputError: If a number is out of range or a channel is unknown or named twice.
        InputTypeError: If a count or the seed is not an integer.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = SimulatedTraffic(folder, num_detectors=8, num_days=1)[0]
        >>> data.x.shape, data.channel_names
        (torch.Size([8, 288, 3]), ['speed_mph', 'flow', 'occupancy'])
    """

    name = "simulated_traffic"

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        processed: str | PathLike[str] | None = None,
        channels: Sequence[str] = ("speed_mph", "flow", "occupancy"),
        num_detectors: int = 207,
        num_days: int = 28,
        start: str = "2024-01-01",
        seed: int = 0,
        demand: float = 1.0,
        incidents_per_day: float = 5.0,
        noise: float = 1.0,
        missing_rate: float = 0.05,
    ) -> None:
        channels = [channels] if isinstance(channels, str) else list(channels)
        if not channels or len(set(channels)) < len(channels) or not set(channels) <= set(_CHANNELS):
            raise InputError(f"channels must be distinct ones of {', '.join(_CHANNELS)}, got {channels}")
        super().__init__(
            root,
            transform,
            pre_transform,
            force_reload,
            processed=processed,
            channels=channels,
            num_detectors=num_detectors,
            num_days=num_days,
            start=start,
            seed=seed,
            demand=float(demand),
            incidents_per_day=float(incidents_per_day),
            noise=float(noise),
            missing_rate=float(missing_rate),
        )

    def read(self) -> Data:
        """Compute the series."""
        channels = self.options["channels"]
        traffic = simulate_traffic(**{key: value for key, value in self.options.items() if key != "channels"})
        data = from_array(
            np.stack([getattr(traffic, _CHANNELS[channel]) for channel in channels], axis=-1),
            coords=traffic.position,
            time=traffic.time,
            channel_names=channels,
            node_names=[f"road_{road}_{i}" for i, road in enumerate(traffic.network.road[traffic.cell])],
        )
        near = np.where(traffic.road_distance <= _REACH_KM, traffic.road_distance, np.inf)
        graph: Data = DistanceKernelGraph(near, threshold=_THRESHOLD)(data)
        source, target = graph.edge_index.numpy()
        graph.edge_distance = torch.from_numpy(traffic.road_distance[source, target]).float()
        return graph
