"""The series that a spectrum is asked of: checked, with real points first, times from zero, values about their mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.nufft.arrays import ArrayLike, as_bool, as_real

__all__ = ["Curves", "check_curves", "curve_names"]

_LEAST_POINTS = 9
_ROUNDING = 8 * torch.finfo(torch.float64).eps


class Curves(NamedTuple):
    """Series whose real points stand first.

    Attributes:
        time: Days since the first point ``[B, N]``; padding repeats the last real one.
        value: Values minus their mean ``[B, N]``, 0 at padding.
        length: Number of real points ``[B]``.
        variance: Mean square of the values ``[B]``, exactly 0 for a constant series.
        step: Mean sampling step ``[B]`` in days.
        batched: Whether the input had a dimension for curves.
    """

    time: Tensor
    value: Tensor
    length: Tensor
    variance: Tensor
    step: Tensor
    batched: bool

    def select(self, rows: slice) -> Curves:
        """Some of the curves."""
        time, value, length, variance, step = (tensor[rows] for tensor in self[:5])
        return Curves(time, value, length, variance, step, self.batched)


def check_curves(t: ArrayLike, x: ArrayLike, mask: ArrayLike | None) -> Curves:
    """Check times, values and mask, ``[N]`` or ``[B, N]`` each, and bring them into the form of the computation."""
    value = as_real(x, "x", finite=False)
    batched = value.dim() == 2
    if value.dim() not in (1, 2) or value.numel() == 0:
        raise InputError(f"x is of shape {tuple(value.shape)}; expected [N] or [B, N] with at least one curve")
    value = value.reshape(-1, value.shape[-1])
    time = _like(as_real(t, "t", finite=False).to(value.device), "t", value)
    if mask is None:
        real = torch.ones_like(value, dtype=torch.bool)
    else:
        real = _like(as_bool(mask, "mask").to(value.device), "mask", value)
        order = torch.argsort((~real).to(torch.int8), dim=-1, stable=True)  # real points first
        time, value, real = (tensor.gather(-1, order) for tensor in (time, value, real))
    length = real.sum(dim=-1)
    _check_points(time, value, real, length)
    last = time.gather(-1, length.unsqueeze(-1) - 1)
    time = torch.where(real, time, last) - time[:, :1]
    mean = torch.where(real, value, 0.0).sum(dim=-1, keepdim=True) / length.unsqueeze(-1)
    centred = torch.where(real, value - mean, 0.0)
    constant = centred.abs().amax(dim=-1, keepdim=True) <= _ROUNDING * mean.abs()  # nothing but rounding is left
    centred = torch.where(constant, 0.0, centred)
    step = time[:, -1] / (length - 1)
    return Curves(time, centred, length, (centred**2).sum(dim=-1) / length, step, batched)


def curve_names(wrong: Tensor) -> str:
    """Numbers of the curves where ``wrong`` ``[B]`` is True, in words."""
    numbers = torch.nonzero(wrong).flatten().tolist()
    listed = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"curve {listed}" if len(numbers) == 1 else f"curves {listed}"


def _like(tensor: Tensor, name: str, value: Tensor) -> Tensor:
    """``tensor`` with one entry per value, repeated for all curves where it has no dimension for them."""
    if (
        tensor.dim() not in (1, 2)
        or tensor.shape[-1] != value.shape[1]
        or tensor.shape[:-1] not in ((), value.shape[:1])
    ):
        raise InputError(
            f"{name} is of shape {tuple(tensor.shape)}; expected one entry per value, {tuple(value.shape)}"
        )
    return tensor.expand_as(value)


def _check_points(time: Tensor, value: Tensor, real: Tensor, length: Tensor) -> None:
    finite = torch.isfinite(value) | ~real
    empty = ~(torch.isfinite(value) & real).any(dim=-1)
    problems = [
        ("has no finite value", "x", empty),
        ("holds NaN or infinite values at real points; drop them or set mask to False there", "x", ~finite.all(dim=-1)),
        ("holds NaN or infinite values at real points", "t", (real & ~torch.isfinite(time)).any(dim=-1)),
        (f"has fewer than {_LEAST_POINTS} real points", "x", length < _LEAST_POINTS),
        (
            "is not strictly increasing over real points; sort it and merge repeated times",
            "t",
            ((time.diff(dim=-1) <= 0) & real[:, 1:]).any(dim=-1),
        ),
    ]
    for what, name, wrong in problems:
        if wrong.any():
            raise InputError(f"{name} of {curve_names(wrong)} {what}")
