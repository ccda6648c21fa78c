"""Scale an image to the range from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.checks import as_numeric_array, first_position
from stgraph.data.images.image import as_cube, as_float32
from stgraph.errors import InputError

__all__ = ["normalise_image"]


def normalise_image(
    values: Any, low: float = 1.0, high: float = 99.0, *, mask: Any = None
) -> tuple[npt.NDArray[np.float32], float, float]:
    r"""Clip an image to two of its percentiles and map these to 0 and 1, with one pair of constants for all bands.

    Args:
        values: The image. NaN stays NaN and does not count.
        low: The lower percentile.
        high: The upper percentile.
        mask: True (or not 0) where values count for the percentiles. (default: everywhere)

    Shapes:
        - **values:** :math:`(H, W, C)`, or :math:`(H, W)` for one band; **mask:** :math:`(H, W)` or :math:`(H, W, C)`
        - **output:** :math:`(H, W, C)`, float32

    Returns:
        The scaled image and the values of the two percentiles.

    Raises:
        InputError: If the percentiles are not within 0..100 and rising, the image is constant between them, shapes do
            not fit, a value is infinite, or nothing counts.
        InputTypeError: If something is not numeric.

    Examples:
        >>> scaled, lowest, highest = normalise_image([[0.0, 5.0, 10.0]], low=0, high=100)
        >>> scaled[0, :, 0], lowest, highest
        (array([0. , 0.5, 1. ], dtype=float32), 0.0, 10.0)
    """
    if not 0 <= low < high <= 100:
        raise InputError(f"low and high must be percentiles with 0 <= low < high <= 100, got {low} and {high}")
    cube = as_float32(as_cube(values, "values"))
    counted = _counted(cube, mask)
    lowest, highest = (float(value) for value in np.percentile(counted, [low, high]))
    if not lowest < highest:
        raise InputError(f"values must not be constant, but their percentiles {low:g} and {high:g} are both {lowest:g}")
    scaled = np.clip(cube, np.float32(lowest), np.float32(highest))
    scaled -= np.float32(lowest)
    scaled /= np.float32(highest) - np.float32(lowest)
    return scaled, lowest, highest


def _counted(cube: npt.NDArray[np.float32], mask: Any) -> npt.NDArray[np.float32]:
    """The values that count, as a vector."""
    infinite = np.isinf(cube)
    if infinite.any():
        raise InputError(
            f"values must not be infinite, but {int(infinite.sum())} are, the first at {first_position(infinite)}"
        )
    counts = ~np.isnan(cube)
    if mask is not None:
        given = as_numeric_array(mask, "mask")
        if given.shape not in (cube.shape[:2], cube.shape):
            raise InputError(f"mask must have the shape {cube.shape[:2]} or {cube.shape}, got {given.shape}")
        counts &= (given != 0).reshape(*given.shape[:2], -1)
    if not counts.any():
        raise InputError("values must hold something, but all of it is NaN or masked")
    return cube.ravel() if counts.all() else cube[counts]
