"""Batches of masked series for autoencoders, gathered by index, with the series of graph neighbours beside them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import observed_entries, series_of
from stgraph.data.masking import Masking
from stgraph.data.resumable import ResumableLoader
from stgraph.errors import InputError
from stgraph.ops.block_masks import block_masks, sample_seeds

__all__ = ["SeriesLoader"]

_NANOSECONDS_PER_DAY = 86400e9


class SeriesLoader(ResumableLoader[Data]):
    r"""Iterates over series, or stretches of them, with a part of the points hidden.

    A sample is a stretch of at most ``steps`` points of one node. Which points are hidden is a function of the seed,
    the epoch, the node and the place alone, so it does not depend on the order, the batch size or the number of
    processes. The series lies once in memory; a batch is a gather.

    If the graph has edges, the rows of a batch are its samples and after them, as in PyG's ``NeighborLoader``, one row
    for each edge that enters them: the neighbour's series at the same steps, with the neighbour's own points hidden.

    Args:
        data: The graph: ``x`` :math:`(N, T, C)`, optional ``mask``, ``time`` and ``length`` (number of real points of
            each node, which stand first).
        steps: Largest number of points L in a sample; whole series by default.
        nodes: Nodes to draw samples from; all by default.
        masking: Which points to hide; ``None`` hides nothing but what ``hidden`` says. Stretches without an observed
            (or, with ``hidden``, a hidden) point are left out, except where nothing is hidden.
        hidden: Entries to hide instead of drawing some, :math:`(N, T, C)`.
        stride: Number of points from one stretch of a series to the next; as many as it has by default.
        neighbors: Whether to add the neighbours.
        random: Draw new stretches and masks in every epoch; otherwise stretches follow one another, and masks stay.
        batch_size: Number of samples in a batch, over all processes.
        shuffle: Whether to shuffle the samples in each epoch.
        seed: Seed of order, stretches and masks.
        rank: Number of this process.
        world_size: Number of processes.

    Shapes:
        Batches have B samples and, with their neighbours, R rows:

        - **x:** :math:`(R, L, C)`, values, hidden ones included; **mask:** alike, True where observed
        - **hidden:** :math:`(R, L, C)`, True where observed and hidden
        - **padding:** :math:`(R, L)`, True behind the end of a series
        - **time:** :math:`(R, L)`, days since the first time of the series
        - **node, start:** :math:`(R)`; **block_size, mask_ratio:** :math:`(B)`; **batch_size:** B
        - **edge_index:** from neighbour rows to samples, **edge_attr**; **error** :math:`(R, L, C)` where there is
          ``flux_error``; **static** and **spectra**, of the B samples, where there are any

    Raises:
        InputError: If an argument is out of range, arguments exclude each other, nothing was observed, or neighbours
            are asked for where each series has its own times.

    Examples:
        >>> data = Data(x=torch.arange(24.0).view(2, 12, 1))
        >>> batch = next(iter(SeriesLoader(data, steps=6, masking=Masking(), batch_size=3)))
        >>> batch.x.shape, batch.start.tolist(), batch.node.tolist()
        (torch.Size([3, 6, 1]), [0, 6, 0], [0, 0, 1])
    """

    def __init__(
        self,
        data: Data,
        *,
        steps: int | None = None,
        nodes: Tensor | None = None,
        masking: Masking | None = None,
        hidden: Tensor | None = None,
        stride: int | None = None,
        neighbors: bool = False,
        random: bool = False,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 42,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, rank, world_size)
        x = series_of(data)
        for name, value in (("steps", steps), ("stride", stride)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        for name, entries in (("mask", data.get("mask")), ("hidden", hidden)):
            if entries is not None and entries.shape != x.shape:
                raise InputError(f"{name} has shape {tuple(entries.shape)}; expected that of x, {tuple(x.shape)}")
        if hidden is not None and masking is not None:
            raise InputError(
                "hidden and masking exclude each other: one names the hidden entries, the other draws them"
            )
        self.steps = min(steps or x.shape[1], x.shape[1])
        self.masking, self.random, self._hidden = masking, random, hidden
        if masking is not None:
            masking.check(self.steps)
        self.data = data
        self._length = data.get("length")
        self._own_times = data.get("time") is not None and data.time.dim() == 2
        self._edges = _incoming(data, self._own_times) if neighbors else None
        wanted = None
        if hidden is not None:
            wanted = hidden & observed_entries(data)
        elif masking is not None:
            wanted = observed_entries(data)
        self._stretches = _Stretches(data, self.steps, stride or self.steps, nodes, wanted)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_samples} samples, steps={self.steps}, batch_size={self.batch_size})"

    @property
    def num_samples(self) -> int:
        """The number of samples in an epoch, over all processes."""
        return int(self._stretches.node.numel())

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(int(sample_seeds(self.seed, epoch, torch.tensor([-1]))))
        samples = self._stretches.draw(generator) if self.random else self._stretches.fixed()
        if self.shuffle:
            samples = samples[torch.randperm(len(samples), generator=generator)]
        return samples

    def _gather(self, samples: Tensor) -> Data:
        node, start = samples.unbind(1)
        count = len(samples)
        batch = Data()
        if self._edges is not None:
            target, source, edge = self._edges.of(node)
            batch.edge_index = torch.stack([torch.arange(count, count + len(source)), target])
            if self.data.get("edge_attr") is not None:
                batch.edge_attr = self.data.edge_attr[edge]
            node, start = torch.cat([node, source]), torch.cat([start, start[target]])
        row, at = node[:, None], start[:, None] + torch.arange(self.steps)
        real = torch.ones_like(at, dtype=torch.bool) if self._length is None else at < self._length[row]
        batch.x = self.data.x[row, at]
        batch.mask = real[..., None].expand_as(batch.x)
        if self.data.get("mask") is not None:
            batch.mask = batch.mask & self.data.mask[row, at]
        batch.padding = ~real
        batch.node, batch.start, batch.batch_size = node, start, count
        self._add_time(batch, row, at)
        self._hide(batch, row, at, count)
        if self.data.get("flux_error") is not None:
            batch.error = self.data.flux_error[row, at]
        for name in ("static", "spectra", "present"):
            if self.data.get(name) is not None:
                batch[name] = self.data[name][node[:count]]
        return batch

    def _add_time(self, batch: Data, row: Tensor, at: Tensor) -> None:
        time = self.data.get("time")
        if time is None:
            return
        first = time[..., :1]
        value = time[row, at] - first[row[:, 0]] if self._own_times else time[at] - first
        batch.time = value.double() / _NANOSECONDS_PER_DAY if time.dtype == torch.int64 else value.double()

    def _hide(self, batch: Data, row: Tensor, at: Tensor, count: int) -> None:
        size, ratio = torch.zeros(count, dtype=torch.int64), torch.zeros(count)
        if self._hidden is not None:
            batch.hidden = self._hidden[row, at] & batch.mask
        elif self.masking is None:
            batch.hidden = torch.zeros_like(batch.mask)
        else:
            epoch = self._epoch if self.random else 0
            key = batch.node * (self.data.x.shape[1] + 1) + batch.start
            limits = {**vars(self.masking), "max_block_size": self.masking.largest_block(self.steps)}
            drawn = block_masks((~batch.padding).sum(dim=1), self.steps, sample_seeds(self.seed, epoch, key), **limits)
            batch.hidden = drawn.mask[..., None] & batch.mask
            size, ratio = drawn.block_size[:count], drawn.ratio[:count]
        batch.block_size, batch.mask_ratio = size, ratio


class _Stretches:
    """The stretches of all series that hold something to reconstruct."""

    def __init__(self, data: Data, steps: int, stride: int, nodes: Tensor | None, wanted: Tensor | None) -> None:
        count, total = data.x.shape[:2]
        nodes = torch.arange(count) if nodes is None else torch.as_tensor(nodes, dtype=torch.int64)
        if nodes.numel() == 0:
            raise InputError("nothing to reconstruct: nodes names none")
        if not 0 <= int(nodes.min()) <= int(nodes.max()) < count:
            raise InputError(f"nodes lie between {int(nodes.min())} and {int(nodes.max())}; there are {count}")
        length = data.get("length")
        length = torch.full((count,), total) if length is None else length
        self._steps = steps
        self._counts = _running_count(wanted, count, total)
        number = 1 + (-(-(length[nodes] - steps) // stride)).clamp(min=0)
        node = nodes.repeat_interleave(number)
        position = torch.arange(node.numel()) - (number.cumsum(0) - number).repeat_interleave(number)
        # The last stretch ends with the series, so that all are full where the series is long enough.
        self._last = (length[node] - steps).clamp(min=0)
        start = torch.minimum(position * stride, self._last)
        kept = self._wanted(node, start)
        self.node, self._start, self._last = node[kept], start[kept], self._last[kept]
        if self.node.numel() == 0:
            raise InputError("nothing to reconstruct: no series has an observed point")

    def _wanted(self, node: Tensor, start: Tensor) -> Tensor:
        if self._counts is None:
            return torch.ones_like(node, dtype=torch.bool)
        end = (start + self._steps).clamp(max=self._counts.shape[1] - 1)
        return self._counts[node, end] > self._counts[node, start]

    def fixed(self) -> Tensor:
        return torch.stack([self.node, self._start], dim=1)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Random starts; a stretch that would hold nothing stays where it is."""
        start = (torch.rand(self.node.numel(), generator=generator) * (self._last + 1)).long()
        start = torch.where(self._wanted(self.node, start), start, self._start)
        return torch.stack([self.node, start], dim=1)


def _running_count(mask: Tensor | None, nodes: int, steps: int) -> Tensor | None:
    """Number of steps with something to reconstruct before each step, ``[N, T + 1]``."""
    if mask is None:
        return None
    counts = torch.zeros(nodes, steps + 1, dtype=torch.int32)
    torch.cumsum(mask.any(dim=-1), dim=1, dtype=torch.int32, out=counts[:, 1:])
    return counts


class _Incoming(NamedTuple):
    """Edges sorted by their target."""

    first: Tensor
    degree: Tensor
    source: Tensor
    edge: Tensor

    def of(self, node: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return place among ``node``, source and number of each edge that enters one of the nodes."""
        degree = self.degree[node]
        target = torch.arange(node.numel()).repeat_interleave(degree)
        within = torch.arange(target.numel()) - (degree.cumsum(0) - degree)[target]
        place = self.first[node][target] + within
        return target, self.source[place], self.edge[place]


def _incoming(data: Data, own_times: bool) -> _Incoming:
    if own_times:
        raise InputError(
            "neighbours are asked for, but each series has its own times; expected times that all series share, since "
            "neighbours are compared at the same steps"
        )
    if data.get("edge_index") is None:
        raise InputError("neighbours are asked for, but the graph has no edges")
    source, target = data.edge_index
    edge = torch.argsort(target, stable=True)
    degree = torch.bincount(target, minlength=data.x.shape[0])
    return _Incoming(degree.cumsum(0) - degree, degree, source[edge], edge)
