"""Where events lie in series, and how each kind of event changes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stgraph.data.simulation.anomalies.choices import place_windows
from stgraph.data.simulation.light_curves.draws import Bools, Draws, Floats, Ints
from stgraph.errors import InputError

__all__ = ["change", "locate"]

_SPREAD = 1.4826  # standard deviation of a normal distribution in median absolute deviations
_STRETCH = (0.02, 0.10)  # shares of the steps
_LEAST_STRETCH = 3


class _Units(NamedTuple):
    """What the sizes of events in k series are measured by.

    Shapes:
        - **spike**, **spread**, **least:** :math:`(k)`
    """

    spike: Floats
    spread: Floats
    least: Floats


def _widths(kind: str, draws: Draws, steps: int) -> Ints:
    """Number of steps of each event."""
    if kind == "spike":
        return draws.integers("width", 1, 3)
    stretch = np.rint(draws.uniform("width", *_STRETCH) * steps).astype(np.int64)
    return np.maximum(stretch, _LEAST_STRETCH)


def _measure_units(series: Floats, good: Bools) -> _Units:
    """Robust sizes of the good steps of each series [k, T], which has one at least."""
    known = np.where(good, series, np.nan)
    spread = _SPREAD * _median(np.abs(known - _median(known)[:, None]))
    changes = np.diff(known, axis=1)
    rough = _SPREAD * _median(np.abs(changes - _median(changes)[:, None]))
    count = good.sum(axis=1)
    mean = np.where(good, series, 0.0).sum(axis=1) / count
    deviation = np.sqrt((np.where(good, series - mean[:, None], 0.0) ** 2).sum(axis=1) / count)
    # Series that mostly stand still have no robust spread, constant ones none at all.
    spread = np.where(spread > 0, spread, np.where(deviation > 0, deviation, 1.0))
    return _Units(np.maximum(rough, spread / 3), spread, np.where(good, series, np.inf).min(axis=1))


def locate(kind: str, draws: Draws, series: Floats, good: Bools, free: Bools) -> tuple[Ints, Ints]:
    """Begin and width of an event in each series, in a stretch that is free and has the most good steps.

    A series that stands still where it is stuck would show nothing, so there the steps that change count.

    Raises:
        InputError: If there is no room left.
    """
    width = _widths(kind, draws, series.shape[1])
    counts = good.astype(np.int64)
    if kind == "stuck":
        counts[:, 1:] += good[:, 1:] & (series[:, 1:] != series[:, :-1])
    counts -= (2 * series.shape[1] + 1) * ~free  # one step that is taken weighs more than all the good ones
    begin, most = place_windows(counts, width, draws.uniform("begin"))
    if (most < 1).any():
        raise InputError(
            f"there is no room for an event of {int(width[most.argmin()])} steps; expected longer series, fewer events "
            "per node, or an earlier first_step"
        )
    return begin, width


def change(kind: str, draws: Draws, series: Floats, good: Bools, begin: Ints, width: Ints) -> Floats:
    """The series [k, T] with an event in each; they may differ at the good steps of the stretch only."""
    place = np.arange(series.shape[1]) - begin[:, None]
    inside = (place >= 0) & (place < width[:, None]) & good
    if kind == "stuck":
        rows, before = np.arange(len(series)), np.maximum(begin - 1, 0)
        last = np.where(good[rows, before], before, np.argmax(inside, axis=1))
        return np.where(inside, series[rows, last][:, None], series)
    units = _measure_units(series, good)
    if kind == "spike":
        size = np.repeat((units.spike * draws.uniform("height", 3.0, 8.0))[:, None], series.shape[1], axis=1)
    else:
        size = (units.spread * draws.uniform("height", 1.0, 3.0))[:, None] * (place + 1) / width[:, None]
    sign = np.where(draws.uniform("sign") < 0.5, -1.0, 1.0)
    lowest = np.where(inside, series - size, np.inf).min(axis=1)
    # A count below zero, or a value never seen before, would be found without any skill.
    sign[lowest < units.least] = 1.0
    return np.where(inside, series + sign[:, None] * size, series)


def _median(values: Floats) -> Floats:
    """Median of the values of each row that are not NaN; 0 where there are none."""
    rows = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(rows).sum(axis=1)
    index = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=1).clip(max=max(values.shape[1] - 1, 0))
    if not values.shape[1]:
        return np.zeros(len(values))
    middle: Floats = np.take_along_axis(rows, index, axis=1).mean(axis=1)
    return np.where(count > 0, middle, 0.0)
