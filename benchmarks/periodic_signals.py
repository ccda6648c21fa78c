"""Periodic light curves at the sampling patterns of surveys, with known periods.

A curve is a sinusoid with a second harmonic of 30 %, of unit amplitude, at regular times, with gaps, at uniformly
random times, with a cadence that changes between segments, or in yearly seasons.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SAMPLINGS", "Curve", "Kind", "pad", "periodic_curve", "periodic_curves"]

Times = NDArray[np.float64]
YEAR, SEASON = 365.0, 180.0  # days
HARMONIC, MODULATION = 0.3, 0.4


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of curves: sampling, duration in days, requested points, ratio of standard deviations."""

    sampling: str
    duration: float
    points: int
    snr: float
    modulated: bool = False
    logarithmic: bool = False  # whether the logarithm of the period is uniform, not the period

    def __str__(self) -> str:
        modulated = ", modulated" if self.modulated else ""
        return f"{self.sampling}, {self.duration:g} d, {self.points}, SNR {self.snr:g}{modulated}"


@dataclasses.dataclass(frozen=True)
class Curve:
    """Times in days, fluxes, and the true period in days."""

    time: Times
    flux: Times
    period: float


def regular(rng: np.random.Generator, duration: float, points: int) -> Times:
    """Equally spaced times."""
    return np.linspace(0.0, duration, points)


def gaps(rng: np.random.Generator, duration: float, points: int) -> Times:
    """Equally spaced times without some runs of 5 to 29 points."""
    kept = np.ones(points, dtype=bool)
    for _ in range(int(points * rng.uniform(0.1, 0.3) / 20)):
        start = rng.integers(0, points)
        kept[start : start + rng.integers(5, 30)] = False
    return regular(rng, duration, points)[kept]


def uniform(rng: np.random.Generator, duration: float, points: int) -> Times:
    """Uniformly random times."""
    return np.sort(rng.uniform(0.0, duration, points))


def variable(rng: np.random.Generator, duration: float, points: int) -> Times:
    """Three to five segments, each with a cadence of its own."""
    borders = np.sort(rng.uniform(0.0, duration, rng.integers(2, 5)))
    borders = np.concatenate([[0.0], borders, [duration]])
    shares = np.diff(borders) / duration
    counts = np.maximum(10, (points * shares * rng.uniform(0.5, 2.0, len(shares))).astype(int))
    segments = [np.linspace(*ends, count) for *ends, count in zip(borders, borders[1:], counts, strict=False)]
    return np.unique(np.concatenate(segments))


def seasons(rng: np.random.Generator, duration: float, points: int) -> Times:
    """One season of 150 to 180 days a year, of whose times 80 to 90 % are kept."""
    starts = YEAR * np.arange(max(1, int(duration / SEASON)))
    ends = np.minimum(starts + rng.uniform(150.0, SEASON, len(starts)), duration)
    lengths = np.maximum(ends - starts, 0.0)
    times = []
    for start, end, share in zip(starts, ends, lengths / lengths.sum(), strict=True):
        if end > start:
            season = np.linspace(start, end, int(1.3 * max(20, points * share)))
            kept = rng.permutation(len(season))[: int(rng.uniform(0.8, 0.9) * len(season))]
            times.append(season[np.sort(kept)])
    return np.concatenate(times)


SAMPLINGS: dict[str, Callable[[np.random.Generator, float, int], Times]] = {
    "regular": regular,
    "gaps": gaps,
    "uniform": uniform,
    "variable": variable,
    "seasons": seasons,
}


def periodic_curve(kind: Kind, rng: np.random.Generator) -> Curve:
    """One curve; the period, or its logarithm, is uniform between 4 median steps and a quarter of the duration."""
    time = SAMPLINGS[kind.sampling](rng, kind.duration, kind.points)
    span, step = time[-1] - time[0], np.median(np.diff(time))
    shortest, longest = 4 * step, span / 4
    position = rng.uniform()
    period = float(shortest + position * (longest - shortest))
    if kind.logarithmic:
        period = float(shortest * (longest / shortest) ** position)
    first, second, third = rng.uniform(0.0, 2 * np.pi, 3)
    flux = np.sin(2 * np.pi * time / period + first) + HARMONIC * np.sin(4 * np.pi * time / period + second)
    if kind.modulated:  # with a period of half to one and a half times the duration
        flux *= 1 + MODULATION * np.sin(2 * np.pi * time / (span * rng.uniform(0.5, 1.5)) + third)
    return Curve(time, flux + rng.normal(0.0, flux.std() / kind.snr, len(time)), period)


def periodic_curves(kind: Kind, count: int, seed: int = 0) -> list[Curve]:
    """Several curves of a kind, each from a generator of its own."""
    return [periodic_curve(kind, np.random.default_rng([seed, index])) for index in range(count)]


def pad(curves: Sequence[Curve]) -> tuple[Tensor, Tensor, Tensor]:
    """Times (padding continues by the median step), fluxes (padding 0) and mask, each [B, N]."""
    longest = max(len(curve.time) for curve in curves)
    time, flux = np.zeros((len(curves), longest)), np.zeros((len(curves), longest))
    mask = np.zeros((len(curves), longest), dtype=bool)
    for row, curve in enumerate(curves):
        length = len(curve.time)
        time[row, :length], flux[row, :length], mask[row, :length] = curve.time, curve.flux, True
        after = 1 + np.arange(longest - length)
        time[row, length:] = curve.time[-1] + np.median(np.diff(curve.time)) * after
    return torch.from_numpy(time), torch.from_numpy(flux), torch.from_numpy(mask)
