"""The flux of a rotating star with dark spots that grow and decay."""

from __future__ import annotations

import numpy as np

from stgraph.data.simulation.light_curves.draws import Draws, Floats

__all__ = ["rotation"]

_SPOTS = 12
_GROWTH = 0.3  # share of a spot's life in which it grows


def rotation(draws: Draws, time: Floats) -> tuple[Floats, dict[str, Floats]]:
    r"""Sum the dips of twelve spots on a star that rotates differentially.

    A spot at the latitude :math:`\lambda` goes round in :math:`P / (1 - \alpha \sin^2 \lambda)`, with the rotation
    period :math:`P` of the equator (2 to 40 days) and a shear :math:`\alpha` of at most 0.05. It dims the star by its
    area times the cosine of the angle between its normal and the line of sight, and not at all on the far side. Its
    area grows linearly in the first 0.3 of its life and then decays linearly, as the areas of sunspots do (V. Bumba,
    Bull. Astron. Inst. Czech. 14, 91, 1963). A life lasts 3 to 10 rotations, but at least a quarter of the
    observations; the lives begin one after another, spread over the time of the observations and the life before.

    Shapes:
        - **time:** :math:`(n, L)`, in days
        - **output:** :math:`(n, L)`, and :math:`(n)` for each parameter; ``amplitude`` is the dip of the largest
          possible spot in the middle of the disk
    """
    period = draws.uniform("period", 2.0, 40.0)
    amplitude = draws.uniform("amplitude", 0.5, 2.0)
    shear = draws.uniform("shear", 0.0, 0.05)
    # Directions of the axis are uniform on the sphere.
    inclination = np.arccos(1 - draws.uniform("tilt"))
    span = time[:, -1] - time[:, 0]
    lifetime = np.maximum(draws.uniform("spot lifetime", 3.0, 10.0) * period, span / 4)
    order = np.arange(_SPOTS) + draws.uniform("spot birth", count=_SPOTS)
    birth = time[:, :1] - lifetime[:, None] + (span + lifetime)[:, None] * order / _SPOTS
    latitude = np.arcsin(draws.uniform("spot latitude", -0.7, 0.7, count=_SPOTS))
    longitude = draws.uniform("spot longitude", 0.0, 2 * np.pi, count=_SPOTS)
    area = amplitude[:, None] * draws.uniform("spot area", 0.3, 1.0, count=_SPOTS)
    rate = 2 * np.pi / period[:, None] * (1 - shear[:, None] * np.sin(latitude) ** 2)
    polar = np.sin(latitude) * np.cos(inclination)[:, None]
    equatorial = np.cos(latitude) * np.sin(inclination)[:, None]
    flux = np.zeros_like(time)
    for spot in range(_SPOTS):
        column = slice(spot, spot + 1)
        age = (time - birth[:, column]) / lifetime[:, None]
        grown = np.clip(np.minimum(age / _GROWTH, (1 - age) / (1 - _GROWTH)), 0.0, None)
        cosine = polar[:, column] + equatorial[:, column] * np.cos(rate[:, column] * time + longitude[:, column])
        flux -= area[:, column] * grown * np.clip(cosine, 0.0, None)
    known = {"period": period, "amplitude": amplitude, "shear": shear, "inclination": inclination}
    return flux, {**known, "spot_lifetime": lifetime, "rotation_period": period}
