"""Positions of stars on the sky."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.data.checks import as_numeric_array, first_position
from stgraph.errors import InputError
from stgraph.ops.geodesy import sphere_points

__all__ = ["as_sky", "unit_vectors"]


def as_sky(value: Any, names: list[str]) -> npt.NDArray[np.float64]:
    """Check right ascension (0 to 360) and declination (-90 to 90), in degrees.

    Shapes:
        - **value**, **output:** :math:`(N, 2)`

    Raises:
        InputError: If the shape does not fit the stars, or a coordinate is NaN or out of range; names the star.
        InputTypeError: If it is not numeric.
    """
    array = as_numeric_array(value, "sky")
    if array.shape != (len(names), 2):
        raise InputError(f"sky must have the shape ({len(names)}, 2), (ra, dec) of each star, got {array.shape}")
    sky = np.array(np.ma.filled(array.astype(np.float64), np.nan))
    for column, what, low, high in ((0, "right ascension", 0.0, 360.0), (1, "declination", -90.0, 90.0)):
        bad = ~((sky[:, column] >= low) & (sky[:, column] <= high))
        if bad.any():
            (row,) = first_position(bad)
            raise InputError(
                f"sky must hold a {what} within {low:g}..{high:g} degrees, but star {names[row]!r} (number {row}) has "
                f"{sky[row, column]}"
            )
    return sky


def unit_vectors(sky: Tensor) -> Tensor:
    """Points on the unit sphere in float32, whose nearest neighbours are the nearest on the sky.

    :class:`~stgraph.data.KNNGraph` and :class:`~stgraph.data.RadiusGraph` with their Euclidean metric therefore
    connect neighbours on the sky, also across right ascension 0 and the poles; their distances are chords, in radians
    where they are small.

    Shapes:
        - **sky:** :math:`(N, 2)`, right ascension and declination in degrees
        - **output:** :math:`(N, 3)`

    Examples:
        >>> unit_vectors(torch.tensor([[0.0, 0.0], [90.0, 0.0], [12.0, 90.0]])).abs().round()
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    return sphere_points(sky, radius=1.0).to(torch.float32)
