"""Flares and transits, which are added to the flux of a star."""

from __future__ import annotations

import numpy as np

from stgraph.data.simulation.light_curves.draws import Draws, Floats, Ints

__all__ = ["flares", "transits"]

_DECAYS = 10.0  # a flare is followed for so many decay times


def flares(draws: Draws, time: Floats, scale: Floats, rate: float) -> tuple[Floats, Ints]:
    r"""Flares that come at random with a constant rate: a linear rise, then an exponential decay.

    The decay time is 0.1 to 1 day, the rise a fifth of it. The peak :math:`h` has a density proportional to
    :math:`h^{-2}`, from 2 to 40 times ``scale``.

    Args:
        draws: Random numbers of the curves.
        time: Times in days, not decreasing.
        scale: Unit of the peaks.
        rate: Expected number of flares per day.

    Shapes:
        - **time:** :math:`(n, L)`, **scale:** :math:`(n)`
        - **output:** :math:`(n, L)`, and the number of flares that began during the observations :math:`(n)`
    """
    span = time[:, -1] - time[:, 0]
    expected = rate * float(span.max())
    most = int(expected + 10 * np.sqrt(expected) + 20)  # more come with a chance below 1e-20
    begin = np.cumsum(-np.log1p(-draws.uniform("flare wait", count=most)) / rate, axis=1)
    happens = begin < span[:, None]
    decay = draws.uniform("flare decay", 0.1, 1.0, count=most)[happens]
    height = 2 / draws.uniform("flare height", 0.05, 1.0, count=most)[happens]
    row = np.nonzero(happens)[0]
    begin = (begin + time[:, :1])[happens]
    flare, point = _points_between(time, row, begin, begin + (0.2 + _DECAYS) * decay)
    age = (time.ravel()[point] - begin[flare]) / decay[flare]
    shape = np.where(age < 0.2, age / 0.2, np.exp(0.2 - age))
    shape[(age < 0) | (age > 0.2 + _DECAYS)] = 0.0
    flux = np.zeros(time.size)
    np.add.at(flux, point, shape * (scale[row] * height)[flare])
    number: Ints = happens.sum(axis=1)
    return flux.reshape(time.shape), number


def transits(draws: Draws, time: Floats, scale: Floats, fraction: float) -> tuple[Floats, dict[str, Floats]]:
    r"""Periodic dips in the form of a trapezoid for a fraction of the stars.

    Args:
        draws: Random numbers of the curves.
        time: Times in days.
        scale: Unit of the depth, which is 0.5 to 3 times this.
        fraction: Share of stars that have transits.

    Shapes:
        - **time:** :math:`(n, L)`, **scale:** :math:`(n)`
        - **output:** :math:`(n, L)`, and :math:`(n)` for ``transit_period`` (3 to 30 days), ``transit_depth`` (in units
          of flux), ``transit_duration`` (2 to 8 % of the period, from first to last contact) and ``transit_time`` (the
          middle of the first one, in days); NaN for stars without transits
    """
    has = draws.uniform("has transits") < fraction
    period = draws.uniform("transit period", 3.0, 30.0)
    duration = period * draws.uniform("transit duration", 0.02, 0.08)
    ingress = duration * draws.uniform("transit ingress", 0.1, 0.4)
    depth = scale * draws.uniform("transit depth", 0.5, 3.0)
    first = time[:, 0] + period * draws.uniform("transit time")
    away = np.abs((time - first[:, None] + period[:, None] / 2) % period[:, None] - period[:, None] / 2)
    inside = np.clip((duration[:, None] / 2 - away) / ingress[:, None], 0.0, 1.0)
    known = {"period": period, "depth": depth, "duration": duration, "time": first}
    flux = np.where(has[:, None], -depth[:, None] * inside, 0.0)
    return flux, {f"transit_{name}": np.where(has, values, np.nan) for name, values in known.items()}


def _points_between(time: Floats, row: Ints, begin: Floats, end: Floats) -> tuple[Ints, Ints]:
    """All pairs of an interval and a point (of the flattened times) of its row that may lie in it."""
    slack = 1e-3  # rounding of the shifted times below must not lose a point
    # Shifted row by row, the times of all rows are one sorted array.
    shift = (float(time[:, -1].max()) - float(time[:, 0].min()) + 100.0) * np.arange(len(time))
    line = (time + shift[:, None]).ravel()
    first = np.searchsorted(line, begin + shift[row] - slack)
    last = np.searchsorted(line, np.minimum(end, time[row, -1]) + shift[row] + slack)
    count = last - first
    interval = np.repeat(np.arange(len(row)), count)
    return interval, np.arange(len(interval)) + np.repeat(first - (np.cumsum(count) - count), count)
