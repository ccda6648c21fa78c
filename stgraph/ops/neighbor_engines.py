"""Ways to find candidates for the nearest neighbours of points: compiled searches and a chunked distance matrix."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["ENGINES", "Candidates", "PointCloud", "choose_engine", "dense_blocks", "installed_engines"]

_BLOCK = 1 << 22  # distances held at once by the dense search: 32 MiB
_TREE_DIMENSIONS = 8  # above, a k-d tree visits so many points that a matrix product is faster
_DENSE_POINTS = 256  # up to here a distance matrix costs no more than building a tree
_DENSE_POINTS_CUDA = 32768  # below, a matrix on the accelerator is faster than a tree on the host
_CLUSTER_CUDA_NEIGHBORS = 100  # the CUDA kernel of torch-cluster has no room for more


class PointCloud:
    """Points of one or several graphs in float64, with what the searches need to know about them.

    All searches run in float64, so that their candidates can be trusted down to its rounding.

    Args:
        pos: Finite coordinates ``[N, D]``.
        batch: Graph of each point, non-decreasing ``[N]``; ``None`` for a single graph.
    """

    def __init__(self, pos: Tensor, batch: Tensor | None) -> None:
        # Accelerators without float64 are served by the host.
        device = pos.device if pos.device.type in ("cpu", "cuda") else torch.device("cpu")
        self.pos = pos.detach().to(device, torch.float64).contiguous()
        self.columns = tuple(self.pos.t().contiguous())
        self.num_points, self.dimensions = self.pos.shape
        self.batch = None if batch is None else batch.to(device)
        counts = torch.tensor([self.num_points]) if batch is None else torch.bincount(batch).cpu()
        self.ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(device)
        self.largest = int(counts.max()) if counts.numel() else 0

    @property
    def device(self) -> torch.device:
        """Where the search runs."""
        return self.pos.device

    @property
    def tolerance(self) -> float:
        """Largest relative error of a squared distance that a search computed in its own order of operations."""
        return (self.dimensions + 8) * 2.0**-52

    @property
    def is_small(self) -> bool:
        """Whether distances between all points cost no more than building a tree."""
        return self.largest <= _DENSE_POINTS

    def graph_of(self, rows: Tensor) -> Tensor:
        """Number of the graph of each point."""
        return torch.zeros_like(rows) if self.batch is None else self.batch[rows]

    def graph_size(self, rows: Tensor) -> Tensor:
        """Number of points in the graph of each point."""
        graph = self.graph_of(rows)
        return self.ptr[graph + 1] - self.ptr[graph]

    def squared_distance(self, rows: Tensor, others: Tensor) -> Tensor:
        """Squared distances of points (broadcast), by the same operations in the same order wherever they run."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for column in self.columns:  # a loop over coordinates, which are few; a sum over a dimension has no fixed order
            difference = column[rows] - column[others]
            total = total + difference * difference
        return total

    @cached_property
    def width(self) -> float:
        """A bound on the distances within graphs."""
        return float(torch.linalg.vector_norm(self.pos.amax(dim=0) - self.pos.amin(dim=0)))

    @cached_property
    def separated(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The points with one more coordinate that moves graphs more than twice as far apart as any graph is wide."""
        points = self.pos.cpu().numpy()
        if self.batch is None:
            return points
        return np.column_stack([points, self.batch.cpu().numpy() * (3.0 * self.width + 1.0)])

    @cached_property
    def centred(self) -> tuple[Tensor, Tensor, float]:
        """The points about their mean, their squared norms, and the error of squared distances expanded from these."""
        points = self.pos - self.pos.mean(dim=0)
        norm = points.square().sum(dim=1)
        radius = float(norm.max().sqrt())
        reach = float(self.pos.abs().max()) * math.sqrt(self.dimensions)  # what the mean was subtracted from
        return points, norm, 2.0**-52 * (8 * (self.dimensions + 8) * radius * radius + 16 * radius * reach)

    @cached_property
    def tree(self) -> Any:
        """A k-d tree over the separated points."""
        from scipy.spatial import cKDTree

        return cKDTree(self.separated)


class Candidates(NamedTuple):
    """Candidates for the nearest neighbours of some points.

    Args:
        source: Points ``[rows, fetch]`` in any order, -1 where a graph has fewer; the point itself is among them.
        bound: Least squared distance ``[rows]`` of the points that are not candidates, lowered by all errors. ``None``
            where the search compared distances down to rounding: then none is nearer than the farthest candidate.
    """

    source: Tensor
    bound: Tensor | None = None


def _search_tree(cloud: PointCloud, rows: Tensor, fetch: int) -> Candidates:
    where = rows.cpu().numpy()
    _, found = cloud.tree.query(cloud.separated[where], k=np.arange(1, fetch + 1), workers=torch.get_num_threads())
    index = torch.from_numpy(np.asarray(found, dtype=np.int64)).to(cloud.device)
    known = index < cloud.num_points  # SciPy writes N where there are no more points
    index = index.clamp_(max=cloud.num_points - 1)
    if cloud.batch is not None:
        known &= cloud.batch[index] == cloud.batch[rows].unsqueeze(1)
    return Candidates(index.masked_fill_(~known, -1))


def _search_cluster(cloud: PointCloud, rows: Tensor, fetch: int) -> Candidates:
    from torch_cluster import knn

    batch = None if cloud.batch is None else cloud.batch[rows]
    target, source = knn(cloud.pos, cloud.pos[rows], fetch, cloud.batch, batch, num_workers=torch.get_num_threads())
    return Candidates(_pad(target, source, rows.numel(), fetch))


def _search_pyg_lib(cloud: PointCloud, rows: Tensor, fetch: int) -> Candidates:
    if cloud.batch is None:
        ptr_x = ptr_y = None
    else:
        ptr_x, ptr_y = cloud.ptr, torch.searchsorted(rows, cloud.ptr)
    target, source = torch.ops.pyg.knn(cloud.pos, cloud.pos[rows], ptr_x, ptr_y, fetch, False, torch.get_num_threads())
    return Candidates(_pad(target, source, rows.numel(), fetch))


def _pad(target: Tensor, source: Tensor, num_rows: int, fetch: int) -> Tensor:
    """Arrange pairs, sorted by target, as ``[rows, fetch]`` with -1 where a row has fewer."""
    first = torch.searchsorted(target, torch.arange(num_rows, device=target.device))
    index = source.new_full((num_rows, fetch), -1)
    index[target, torch.arange(target.numel(), device=target.device) - first[target]] = source
    return index


def _search_matrix(cloud: PointCloud, rows: Tensor, fetch: int) -> Candidates:
    """Search the distance matrix in blocks, expanded into a matrix product, which is fast but cancels digits."""
    points, norm, error = cloud.centred
    index = torch.full((rows.numel(), fetch), -1, device=cloud.device)
    bound = torch.empty(rows.numel(), dtype=torch.float64, device=cloud.device)
    first = 0
    for block, columns, apart in _blocks(cloud, rows):
        squared = torch.addmm(norm[columns], points[block], points[columns].t(), alpha=-2)
        if apart is not None:
            squared.masked_fill_(apart, math.inf)
        count = min(fetch, squared.shape[1])
        value, place = squared.topk(count, dim=1, largest=False)
        part = slice(first, first + block.numel())
        index[part, :count] = torch.where(value.isfinite(), place + columns.start, -1)
        bound[part] = value[:, -1] + norm[block] - error
        first += block.numel()
    return Candidates(index, bound)


ENGINES: dict[str, Callable[[PointCloud, Tensor, int], Candidates]] = {
    "torch_cluster": _search_cluster,
    "pyg_lib": _search_pyg_lib,
    "kdtree": _search_tree,
    "dense": _search_matrix,
}
"""Searches for ``fetch`` candidates of each row, in increasing rows."""


def _blocks(cloud: PointCloud, rows: Tensor) -> Iterator[tuple[Tensor, slice, Tensor | None]]:
    """Split increasing rows into blocks; yield each, the columns of its graphs, and which pairs are of two graphs."""
    if not rows.numel():
        return
    # A block of R rows spans at most R + 2 * largest points.
    width = cloud.largest
    size = _BLOCK // width if cloud.batch is None else int(math.sqrt(width * width + _BLOCK) - width)
    for block in rows.split(max(1, size)):
        if cloud.batch is None:
            yield block, slice(0, cloud.num_points), None
        else:
            graph = cloud.batch[block]
            columns = slice(int(cloud.ptr[graph[0]]), int(cloud.ptr[graph[-1] + 1]))
            yield block, columns, graph.unsqueeze(1) != cloud.batch[columns]


def dense_blocks(cloud: PointCloud, rows: Tensor) -> Iterator[tuple[Tensor, int, Tensor]]:
    """Yield blocks of ``rows``, increasing, with the exact squared distances to all points of their graphs.

    Args:
        cloud: The points.
        rows: Increasing indices of points.

    Yields:
        The rows of the block, the first point of its columns, and the distances; infinite between graphs.
    """
    for block, columns, apart in _blocks(cloud, rows):
        others = torch.arange(columns.start, columns.stop, device=cloud.device)
        squared = cloud.squared_distance(block.unsqueeze(1), others)
        yield block, columns.start, squared if apart is None else squared.masked_fill_(apart, math.inf)


def installed_engines() -> list[str]:
    """Return the names of the engines that work in this installation."""
    return [name for name in ENGINES if _installed(name)]


def _installed(name: str) -> bool:
    if name in ("kdtree", "dense"):
        return True
    if importlib.util.find_spec(name) is None:
        return False
    try:
        importlib.import_module(name)
    except (ImportError, OSError):  # a binary for another version of PyTorch is as good as none
        return False
    return name != "pyg_lib" or hasattr(torch.ops.pyg, "knn")


def choose_engine(engine: str, cloud: PointCloud, fetch: int) -> str:
    """Return the engine that was asked for, or for ``"auto"`` the fastest one for this input.

    Raises:
        InputError: If the name is not known.
        ImportError: If the engine that was asked for is not installed.
    """
    if engine != "auto":
        if engine not in ENGINES:
            raise InputError(f"engine is {engine!r}; expected 'auto' or one of {list(ENGINES)}")
        if not _installed(engine):
            raise ImportError(f"engine {engine!r} is not installed or does not fit this PyTorch; use engine='auto'")
        return engine
    if cloud.device.type == "cuda":
        return _choose_on_cuda(cloud, fetch)
    return "dense" if cloud.is_small or cloud.dimensions > _TREE_DIMENSIONS else "kdtree"


def _choose_on_cuda(cloud: PointCloud, fetch: int) -> str:
    if fetch <= _CLUSTER_CUDA_NEIGHBORS:
        for name in ("pyg_lib", "torch_cluster"):
            if _installed(name):
                return name
    return "dense" if cloud.largest <= _DENSE_POINTS_CUDA or cloud.dimensions > _TREE_DIMENSIONS else "kdtree"
