"""From the data options of a run to graphs of series and a model that fits them."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.datamodule import SeriesDataModule
from stgraph.errors import InputError
from stgraph.models import get_model
from stgraph.models.baselines.calendar import cycle
from stgraph.models.fno_options import FNOOptions
from stgraph.models.options import SpecTraNetOptions, nearest_name
from stgraph.tasks.options import DATASETS, DataOptions, ModelOptions
from stgraph.tasks.protocols import family_of, get_protocol
from stgraph.tasks.protocols.training import protocol_datamodule

__all__ = [
    "calendar_periods",
    "describe_model",
    "graph_of",
    "load_series",
    "make_datamodule",
    "read_series",
    "resolve_data",
    "resolve_model",
    "share_graph",
]

#: What belongs to the graph of a series, not to its period: the test period takes it from the training period.
GRAPH_KEYS = ("pos", "edge_index", "edge_attr", "edge_weight", "static", "grid", "node_names", "channel_names")

#: The hyper-parameters of each model that has some.
_OPTIONS: dict[str, type[SpecTraNetOptions] | type[FNOOptions]] = {"fno": FNOOptions, "spectranet": SpecTraNetOptions}

#: What the data says of a model, so that nobody has to.
_FROM_DATA = (
    "in_channels",
    "input_steps",
    "horizon",
    "out_channels",
    "num_nodes",
    "pos_dim",
    "calendar_periods",
    "steps_per_cycle",
    "grid",
)

_SECOND = 1e9
_CALENDAR = (86400 * _SECOND, 7 * 86400 * _SECOND, 365.2425 * 86400 * _SECOND)
_CYCLES = 2


def resolve_data(options: DataOptions) -> DataOptions:
    """Fill in what the options leave to the data set, and make paths absolute."""
    steps = DATASETS.get(options.path or "", (12, 1))
    return dataclasses.replace(
        options,
        path=_absolute(options.path),
        test=_absolute(options.test),
        coords=_absolute(options.coords),
        adjacency=_absolute(options.adjacency),
        input_steps=options.input_steps or steps[0],
        horizon=options.horizon or steps[1],
    )


def _absolute(path: str | None) -> str | None:
    return path if path is None or path in DATASETS else str(Path(path).expanduser().absolute())


def read_series(path: str, options: DataOptions, *, quiet: bool = False) -> Data:
    """Read a file or an embedded data set, crop it and keep the channels asked for; no edges yet.

    Args:
        path: The file or the name of the data set.
        options: The data options.
        quiet: Do not warn of missing coordinates, as the graph is known.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file or an option cannot be used.
    """
    from stgraph.data import crop, from_file, select_channels

    if path in DATASETS:
        if options.coords is not None:
            raise InputError(f"coords is {options.coords!r}, but the data set {path!r} has coordinates of its own")
        if options.key is not None:
            raise InputError(f"key is {options.key!r}, but {path!r} is a data set, not a file")
        data = _read_dataset(path, options)
    else:
        if options.arguments:
            raise InputError(f"data.arguments is given, but {path} is a file, which has no reading options")
        if not Path(path).suffix and not Path(path).exists():
            name = Path(path).name
            raise InputError(f"there is no file {path}, and no data set {name!r}{nearest_name(name, DATASETS)}")
        coordinates = options.coordinates or "cartesian"
        with warnings.catch_warnings():
            if quiet:
                warnings.filterwarnings("ignore", "no coordinates were given")
            data = from_file(
                path,
                key=options.key,
                coords=options.coords,
                coordinates=coordinates,
                null_value=options.null_value,
            )
    if options.crop != "none":
        data = crop(data, options.crop, options.crop_size, options.crop_box)
    if options.channels is not None:
        data = select_channels(data, options.channels)
    return data


def _read_dataset(name: str, options: DataOptions) -> Data:
    from stgraph.data.datasets import load_series as load

    arguments: dict[str, Any] = {} if options.coordinates is None else {"coordinates": options.coordinates}
    if name == "metr_la_week":
        arguments["graph"] = options.edges == "own"
    arguments |= options.arguments or {}
    try:
        return load(name, **arguments)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        unknown = str(error).rpartition("argument ")[2]
        raise InputError(f"the data set {name!r} has no reading option {unknown}") from error


def load_series(options: DataOptions, num_neighbors: int | None = None) -> tuple[Data, Data | None]:
    """Load the series of a run, with its edges, and the test series where it is a file of its own.

    Args:
        options: The data options.
        num_neighbors: Neighbours to connect where the options leave the edges to the model; ``options.k`` by default.

    Raises:
        InputError: If the data cannot be used.
    """
    if options.path is None:
        raise InputError("no data: name a file or one of the data sets " + ", ".join(DATASETS))
    series = _connect(read_series(options.path, options), options, num_neighbors)
    if options.test is None:
        return series, None
    return series, share_graph(Data(**graph_of(series)), read_series(options.test, options, quiet=True), options.test)


def graph_of(series: Data) -> dict[str, Any]:
    """Return the graph of a series without its values, with the numbers of nodes and channels."""
    graph = {key: series[key] for key in GRAPH_KEYS if series.get(key) is not None}
    return {**graph, "num_nodes": series.x.shape[0], "num_channels": series.x.shape[2]}


def share_graph(graph: Data, other: Data, name: str) -> Data:
    """Give another period of the same nodes a graph, as :func:`graph_of` returns it.

    Raises:
        InputError: If the nodes, the channels or the size of the grid differ.
    """
    ours, theirs = (graph.num_nodes, graph.num_channels), (other.x.shape[0], other.x.shape[2])
    if ours != theirs:
        raise InputError(
            f"{name} has {theirs[0]} nodes and {theirs[1]} channels; the training data has {ours[0]} and {ours[1]}"
        )
    if graph.get("grid") != other.get("grid"):
        raise InputError(f"{name} has the grid {other.get('grid')}; the training data has {graph.get('grid')}")
    for key in GRAPH_KEYS:
        if graph.get(key) is not None:
            other[key] = graph[key]
    return other


def _connect(series: Data, options: DataOptions, num_neighbors: int | None) -> Data:
    from stgraph import data as source

    nodes = series.x.shape[0]
    if options.edges == "model":
        # A grid needs no edges here: the model takes its stencil and the loss the two-dimensional spectrum.
        if series.get("grid") is not None or nodes < 2:
            return series
        return _apply(source.KNNGraph(min(num_neighbors or options.k, nodes - 1)), series)
    if options.edges == "own":
        if series.get("edge_index") is None:
            raise InputError("data.edges is 'own', but the data has no edges")
        return series
    if options.edges == "knn":
        if options.k >= nodes:
            raise InputError(f"data.k is {options.k}; expected less than the number of nodes, {nodes}")
        return _apply(source.KNNGraph(options.k), series)
    if options.edges == "radius":
        if options.radius is None or options.radius <= 0:
            raise InputError(f"data.radius is {options.radius}; edges='radius' needs a radius above 0")
        return _apply(source.RadiusGraph(options.radius), series)
    if options.edges == "grid":
        if series.get("grid") is None:
            raise InputError("data.edges is 'grid', but the data is no grid")
        return _apply(source.GridStencilGraph(options.neighbors), series)
    return _apply(source.AdjacencyGraph(_adjacency(options, nodes)), series)


def _apply(transform: Any, data: Data) -> Data:
    connected: Data = transform(data)
    return connected


def _adjacency(options: DataOptions, nodes: int) -> Tensor:
    from stgraph.data import load_adjacency_pickle, load_matrix

    path = options.adjacency
    if path is None:
        raise InputError("data.adjacency is missing; edges='file' needs a file with an N x N matrix")
    matrix = load_adjacency_pickle(path)[2] if Path(path).suffix in (".pkl", ".pickle") else load_matrix(path)
    if matrix.shape != (nodes, nodes):
        raise InputError(f"{path} has shape {matrix.shape}; expected ({nodes}, {nodes})")
    return torch.from_numpy(matrix).float()


def make_datamodule(
    series: Data, test_series: Data | None, options: DataOptions, seed: int, protocol: str | None = None
) -> SeriesDataModule:
    """Split the series of a run into windows, as its options or a protocol other than ``strict`` say."""
    rules = get_protocol(protocol or "strict")
    if rules.name != "strict":
        return protocol_datamodule(series, options, seed, rules, family_of(options.path or ""))
    if options.input_steps is None or options.horizon is None:
        raise InputError("input_steps and horizon are not set; call resolve_data first")
    return SeriesDataModule(
        series,
        test_series,
        input_steps=options.input_steps,
        horizon=options.horizon,
        split=options.split,
        val_start=options.val_start,
        test_start=options.test_start,
        windows=options.windows,
        stride=options.stride,
        batch_size=options.batch_size,
        seed=seed,
        max_gap=options.max_gap,
        period_break=options.period_break,
    )


def calendar_periods(series: Data) -> list[float]:
    """Day, week and year in time steps, those that the sampling resolves and the series covers twice.

    >>> hours = torch.arange(24 * 30) * 3_600_000_000_000
    >>> calendar_periods(Data(x=torch.zeros(1, 720, 1), time=hours))
    [24.0, 168.0]
    """
    step = _calendar_step(series)
    if step is None:
        return []
    covered = float(series.time[-1] - series.time[0]) + step
    return [period / step for period in _CALENDAR if period > 2 * step and covered >= _CYCLES * period]


def steps_per_cycle(series: Data) -> int:
    """Return the number of steps of a day, or of a year where a step lasts a day or longer; 1 without a calendar.

    >>> hours = torch.arange(48) * 3_600_000_000_000
    >>> steps_per_cycle(Data(x=torch.zeros(1, 48, 1), time=hours))
    24
    """
    step = _calendar_step(series)
    return 1 if step is None else max(round(cycle(step) / step), 1)


def _calendar_step(series: Data) -> float | None:
    """Return the usual time step in nanoseconds; ``None`` where the nodes share no times of a calendar."""
    time = series.get("time")
    if time is None or time.is_floating_point() or time.dim() != 1 or time.numel() < 2:
        return None
    return float((time[1:] - time[:-1]).double().median())


def resolve_model(options: ModelOptions, num_nodes: int | None) -> ModelOptions:
    """Fill in the values of the preset, and no more neighbours than there are other nodes.

    Raises:
        InputError: If an option does not fit the data or the model.
    """
    own = own_options(options)
    changed = sorted(
        field.name
        for field in dataclasses.fields(options)
        if field.name not in ("name", "arguments", *own) and getattr(options, field.name) != field.default
    )
    if changed:
        raise InputError(f"model.{changed[0]} does not apply to the model {options.name!r}")
    check_arguments(options)
    # Options left at None would be resolved again when the model is rebuilt, perhaps by a later version.
    if options.name == "fno":
        return dataclasses.replace(options, **dataclasses.asdict(FNOOptions(**own).with_defaults()))
    if options.name != "spectranet":
        return options
    resolved = dataclasses.replace(options, **dataclasses.asdict(SpecTraNetOptions(**own).resolve()))
    if num_nodes is not None and resolved.num_neighbors is not None and resolved.num_neighbors >= num_nodes:
        if options.num_neighbors is not None:
            raise InputError(
                f"model.num_neighbors is {options.num_neighbors}; expected less than the number of nodes, {num_nodes}"
            )
        resolved.num_neighbors = max(num_nodes - 1, 1)
    return resolved


def check_arguments(options: ModelOptions) -> None:
    """Refuse arguments that the constructor of the chosen model does not take.

    Raises:
        InputError: If an argument is unknown; names the nearest.
    """
    if not options.arguments:
        return
    if options.name in _OPTIONS:
        raise InputError(f"model.arguments does not apply to the model {options.name!r}, which has options of its own")
    known = [name for name in constructor_arguments(options.name) if name not in _FROM_DATA]
    for name in options.arguments:
        if name not in known:
            raise InputError(f"model.arguments has {name!r}{nearest_name(name, known)}, for the model {options.name!r}")


def constructor_arguments(name: str) -> list[str]:
    """Return the names of the constructor's arguments of a model.

    >>> constructor_arguments("ridge")[:3]
    ['in_channels', 'input_steps', 'horizon']
    """
    return [argument for argument in inspect.signature(get_model(name)).parameters if argument != "options"]


def own_options(options: ModelOptions) -> dict[str, Any]:
    """Return the options that the chosen model has.

    >>> sorted(own_options(ModelOptions(name="fno")))[:3]
    ['dropout', 'mask_input', 'mlp_ratio']
    """
    known = _OPTIONS.get(options.name)
    return {} if known is None else {f.name: getattr(options, f.name) for f in dataclasses.fields(known)}


def describe_model(options: ModelOptions, datamodule: SeriesDataModule, out_channels: int | None) -> dict[str, Any]:
    """Return name and arguments of the model of a run, as :func:`~stgraph.tasks.checkpoints.build_model` takes them."""
    series = datamodule.series
    arguments: dict[str, Any] = {
        "in_channels": series.x.shape[2],
        "input_steps": datamodule.input_steps,
        "horizon": datamodule.horizon,
        "out_channels": out_channels,
        "num_nodes": series.x.shape[0],
    }
    of_data: dict[str, Callable[[], Any]] = {
        "pos_dim": lambda: series.pos.shape[1],
        "calendar_periods": lambda: calendar_periods(datamodule.train_series),
        "steps_per_cycle": lambda: steps_per_cycle(series),
        "grid": lambda: _grid(series, options.name),
    }
    taken = constructor_arguments(options.name)
    arguments |= {name: value() for name, value in of_data.items() if name in taken}
    return {"name": options.name, "arguments": arguments | own_options(options) | (options.arguments or {})}


def _grid(series: Data, name: str) -> tuple[int, int]:
    grid = series.get("grid")
    if grid is None:
        raise InputError(f"the data is no grid, and the model {name!r} needs values on a regular grid (H, W)")
    return int(grid[0]), int(grid[1])
