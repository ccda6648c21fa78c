"""Curves of a recipe as padded arrays, made in small blocks that fit the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stgraph.data.simulation.light_curves.draws import Bools, Draws, Floats, Ints
from stgraph.data.simulation.light_curves.events import flares, transits
from stgraph.data.simulation.light_curves.recipe import Recipe
from stgraph.data.simulation.light_curves.sampling import Sampling, choose, continue_times, sample_times
from stgraph.data.simulation.light_curves.signals import clean_flux

__all__ = [
    "Curves",
    "Stars",
    "blocks",
    "concatenate",
    "count_points",
    "draw_curves",
    "draw_stars",
    "measure",
    "names_of",
]

_BLOCK = 128
_TRANSIT = ("transit_period", "transit_depth", "transit_duration", "transit_time")


class Curves(NamedTuple):
    """Curves with their real points first; flux and errors are 0 after them, and the time goes on.

    Shapes:
        - **flux**, **flux_error** (float32), **time** (float64, in days): :math:`(n, L)`
        - **length:** :math:`(n)`, number of real points
        - **metadata:** :math:`(n)` each
    """

    flux: npt.NDArray[np.float32]
    flux_error: npt.NDArray[np.float32]
    time: Floats
    length: Ints
    metadata: dict[str, npt.NDArray[Any]]


class Stars(NamedTuple):
    """Light of stars at given times, before noise.

    Shapes:
        - **clean:** :math:`(n, L)`, the flux of the class; **events:** :math:`(n, L)` or 0, flares and transits
        - **deviation:** :math:`(n)`, standard deviation of ``clean`` over the real points
        - **metadata:** :math:`(n)` each
    """

    clean: Floats
    events: Floats | float
    deviation: Floats
    metadata: dict[str, npt.NDArray[Any]]


def draw_curves(recipe: Recipe, index: Ints, length: Ints, width: int) -> Curves:
    """The curves with these numbers and, as :func:`count_points` says, so many points, each [width]."""
    shape = (len(index), width)
    flux, flux_error = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    time = np.empty(shape)
    order = np.argsort(length, kind="stable")  # a block of curves of similar length needs little padding
    metadata = []
    for block in blocks(len(index)):
        rows = order[block]
        draws = Draws.of(recipe.seed, "curve", index[rows])
        sampling = _sample(recipe, draws)
        longest, real, last = sampling.time.shape[1], sampling.real, sampling.last
        # Where nothing is observed the time stands still, so that nothing grows beyond the last point.
        stars = draw_stars(recipe, draws, np.where(real, sampling.time, last), real)
        flux[rows, :longest], flux_error[rows, :longest], noise = measure(recipe, draws, stars, real)
        time[rows] = continue_times(sampling, width)
        span = last[:, 0] - sampling.time[:, 0]
        metadata.append(
            {"lc_type": stars.metadata["lc_type"], "sampling_strategy": sampling.name, "duration": span}
            | {"points": sampling.length, **noise, **stars.metadata}
        )
    place = np.argsort(order)
    return Curves(flux, flux_error, time, length, {name: v[place] for name, v in concatenate(metadata).items()})


def count_points(recipe: Recipe, index: Ints) -> Ints:
    """Number of points of the curves with these numbers."""
    draws = (Draws.of(recipe.seed, "curve", index[rows]) for rows in blocks(len(index)))
    return np.concatenate([_sample(recipe, of_block).length for of_block in draws])


def draw_stars(recipe: Recipe, draws: Draws, time: Floats, real: Bools) -> Stars:
    """Draw classes and parameters of the stars and compute their light at these times, which do not decrease."""
    kind = choose(draws, "class", recipe.class_shares)
    clean, parameters = clean_flux(draws, kind, time)
    deviation = _deviation(clean, real)
    metadata: dict[str, npt.NDArray[Any]] = {"lc_type": kind, **parameters, "flares": np.zeros(len(draws), np.int64)}
    metadata |= {name: np.full(len(draws), np.nan) for name in _TRANSIT}
    events: Floats | float = 0.0
    unit = np.where(deviation > 0, deviation, 1.0)
    if recipe.flare_rate > 0:
        events, metadata["flares"] = flares(draws, time, unit, recipe.flare_rate)
    if recipe.transit_fraction > 0:
        dips, known = transits(draws, time, unit, recipe.transit_fraction)
        events = events + dips
        metadata |= known
    return Stars(clean, events, deviation, metadata)


def measure(
    recipe: Recipe, draws: Draws, stars: Stars, real: Bools
) -> tuple[Floats, Floats, dict[str, npt.NDArray[Any]]]:
    """Flux with noise and offset, the reported errors (both 0 where nothing is real), and what was drawn for them."""
    low, high = recipe.snr
    snr = np.full(len(draws), low) if low == high else draws.uniform("snr", low, high)
    # A curve without variance has no signal-to-noise ratio; it gets the noise of one of unit variance.
    level = np.where(stars.deviation > 0, stars.deviation, 1.0) / snr
    offset = draws.uniform("offset", 8.0, 12.0)
    width = real.shape[1]
    flux = stars.clean + stars.events + offset[:, None] + level[:, None] * draws.normal("noise", width)
    error = level[:, None] * draws.uniform("error", 0.8, 1.2, count=width)
    noise: dict[str, npt.NDArray[Any]] = {"snr": snr, "offset": offset, "noise_level": level}
    return np.where(real, flux, 0.0), np.where(real, error, 0.0), noise


def _sample(recipe: Recipe, draws: Draws) -> Sampling:
    return sample_times(draws, recipe.sampling_shares, recipe.duration, recipe.points)


def _deviation(values: Floats, real: Bools) -> Floats:
    # Cumulative sums add point after point, so that the result does not depend on the padding; sums go by blocks.
    count = real.sum(axis=1)[:, None]
    centred = np.where(real, values, 0.0)
    centred = np.where(real, values - np.cumsum(centred, axis=1)[:, -1:] / count, 0.0)
    deviation: Floats = np.sqrt(np.cumsum(centred**2, axis=1)[:, -1] / count[:, 0])
    return deviation


def blocks(count: int) -> Iterator[slice]:
    """The blocks of so many curves."""
    return (slice(begin, min(begin + _BLOCK, count)) for begin in range(0, count, _BLOCK))


def concatenate(parts: list[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """The metadata of all curves from those of the blocks."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def names_of(index: Ints) -> list[str]:
    """Names of the curves with these numbers."""
    return [f"mock {number}" for number in index]
