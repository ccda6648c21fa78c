"""Batches of windows, gathered by index from a series that is held once."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from stgraph.data.resumable import ResumableLoader
from stgraph.data.splits import window_starts
from stgraph.errors import InputError, InputTypeError

__all__ = ["WindowBatch", "WindowLoader"]

# Attributes of a series that are cut into windows, and the names of their input and target windows.
_WINDOWED = {
    "x": ("x", "y"),
    "mask": ("x_mask", "y_mask"),
    "time": ("x_time", "y_time"),
    "covariates": ("x_covariates", "y_covariates"),
}
_NODE_WINDOWS = ("x", "y", "x_mask", "y_mask")
_STEP_WINDOWS = ("x_time", "y_time", "x_covariates", "y_covariates")


class WindowBatch(Data):
    r"""A batch of :math:`B` windows on one graph.

    The windows carry a batch dimension in front; the graph's own attributes (``pos``, ``edge_index``, ``edge_attr``,
    ``grid``, ``static``, ...) are those of the series and are not repeated.

    Shapes:
        - **x:** input values :math:`(B, N, P, C)`; ``x_mask`` alike, where the series has a mask
        - **y:** target values :math:`(B, N, Q, C)`; ``y_mask`` alike
        - **x_time, y_time:** :math:`(B, P)` and :math:`(B, Q)`, or :math:`(B, N, P)` and :math:`(B, N, Q)` where each
          node has its own times
        - **x_covariates, y_covariates:** :math:`(B, P, F)` and :math:`(B, Q, F)`
        - **start:** index of the first step of each window, :math:`(B)`
    """

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if key in _NODE_WINDOWS:
            return -3
        if key == "start" or key in _STEP_WINDOWS:
            return None
        return super().__cat_dim__(key, value, *args, **kwargs)

    @property
    def num_windows(self) -> int:
        """The number of windows B."""
        return int(self.start.numel())

    def to_pyg(self) -> Batch:
        r"""Return the windows as :math:`B` disjoint graphs, as :meth:`Batch.from_data_list` would make them.

        Values become ``[B * N, P, C]``, node and edge attributes are repeated, edges are offset, and ``batch`` and
        ``ptr`` are set. Times shared by all nodes stay ``[B, P]``.

        Raises:
            InputTypeError: If the graph has a sparse attribute.

        Example:
            >>> data = Data(x=torch.arange(12.0).view(2, 6, 1), edge_index=torch.tensor([[0], [1]]))
            >>> flat = next(iter(WindowLoader(data, input_steps=2, horizon=1, batch_size=3))).to_pyg()
            >>> flat.x.shape, flat.edge_index.tolist()
            (torch.Size([6, 2, 1]), [[0, 2, 4], [1, 3, 5]])
        """
        size, nodes = self.num_windows, int(self.x.shape[1])
        out = Batch(_base_cls=Data)
        slices: dict[str, Any] = {}
        increments: dict[str, Any] = {}
        graph = Data(num_nodes=nodes)
        for key, value in self.to_dict().items():
            if key == "num_nodes":
                continue
            step, increment = 1, 0
            if key in _NODE_WINDOWS or (key in ("x_time", "y_time") and value.dim() == 3):
                out[key], step = value.reshape(size * nodes, *value.shape[2:]), nodes
            elif key == "start" or key in _STEP_WINDOWS:
                out[key] = value
            elif isinstance(value, Tensor):
                out[key], step, increment = _repeat(graph, key, value, size)
            else:
                out[key] = torch.tensor([value] * size) if isinstance(value, (int, float)) else [value] * size
            slices[key] = torch.arange(size + 1) * step
            increments[key] = torch.arange(size) * increment
        out.batch = torch.arange(size, device=self.x.device).repeat_interleave(nodes)
        out.ptr = torch.arange(size + 1, device=self.x.device) * nodes
        out._num_graphs, out._slice_dict, out._inc_dict = size, slices, increments
        return out


def _repeat(graph: Data, key: str, value: Tensor, size: int) -> tuple[Tensor, int, int]:
    """Repeat a graph attribute for each window; return it with its step and its increment from window to window."""
    if value.layout != torch.strided:
        raise InputTypeError(f"attribute {key!r} has layout {value.layout}; to_pyg() expects dense attributes")
    if value.dim() == 0:
        return value.repeat(size), 1, 0
    dim = int(graph.__cat_dim__(key, value)) % value.dim()
    increment = int(graph.__inc__(key, value))
    repeats = [1] * value.dim()
    repeats[dim] = size
    out = value.repeat(repeats)
    if increment:
        offset = (torch.arange(size, device=value.device) * increment).repeat_interleave(value.shape[dim])
        out += offset.view([-1 if d == dim else 1 for d in range(value.dim())])
    return out, value.shape[dim], increment


class _Windows:
    """All windows of one attribute as a view, from which a batch is one gather.

    The view keeps its dimensions in the order of the series' memory, so that the gather copies the longest runs there
    are, whether time or node comes first; the batch is then permuted back, as a view.
    """

    def __init__(self, series: Tensor, time_dim: int, input_steps: int, length: int) -> None:
        view = series.detach().unfold(time_dim, length, 1).movedim(time_dim, 0).movedim(-1, time_dim + 1)
        strides = view.stride()
        order = sorted(range(1, view.dim()), key=lambda d: strides[d], reverse=True)
        self._view = view.permute(0, *order)
        self._array = _as_array(self._view)
        self._inverse = [0, *(order.index(d) + 1 for d in range(1, view.dim()))]
        self._time_dim, self._lengths = time_dim + 1, [input_steps, length - input_steps]

    def gather(self, starts: Tensor) -> tuple[Tensor, Tensor]:
        if self._array is None:
            windows = self._view.index_select(0, starts)
        else:
            windows = torch.from_numpy(self._array[starts.numpy()])
        past, future = windows.permute(self._inverse).split_with_sizes(self._lengths, self._time_dim)
        return past, future


def _as_array(view: Tensor) -> np.ndarray[Any, Any] | None:
    """Return the view as an array of NumPy, if that can be.

    NumPy copies in the calling thread. A batch is too small to gain from several, and where other processes keep the
    cores busy, waiting for a thread takes a hundred times as long as the copy.
    """
    if view.device.type != "cpu" or view.dtype == torch.bfloat16:
        return None
    return view.numpy()


class WindowLoader(ResumableLoader[WindowBatch]):
    r"""Iterates over the windows of a series in batches, each gathered in one operation.

    The series is held once, wherever it lies (memory, memory map, accelerator); what is allocated is one batch.
    A batch keeps the memory order of the series: where time comes first in memory, ``x`` is a permuted view with shape
    :math:`(B, N, P, C)`, so flatten it by ``reshape``.

    Each pass over the loader is an epoch; shuffling depends on ``seed`` and the number of the epoch alone. The state of
    a loader says where it stands, so that an interrupted epoch goes on with the next batch (Lightning does so by
    itself). Every window appears once in an epoch; the last batch may be smaller.

    Args:
        data: The series: ``x`` :math:`(N, T, C)`, optional ``mask``, ``time`` and ``covariates``, and the graph.
        input_steps: Number of input steps P of a window.
        horizon: Number of target steps Q of a window, which follow the input.
        starts: First steps of the windows to use (see :func:`window_starts`); all windows by default.
        batch_size: Number of windows in a batch, over all processes.
        shuffle: Whether to shuffle the windows in each epoch.
        seed: Seed of the shuffling.
        rank: Number of this process. It gets every ``world_size``-th window of each batch, which may be none.
        world_size: Number of processes.
        input_mask: Whether batches have ``x_mask``; without it a model takes unobserved inputs for values of 0.

    Raises:
        InputError: If the series is too short, or an argument is out of range.

    Example:
        >>> data = Data(x=torch.arange(20.0).view(2, 10, 1), pos=torch.rand(2, 2))
        >>> loader = WindowLoader(data, input_steps=3, horizon=1, batch_size=4)
        >>> len(loader), loader.num_windows
        (2, 7)
        >>> batch = next(iter(loader))
        >>> batch.x.shape, batch.y.shape, batch.start.tolist()
        (torch.Size([4, 2, 3, 1]), torch.Size([4, 2, 1, 1]), [0, 1, 2, 3])
    """

    def __init__(
        self,
        data: Data,
        input_steps: int,
        horizon: int,
        *,
        starts: Tensor | None = None,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        input_mask: bool = True,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, rank, world_size)
        series = _check_series(data)
        steps = series["x"].shape[1]
        every = window_starts(steps, input_steps, horizon)  # raises where P, Q and T do not fit
        self.starts = every if starts is None else check_starts(starts, last=int(every[-1]))
        self._windows = [
            (_WINDOWED[key], _Windows(value, _time_dim(key, value), input_steps, input_steps + horizon))
            for key, value in series.items()
        ]
        self._left_out = () if input_mask else ("x_mask",)
        self._device = series["x"].device
        self._graph = WindowBatch(**{key: value for key, value in data.to_dict().items() if key not in _WINDOWED})

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_windows} windows, batch_size={self.batch_size}, shuffle={self.shuffle})"
        )

    @property
    def num_windows(self) -> int:
        """The number of windows in an epoch, over all processes."""
        return int(self.starts.numel())

    @property
    def num_samples(self) -> int:
        """The number of windows in an epoch, over all processes."""
        return self.num_windows

    def _order(self, epoch: int) -> Tensor:
        starts = self.starts
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            starts = starts[torch.randperm(self.num_windows, generator=generator)]
        return starts.to(self._device)

    def _gather(self, starts: Tensor) -> WindowBatch:
        batch: WindowBatch = copy.copy(self._graph)
        (store,) = batch.stores  # setting attributes of the batch itself takes longer than the gather
        for (past, future), windows in self._windows:
            store[past], store[future] = windows.gather(starts)
        for name in self._left_out:
            store.pop(name, None)
        store["start"] = starts
        return batch


def _time_dim(key: str, value: Tensor) -> int:
    if key == "time":
        return value.dim() - 1
    return 0 if key == "covariates" else 1


def _check_series(data: Data) -> dict[str, Tensor]:
    """Return the attributes of a series that are cut into windows, after a look at their shapes."""
    x = data.get("x")
    if not isinstance(x, Tensor):
        raise InputTypeError(f"data.x is a {type(x).__name__}; expected a tensor [N, T, C]")
    if x.dim() != 3:
        raise InputError(f"data.x has shape {tuple(x.shape)}; expected [N, T, C]")
    nodes, steps, _ = x.shape
    series = {key: data[key] for key in _WINDOWED if data.get(key) is not None}
    expected = {
        "x": [tuple(x.shape)],
        "mask": [tuple(x.shape)],
        "time": [(steps,), (nodes, steps)],
        "covariates": [(steps, *series["covariates"].shape[1:])] if "covariates" in series else [],
    }
    for key, value in series.items():
        if tuple(value.shape) not in expected[key]:
            raise InputError(
                f"data.{key} has shape {tuple(value.shape)}; expected {' or '.join(map(str, expected[key]))}"
            )
    for key in (*_NODE_WINDOWS[1:], *_STEP_WINDOWS, "start"):
        if key in data:
            raise InputError(f"data has an attribute {key!r}, which is the name of a part of a window; rename it")
    return series


def check_starts(starts: Tensor, last: int) -> Tensor:
    """Return the first steps of windows as int64 on the CPU.

    Raises:
        InputError: If they are no indices between 0 and ``last``, or none.
    """
    starts = torch.as_tensor(starts)
    if starts.dim() != 1 or starts.numel() == 0 or starts.is_floating_point() or starts.dtype == torch.bool:
        raise InputError(
            f"starts has shape {tuple(starts.shape)} and dtype {starts.dtype}; expected one dimension of indices, "
            "at least one"
        )
    low, high = int(starts.min()), int(starts.max())
    if low < 0 or high > last:
        raise InputError(f"starts lie between {low} and {high}; windows of this series start between 0 and {last}")
    return starts.to("cpu", torch.int64)
