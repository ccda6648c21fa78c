"""Grids of frequencies on which periods are searched, and the places of peaks between their points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.multitaper.curves import Curves, curve_names
from stgraph.ops.nufft.arrays import ArrayLike, as_real

__all__ = [
    "SearchGrid",
    "check_frequencies",
    "check_varying",
    "real_points",
    "refine_peak",
    "search_grid",
    "search_in_chunks",
    "search_limits",
]


class SearchGrid(NamedTuple):
    """Frequencies ``[F]`` or ``[B, F]`` and which of them are searched, ``[B, F]``."""

    frequency: Tensor
    valid: Tensor


def real_points(curves: Curves) -> Tensor:
    """Where the real points are, ``[B, N]``."""
    return torch.arange(curves.time.shape[1], device=curves.time.device) < curves.length[:, None]


def check_varying(curves: Curves) -> None:
    """Refuse constant curves."""
    constant = curves.variance == 0
    if constant.any():
        raise InputError(f"x of {curve_names(constant)} is constant; it has no period")


def search_limits(curves: Curves, f_min: float | None, f_max: float | None, cycles: float) -> tuple[Tensor, Tensor]:
    """Lowest and highest frequency of each curve; by default ``cycles`` / T and half the inverse median step."""
    for name, value in (("f_min", f_min), ("f_max", f_max)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value}; expected a positive frequency in 1/day")
    check_varying(curves)
    duration = curves.time[:, -1]
    steps = torch.where(real_points(curves)[:, 1:], curves.time.diff(dim=1), torch.nan)
    low = cycles / duration if f_min is None else torch.full_like(duration, f_min)
    high = 0.5 / steps.nanmedian(dim=1).values if f_max is None else torch.full_like(duration, f_max)
    if (low >= high).any():
        row = int((low >= high).nonzero()[0, 0])
        raise InputError(
            f"f_min = {float(low[row]):g} is not below f_max = {float(high[row]):g} (1/day) for curve {row}, of "
            f"{int(curves.length[row])} points over {float(duration[row]):g} d"
        )
    return low, high


def search_grid(curves: Curves, low: Tensor, high: Tensor, oversample: float, freqs: ArrayLike | None) -> SearchGrid:
    """The frequencies given, or those between the limits in steps of 1 / (oversample T)."""
    if freqs is None:
        if not 1 <= oversample < float("inf"):
            raise InputError(f"oversample is {oversample}; expected a finite number of at least 1")
        step = 1 / (oversample * curves.time[:, -1])
        count = ((high - low) / step * (1 + 1e-12)).floor().long() + 1
        index = torch.arange(int(count.max()), device=low.device)
        return SearchGrid(low[:, None] + step[:, None] * index, index < count[:, None])
    given = check_frequencies(freqs, curves)
    valid = (given >= low[:, None]) & (given <= high[:, None])
    if not valid.any(dim=1).all():
        row = int((~valid.any(dim=1)).nonzero()[0, 0])
        raise InputError(
            f"freqs has no frequency from {float(low[row]):g} to {float(high[row]):g} (1/day), the range of curve {row}"
        )
    return SearchGrid(given, valid)


def check_frequencies(freqs: ArrayLike, curves: Curves) -> Tensor:
    """Positive, increasing frequencies, ``[F]`` or ``[B, F]``."""
    given = as_real(freqs, "freqs").to(curves.time.device)
    if given.shape[:-1] not in ((), curves.time.shape[:1]) or given.dim() == 0 or given.shape[-1] == 0:
        raise InputError(f"freqs is of shape {tuple(given.shape)}; expected [F] or [{len(curves.time)}, F]")
    if not (given > 0).all() or not (given.diff(dim=-1) > 0).all():
        raise InputError("freqs has frequencies that are not positive or do not increase strictly")
    return given


def search_in_chunks(
    curves: Curves, grid: SearchGrid, largest: int, search: Callable[[Curves, SearchGrid, Tensor], Sequence[Tensor]]
) -> list[Tensor]:
    """Each result ``[B]`` of a search of some curves at a time.

    Curves with about as many frequencies are searched together, at most ``largest`` values at a time (or a single
    curve), each cut to the longest of them. The search is also told which curves they are, ``[b]``.
    """
    order = grid.valid.sum(dim=1).argsort()
    parts = order.split(max(1, largest // grid.valid.shape[1]))
    results = [search(*_take(curves, grid, rows), rows) for rows in parts]
    place = order.argsort()
    return [torch.cat(entries)[place] for entries in zip(*results, strict=True)]


def _take(curves: Curves, grid: SearchGrid, rows: Tensor) -> tuple[Curves, SearchGrid]:
    """Some of the curves with their grids, cut to the longest of them."""
    length, valid = curves.length[rows], grid.valid[rows]
    points, bins = int(length.max()), int(valid.any(dim=0).nonzero().max()) + 1
    part = Curves(
        curves.time[rows, :points], curves.value[rows, :points], length, curves.variance[rows], curves.step[rows], True
    )
    frequency = grid.frequency if grid.frequency.dim() == 1 else grid.frequency[rows]
    return part, SearchGrid(frequency[..., :bins], valid[:, :bins])


def refine_peak(frequency: Tensor, height: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Place and height of peaks by the parabola through a bin and its neighbours, never beyond those.

    Args:
        frequency: Increasing frequencies ``[B, F]``.
        height: Heights ``[B, F]``.
        index: Bin of each peak, ``[B]``; those at an end stay where they are.
    """
    if frequency.shape[1] < 3:
        return frequency.gather(1, index[:, None])[:, 0], height.gather(1, index[:, None])[:, 0]
    near = index.clamp(1, frequency.shape[1] - 2)[:, None] + torch.arange(-1, 2, device=index.device)
    f, y = frequency.gather(1, near), height.gather(1, near)
    slope = y.diff(dim=1) / f.diff(dim=1)
    bend = (slope[:, 1] - slope[:, 0]) / (f[:, 2] - f[:, 0])
    inner = (near[:, 1] == index) & (bend < 0)
    vertex = (f[:, 0] + f[:, 1]) / 2 - slope[:, 0] / (2 * torch.where(inner, bend, -1.0))
    vertex = torch.where(inner, vertex.clamp(f[:, 0], f[:, 2]), frequency.gather(1, index[:, None])[:, 0])
    parabola = y[:, 0] + slope[:, 0] * (vertex - f[:, 0]) + bend * (vertex - f[:, 0]) * (vertex - f[:, 1])
    return vertex, torch.where(inner, parabola, height.gather(1, index[:, None])[:, 0])
