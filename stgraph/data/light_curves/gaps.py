"""Times inside the gaps of light curves, at which nothing was observed."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError

__all__ = ["insert_gap_times"]


def insert_gap_times(data: Data, *, threshold: float = 1.5, max_points: int = 100_000) -> Data:
    r"""Add unobserved points to the gaps of light curves, spaced by each curve's median step.

    A gap is a step longer than ``threshold`` medians. What was observed keeps its order and its values; new points
    have ``mask`` False and a value of 0.

    Args:
        data: Light curves with a row of times each, as :func:`~stgraph.data.light_curves.from_light_curves` makes them.
        threshold: Shortest gap, in median steps.
        max_points: Largest number of points that a curve may have afterwards.

    Returns:
        Data: The curves with ``x``, ``mask``, ``time``, ``length`` and ``flux_error`` of the new length.

    Raises:
        InputError: If the curves share their times (then ``mask`` has the gaps), or a curve would become too long.

    Examples:
        >>> x, time = torch.tensor([[[1.0], [2.0], [4.0]]]), torch.tensor([[0.0, 1.0, 3.0]])
        >>> filled = insert_gap_times(Data(x=x, time=time))
        >>> filled.time.tolist(), filled.mask.flatten().tolist()
        ([[0.0, 1.0, 2.0, 3.0]], [True, True, False, True])
    """
    time = data.get("time")
    if time is None or time.dim() != 2:
        raise InputError("the curves share their times, or have none; expected a row of times for each curve")
    count, steps = time.shape
    length = data.length if data.get("length") is not None else torch.full((count,), steps)
    position = torch.arange(steps)
    step = torch.diff(time, dim=1)
    inside = position[1:] < length[:, None]
    median = step.masked_fill(~inside, torch.nan).nanmedian(dim=1).values[:, None]
    missing = torch.where(inside & (step > threshold * median), (step / median).round() - 1, 0.0).long()
    before = torch.cat([torch.zeros(count, 1, dtype=torch.int64), missing.cumsum(dim=1)], dim=1)
    new_length = length + before.gather(1, (length - 1)[:, None])[:, 0]
    longest = int(new_length.max())
    if longest > max_points:
        raise InputError(f"curve {int(new_length.argmax())} would have {longest} points; expected at most {max_points}")
    return _spread(data, position + before, position < length[:, None], new_length, missing, step)


def _spread(data: Data, place: Tensor, real: Tensor, length: Tensor, missing: Tensor, step: Tensor) -> Data:
    """Move the points of all curves to their places in longer rows, and fill the times between them."""
    result = copy.copy(data)
    rows = torch.arange(place.shape[0])[:, None].expand_as(place)
    shape = (place.shape[0], int(length.max()))
    at = (rows[real], place[real])

    def moved(value: Tensor) -> Tensor:
        return value.new_zeros(*shape, *value.shape[2:]).index_put(at, value[real])

    observed = torch.ones_like(data.x, dtype=torch.bool) if data.get("mask") is None else data.mask
    result.x, result.mask, result.length = moved(data.x), moved(observed), length
    if data.get("flux_error") is not None:
        result.flux_error = moved(data.flux_error)
    # Each place counts from the last observed point before it; behind the end the last step goes on.
    index = torch.zeros(shape, dtype=torch.int64).index_put(at, torch.arange(place.shape[1]).expand_as(place)[real])
    last = index.cummax(dim=1).values
    own = data.time.gather(1, last)
    since = torch.arange(shape[1]) - place.gather(1, last)
    spacing = torch.cat([step / (missing + 1), step[:, -1:]], dim=1) if step.shape[1] else torch.ones_like(data.time)
    result.time = own + since * spacing.gather(1, last)
    return result
