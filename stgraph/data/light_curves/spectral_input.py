"""Light curves as the multitaper transform takes them, and what tells their range of frequencies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import series_of
from stgraph.data.light_curves.cleaning import row_quantiles
from stgraph.errors import InputError

__all__ = ["CurveSet", "RealPoints", "Summary"]

_ROWS = 1024  # curves looked at together

_Floats = npt.NDArray[np.float64]


class RealPoints(NamedTuple):
    """Curves ``[B, L]`` whose real points stand first: times in days from the first one, float64 fluxes, and a mask."""

    time: Tensor
    flux: Tensor
    real: Tensor


class Summary(NamedTuple):
    """What is known of each curve ``[N]``; NaN where a curve has no or a single point.

    Attributes:
        length: Number of real points.
        duration: Days from the first to the last one.
        step: Median step in days.
        median: Median flux.
        spread: Interquartile range of the flux, 1 where it is 0.
        constant: Whether all fluxes are equal.
    """

    length: npt.NDArray[np.int64]
    duration: _Floats
    step: _Floats
    median: _Floats
    spread: _Floats
    constant: npt.NDArray[np.bool_]


class CurveSet:
    """A set of light curves, checked.

    Raises:
        InputError: If the graph holds no light curves, or a real point of a curve has no finite time and flux or is not
            later than the one before; names the curve.
    """

    def __init__(self, data: Data) -> None:
        x, time, mask = series_of(data), data.get("time"), data.get("mask")
        if x.shape[2] != 1 or not isinstance(time, Tensor) or time.shape not in (x.shape[:2], x.shape[1:2]):
            found = tuple(time.shape) if isinstance(time, Tensor) else None
            raise InputError(
                "data must be light curves, with one channel and a time of the shape (N, L) or (L), got x "
                f"{tuple(x.shape)} and time {found}"
            )
        if mask is not None and mask.shape != x.shape:
            raise InputError(f"mask must have the shape {tuple(x.shape)} of x, got {tuple(mask.shape)}")
        self.names: list[str] = data.get("node_names") or [str(row) for row in range(x.shape[0])]
        self._flux = x.detach().cpu()[:, :, 0]
        self._time = time.detach().cpu().double().expand(x.shape[:2])
        self._real = None if mask is None else mask.detach().cpu()[:, :, 0].bool()
        rows = torch.arange(x.shape[0])
        parts = [self._summary(part) for part in rows.split(_ROWS)]
        self.summary = Summary._make(np.concatenate(part) for part in zip(*parts, strict=True))

    def points(self, rows: Tensor) -> RealPoints:
        """Some curves, as wide as the longest of them."""
        time, flux = self._time[rows], self._flux[rows]
        real = torch.ones_like(flux, dtype=torch.bool) if self._real is None else self._real[rows]
        if (real[:, 1:] & ~real[:, :-1]).any():
            order = torch.argsort(~real, dim=1, stable=True)
            time, flux, real = (tensor.gather(1, order) for tensor in (time, flux, real))
        width = max(int(real.sum(dim=1).max()), 1)
        time, flux, real = time[:, :width], flux[:, :width].double(), real[:, :width]
        return RealPoints(torch.where(real, time - time[:, :1], 0.0), torch.where(real, flux, 0.0), real)

    def _summary(self, rows: Tensor) -> Summary:
        points = self.points(rows)
        time, flux, real = (tensor.numpy() for tensor in points)
        length = real.sum(axis=1)
        steps = np.diff(time, axis=1)
        self._check(rows, ~np.isfinite(flux), "a flux that is not finite at a real point")
        self._check(rows, ~np.isfinite(time), "a time that is not finite at a real point")
        self._check(rows, real[:, 1:] & ~(steps > 0), "times that do not increase; sort them and merge repeated ones")
        low, median, high = row_quantiles(flux, real, (0.25, 0.5, 0.75))
        (step,) = row_quantiles(steps, real[:, 1:], (0.5,))
        lowest = np.where(real, flux, np.inf).min(axis=1)
        highest = np.where(real, flux, -np.inf).max(axis=1)
        spread = np.where(high > low, high - low, 1.0)
        return Summary(length, time.max(axis=1), step, median, spread, lowest >= highest)

    def _check(self, rows: Tensor, wrong: npt.NDArray[np.bool_], what: str) -> None:
        bad = np.flatnonzero(wrong.any(axis=1))
        if bad.size:
            row = int(rows[int(bad[0])])
            raise InputError(f"light curve {self.names[row]!r} (number {row}) has {what}")
