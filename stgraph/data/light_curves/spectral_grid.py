"""Frequencies at which the spectra of light curves are evaluated."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from stgraph.data.light_curves.spectral_input import Summary
from stgraph.errors import InputError

__all__ = ["Grid", "Spacing", "frequency_grid"]

Grid: TypeAlias = Literal["common", "own"]
Spacing: TypeAlias = Literal["log", "linear"]

_PERCENTILES = (1.0, 99.0)  # of the curves' lowest and highest frequencies


def frequency_grid(
    curves: Summary, bins: int, spacing: Spacing, grid: Grid, frequency_range: tuple[float, float] | None
) -> Tensor:
    """Frequencies in 1/day, float64: ``[F]`` that all curves share, or ``[N, F]``.

    A curve's own range is from 1/T to half of the inverse of its median step.

    Raises:
        InputError: If an option is not one of those there are, or the range is none.
    """
    if bins < 2:
        raise InputError(f"bins is {bins}; expected at least 2")
    for name, value, known in (("spacing", spacing, get_args(Spacing)), ("grid", grid, get_args(Grid))):
        if value not in known:
            raise InputError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    if frequency_range is not None:
        if grid == "own":
            raise InputError("frequency_range is for grid='common'; grid='own' takes the range of each star")
        if not 0 < frequency_range[0] < frequency_range[1] < np.inf:
            raise InputError(f"frequency_range is {frequency_range}; expected two frequencies with 0 < low < high")
        ends = np.array(frequency_range, dtype=np.float64)
    else:
        ends = np.stack([1 / curves.duration, 0.5 / curves.step])
        if grid == "common":
            ends = np.array([np.percentile(end, level) for end, level in zip(ends, _PERCENTILES, strict=True)])
    space = np.geomspace if spacing == "log" else np.linspace
    return torch.from_numpy(np.ascontiguousarray(space(ends[0], ends[1], bins, axis=-1)))
