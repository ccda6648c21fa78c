"""Times inside the gaps of light curves, at which nothing was observed."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError, InputTypeError

__all__ = ["insert_gap_times"]


def insert_gap_times(
    data: Data, *, threshold: float = 1.5, max_gap: float | None = None, max_points: int = 100_000
) -> Data:
    r"""Add unobserved points to the gaps of light curves, spaced by each curve's median step.

    A gap is a step longer than ``threshold`` medians. What was observed keeps its order and its values; new points
    have ``mask`` False and a value of 0.

    Args:
        data: Light curves with a row of times each, as :func:`~stgraph.data.light_curves.from_light_curves` makes them.
        threshold: Shortest gap, in median steps.
        max_gap: Longest gap to fill, in the unit of the times; longer ones stay as they are.
        max_points: Largest number of points that a curve may have afterwards.

    Returns:
        Data: The curves with ``x``, ``mask``, ``time``, ``length`` and ``flux_error`` of the new length.

    Raises:
        InputError: If the curves share their times (then ``mask`` has the gaps), a curve would become too long, or
            ``threshold`` is below 1.
        InputTypeError: If the times are no floating-point numbers.

    Examples:
        >>> x, time = torch.tensor([[[1.0], [2.0], [4.0]]]), torch.tensor([[0.0, 1.0, 3.0]])
        >>> filled = insert_gap_times(Data(x=x, time=time))
        >>> filled.time.tolist(), filled.mask.flatten().tolist()
        ([[0.0, 1.0, 2.0, 3.0]], [True, True, False, True])
    """
    time = data.get("time")
    if time is None or time.dim() != 2:
        raise InputError("the curves share their times, or have none; expected a row of times for each curve")
    if not time.is_floating_point():
        raise InputTypeError(f"time has dtype {time.dtype}; expected days in torch.float64")
    if not threshold >= 1:
        raise InputError(f"threshold is {threshold}; expected at least 1")
    if max_gap is not None and not max_gap > 0:
        raise InputError(f"max_gap is {max_gap}; expected more than 0")
    count, steps = time.shape
    length = data.length if data.get("length") is not None else torch.full((count,), steps)
    position = torch.arange(steps)
    step = torch.diff(time, dim=1)
    inside = position[1:] < length[:, None]
    known = step.masked_fill(~inside, torch.nan)
    # A column of NaN: curves of a single point have no step, and their median is NaN.
    median = torch.cat([known, torch.full_like(time[:, :1], torch.nan)], dim=1).nanmedian(dim=1).values[:, None]
    gap = inside & (step > threshold * median)
    if max_gap is not None:
        gap = gap & (step <= max_gap)
    missing = torch.where(gap, (step / median).round() - 1, 0.0).long()
    before = torch.cat([torch.zeros(count, 1, dtype=torch.int64), missing.cumsum(dim=1)], dim=1)
    new_length = length + before.gather(1, (length - 1).clamp(min=0)[:, None])[:, 0]
    longest = int(new_length.max())
    if longest > max_points:
        raise InputError(
            f"curve {int(new_length.argmax())} would have {longest} points; expected at most {max_points}: a smaller "
            "max_gap leaves the longest gaps as they are"
        )
    # From each point to the next place: behind the end by the median step, or a day where there is none.
    spacing = torch.where(inside, step / (missing + 1), median)
    spacing = torch.cat([spacing, median], dim=1).nan_to_num(nan=1.0)
    return _spread(data, position + before, position < length[:, None], new_length, spacing)


def _spread(data: Data, place: Tensor, real: Tensor, length: Tensor, spacing: Tensor) -> Data:
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
    # Each place counts from the last point before it.
    index = torch.zeros(shape, dtype=torch.int64).index_put(at, torch.arange(place.shape[1]).expand_as(place)[real])
    last = index.cummax(dim=1).values
    own = data.time.gather(1, last)
    since = torch.arange(shape[1]) - place.gather(1, last)
    result.time = own + since * spacing.gather(1, last)
    return result
