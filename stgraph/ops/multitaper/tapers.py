"""Discrete prolate spheroidal sequences, on equally spaced times and on any others."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import CubicSpline
from scipy.signal.windows import dpss
from torch import Tensor

__all__ = ["Tapers", "sample_tapers", "slepian_sequences"]

_CACHED_LENGTH = 4096  # up to here 256 sets of seven tapers take at most 59 MB
_WIDEST = 1 - 1e-9  # of the half bandwidth 1/2, at which the tapers are no longer defined

_Sequences = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


class Tapers(NamedTuple):
    """Tapers ``[B, K, N]`` of unit energy, zero at padding, and their eigenvalues ``[B, K]``."""

    values: Tensor
    eigenvalues: Tensor


def sample_tapers(t: Tensor, length: Tensor, NW: float, K: int) -> Tapers:
    """Tapers at strictly increasing times ``[B, N]``, of which the first ``length`` of each curve are real.

    They are those of equally spaced times over the same span, carried over by cubic splines (Springford, Eadie and
    Thomson, 2020, Astronomical Journal 159, 205) and then scaled to unit energy.
    """
    times, lengths = t.cpu().numpy(), length.cpu().numpy()
    values = np.zeros((t.shape[0], K, t.shape[1]))
    eigenvalues = np.empty((t.shape[0], K))
    for num_points in np.unique(lengths).tolist():  # curves of equal length share a spline
        curves = np.flatnonzero(lengths == num_points)
        _, ratios = slepian_sequences(num_points, NW, K)
        spline = (_cached_spline if num_points <= _CACHED_LENGTH else _spline)(num_points, float(NW), K)
        own = times[curves, :num_points]
        first, last = own[:, :1], own[:, -1:]
        place = np.clip((own - first) / (last - first) * (num_points - 1), 0, num_points - 1)
        tapers = spline(place).transpose(1, 0, 2)
        tapers /= np.linalg.norm(tapers, axis=-1, keepdims=True)
        values[curves, :, :num_points] = tapers
        eigenvalues[curves] = ratios
    return Tapers(torch.from_numpy(values).to(t.device), torch.from_numpy(eigenvalues).to(t.device))


def slepian_sequences(num_points: int, NW: float, K: int) -> _Sequences:
    """The first K sequences ``[K, N]`` of unit energy and their eigenvalues ``[K]``; do not write to them."""
    find = _cached_sequences if num_points <= _CACHED_LENGTH else _cached_long_sequences
    return find(num_points, float(NW), K)


def _sequences(num_points: int, NW: float, K: int) -> _Sequences:
    sequences, ratios = dpss(num_points, min(NW, _WIDEST * num_points / 2), K, return_ratios=True)
    ratios = np.clip(ratios, 0.0, 1.0)
    for array in (sequences, ratios):
        array.setflags(write=False)
    return sequences, ratios


def _spline(num_points: int, NW: float, K: int) -> CubicSpline:
    return CubicSpline(np.arange(num_points), slepian_sequences(num_points, NW, K)[0], axis=1)


_cached_spline = lru_cache(maxsize=64)(_spline)
_cached_sequences = lru_cache(maxsize=256)(_sequences)
_cached_long_sequences = lru_cache(maxsize=4)(_sequences)
