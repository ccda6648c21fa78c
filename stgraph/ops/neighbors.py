"""Graphs of nearest points, the same edges in the same order whatever search finds them."""

from __future__ import annotations

import math
import operator

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.neighbor_engines import ENGINES, PointCloud, choose_engine, dense_blocks, installed_engines
from stgraph.ops.stencil import grid_stencil

__all__ = ["grid_stencil", "installed_engines", "knn_graph", "radius_graph"]

_MAX_COORDINATE = 1e100  # squares far beyond overflow
_CANDIDATES = 1 << 22  # candidates held at once
_EXTRA_CANDIDATES = 9  # fetched beyond k: on a plane lattice few distances have more than 8 points


def knn_graph(pos: Tensor, k: int, batch: Tensor | None = None, loop: bool = False, engine: str = "auto") -> Tensor:
    r"""Connect each point to its :math:`k` nearest points.

    All engines return the same edges in the same order: distances that decide are computed in float64 from differences
    of coordinates, and points equally far are taken in the order of their index. A point is excluded from its own
    neighbours by its index, so another point at the same place counts. A graph with fewer than :math:`k` other points
    gives as many edges as there are.

    Args:
        pos: Coordinates, of any real type.
        k: Number of neighbours.
        batch: Graph of each point, non-decreasing, for several graphs at once.
        loop: Whether a point counts as a neighbour of itself.
        engine: ``"torch_cluster"``, ``"pyg_lib"``, ``"kdtree"`` (SciPy), ``"dense"`` (distance matrix in blocks), or
            ``"auto"``, which picks by what is installed, number and dimension of the points, and device.

    Shapes:
        - **pos:** :math:`(N, D)`, or :math:`(N)` for points on a line
        - **batch:** :math:`(N)`
        - **output:** :math:`(2, E)`, int64: row 0 the source :math:`j`, row 1 the target :math:`i`, sorted by target,
          then by distance, then by source; :math:`E = N k` where all graphs are large enough

    Raises:
        InputError: If a coordinate is not finite, ``k`` is less than 1 or ``batch`` does not fit.
        ImportError: If ``engine`` is named and not installed.

    Example:
        >>> knn_graph(torch.tensor([[0.0], [1.0], [2.0], [5.0]]), k=2)
        tensor([[1, 2, 0, 2, 1, 0, 2, 1],
                [0, 0, 1, 1, 2, 2, 3, 3]])
    """
    cloud = _check_points(pos, batch)
    count = _check_count(k, "k")
    rows = torch.arange(cloud.num_points, device=cloud.device)
    source = rows.new_full((cloud.num_points, min(count, cloud.largest)), -1)
    fetch = count + 1 + _EXTRA_CANDIDATES  # the point itself, and some that may tie with the last
    name = choose_engine(engine, cloud, fetch)
    while rows.numel() and 2 * fetch < cloud.largest:
        rows = _fill_by_search(cloud, rows, source, name, fetch, loop)
        fetch *= 4
    _fill_by_matrix(cloud, rows, source, loop)
    target = torch.arange(cloud.num_points, device=cloud.device).unsqueeze(1).expand_as(source)
    found = source >= 0
    return torch.stack([source[found], target[found]]).to(pos.device)


def radius_graph(
    pos: Tensor,
    r: float,
    batch: Tensor | None = None,
    loop: bool = False,
    max_num_neighbors: int | None = None,
) -> Tensor:
    r"""Connect each point to all points within a distance.

    Args:
        pos: Coordinates, of any real type.
        r: Largest distance of neighbours, inclusive; rounded to the type of ``pos``, as the coordinates are.
        batch: Graph of each point, non-decreasing, for several graphs at once.
        loop: Whether a point counts as a neighbour of itself.
        max_num_neighbors: Keep only so many neighbours of a point, the nearest ones.

    Shapes:
        - **pos:** :math:`(N, D)`, or :math:`(N)` for points on a line
        - **batch:** :math:`(N)`
        - **output:** :math:`(2, E)`, int64, in the order of :func:`knn_graph`

    Raises:
        InputError: If a coordinate is not finite, ``r`` is negative or not finite, or ``batch`` does not fit.

    Example:
        >>> radius_graph(torch.tensor([[0.0], [1.0], [2.0], [5.0]]), r=1.0)
        tensor([[1, 0, 2, 1],
                [0, 1, 1, 2]])
    """
    cloud = _check_points(pos, batch)
    limit = None if max_num_neighbors is None else _check_count(max_num_neighbors, "max_num_neighbors")
    if not (math.isfinite(r) and r >= 0):
        raise InputError(f"r is {r}; expected a finite number, at least 0")
    if pos.is_floating_point():
        r = float(torch.tensor(r, dtype=pos.dtype))
    by_tree = cloud.device.type == "cpu" and not cloud.is_small
    source, target = _pairs_by_tree(cloud, r) if by_tree else _pairs_by_matrix(cloud, r)
    squared = cloud.squared_distance(target, source)
    keep = (squared <= r * r) if loop else (squared <= r * r) & (source != target)
    source, target, squared = source[keep], target[keep], squared[keep]
    order = _edge_order(source, target, squared)
    edge_index = torch.stack([source[order], target[order]])
    if limit is not None:
        position = torch.arange(edge_index.shape[1], device=cloud.device)
        edge_index = edge_index[:, position - torch.searchsorted(edge_index[1], edge_index[1]) < limit]
    return edge_index.to(pos.device)


def _fill_by_search(cloud: PointCloud, rows: Tensor, out: Tensor, name: str, fetch: int, loop: bool) -> Tensor:
    """Write the sources of the rows for which ``fetch`` candidates suffice; return the other rows."""
    width = out.shape[1]
    unsure = []
    for block in rows.split(max(1, _CANDIDATES // fetch)):
        index, bound = ENGINES[name](cloud, block, fetch)
        trusted = torch.ones_like(block, dtype=torch.bool)
        if not loop:
            index, trusted = _drop_self(index, block)
        squared = cloud.squared_distance(block.unsqueeze(1), index.clamp(min=0)).masked_fill(index < 0, math.inf)
        index, squared = _rank(index, squared)
        # If the k-th neighbour is nearer than all that was not fetched, also after rounding, then no nearer point and
        # none of a tie is missing.
        if bound is None:
            bound = squared[:, -1] * (1 - cloud.tolerance)
        beyond = squared[:, width - 1] * (1 + cloud.tolerance) < bound
        complete = trusted & (beyond | (cloud.graph_size(block) <= fetch))
        out[block[complete]] = index[complete, :width]
        unsure.append(block[~complete])
    return torch.cat(unsure)


def _drop_self(index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Remove each row's own index; tell which rows had it (the others lose their last candidate)."""
    own = index == rows.unsqueeze(1)
    has_self = own.any(dim=1)
    place = torch.where(has_self, own.int().argmax(dim=1), index.shape[1] - 1).unsqueeze(1)
    column = torch.arange(index.shape[1] - 1, device=index.device)
    return torch.where(column < place, index[:, :-1], index[:, 1:]), has_self


def _rank(index: Tensor, squared: Tensor) -> tuple[Tensor, Tensor]:
    """Sort the candidates of each row by distance, then by index."""
    sorted_already = (squared[:, 1:] > squared[:, :-1]).all(dim=1)
    if bool(sorted_already.all()):
        return index, squared
    todo = (~sorted_already).nonzero().squeeze(1)
    by_index, order = index[todo].sort(dim=1)
    by_distance, place = squared[todo].gather(1, order).sort(dim=1, stable=True)
    return index.index_copy(0, todo, by_index.gather(1, place)), squared.index_copy(0, todo, by_distance)


def _fill_by_matrix(cloud: PointCloud, rows: Tensor, out: Tensor, loop: bool) -> None:
    """Write the sources of the rows, increasing, from distances to all points of their graphs."""
    if not out.numel():
        return
    for block, begin, squared in dense_blocks(cloud, rows):
        if not loop:
            squared.scatter_(1, (block - begin).unsqueeze(1), math.inf)
        width = min(out.shape[1], squared.shape[1])
        fetch = min(width + _EXTRA_CANDIDATES, squared.shape[1])
        value, place = squared.topk(fetch, dim=1, largest=False)
        place, value = _rank(place, value)
        tied = (value[:, width - 1] == value[:, -1]) & (fetch < squared.shape[1]) & value[:, -1].isfinite()
        if bool(tied.any()):
            value[tied], place[tied] = (part[:, :fetch] for part in squared[tied].sort(dim=1, stable=True))
        out[block, :width] = torch.where(value.isfinite(), place + begin, -1)[:, :width]


def _pairs_by_tree(cloud: PointCloud, r: float) -> tuple[Tensor, Tensor]:
    """Return pairs of points, both ways and with themselves, that include all within the distance."""
    reach = min(r * (1 + cloud.tolerance), 2 * cloud.width)  # further there are only points of other graphs
    pairs = torch.from_numpy(cloud.tree.query_pairs(reach, output_type="ndarray").astype("int64"))
    if cloud.batch is not None:
        pairs = pairs[cloud.batch[pairs[:, 0]] == cloud.batch[pairs[:, 1]]]
    own = torch.arange(cloud.num_points)
    return torch.cat([pairs[:, 0], pairs[:, 1], own]), torch.cat([pairs[:, 1], pairs[:, 0], own])


def _pairs_by_matrix(cloud: PointCloud, r: float) -> tuple[Tensor, Tensor]:
    none = torch.empty(0, dtype=torch.int64, device=cloud.device)
    sources, targets = [none], [none]
    for block, begin, squared in dense_blocks(cloud, torch.arange(cloud.num_points, device=cloud.device)):
        row, column = (squared <= r * r).nonzero(as_tuple=True)
        sources.append(column + begin)
        targets.append(block[row])
    return torch.cat(sources), torch.cat(targets)


def _edge_order(source: Tensor, target: Tensor, squared: Tensor) -> Tensor:
    order = source.argsort()
    order = order[squared[order].argsort(stable=True)]
    return order[target[order].argsort(stable=True)]


def _check_count(value: int, name: str) -> int:
    if isinstance(value, bool):
        raise InputTypeError(f"{name} is {value}; expected a whole number")
    try:
        count = operator.index(value)
    except TypeError as error:
        raise InputTypeError(f"{name} is {value!r}; expected a whole number") from error
    if count < 1:
        raise InputError(f"{name} is {count}; expected at least 1")
    return count


def _check_points(pos: Tensor, batch: Tensor | None) -> PointCloud:
    if not isinstance(pos, Tensor) or pos.is_complex() or pos.dtype == torch.bool:
        kind = f"of {pos.dtype}" if isinstance(pos, Tensor) else type(pos).__name__
        raise InputTypeError(f"pos is {kind}; expected a tensor of real coordinates")
    if pos.dim() == 1:
        pos = pos.unsqueeze(1)
    if pos.dim() != 2 or pos.shape[1] == 0:
        raise InputError(f"pos has shape {tuple(pos.shape)}; expected [N, D] with D >= 1")
    # NaN compares false with everything.
    bad = (~(pos.detach().double().abs() < _MAX_COORDINATE)).any(dim=1).nonzero().flatten()
    if bad.numel():
        raise InputError(f"pos of point {int(bad[0])} is {pos[bad[0]].tolist()}; expected finite coordinates")
    if batch is not None:
        if batch.shape != pos.shape[:1] or batch.is_floating_point() or batch.dtype == torch.bool:
            raise InputError(
                f"batch has shape {tuple(batch.shape)} and dtype {batch.dtype}; expected {pos.shape[0]} graph numbers"
            )
        batch = batch.to(torch.int64)
        if batch.numel() and (int(batch[0]) < 0 or bool((batch.diff() < 0).any())):
            raise InputError("batch must not be negative or decrease; sort the points by graph")
    return PointCloud(pos, batch)
