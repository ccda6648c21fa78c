"""WindowLoader against plain Datasets that slice one window at a time, and against windows cut in advance.

A step is one shuffled epoch over a series of the size of METR-LA: 34272 steps, 207 nodes, one channel, 12 steps in and
12 out, batch 32, in the process itself (``num_workers=0``). All yield the same windows, ``[B, N, P, C]`` and
``[B, N, Q, C]``; where a peer's batch must be reshaped for that, it is a view. The series is measured in both orders of
memory: time first, as files have it, and node first.

Memory counts everything from the series on: what an epoch holds that is set up from nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as GraphLoader

from benchmarks import measure
from stgraph.data.windows import WindowLoader

STEPS, NODES, INPUT, HORIZON, BATCH = 34272, 207, 12, 12, 32
WINDOWS = STEPS - INPUT - HORIZON + 1
ORDERS = ("time first", "node first")
FACTORIES = {
    "WindowLoader": "window_loader",
    "plain Dataset": "plain_dataset",
    "plain, time first": "plain_time_first",
    "plain, PyG graphs": "plain_graphs",
    "windows in advance": "windows_in_advance",
}
Pairs = Iterator[tuple[Tensor, Tensor]]


def series(order: str) -> Tensor:
    """A series ``[N, T, 1]``; ``order`` says which dimension comes first in memory."""
    generator = torch.Generator().manual_seed(0)
    if order == "node first":
        return torch.empty(NODES, STEPS, 1).normal_(generator=generator)
    return torch.empty(STEPS, NODES, 1).normal_(generator=generator).transpose(0, 1)


class Plain(Dataset[tuple[Tensor, Tensor]]):
    """The usual way to write it: item i is window i, ``[N, P, C]`` and ``[N, Q, C]``."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return WINDOWS

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.x[:, i : i + INPUT], self.x[:, i + INPUT : i + INPUT + HORIZON]


class PlainTimeFirst(Plain):
    """The same from ``[T, N, C]``: contiguous slices, and batches that must still be transposed, as a view."""

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.x[i : i + INPUT], self.x[i + INPUT : i + INPUT + HORIZON]


class PlainGraphs(Plain):
    """The same as graphs, for PyG's loader."""

    def __getitem__(self, i: int) -> Data:
        past, future = super().__getitem__(i)
        return Data(x=past, y=future)


def ours(order: str, shuffle: bool = True) -> Pairs:
    loader = WindowLoader(Data(x=series(order)), INPUT, HORIZON, batch_size=BATCH, shuffle=shuffle)
    while True:
        for batch in loader:
            yield batch.x, batch.y


def plain(order: str, shuffle: bool = True) -> Pairs:
    loader = DataLoader(Plain(series(order)), batch_size=BATCH, shuffle=shuffle)
    while True:
        yield from loader


def time_first(order: str, shuffle: bool = True) -> Pairs:
    loader = DataLoader(PlainTimeFirst(series(order).transpose(0, 1)), batch_size=BATCH, shuffle=shuffle)
    while True:
        for x, y in loader:
            yield x.transpose(1, 2), y.transpose(1, 2)


def graphs(order: str, shuffle: bool = True) -> Pairs:
    loader = GraphLoader(PlainGraphs(series(order)), batch_size=BATCH, shuffle=shuffle)
    while True:
        for batch in loader:
            yield batch.x.unflatten(0, (-1, NODES)), batch.y.unflatten(0, (-1, NODES))


def in_advance(order: str, shuffle: bool = True) -> Pairs:
    x = series(order).numpy()
    past = np.stack([x[:, i : i + INPUT] for i in range(WINDOWS)])
    future = np.stack([x[:, i + INPUT : i + INPUT + HORIZON] for i in range(WINDOWS)])
    windows = TensorDataset(torch.from_numpy(past), torch.from_numpy(future))
    loader = DataLoader(windows, batch_size=BATCH, shuffle=shuffle)
    while True:
        yield from loader


SOURCES = {
    "window_loader": ours,
    "plain_dataset": plain,
    "plain_time_first": time_first,
    "plain_graphs": graphs,
    "windows_in_advance": in_advance,
}


def epoch(pairs: Pairs) -> None:
    """Go once over all batches."""
    for _ in range(-(-WINDOWS // BATCH)):
        next(pairs)


def from_nothing(factory: str, order: str) -> measure.Step:
    """Set up and go once over all batches, for the memory of it all."""
    return lambda: epoch(SOURCES[factory](order))


window_loader = partial(from_nothing, "window_loader")
plain_dataset = partial(from_nothing, "plain_dataset")
plain_time_first = partial(from_nothing, "plain_time_first")
plain_graphs = partial(from_nothing, "plain_graphs")
windows_in_advance = partial(from_nothing, "windows_in_advance")


def check(order: str) -> None:
    """Compare the first batches of all loaders, unshuffled."""
    sources = {name: SOURCES[factory](order, shuffle=False) for name, factory in FACTORIES.items()}
    for _ in range(3):
        (x, y), *others = [next(pairs) for pairs in sources.values()]
        for name, (other_x, other_y) in zip(list(sources)[1:], others, strict=True):
            if not (torch.equal(x, other_x) and torch.equal(y, other_y)):
                raise AssertionError(f"{name}: batches differ")
    print(f"{order}: equal batches")


def main() -> None:
    """Run all cases."""
    args = measure.argument_parser(__doc__).parse_args()
    report = measure.Report("window_loader", args.threads, args.results)
    size = STEPS * NODES * 4 / measure.MIB
    batch = BATCH * NODES * (INPUT + HORIZON) * 4 / measure.MIB
    report.note(f"the series has {size:.1f} MiB, a batch {batch:.1f} MiB; shuffled epochs of {WINDOWS} windows")
    for order in ORDERS:
        check(order)
        running = {name: SOURCES[factory](order) for name, factory in FACTORIES.items()}
        steps = {name: partial(epoch, pairs) for name, pairs in running.items()}
        seconds = measure.time_in_turns(steps, args.repeats, warmup=1)
        peak = {name: measure.peak_memory(__file__, f, {"order": order}, args.threads) for name, f in FACTORIES.items()}
        for name in FACTORIES:
            rate = WINDOWS / statistics.median(seconds[name])
            report.note(f"{order}, {name}: {rate:,.0f} windows/s, peak {peak[name] / measure.MIB:.1f} MiB")
        report.compare(order, "WindowLoader", "plain Dataset", seconds, peak, faster=10)
        report.compare(order, "WindowLoader", "plain, time first", seconds, peak)
        report.compare(order, "WindowLoader", "plain, PyG graphs", seconds, peak, faster=10)
        share = (size + batch + 8) / (peak["windows in advance"] / measure.MIB)  # 8 MiB for index and allocator
        report.compare(order, "WindowLoader", "windows in advance", seconds, peak, memory=share)
        del running, steps
    report.finish()


if __name__ == "__main__":
    main()
