"""Windows of several widths over many series at once."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["regions_from_windows", "window_bounds", "window_sums"]


def window_bounds(
    length: int, widths: int | Sequence[int], *, stride: int | None = None, cover_tail: bool = True
) -> tuple[Tensor, Tensor]:
    r"""First points and ends (exclusive) of windows that go over a series, all widths one after another.

    Args:
        length: Number of points of the series.
        widths: Points of a window, one width or several.
        stride: Points from one window to the next, at most a width. (default: half a width)
        cover_tail: Add a last window that ends with the series where the others leave points out.

    Shapes:
        - **output:** two tensors :math:`(W)`, int64

    Raises:
        InputError: If a window has less than 2 points or more than the series, or the stride is out of range.

    Examples:
        >>> window_bounds(11, 4)
        (tensor([0, 2, 4, 6, 7]), tensor([ 4,  6,  8, 10, 11]))
    """
    each = [operator.index(width) for width in (widths if isinstance(widths, Sequence) else [widths])]
    if not each:
        raise InputError("widths is empty; expected at least one width of a window")
    starts, ends = [], []
    for width in each:
        if not 2 <= width <= length:
            raise InputError(
                f"widths has a window of {width} points; expected 2 to {length}, the number of points of a series"
            )
        if stride is not None and not 1 <= stride <= width:
            raise InputError(f"stride is {stride}; expected 1 to {width}, the points of a window")
        start = torch.arange(0, length - width + 1, width // 2 if stride is None else stride)
        if cover_tail and int(start[-1]) + width < length:
            start = torch.cat([start, start.new_tensor([length - width])])
        starts.append(start)
        ends.append(start + width)
    return torch.cat(starts), torch.cat(ends)


def window_sums(values: Tensor, start: Tensor, end: Tensor) -> Tensor:
    r"""Sum of the values in each window, from differences of running sums.

    Equal windows have equal sums up to rounding only. Bad points must be 0: a NaN would spoil all later windows.

    Shapes:
        - **values:** :math:`(*, L)`, **start**, **end:** :math:`(W)`
        - **output:** :math:`(*, W)` float64

    Examples:
        >>> window_sums(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1]), torch.tensor([2, 3]))
        tensor([3., 6.], dtype=torch.float64)
    """
    running = torch.nn.functional.pad(values.cumsum(dim=-1, dtype=torch.float64), (1, 0))
    return running[..., end.to(values.device)] - running[..., start.to(values.device)]


def regions_from_windows(flagged: Tensor, start: Tensor, end: Tensor, length: int) -> Tensor:
    r"""Points that lie in a flagged window.

    Shapes:
        - **flagged:** :math:`(*, W)` bool, **start**, **end:** :math:`(W)`
        - **output:** :math:`(*, L)` bool

    Examples:
        >>> regions_from_windows(torch.tensor([True, False]), torch.tensor([0, 2]), torch.tensor([2, 4]), 4)
        tensor([ True,  True, False, False])
    """
    flagged_int = flagged.to(torch.int32)
    steps = flagged_int.new_zeros(*flagged.shape[:-1], length + 1)
    steps.index_add_(-1, start.to(flagged.device), flagged_int)
    steps.index_add_(-1, end.to(flagged.device), -flagged_int)
    return steps.cumsum(dim=-1, dtype=torch.int32)[..., :-1] > 0
