"""Take some nodes, channels or steps of the graph of a series; the given graph is never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import series_of
from stgraph.errors import InputError, InputTypeError

__all__ = ["select_channels", "select_nodes", "select_time", "take_nodes"]

_TIME_KEYS = ("time", "covariates")


def select_nodes(data: Data, index: Any) -> Data:
    """Keep some nodes, in the order given, and the edges between them with their ends renumbered.

    A grid is no grid any more afterwards; :func:`crop` cuts a smaller grid out of a grid.

    Args:
        data: Graph of a series.
        index: Positions (negative ones count from the end), names (those of ``data.node_names``), a slice, or a
            boolean mask with one entry for each node.

    Raises:
        InputError: If a node does not exist or is named twice, a mask has the wrong length, or none is left.
        InputTypeError: If the index is none of the above.

    Examples:
        >>> data = Data(x=torch.rand(3, 4, 1), edge_index=torch.tensor([[0, 1], [2, 0]]))
        >>> select_nodes(data, [2, 0]).edge_index
        tensor([[1],
                [0]])
    """
    num_nodes = series_of(data).size(0)
    chosen = _as_index(index, num_nodes, data.get("node_names"), "node")
    return take_nodes(data, chosen, grid=None)


def select_channels(data: Data, channels: Any) -> Data:
    """Keep some channels, in the order given.

    Args:
        data: Graph of a series.
        channels: One or several positions or names (those of ``data.channel_names``), a slice, or a boolean mask.

    Raises:
        InputError: If a channel does not exist or is named twice, a mask has the wrong length, or none is left.
        InputTypeError: If the selection is none of the above.

    Examples:
        >>> data = Data(x=torch.rand(3, 4, 2), channel_names=["flow", "speed"])
        >>> select_channels(data, "speed").x.shape
        torch.Size([3, 4, 1])
    """
    x = series_of(data)
    chosen = _as_index(channels, x.size(2), data.get("channel_names"), "channel")
    result = _shallow(data)
    result.x = x.index_select(2, chosen)
    if data.get("mask") is not None:
        result.mask = data.mask.index_select(2, chosen)
        _drop_full_mask(result)
    if data.get("channel_names") is not None:
        result.channel_names = [data.channel_names[i] for i in chosen.tolist()]
    return result


def select_time(data: Data, steps: slice | Sequence[int] | Tensor) -> Data:
    """Keep some steps; a slice is taken without copying the values.

    Args:
        data: Graph of a series.
        steps: A slice with positive step, positions in rising order, or a boolean mask with one entry for each step.

    Raises:
        InputError: If a step does not exist, the order is not rising, or none is left.
        InputTypeError: If the selection is none of the above.

    Examples:
        >>> data = Data(x=torch.rand(3, 4, 2), time=torch.arange(4.0))
        >>> select_time(data, slice(2, None)).time
        tensor([2., 3.])
    """
    x = series_of(data)
    num_steps = x.size(1)
    if isinstance(steps, slice):
        if (steps.step or 1) < 1:
            raise InputError(f"steps must run forward in time, got a slice with step {steps.step}")
        if not range(*steps.indices(num_steps)):
            raise InputError(f"steps {steps.start}:{steps.stop} select nothing of {num_steps} steps")
        chosen: slice | Tensor = steps
    else:
        chosen = _as_index(steps, num_steps, None, "step")
        if bool((chosen.diff() <= 0).any()):
            raise InputError("steps must be in rising order, because time must be strictly increasing")
    result = _shallow(data)
    result.x = x[:, chosen]
    if data.get("mask") is not None:
        result.mask = data.mask[:, chosen]
        _drop_full_mask(result)
    for key in _TIME_KEYS:
        value = data.get(key)
        if value is not None:
            result[key] = value[:, chosen] if key == "time" and value.dim() == 2 else value[chosen]
    return result


def take_nodes(data: Data, chosen: Tensor, grid: tuple[int, int] | None) -> Data:
    """Keep the nodes of an index without repetitions; ``grid`` is the shape they form afterwards."""
    num_nodes = series_of(data).size(0)
    result = _shallow(data)
    for key, value in data.to_dict().items():
        if _is_of_nodes(key, value, num_nodes):
            result[key] = value.index_select(0, chosen.to(value.device))
    if data.get("node_names") is not None:
        result.node_names = [data.node_names[i] for i in chosen.tolist()]
    _drop_full_mask(result)
    if "grid" in result:
        del result["grid"]
    if grid is not None:
        result.grid = grid
    if data.get("edge_index") is not None:
        _take_edges(data, result, chosen, num_nodes)
    return result


def _is_of_nodes(key: str, value: Any, num_nodes: int) -> bool:
    if not isinstance(value, Tensor) or key.startswith("edge_"):
        return False
    # PyG takes every tensor with N rows for an attribute of nodes, also the time index of a series of N steps.
    if key in _TIME_KEYS:
        return key == "time" and value.dim() == 2
    return value.dim() > 0 and value.size(0) == num_nodes


def _take_edges(data: Data, result: Data, chosen: Tensor, num_nodes: int) -> None:
    edge_index = data.edge_index
    chosen = chosen.to(edge_index.device)
    renumber = edge_index.new_full((num_nodes,), -1)
    renumber[chosen] = torch.arange(chosen.numel(), device=edge_index.device)
    ends = renumber[edge_index]
    kept = (ends >= 0).all(dim=0)
    result.edge_index = ends[:, kept]
    for key, value in data.to_dict().items():
        if key.startswith("edge_") and key != "edge_index" and isinstance(value, Tensor):
            result[key] = value[kept]


def _shallow(data: Data) -> Data:
    """A new graph that shares all tensors with the given one."""
    return data.__copy__()


def _drop_full_mask(data: Data) -> None:
    if data.get("mask") is not None and bool(data.mask.all()):
        del data["mask"]


def _as_index(selection: Any, length: int, names: Sequence[str] | None, what: str) -> Tensor:
    """Positions that a selection means: int64, in 0..length-1, without repetition, at least one."""
    if isinstance(selection, slice):
        index = torch.arange(length)[selection] if (selection.step or 1) > 0 else torch.empty(0, dtype=torch.int64)
    else:
        if isinstance(selection, (str, int)):
            selection = [selection]
        if not isinstance(selection, Tensor):
            selection = list(selection)
            if selection and all(isinstance(item, str) for item in selection):
                selection = _find_names(selection, names, what)
        index = _as_positions(selection, length, what)
    if index.numel() == 0:
        raise InputError(f"the selection leaves no {what} of {length}")
    if torch.bincount(index).max() > 1:
        raise InputError(f"each {what} may be selected once, got {index.tolist()}")
    return index


def _find_names(selection: Sequence[str], names: Sequence[str] | None, what: str) -> list[int]:
    if names is None:
        raise InputError(f"{what}s cannot be selected by name: data has no {what}_names")
    position = {name: i for i, name in enumerate(names)}
    unknown = [name for name in selection if name not in position]
    if unknown:
        raise InputError(f"unknown {what} {unknown[0]!r}; there are {', '.join(list(names)[:20])}")
    return [position[name] for name in selection]


def _as_positions(selection: Any, length: int, what: str) -> Tensor:
    try:
        index = torch.as_tensor(selection)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(
            f"{what}s must be selected by positions, names, a slice or a mask, got {selection!r}"
        ) from error
    if index.numel() == 0:
        return index.flatten().long()
    if index.dtype == torch.bool:
        if index.shape != (length,):
            raise InputError(f"a mask of {what}s must have the shape ({length},), got {tuple(index.shape)}")
        return index.nonzero().flatten()
    if index.dim() != 1 or index.is_floating_point() or index.is_complex():
        raise InputTypeError(
            f"{what}s must be selected by a vector of integers, got {index.dtype} {tuple(index.shape)}"
        )
    index = index.long()
    outside = (index < -length) | (index >= length)
    if bool(outside.any()):
        raise InputError(f"{what} {int(index[outside][0])} does not exist; there are {length}")
    return torch.where(index < 0, index + length, index)
