"""Scaling of every series by itself, kept with the graph so that it can be undone."""

from __future__ import annotations

import logging
from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from stgraph.data.graph import series_of
from stgraph.errors import InputError, InputTypeError

__all__ = ["ScaleSeries", "ScalingMethod", "unscale"]

ScalingMethod = Literal["robust", "standard", "climatology", "minmax", "none"]

_logger = logging.getLogger("stgraph")

# Entries sorted at a time.
_CHUNK = 2**24
# Weight of the other nodes' seasonal cycle in that of a node, in observations of one slot.
_PRIOR_COUNT = 1.0


class ScaleSeries(BaseTransform):
    r"""Centre every series of a graph and divide it by its spread.

    What is subtracted is kept in ``center`` :math:`(N, S, C)` and what is divided by in ``scale`` :math:`(N, 1, C)`;
    ``flux_error`` is divided, too. S is 1, or the number of slots of a seasonal cycle. A spread of zero, or of no more
    than rounding, counts as 1; a node without observations takes the median of the other nodes.

    Args:
        method: ``"robust"``: median and interquartile range; ``"standard"``: mean and standard deviation;
            ``"climatology"``: the mean of each slot of the cycle (a node's own, drawn a little towards the others'
            where it has few observations) and the standard deviation of what is left; ``"minmax"``: smallest and
            largest value, which become 0 and 1 (a constant series becomes 0, with a warning of the logger
            ``stgraph``); ``"none"``: 0 and 1.
        steps_per_cycle: Number of slots S of the cycle, for ``"climatology"``; step t belongs to slot t mod S.
        fit_mask: Observed entries :math:`(N, T, C)` that tell centre and spread; all observed ones by default.

    Raises:
        InputError: If the method is unknown, its cycle is missing or not one, or a mask has another shape than ``x``.
        InputTypeError: If the values are no floating-point numbers.

    Examples:
        >>> data = Data(x=torch.tensor([[[1.0], [2.0], [3.0], [4.0], [5.0]]]))
        >>> scaled = ScaleSeries("robust")(data)
        >>> scaled.x.flatten().tolist(), scaled.center.item(), scaled.scale.item()
        ([-1.0, -0.5, 0.0, 0.5, 1.0], 3.0, 2.0)
    """

    def __init__(
        self, method: ScalingMethod = "robust", steps_per_cycle: int | None = None, fit_mask: Tensor | None = None
    ) -> None:
        if method not in get_args(ScalingMethod):
            raise InputError(f"method is {method!r}; expected one of {', '.join(get_args(ScalingMethod))}")
        if method == "climatology" and (steps_per_cycle is None or steps_per_cycle < 2):
            raise InputError(f"steps_per_cycle is {steps_per_cycle}; expected at least 2 for method='climatology'")
        self.method = method
        self.steps_per_cycle = steps_per_cycle if method == "climatology" else None
        self.fit_mask = fit_mask

    def forward(self, data: Data) -> Data:
        """Return the graph with scaled values."""
        x = series_of(data)
        if not x.is_floating_point():
            raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
        mask = data.get("mask")
        for name, entries in (("mask", mask), ("fit_mask", self.fit_mask)):
            if entries is not None and entries.shape != x.shape:
                raise InputError(f"{name} has shape {tuple(entries.shape)}; expected that of x, {tuple(x.shape)}")
        mask = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        known = mask if self.fit_mask is None else mask & self.fit_mask
        if self.steps_per_cycle is not None:
            if data.get("time") is not None and data.time.dim() == 2:
                raise InputError("method='climatology' needs steps that all series share; each has its own times here")
            center = _slot_means(x, known, self.steps_per_cycle)
            rest = x - _at_steps(center, torch.arange(x.shape[1]))
            scale = _moments(rest, known)[1]
        elif self.method == "none":
            center, scale = x.new_zeros(x.shape[0], 1, x.shape[2]), x.new_ones(x.shape[0], 1, x.shape[2])
        else:
            center, scale = _STATISTICS[self.method](x, known)
        center, scale = _complete(center), _complete(scale)
        rounding = torch.finfo(x.dtype).eps * center.abs().amax(dim=1, keepdim=True)
        spread = scale > rounding
        if self.method == "minmax":
            _warn_of_constant(~spread & known.any(dim=1, keepdim=True))
        scale = torch.where(spread, scale, 1.0)
        data.x = ((x - _at_steps(center, torch.arange(x.shape[1]))) / scale).masked_fill(~mask, 0.0)
        data.center, data.scale = center, scale
        if data.get("flux_error") is not None:
            data.flux_error = data.flux_error / scale
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.method!r})"


def unscale(values: Tensor, data: Data, node: Tensor, start: Tensor, *, spread: bool = False) -> Tensor:
    r"""Return windows of scaled series in the units of the data.

    Args:
        values: Windows of scaled values.
        data: The graph that :class:`ScaleSeries` returned.
        node: Which series each window is of.
        start: First step of each window.
        spread: Whether the values are standard deviations or errors, which have no centre.

    Shapes:
        - **values, output:** :math:`(R, L, C)`, **node**, **start:** :math:`(R)`
    """
    scaled: Tensor = values * data.scale[node]
    if spread:
        return scaled
    steps = start[:, None] + torch.arange(values.shape[1], device=values.device)
    center: Tensor = data.center[node[:, None], steps % data.center.shape[1]]
    return scaled + center


def _warn_of_constant(constant: Tensor) -> None:
    count = int(constant.sum())
    if count:
        _logger.warning("%d of %d series are constant; they are scaled to 0", count, constant.numel())


def _at_steps(center: Tensor, steps: Tensor) -> Tensor:
    return center if center.shape[1] == 1 else center[:, steps % center.shape[1]]


def _moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    count = mask.sum(dim=1, keepdim=True).double()
    mean = x.double().masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) / count  # NaN where nothing was observed
    square = (x - mean).square().masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) / count
    return mean.to(x.dtype), square.sqrt().to(x.dtype)


def _extremes(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    low = x.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
    high = x.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True)
    known = mask.any(dim=1, keepdim=True)
    return low.masked_fill(~known, torch.nan), (high - low).masked_fill(~known, torch.nan)


def _quartiles(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    rows = max(1, _CHUNK // (x.shape[1] * x.shape[2]))
    parts = [_sorted_quartiles(*pair) for pair in zip(x.split(rows), mask.split(rows), strict=True)]
    lower, middle, upper = (torch.cat(part) for part in zip(*parts, strict=True))
    return middle, upper - lower


def _sorted_quartiles(x: Tensor, mask: Tensor) -> list[Tensor]:
    ordered = x.masked_fill(~mask, torch.inf).sort(dim=1).values
    count = mask.sum(dim=1, keepdim=True)
    quartiles = []
    for level in (0.25, 0.5, 0.75):
        place = level * (count - 1).clamp(min=0)
        low = place.floor().long()
        high = torch.minimum(low + 1, (count - 1).clamp(min=0))
        share = (place - low).to(x.dtype)
        a, b = ordered.gather(1, low), ordered.gather(1, high)
        quartiles.append(torch.where(count > 0, a + (b - a) * share, torch.nan))
    return quartiles


def _slot_means(x: Tensor, mask: Tensor, slots: int) -> Tensor:
    """Mean of each slot ``[N, S, C]``: the node's mean and the others' cycle, or its own as far as it was observed."""
    mean = _complete(_moments(x, mask)[0])
    slot = torch.arange(x.shape[1]) % slots
    shape = (x.shape[0], slots, x.shape[2])
    total = x.new_zeros(shape).index_add(1, slot, (x - mean).masked_fill(~mask, 0.0))
    count = x.new_zeros(shape).index_add(1, slot, mask.to(x.dtype))
    common = total.sum(dim=0) / count.sum(dim=0).clamp(min=1)
    return mean + (total + _PRIOR_COUNT * common) / (count + _PRIOR_COUNT)


def _complete(value: Tensor) -> Tensor:
    """Replace NaN by the median over the nodes, or 0 where no node has a value."""
    usual = value.nanmedian(dim=0, keepdim=True).values.nan_to_num(0.0)
    return torch.where(value.isnan(), usual, value)


_STATISTICS = {"robust": _quartiles, "standard": _moments, "minmax": _extremes}
