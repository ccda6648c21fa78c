"""Mock light curves as the graph of their stars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.data.simulation.light_curves.curves import count_points, draw_curves, names_of
from stgraph.data.simulation.light_curves.recipe import Recipe, check_count
from stgraph.data.simulation.light_curves.shared import simulate_groups
from stgraph.errors import InputError

__all__ = ["simulate_light_curves"]


def simulate_light_curves(
    num_curves: int = 50_000,
    *,
    seed: int = 42,
    first: int = 0,
    classes: Mapping[str, float] | None = None,
    samplings: Mapping[str, float] | None = None,
    duration: tuple[float, float] = (50.0, 500.0),
    points: tuple[int, int] = (200, 999),
    snr: tuple[float, float] = (5.0, 30.0),
    flare_rate: float = 0.0,
    transit_fraction: float = 0.0,
    shared_sampling: bool = False,
    group_size: int = 8,
    trend_variance: float = 0.5,
) -> Data:
    r"""Draw light curves of stars.

    Each curve is a function of the settings, the seed and its number alone: ``first`` makes any part of a set again.
    A curve is the flux of its class, events, white noise and an offset of 8 to 12. The standard deviation of the noise
    is that of the class's flux (1 where this has no variance) divided by the signal-to-noise ratio, and the reported
    error of each point is that times 0.8 to 1.2. All ranges are uniform; times are in days.

    ====================  ====================  =======================================================================
    class                 default probability   flux
    ====================  ====================  =======================================================================
    ``"sinusoid"``        0.30                  :math:`A \sin(2\pi t/P + \varphi)`, :math:`P` 2--100, :math:`A` 0.5--2
    ``"multiperiodic"``   0.25                  sum of 2--4 sinusoids, by falling amplitude, :math:`P` 5--100,
                                                :math:`A` 0.3--1.5
    ``"drw"``             0.25                  damped random walk from 0, :math:`\tau` 5--50, :math:`\sigma` 0.5--2
    ``"qpo"``             0.20                  :math:`A \sin(2\pi t/P + \theta(t))`, :math:`\theta` a random walk of
                                                variance :math:`2\pi t/(QP)`, :math:`P` 10--50, :math:`Q` 5--20,
                                                :math:`A` 0.5--2
    ``"rotation"``        0                     dips of 12 growing and decaying spots on a star that rotates
                                                differentially, :math:`P` 2--40
    ====================  ====================  =======================================================================

    =======================  =====================  ===================================================================
    sampling                 default probability    times
    =======================  =====================  ===================================================================
    ``"regular"``            0.40                   n equal steps
    ``"random_gaps"``        0.20                   without int(n g / 20) runs of 5--29 points, g 0.1--0.3
    ``"variable_cadence"``   0.20                   3--5 segments with random borders, each equally spaced with 0.5--2
                                                    times its share of n points, at least 10
    ``"astronomical"``       0.20                   one season a year, each of 150--180 days from the days 0, 365, ...
                                                    on, of 1.3 n points in all, at least 26 each, without 10--20 %
                                                    of them
    =======================  =====================  ===================================================================

    A season ends with the observations, and is left out if less than 10 days of it remain. So a star observed for 300
    days has one season, and its recorded duration is the length of that season. The points are shared among the
    seasons by their length.

    Args:
        num_curves: Number of curves N.
        seed: Seed of all random numbers.
        first: Number of the first curve.
        classes: Probability of each class.
        samplings: Probability of each way of sampling.
        duration: Shortest and longest time of observation.
        points: Smallest and largest number of points n that a sampling starts from, at least 10.
        snr: Smallest and largest signal-to-noise ratio; ``(inf, inf)`` for no noise.
        flare_rate: Expected number of flares per day.
        transit_fraction: Share of the stars with transits.
        shared_sampling: Observe all stars at the same times, equally spaced, with gaps in the mask (samplings
            ``"random_gaps"``, the default here, and ``"regular"``), in groups of neighbours on the sky. A group shares
            a trend: sinusoids and a damped random walk, times 0.8 to 1.2 for each star.
        group_size: Number of stars in a group; edges lead to each star from the others of its group.
        trend_variance: Variance of the trend divided by that of the star's own flux.

    Shapes:
        - **output:** ``x``, ``mask``, ``flux_error`` :math:`(N, L, 1)`, ``time`` :math:`(N, L)` in days, ``length``
          :math:`(N)`, the number of real points, which stand first, ``node_names`` and ``metadata``, a dictionary of
          arrays with N entries: class ``lc_type``, ``sampling_strategy``, ``duration`` (from the first to the last
          point), ``points``, ``snr``, ``offset``, ``noise_level``, and the true parameters, NaN where a class has none:
          ``period``, ``amplitude``, ``phase`` (in radians; the further sinusoids with ``_2``, ``_3``, ``_4``),
          ``components``, ``tau``, ``sigma``, ``q``, ``rotation_period`` (for all classes with a single period),
          ``inclination`` (in radians), ``shear``, ``spot_lifetime``, the number of ``flares`` and
          ``transit_period``, ``transit_depth`` (in units of flux), ``transit_duration`` and ``transit_time``
        - with ``shared_sampling``: ``time`` :math:`(L)`, no ``length``, ``sky`` :math:`(N, 2)` (right ascension and
          declination in degrees), ``pos`` :math:`(N, 3)` (unit vectors), ``edge_index``
          :math:`(2, N (\mathrm{group\_size} - 1))`, and ``group`` and ``trend_amplitude`` in the metadata

    Raises:
        InputError: If a name is unknown, probabilities do not add up to 1, a number is out of its range, or the curves
            do not make up whole groups.
        InputTypeError: If an argument is of the wrong type.

    Examples:
        >>> data = simulate_light_curves(4, points=(20, 40), samplings={"regular": 1.0}, classes={"sinusoid": 1.0})
        >>> data.x.shape[0], data.mask.sum(dim=1).flatten().equal(data.length), list(data.metadata["lc_type"][:1])
        (4, True, [np.str_('sinusoid')])
        >>> again = simulate_light_curves(1, first=3, points=(20, 40), samplings={"regular": 1.0})
        >>> again.length.equal(data.length[3:])
        True
    """
    check_count("num_curves", num_curves, 1, 2**40)
    check_count("first", first, 0, 2**40)
    if shared_sampling and samplings is None:
        samplings = {"random_gaps": 1.0}
    recipe = Recipe(seed, classes, samplings, duration, points, snr, flare_rate, transit_fraction)
    index = np.arange(first, first + num_curves)
    if shared_sampling:
        return simulate_groups(recipe, index, group_size, trend_variance)
    if (group_size, trend_variance) != (8, 0.5):
        raise InputError("group_size and trend_variance are for shared_sampling=True, which is False")
    points_of = count_points(recipe, index)
    curves = draw_curves(recipe, index, points_of, int(points_of.max()))
    length = torch.from_numpy(curves.length)
    return Data(
        x=torch.from_numpy(curves.flux).unsqueeze(-1),
        mask=(torch.arange(curves.flux.shape[1]) < length.unsqueeze(1)).unsqueeze(-1),
        time=torch.from_numpy(curves.time),
        flux_error=torch.from_numpy(curves.flux_error).unsqueeze(-1),
        length=length,
        node_names=names_of(index),
        metadata=curves.metadata,
    )
