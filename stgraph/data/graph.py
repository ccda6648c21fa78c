"""An array of measurements becomes a PyG graph, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.checks import as_finite_array, as_names
from stgraph.data.coordinates import Coordinates, as_positions, default_positions
from stgraph.data.times import as_time
from stgraph.data.values import read_series
from stgraph.errors import InputError

__all__ = ["from_array", "observed_entries", "series_of", "to_array", "windows_to_array"]

_FloatArray = npt.NDArray[np.float32]


def from_array(
    values: Any,
    *,
    coords: Any = None,
    coordinates: Coordinates = "cartesian",
    time: Any = None,
    mask: Any = None,
    null_value: float | None = None,
    node_names: Iterable[Any] | None = None,
    channel_names: Iterable[Any] | None = None,
    grid: bool | tuple[int, int] | None = None,
    static: Any = None,
    covariates: Any = None,
) -> Data:
    r"""Build the graph of a series from an array.

    A value counts as missing if it is NaN, equal to :obj:`null_value`, masked in a NumPy masked array, or False in
    :obj:`mask`; missing values are stored as 0. A node that was never observed is kept (its mask is all False); a
    channel that was never observed is an error. Channels that are constant are kept. Both are reported through the
    logger ``stgraph``.

    The values are copied, except for a NumPy memory map of float32 with nothing missing: this stays on disk, and
    must not be written to through ``data.x`` if it was opened read-only.

    Args:
        values: NumPy array, memory map, tensor or nested list.
        coords: Coordinates of the nodes; for a grid also (H, W, D), or a pair of vectors (y, x), such as (latitude,
            longitude), which gives positions in the order (x, y). (default: a grid's rows and columns, each scaled to
            -1..1; for other data a meaningless line from -1 to 1, with a warning)
        coordinates: ``"cartesian"`` takes coordinates as they are. The others take longitude and latitude in degrees,
            in this order: ``"local_plane"`` turns them into kilometres on a plane
            (:func:`~stgraph.ops.geodesy.local_plane`; further columns such as an elevation are kept),
            ``"great_circle"`` into points on the sphere, whose nearest neighbours are the nearest by great circle
            (:func:`~stgraph.ops.geodesy.sphere_points`).
        time: Dates, or numbers for times without a calendar, strictly increasing; see
            :func:`~stgraph.data.times.as_time`.
        mask: True where a value was observed.
        null_value: Number that stands for a missing value, 0 in METR-LA for example.
        node_names: Names of the nodes (of a grid: row by row).
        channel_names: Names of the channels.
        grid: By default, values of four dimensions are a grid unless it has only one row or one column.
            :obj:`True` makes them a grid all the same, :obj:`False` makes the cells plain nodes, and (H, W) says
            that N nodes are a grid, row by row.
        static: Properties of the nodes that do not change.
        covariates: Series that all nodes share (the weather, say).

    Shapes:
        - **values**, **mask:** :math:`(T, N)`, :math:`(T, N, C)` or :math:`(T, H, W, C)`
        - **coords:** :math:`(N, D)`, **time:** :math:`(T)` or :math:`(N, T)`, **static:** :math:`(N, S)`,
          **covariates:** :math:`(T, F)`
        - **output:** ``x`` :math:`(N, T, C)`, ``mask`` alike (only where something is missing), ``pos``
          :math:`(N, D)`, ``time``, ``grid`` :math:`(H, W)`, ``static``, ``covariates``, ``node_names``,
          ``channel_names``; what was not given is not there

    Raises:
        InputError: If shapes do not fit together, coordinates or observed values are not finite, times are unsorted
            or duplicated, or nothing was observed.
        InputTypeError: If something is not numeric.

    Examples:
        >>> data = from_array([[1.0, 2.0], [float("nan"), 4.0]], coords=[[0.0, 0.0], [1.0, 0.0]])
        >>> data.x[0, :, 0], data.mask[0, :, 0]
        (tensor([1., 0.]), tensor([ True, False]))
    """
    series = read_series(values, mask, null_value, grid)
    num_nodes, num_steps, num_channels = series.x.shape
    if coords is None:
        pos = default_positions(num_nodes, series.grid)
    else:
        pos = as_positions(coords, num_nodes, series.grid, coordinates)
    attributes: dict[str, Any] = {
        "x": series.x,
        "mask": series.mask,
        "pos": pos,
        "time": None if time is None else as_time(time, num_steps, num_nodes),
        "grid": series.grid,
        "static": None if static is None else _as_features(static, "static", num_nodes, series.grid),
        "covariates": None if covariates is None else _as_features(covariates, "covariates", num_steps),
        "node_names": None if node_names is None else as_names(node_names, "node_names", num_nodes),
        "channel_names": None if channel_names is None else as_names(channel_names, "channel_names", num_channels),
    }
    return Data(**{name: value for name, value in attributes.items() if value is not None})


def to_array(data: Data) -> _FloatArray:
    r"""Values of a graph as an array with time first, the inverse of :func:`from_array`.

    Shapes:
        - **output:** :math:`(T, N, C)`, or :math:`(T, H, W, C)` for a grid; NaN where nothing was observed

    Raises:
        InputError: If the graph has no series ``x`` of three dimensions.

    Examples:
        >>> values = torch.rand(5, 2, 3, 1)
        >>> bool((torch.from_numpy(to_array(from_array(values))) == values).all())
        True
    """
    x = series_of(data)
    values = x.permute(1, 0, 2)
    if data.get("mask") is not None:
        values = values.masked_fill(~data.mask.permute(1, 0, 2), float("nan"))
    array: _FloatArray = np.array(values.detach().cpu().float().numpy(), order="C")
    return array if data.get("grid") is None else array.reshape(array.shape[0], *data.grid, array.shape[2])


def series_of(data: Data) -> Tensor:
    """The values ``x`` [N, T, C] of the graph of a series.

    Raises:
        InputError: If they are missing or have another number of dimensions.
    """
    x = data.get("x")
    if not isinstance(x, Tensor) or x.dim() != 3:
        found = f"the shape {tuple(x.shape)}" if isinstance(x, Tensor) else "none"
        raise InputError(f"data must have values x of the shape (N, T, C), got {found}")
    return x


def observed_entries(data: Data) -> Tensor:
    """Which values of a graph were observed ``[N, T, C]``: all without a mask, and none behind the end of a series.

    Examples:
        >>> observed_entries(Data(x=torch.zeros(2, 3, 1), length=torch.tensor([3, 1])))[..., 0]
        tensor([[ True,  True,  True],
                [ True, False, False]])
    """
    mask: Tensor | None = data.get("mask")
    observed = torch.ones_like(data.x, dtype=torch.bool) if mask is None else mask
    if data.get("length") is None:
        return observed
    real: Tensor = torch.arange(data.x.shape[1]) < data.length[:, None]
    return observed & real[..., None]


def windows_to_array(
    windows: Tensor,
    starts: Tensor,
    num_steps: int,
    mask: Tensor | None = None,
    grid: tuple[int, int] | None = None,
) -> _FloatArray:
    r"""Put windows (inputs or forecasts) back on the time axis; where they overlap, their mean is taken.

    Args:
        windows: Windows of equal length.
        starts: Step of the series at which each window begins (for forecasts: after the input steps).
        num_steps: Length of the series T.
        mask: True where a window's value counts. (default: everywhere)
        grid: Height and width, to get a grid back.

    Shapes:
        - **windows:** :math:`(B, N, P, *)`, **starts:** :math:`(B)`, **mask:** as :obj:`windows`
        - **output:** :math:`(T, N, *)`, or :math:`(T, H, W, *)` for a grid; NaN where no window has a value

    Raises:
        InputError: If shapes do not fit together or a window reaches beyond the series.

    Examples:
        >>> windows = torch.tensor([[1.0, 2.0], [4.0, 6.0]]).view(2, 1, 2, 1)
        >>> windows_to_array(windows, torch.tensor([0, 1]), 4).ravel()
        array([ 1.,  3.,  6., nan], dtype=float32)
    """
    if windows.dim() < 3 or starts.shape != windows.shape[:1]:
        raise InputError(
            f"windows must have the shape (B, N, P, ...) and starts (B), got {tuple(windows.shape)} and "
            f"{tuple(starts.shape)}"
        )
    if mask is not None and mask.shape != windows.shape:
        raise InputError(f"mask must have the shape {tuple(windows.shape)} of windows, got {tuple(mask.shape)}")
    length = windows.size(2)
    if starts.numel() and not 0 <= int(starts.min()) <= int(starts.max()) <= num_steps - length:
        raise InputError(
            f"windows of {length} steps must start within 0..{num_steps - length} for {num_steps} steps, got starts "
            f"{int(starts.min())}..{int(starts.max())}"
        )
    steps = (starts[:, None] + torch.arange(length, device=starts.device)).flatten().to(windows.device)
    values = windows.detach().to(torch.promote_types(windows.dtype, torch.float32)).transpose(1, 2).flatten(0, 1)
    shape = (num_steps, *values.shape[1:])
    if mask is None:
        weights = values.new_ones(values.size(0))
        count = values.new_zeros(num_steps).index_add(0, steps, weights).view(-1, *[1] * (values.dim() - 1))
    else:
        observed = mask.transpose(1, 2).flatten(0, 1)
        values = values.masked_fill(~observed, 0.0)
        count = values.new_zeros(shape).index_add(0, steps, observed.to(values.dtype))
    mean = values.new_zeros(shape).index_add(0, steps, values) / count  # 0 / 0 = NaN where there is no window
    array: _FloatArray = mean.cpu().float().numpy()
    return array if grid is None else array.reshape(num_steps, *grid, *array.shape[2:])


def _as_features(value: Any, name: str, length: int, grid: tuple[int, int] | None = None) -> Tensor:
    array = as_finite_array(value, name)
    if grid is not None and array.shape[:2] == grid and array.ndim in (2, 3):
        array = array.reshape(length, -1)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[0] != length:
        raise InputError(f"{name} must have the shape ({length}, features), got {array.shape}")
    return torch.from_numpy(array).float()
