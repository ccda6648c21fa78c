"""When a star is observed: four ways of sampling, vectorised over curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stgraph.data.simulation.light_curves.draws import Bools, Draws, Floats, Ints

__all__ = ["Sampling", "choose", "continue_times", "gaps", "sample_times"]

_YEAR = 365.0  # days from the beginning of one season to that of the next
_MIN_SEASON = 10.0  # days


class Sampling(NamedTuple):
    """Times of n curves in days, their real points first and 0 after them.

    Shapes:
        - **name:** :math:`(n)`, the way of sampling
        - **time:** :math:`(n, L)`, **real:** :math:`(n, L)`, True for the real points
        - **length:** :math:`(n)`, number of real points
    """

    name: npt.NDArray[np.str_]
    time: Floats
    real: Bools
    length: Ints

    @property
    def last(self) -> Floats:
        """Time of the last real point [n, 1]."""
        return np.take_along_axis(self.time, self.length[:, None] - 1, axis=1)


def choose(draws: Draws, name: str, shares: Mapping[str, float]) -> npt.NDArray[np.str_]:
    """Draw one of the names for each curve, with these probabilities."""
    names = np.array([key for key, share in shares.items() if share > 0])
    # The last border is left out, as rounding could put it below 1.
    borders = np.cumsum([share for share in shares.values() if share > 0])[:-1]
    return names[np.searchsorted(borders, draws.uniform(name), side="right")]


def sample_times(
    draws: Draws, shares: Mapping[str, float], duration: tuple[float, float], points: tuple[int, int]
) -> Sampling:
    """Draw a way of sampling, a duration and a number of points for each curve, and the times from them."""
    name = choose(draws, "sampling", shares)
    days = draws.uniform("duration", *duration)
    count = draws.integers("points", *points)
    length = np.zeros(len(draws), dtype=np.int64)
    parts = []
    for key in np.unique(name):
        rows = name == key
        time, keep = _WAYS[key](draws[rows], days[rows], count[rows])
        length[rows] = keep.sum(axis=1)
        parts.append((rows, time[keep]))
    time = np.zeros((len(draws), length.max()))
    real = np.arange(time.shape[1]) < length[:, None]
    for rows, values in parts:
        time[real & rows[:, None]] = values  # both row by row
    return Sampling(name, time, real, length)


def continue_times(sampling: Sampling, width: int) -> Floats:
    """The times [n, width], where after the real points they go on by the median step."""
    step = np.diff(sampling.time, axis=1)
    step[~sampling.real[:, 1:]] = np.inf
    step.sort(axis=1)
    middle = np.stack([(sampling.length - 2) // 2, (sampling.length - 1) // 2], axis=1)
    median = np.take_along_axis(step, middle, axis=1).mean(axis=1, keepdims=True)
    time: Floats = sampling.last + median * (np.arange(width) - (sampling.length[:, None] - 1))
    np.copyto(time[:, : sampling.time.shape[1]], sampling.time, where=sampling.real)
    return time


def gaps(draws: Draws, points: Ints) -> Bools:
    """True [n, most points] at the points of regular curves that are not in a gap.

    A curve of p points loses int(p g / 20) runs of 5 to 29 points that may overlap, with g from 0.1 to 0.3.
    """
    count = (points * draws.uniform("gap share", 0.1, 0.3) / 20).astype(np.int64)
    most = int(count.max())
    length = draws.integers("gap length", 5, 29, most)
    start = (draws.uniform("gap start", count=most) * (points[:, None] - length + 1)).astype(np.int64)
    row, number = np.nonzero(np.arange(most) < count[:, None])
    change = np.zeros((len(draws), int(points.max()) + 1), dtype=np.int64)
    np.add.at(change, (row, start[row, number]), 1)
    np.add.at(change, (row, (start + length)[row, number]), -1)
    keep: Bools = (np.cumsum(change, axis=1)[:, :-1] == 0) & (np.arange(int(points.max())) < points[:, None])
    return keep


def _regular(draws: Draws, duration: Floats, points: Ints) -> tuple[Floats, Bools]:
    position = np.arange(int(points.max()))
    return duration[:, None] * (position / (points[:, None] - 1)), position < points[:, None]


def _random_gaps(draws: Draws, duration: Floats, points: Ints) -> tuple[Floats, Bools]:
    return _regular(draws, duration, points)[0], gaps(draws, points)


def _variable_cadence(draws: Draws, duration: Floats, points: Ints) -> tuple[Floats, Bools]:
    number = draws.integers("segments", 3, 5)
    inner = draws.uniform("borders", count=4)
    inner[np.arange(4) >= number[:, None] - 1] = 1.0  # segments that are not there have no width
    ones = np.ones((len(draws), 1))
    border = np.concatenate([0 * ones, np.sort(inner, axis=1), ones], axis=1)
    share = np.diff(border, axis=1)
    density = draws.uniform("density", 0.5, 2.0, count=5)
    count = np.maximum(10, (points[:, None] * share * density).astype(np.int64))
    count[np.arange(5) >= number[:, None]] = 0
    # A border is the last point of a segment, and not again the first of the next one.
    fresh = np.maximum(count - (np.arange(5) > 0), 0)
    segment, place, real = _places(fresh)
    place = place + (segment > 0)
    intervals = np.maximum(count - 1, 1)
    part = place / np.take_along_axis(intervals, segment, axis=1)
    start, width = (np.take_along_axis(values, segment, axis=1) for values in (border, share))
    return duration[:, None] * (start + width * part), real


def _astronomical(draws: Draws, duration: Floats, points: Ints) -> tuple[Floats, Bools]:
    seasons = int(np.ceil(duration.max() / _YEAR))
    start = _YEAR * np.arange(seasons)
    days = np.minimum(draws.uniform("season", 150.0, 180.0, count=seasons), duration[:, None] - start)
    days[:, 1:][days[:, 1:] < _MIN_SEASON] = 0.0
    share = days / days.sum(axis=1, keepdims=True)
    count = (1.3 * np.maximum(20.0, points[:, None] * share)).astype(np.int64)
    count[days == 0] = 0
    kept = (count * draws.uniform("season kept", 0.8, 0.9, count=seasons)).astype(np.int64)
    season, place, real = _places(count)
    part = place / np.take_along_axis(np.maximum(count - 1, 1), season, axis=1)
    time = start[season] + np.take_along_axis(days, season, axis=1) * part
    # Sorted by season and then by chance, the first of each season are kept.
    chance = season + draws.uniform("point kept", count=season.shape[1])
    order = np.argsort(np.where(real, chance, np.inf), axis=1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    rank -= np.take_along_axis(np.cumsum(count, axis=1) - count, season, axis=1)
    return time, real & (rank < np.take_along_axis(kept, season, axis=1))


_WAYS: dict[str, Callable[[Draws, Floats, Ints], tuple[Floats, Bools]]] = {
    "regular": _regular,
    "random_gaps": _random_gaps,
    "variable_cadence": _variable_cadence,
    "astronomical": _astronomical,
}


def _places(count: Ints) -> tuple[Ints, Ints, Bools]:
    """For rows of points that come part after part: the part of each point, its place there, and whether it is real.

    Shapes:
        - **count:** :math:`(n, parts)`
        - **output:** :math:`(n, L)` each
    """
    end = np.cumsum(count, axis=1)
    position = np.arange(int(end[:, -1].max()))
    part = np.zeros((len(count), len(position)), dtype=np.int64)
    for border in end[:, :-1].T:
        part += position >= border[:, None]
    return part, position - np.take_along_axis(end - count, part, axis=1), position < end[:, -1:]
