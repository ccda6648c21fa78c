"""Groups of neighbouring stars that share a trend of the instrument."""

from __future__ import annotations

import numpy as np

from stgraph.data.simulation.light_curves.draws import Draws, Floats, Ints
from stgraph.data.simulation.light_curves.signals import damped_random_walk

__all__ = ["group_trends", "sky_positions"]

_RADIUS = 0.05  # degrees from a group's centre to its outermost star
_PLASTIC = 1.3247179572447460  # root of x^3 = x + 1


def group_trends(draws: Draws, time: Floats) -> Floats:
    r"""Draw a trend per group: slow and fast sinusoids and a damped random walk, with mean 0 and variance 1 in time.

    Shapes:
        - **time:** :math:`(T)`, equally spaced
        - **output:** :math:`(groups, T)`
    """
    span = time[-1] - time[0]
    steps = len(time) - 1
    slow = span * draws.uniform("slow period", 0.5, 2.0, count=2)
    # From an eighth of the span down to some steps, uniform in the logarithm.
    fastest = min(8.0, steps / 8) / steps
    fast = span * np.exp(draws.uniform("fast period", np.log(fastest), np.log(1 / 8), count=3))
    period = np.concatenate([slow, fast], axis=1)
    amplitude = draws.uniform("trend amplitude", 0.5, 1.0, count=5)
    phase = draws.uniform("trend phase", 0.0, 2 * np.pi, count=5)
    tau = np.full((len(draws), 1), span / 30)
    grid = np.broadcast_to(time, (len(draws), len(time)))
    trend = damped_random_walk(grid, tau, np.ones_like(tau), draws.normal("trend walk", steps))
    for wave in range(5):
        column = slice(wave, wave + 1)
        trend += amplitude[:, column] * np.sin(2 * np.pi * time / period[:, column] + phase[:, column])
    trend -= trend.mean(axis=1, keepdims=True)
    trend /= trend.std(axis=1, keepdims=True)
    return trend


def sky_positions(centres: Draws, stars: Draws, group: Ints) -> Floats:
    r"""Place each star at most 0.05 degrees from the centre of its group; the groups lie far apart.

    The centres are points of the additive recurrence by the powers of the plastic number, shifted at random and
    projected to the sphere with equal area, so that however many there are, they keep away from each other: 6250
    groups by more than a degree.

    Args:
        centres: Random numbers of the sky as a whole.
        stars: Random numbers of the stars.
        group: Group of each star.

    Shapes:
        - **group:** :math:`(N)`
        - **output:** :math:`(N, 2)`, right ascension and declination in degrees
    """
    shift = centres.uniform("sky shift", count=2)
    u, v = ((shift + (group[:, None] + 1) / _PLASTIC ** np.array([1.0, 2.0])) % 1.0).T
    ra, dec = 2 * np.pi * u, np.arcsin(2 * v - 1)
    centre = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=1)
    north = np.cross(centre, east)
    angle = stars.uniform("sky angle", 0.0, 2 * np.pi)[:, None]
    radius = np.deg2rad(_RADIUS) * np.sqrt(stars.uniform("sky radius"))[:, None]
    x, y, z = (np.cos(radius) * centre + np.sin(radius) * (np.cos(angle) * east + np.sin(angle) * north)).T
    sky: Floats = np.rad2deg(np.stack([np.arctan2(y, x) % (2 * np.pi), np.arcsin(np.clip(z, -1.0, 1.0))], axis=1))
    return sky
