"""Labelled arrays of xarray, and the NetCDF and Zarr stores it opens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch_geometric.data import Data

from stgraph.data.graph import from_array
from stgraph.errors import InputError, InputTypeError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["from_xarray", "import_xarray"]

_TIME = ("time", "t", "valid_time", "date", "datetime", "month", "year")
_Y = ("latitude", "lat", "y", "nav_lat", "rlat", "projection_y_coordinate", "south_north")
_X = ("longitude", "lon", "x", "nav_lon", "rlon", "projection_x_coordinate", "west_east")
_LATITUDE = ("latitude", "lat", "nav_lat", "xlat")
_LONGITUDE = ("longitude", "lon", "nav_lon", "xlong")
_CHANNEL = ("channel", "variable", "band", "feature")


def import_xarray() -> Any:
    """The module xarray.

    Raises:
        ImportError: If it is not installed; says how to install it.
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError("xarray is not installed; install it by `pip install 'stgraph-pyg[xarray]'`") from error
    return xarray


def from_xarray(
    obj: xr.DataArray | xr.Dataset,
    *,
    variables: str | Sequence[str] | None = None,
    time: str | None = None,
    y: str | None = None,
    x: str | None = None,
    node: str | None = None,
    channel: str | None = None,
    **options: Any,
) -> Data:
    r"""Build the graph of a series from a labelled array.

    Dimensions are found by their names, by the attributes ``axis``, ``standard_name`` and ``units`` of the CF
    conventions, or by being the only one left; dimensions of length one are dropped. The coordinates of a grid or of
    nodes (latitude and longitude, or y and x) become positions in the order (longitude, latitude) or (x, y).

    Args:
        obj: A data array, or a data set whose variables of equal dimensions become the channels.
        variables: Variables of a data set to take, in this order. (default: all that have a time)
        time: Name of the dimension of time.
        y: Name of the dimension of the grid's rows.
        x: Name of the dimension of the grid's columns.
        node: Name of the dimension of the nodes, where the data are no grid.
        channel: Name of the dimension of the channels in a data array.
        **options: Further arguments of :func:`~stgraph.data.from_array`.

    Raises:
        InputError: If dimensions cannot be told apart, or :func:`~stgraph.data.from_array` refuses the values.
        InputTypeError: If :obj:`obj` is not of xarray.
        ImportError: If xarray is not installed.

    Examples:
        >>> import xarray as xr
        >>> grid = xr.DataArray(np.random.rand(5, 2, 3), dims=("time", "lat", "lon"))
        >>> from_xarray(grid).grid
        (2, 3)
    """
    xr = import_xarray()
    if isinstance(obj, xr.Dataset):
        array, names = _stack_variables(obj, variables)
        channel = _STACKED
    elif isinstance(obj, xr.DataArray):
        if variables is not None:
            raise InputError("variables selects from a Dataset, but obj is a DataArray")
        array, names = obj, None
    else:
        raise InputTypeError(f"obj must be an xarray DataArray or Dataset, got {type(obj).__name__}")
    wanted = {"time": time, "y": y, "x": x, "node": node, "channel": channel}
    dims = _find_dims(array, wanted)
    array = array.squeeze([d for d in array.dims if array.sizes[d] == 1 and d not in dims.values()])
    rest = [str(d) for d in array.dims if d not in dims.values()]
    if "y" not in dims and "node" not in dims and len(rest) == 1:
        dims["node"] = rest.pop()
    if rest or ("y" not in dims and "node" not in dims):
        raise InputError(
            f"dimensions {tuple(array.dims)} of the data cannot be read as time and node, or time, y and x; name them "
            f"by time=, y=, x=, node=, channel=, and select one entry of any other (left over: {rest})"
        )
    space = ("y", "x") if "y" in dims else ("node",)
    order = [dims[key] for key in ("time", *space, "channel") if key in dims]
    array = array.transpose(*order)
    values = array.values if "channel" in dims else array.values[..., None]
    options.setdefault("time", _labels(array, dims["time"]))
    options.setdefault("channel_names", names if names is not None else _channel_names(array, dims))
    options.setdefault("coords", _find_coords(array, dims))
    if "node" in dims:
        options.setdefault("node_names", _labels(array, dims["node"]))
    return from_array(values, **options)


_STACKED = "__stgraph_channel__"


def _stack_variables(dataset: Any, variables: str | Sequence[str] | None) -> tuple[Any, list[str]]:
    """Variables of a data set as one array with a last dimension of channels, and their names."""
    if variables is None:
        names = _variables_with_time(dataset)
    else:
        names = [variables] if isinstance(variables, str) else list(variables)
    unknown = [name for name in names if name not in dataset]
    if unknown or not names:
        found = ", ".join(str(name) for name in dataset.data_vars) or "none"
        raise InputError(
            f"no variable {unknown[0]!r}; there are {found}" if names else f"no variable has a time: {found}"
        )
    for name in names[1:]:
        if dataset[name].sizes != dataset[names[0]].sizes:
            raise InputError(
                f"variables must have the same dimensions, but {names[0]} has {dict(dataset[names[0]].sizes)} and "
                f"{name} has {dict(dataset[name].sizes)}; choose by variables="
            )
    return dataset[names].to_dataarray(dim=_STACKED), [str(name) for name in names]


def _variables_with_time(dataset: Any) -> list[str]:
    numeric = [str(name) for name, array in dataset.data_vars.items() if array.dtype.kind in "biuf" and array.ndim >= 2]
    timed = [name for name in numeric if any(_is_time(dataset[name], d) for d in dataset[name].dims)]
    return timed or numeric


def _find_dims(array: Any, wanted: dict[str, str | None]) -> dict[str, str]:
    """Dimension of each role that was named or can be recognised; time always."""
    for role, name in wanted.items():
        if name is not None and name not in array.dims:
            raise InputError(f"{role}={name!r} is no dimension of the data, which have {tuple(array.dims)}")
    dims = {role: name for role, name in wanted.items() if name is not None}
    tests: dict[str, Callable[[Any, Any], bool]] = {
        "time": _is_time,
        "y": lambda a, d: _is_axis(a, d, _Y, "Y", "degrees_north"),
        "x": lambda a, d: _is_axis(a, d, _X, "X", "degrees_east"),
        "channel": lambda a, d: str(d).lower() in _CHANNEL,
    }
    for role, test in tests.items():
        if role in dims or (role in ("y", "x") and "node" in dims):
            continue
        found = [str(d) for d in array.dims if d not in dims.values() and test(array, d)]
        if found:
            dims[role] = found[0]
    if "time" not in dims:
        raise InputError(f"no dimension of {tuple(array.dims)} looks like time; name it by time=")
    if ("y" in dims) != ("x" in dims):  # an axis alone makes no grid: the dimension is one of nodes
        dims["node"] = dims.pop("y") if "y" in dims else dims.pop("x")
    return dims


def _is_time(array: Any, dim: Any) -> bool:
    if str(dim).lower() in _TIME:
        return True
    return dim in array.coords and (array[dim].dtype.kind == "M" or array[dim].attrs.get("axis") == "T")


def _is_axis(array: Any, dim: Any, names: Sequence[str], axis: str, units: str) -> bool:
    if str(dim).lower() in names:
        return True
    attrs = array[dim].attrs if dim in array.coords else {}
    return attrs.get("axis") == axis or attrs.get("units") == units


def _labels(array: Any, dim: str) -> Any:
    return array[dim].values if dim in array.coords else None


def _channel_names(array: Any, dims: dict[str, str]) -> Any:
    if "channel" in dims:
        return _labels(array, dims["channel"])
    return None if array.name is None else [str(array.name)]


def _find_coords(array: Any, dims: dict[str, str]) -> Any:
    """Coordinates in the form that ``from_array`` takes, None where the array has none."""
    space = [dims["y"], dims["x"]] if "y" in dims else [dims["node"]]
    for first, second in ((_LONGITUDE, _LATITUDE), (_X, _Y)):
        pair = [_coordinate_on(array, names, space) for names in (first, second)]
        if all(item is not None for item in pair):
            return np.stack(pair, axis=-1)
    if len(space) == 2 and all(d in array.coords and array[d].dtype.kind in "iuf" for d in space):
        return array[space[0]].values, array[space[1]].values
    return None


def _coordinate_on(array: Any, names: Sequence[str], space: list[str]) -> Any:
    """A coordinate with one of the names that has an entry for every node or cell."""
    for name, coordinate in array.coords.items():
        if str(name).lower() in names and set(coordinate.dims) == set(space) and coordinate.dtype.kind in "iuf":
            return coordinate.transpose(*space).values
    return None
