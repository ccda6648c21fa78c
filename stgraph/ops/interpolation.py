"""Interpolation of irregular series in time."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["distance_to_visible", "linear_interpolation"]


def linear_interpolation(time: Tensor, x: Tensor, visible: Tensor, *, fill: float = 0.0) -> Tensor:
    """Replace the entries that are not visible by linear interpolation in time between the nearest visible ones.

    Before the first and after the last visible entry its value goes on; a channel without any becomes ``fill``.
    Whatever entries hold that are not visible has no influence.

    Args:
        time: Times, strictly increasing, in any unit (such as days); they are used in float64.
        x: Series.
        visible: True where an entry is given.
        fill: Value where nothing is visible.

    Shapes:
        - **time:** :math:`(..., L)`, with leading dimensions that broadcast to those of ``x``
        - **x**, **visible:** :math:`(..., L, C)`
        - **output:** :math:`(..., L, C)`

    Raises:
        InputError: If a shape does not fit or times do not increase.
        InputTypeError: If ``x`` is not of a floating type or ``visible`` is not boolean.

    Examples:
        >>> import torch
        >>> time, x = torch.tensor([0.0, 1.0, 4.0, 5.0]), torch.tensor([[2.0], [0.0], [10.0], [0.0]])
        >>> visible = torch.tensor([[True], [False], [True], [False]])
        >>> linear_interpolation(time, x, visible).flatten().tolist()
        [2.0, 4.0, 10.0, 10.0]
    """
    _check(time, x, visible)
    steps = x.shape[-2]
    before, after = _nearest_visible(visible)
    left = torch.where(before < 0, after, before).clamp(max=steps - 1)  # beyond an end, both are the same entry
    right = torch.where(after == steps, before, after).clamp(min=0)
    times = time.double().unsqueeze(-1).expand(x.shape)
    start, end = times.gather(-2, left), times.gather(-2, right)
    share = torch.where(right > left, (times - start) / torch.where(right > left, end - start, 1.0), 0.0)
    low, high = x.gather(-2, left), x.gather(-2, right)
    return torch.where((before < 0) & (after == steps), fill, torch.lerp(low, high, share.to(x.dtype)))


def distance_to_visible(visible: Tensor) -> Tensor:
    """Number of steps from each entry to the nearest visible one of its series.

    Args:
        visible: True where an entry is given.

    Shapes:
        - **visible:** :math:`(..., L, C)`
        - **output:** :math:`(..., L, C)`, float32; infinite where a series has nothing visible

    Examples:
        >>> import torch
        >>> distance_to_visible(torch.tensor([[False], [True], [False], [False], [True]])).flatten().tolist()
        [1.0, 0.0, 1.0, 1.0, 0.0]
    """
    steps = visible.shape[-2]
    before, after = _nearest_visible(visible)
    step = torch.arange(steps, device=visible.device).unsqueeze(-1)
    since = torch.where(before < 0, torch.inf, (step - before).float())
    until = torch.where(after == steps, torch.inf, (after - step).float())
    return torch.minimum(since, until)


def _nearest_visible(visible: Tensor) -> tuple[Tensor, Tensor]:
    """Last visible step up to each one, -1 where there is none, and the first from it on, L where there is none."""
    steps = visible.shape[-2]
    step = torch.arange(steps, device=visible.device).unsqueeze(-1)
    before = torch.where(visible, step, -1).cummax(dim=-2).values
    return before, torch.where(visible, step, steps).flip(-2).cummin(dim=-2).values.flip(-2)


def _check(time: Tensor, x: Tensor, visible: Tensor) -> None:
    if x.dim() < 2:
        raise InputError(f"x has shape {tuple(x.shape)}; expected (..., L, C)")
    if not x.is_floating_point():
        raise InputTypeError(f"x is of type {x.dtype}; expected a floating type")
    if visible.dtype != torch.bool:
        raise InputTypeError(f"visible is of type {visible.dtype}; expected torch.bool")
    if visible.shape != x.shape:
        raise InputError(f"visible has shape {tuple(visible.shape)}; expected {tuple(x.shape)}")
    lead, steps = x.shape[:-2], x.shape[-2]
    sizes = zip(reversed(time.shape[:-1]), reversed(lead), strict=False)
    if time.dim() not in range(1, x.dim()) or time.shape[-1] != steps or any(a not in (1, b) for a, b in sizes):
        raise InputError(f"time has shape {tuple(time.shape)}; expected (..., {steps}), broadcast to {(*lead, steps)}")
    if not bool((time.diff(dim=-1) > 0).all()):
        raise InputError("time does not increase strictly along its last dimension; expected it to")
