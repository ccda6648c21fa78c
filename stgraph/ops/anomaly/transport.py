"""How far a series is from its neighbours on a graph, by optimal transport."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.sinkhorn import sinkhorn

__all__ = ["neighborhood_transport_score"]

REACH = 1 / 16  # share of the range of positions over which a shift costs as much as one unit of value
# Marginal error at which a plan is good enough, and the error of the divergence (in units of eps) that it comes with.
PLAN_ACCURACY, DIVERGENCE_ACCURACY = 3e-3, 1e-3
MAX_ITERATIONS = 1000
CHUNK_ENTRIES = 2**19  # costs held at once
ROUNDING = 1e-9  # of masses
MEDIAN_OF_SQUARE = 0.45494  # of a standard normal number


def neighborhood_transport_score(
    x: Tensor,
    edge_index: Tensor,
    *,
    mask: Tensor | None = None,
    error: Tensor | None = None,
    position: Tensor | None = None,
    eps: float = 1.0,
    num_points: int = 32,
) -> Tensor:
    r"""How much farther a node's series is from its neighbours than theirs are from their own neighbours.

    A series is a cloud of points (position, value), one for the mean of each of ``num_points`` bins, as in the
    transportation distance of Thorpe et al. A feature that is displaced by a bit costs little; one that is missing or
    added has to be moved in value and costs the square of it. With the debiased Sinkhorn divergence :math:`S_{ij}` of
    neighbours

    .. math::
        d_i = \underset{j \in N(i)}{\mathrm{median}} \; S_{ij}, \qquad
        r_i = \underset{j \in N(i)}{\mathrm{median}} \; d_j, \qquad
        \mathrm{score}_i = \frac{d_i + \delta}{r_i + \delta}

    so that, as for a local outlier factor, 1 is as far as usual in this part of the graph, and a node is not flagged
    for having neighbours that differ much among themselves. Medians keep an anomalous neighbour from counting.
    :math:`\delta = 0.001 \, \varepsilon` is the accuracy of the divergence: smaller differences count as none.

    One unit of value is the typical difference of neighbours in a bin (a robust standard deviation over all edges), one
    unit of position a sixteenth of the range. Only bins with good points in both series take part, each with mass in
    proportion to the smaller number of good points. With ``error``, bins are inverse-variance weighted means, and the
    divergence is divided by the squared difference that is expected of the two series from their noise and the typical
    intrinsic difference.

    Args:
        x: Series on a common grid. Values that are not finite are bad points.
        edge_index: Edges from neighbour :math:`j` (row 0) to the node :math:`i` that is scored (row 1). Edges from a
            node to itself do not count.
        mask: Where a point is good; all points if not given.
        error: Standard deviations of the values; a point without a positive finite one is bad.
        position: Position of each point, such as the logarithm of the wavelength; its index if not given.
        eps: Regularisation of the transport :math:`\varepsilon`, in units of the cost (one squared unit of value).
        num_points: Most bins of a series. Noise and features much narrower than a bin are averaged out; the time goes
            with the square of the number.

    Shapes:
        - **x**, **mask**, **error:** :math:`(N, L)`
        - **edge_index:** :math:`(2, E)`
        - **position:** :math:`(L)`
        - **output:** :math:`(N)`; NaN for nodes without good points or without a neighbour to compare with. Where no
          neighbour has neighbours of its own, :math:`r_i` is the median of all :math:`d`.

    Raises:
        InputError: If a shape or value cannot be used.
        InputTypeError: If a tensor is of the wrong type.

    References:
        Thorpe et al., "A Transportation Lp Distance for Signal Analysis" (2017). Feydy et al., "Interpolating between
        Optimal Transport and MMD using Sinkhorn Divergences" (2019). Breunig et al., "LOF: Identifying Density-Based
        Local Outliers" (2000).

    Examples:
        >>> x = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.1, 0.0], [0.1, 1.0, 0.0], [5.0, 1.0, 5.0]])
        >>> edge_index = torch.tensor([[1, 2, 3, 0, 2, 0, 1, 0, 1], [0, 0, 0, 1, 1, 2, 2, 3, 3]])
        >>> int(neighborhood_transport_score(x, edge_index).argmax())
        3
    """
    _check(x, edge_index, mask, error, position, num_points)
    with torch.no_grad():
        clouds = _clouds(x, mask, error, position, num_points)
        source, target = edge_index[:, edge_index[0] != edge_index[1]]
        # Both directions of an edge are one transport problem.
        ends = torch.stack([torch.minimum(source, target), torch.maximum(source, target)])
        pairs, pair_of_edge = ends.unique(dim=1, return_inverse=True)
        distance = _divergences(clouds, pairs, float(eps), torch.promote_types(x.dtype, torch.float32))[pair_of_edge]
        own = _group_median(distance, target, len(x))
        around = _group_median(own[source], target, len(x))
        around = torch.where(around.isnan(), own.nanmedian(), around)
        floor = DIVERGENCE_ACCURACY * eps
        return ((own + floor) / (around + floor)).to(x.dtype)


class _Clouds(NamedTuple):
    """Bins of all series in float64: mean, its variance, number of good points ``[N, B]``, and positions ``[B]``."""

    value: Tensor
    variance: Tensor
    good: Tensor
    place: Tensor

    def common(self, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Differences of the values, variances of their noise and masses ``[P, B]``, NaN or 0 where not in both."""
        first, second = pairs
        count = torch.minimum(self.good[first], self.good[second])
        both = count > 0
        difference = torch.where(both, self.value[first] - self.value[second], torch.nan)
        variance = torch.where(both, self.variance[first] + self.variance[second], torch.nan)
        return difference, variance, count / count.sum(dim=-1, keepdim=True)


def _clouds(x: Tensor, mask: Tensor | None, error: Tensor | None, position: Tensor | None, num_points: int) -> _Clouds:
    length = x.shape[1]
    good = x.isfinite() if mask is None else mask & x.isfinite()
    weight = good.double()
    if error is not None:
        good = good & (error > 0) & error.isfinite()
        weight = torch.where(good, error.double().square().reciprocal(), 0.0)
    bins = min(num_points, length)
    index = torch.arange(length, device=x.device) * bins // length

    def total(values: Tensor) -> Tensor:
        return values.new_zeros(*values.shape[:-1], bins).index_add_(-1, index, values)

    sums = total(weight)
    safe = torch.where(sums > 0, sums, 1.0)
    value = total(torch.where(good, x.double(), 0.0) * weight) / safe
    variance = torch.zeros_like(value) if error is None else 1 / safe
    place = (torch.arange(length, device=x.device) if position is None else position).double()
    place = place - place.amin()
    width = place.amax()
    place = total(place) / total(torch.ones_like(place)) / torch.where(width > 0, width, 1.0)
    return _Clouds(value, variance, total(good.double()), place / REACH)


def _divergences(clouds: _Clouds, pairs: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """Divergence ``[P]`` of each pair relative to what is expected, float64; NaN without a common bin."""
    expected, unit = _expected_squares(clouds, pairs)
    points = torch.stack([clouds.value / unit.sqrt(), clouds.place.expand_as(clouds.value)], dim=-1).to(dtype)
    usual = clouds.good / clouds.good.sum(dim=-1, keepdim=True)
    nodes = torch.arange(len(usual), device=usual.device)
    itself = _transport(points, nodes, nodes, usual, eps)
    result = torch.full_like(expected, torch.nan)
    chunk = max(1, CHUNK_ENTRIES // usual.shape[1] ** 2)
    for part in torch.arange(pairs.shape[1], device=pairs.device).split(chunk):
        first, second = pairs[:, part]
        _, _, mass = clouds.common(pairs[:, part])
        value = _transport(points, first, second, mass, eps)
        for end in (first, second):
            own = itself[end]
            changed = ((mass - usual[end]).abs() > ROUNDING).any(dim=-1)  # by bins that the other series lacks
            own[changed] = _transport(points, end[changed], end[changed], mass[changed], eps)
            value = value - own / 2
        result[part] = value.clamp(min=0.0) * (unit / expected[part])
    return result


def _expected_squares(clouds: _Clouds, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Squared difference expected in a bin of each pair ``[P]``, and the typical one, which is the unit of cost."""
    typical, noise, largest = [], [], []
    for part in pairs.split(max(1, CHUNK_ENTRIES // clouds.value.shape[1]), dim=1):
        difference, variance, _ = clouds.common(part)
        squares = difference.square()
        typical.append((squares / MEDIAN_OF_SQUARE - variance).nanmedian(dim=-1).values)
        noise.append(variance.nanmean(dim=-1))
        largest.append(squares.nanmean(dim=-1))
    intrinsic = torch.cat(typical).nanmedian().clamp(min=0.0)
    expected = intrinsic + torch.cat(noise)
    unit = expected.nanmedian()
    if not bool(unit > 0):  # most neighbours are equal
        unit = torch.cat(largest).nanmean()
        unit = torch.where(unit > 0, unit, 1.0)
        expected = expected.clamp(min=unit)
    return expected, unit


def _transport(points: Tensor, first: Tensor, second: Tensor, mass: Tensor, eps: float) -> Tensor:
    """Entropic objective ``[P]``, float64, of moving the clouds of some nodes to those of others, in chunks."""
    result = mass.new_full(first.shape, torch.nan)
    possible = mass.isfinite().all(dim=-1).nonzero().squeeze(-1)  # mass is NaN where no bin has any
    for part in possible.split(max(1, CHUNK_ENTRIES // points.shape[1] ** 2)):
        costs = (points[first[part]].unsqueeze(-2) - points[second[part]].unsqueeze(-3)).square().sum(dim=-1)
        weights = mass[part].to(points.dtype)
        plan = sinkhorn(costs, weights, weights, eps=eps, tol=PLAN_ACCURACY, max_iter=MAX_ITERATIONS)
        result[part] = plan.objective.double()
    return result


def _group_median(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Median of the values that are not NaN in each of ``count`` groups, NaN where there are none."""
    values, group = values[~values.isnan()], group[~values.isnan()]
    if not values.numel():
        return values.new_full((count,), torch.nan)
    order = values.argsort(stable=True)
    values = values[order[group[order].argsort(stable=True)]]
    size = group.bincount(minlength=count)
    start = size.cumsum(0) - size
    last = len(values) - 1
    low, high = start + (size - 1).clamp(min=0) // 2, start + size // 2
    middle = (values[low.clamp(max=last)] + values[high.clamp(max=last)]) / 2
    return torch.where(size > 0, middle, torch.nan)


def _check(
    x: Tensor, edge_index: Tensor, mask: Tensor | None, error: Tensor | None, position: Tensor | None, num_points: int
) -> None:
    for name, value in (("x", x), ("error", error), ("position", position)):
        if value is not None and not value.is_floating_point():
            raise InputTypeError(f"{name} is of type {value.dtype}; expected a floating type")
    if mask is not None and mask.dtype != torch.bool:
        raise InputTypeError(f"mask is of type {mask.dtype}; expected torch.bool")
    if x.dim() != 2 or x.shape[1] < 1:
        raise InputError(f"x has shape {tuple(x.shape)}; expected (N, L) with at least one point")
    for name, value, shape in (("mask", mask, x.shape), ("error", error, x.shape), ("position", position, x.shape[1:])):
        if value is not None and value.shape != shape:
            raise InputError(f"{name} has shape {tuple(value.shape)}; expected {tuple(shape)}")
    if position is not None and not bool(position.isfinite().all()):
        raise InputError("position has NaN or infinite entries; expected finite numbers")
    if edge_index.dtype != torch.int64:
        raise InputTypeError(f"edge_index is of type {edge_index.dtype}; expected torch.int64")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise InputError(f"edge_index has shape {tuple(edge_index.shape)}; expected (2, E)")
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < len(x):
        raise InputError(
            f"edge_index has nodes from {int(edge_index.min())} to {int(edge_index.max())}; expected 0 to {len(x) - 1}"
        )
    if isinstance(num_points, bool) or not isinstance(num_points, int) or num_points < 1:
        raise InputError(f"num_points is {num_points!r}; expected an int of at least 1")
