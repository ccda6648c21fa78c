"""An image of three colours that shows an image of many bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.images.image import as_band_wavelengths, as_cube, as_float32
from stgraph.errors import InputError

__all__ = ["rgb_preview"]

_COLOURS = (640.0, 550.0, 460.0)  # red, green, blue in nm
_NEAR = 50.0  # nm up to which a band shows a colour
_STRETCH = (2.0, 98.0)


def rgb_preview(values: Any, wavelength: Any = None) -> npt.NDArray[np.uint8]:
    r"""Show an image of many bands in red, green and blue.

    The bands are those nearest to 640, 550 and 460 nm. Without wavelengths, or if one of these has no band within
    50 nm, they are the middles of the last, the second and the first third of the bands (so that of three bands the
    last is red). Each is stretched from its 2nd to its 98th percentile.

    Args:
        values: The image; NaN is shown black.
        wavelength: Wavelengths of the bands in nm.

    Shapes:
        - **values:** :math:`(H, W, C)`, or :math:`(H, W)` for one band, which is shown grey
        - **wavelength:** :math:`(C)`
        - **output:** :math:`(H, W, 3)`

    Raises:
        InputError: If the shapes do not fit or no value is finite.
        InputTypeError: If something is not numeric.

    Examples:
        >>> rgb_preview([[[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]])
        array([[[  0,   0,   0],
                [255, 255, 255]]], dtype=uint8)
    """
    cube = as_cube(values, "values")
    bands = as_float32(cube[:, :, _chosen(cube.shape[2], wavelength)])
    good = np.isfinite(bands)
    if not good.any():
        raise InputError("values must hold something to show, but none is finite")
    shown = np.zeros(bands.shape, dtype=np.uint8)
    for colour in range(3):
        inside = good[:, :, colour]
        part = bands[:, :, colour][inside]
        if part.size == 0:
            continue
        low, high = np.percentile(part, _STRETCH)
        stretched = (part - low) / (high - low) if high > low else np.full(part.shape, 0.5)
        shown[:, :, colour][inside] = np.rint(255 * stretched.clip(0, 1)).astype(np.uint8)
    return shown


def _chosen(bands: int, wavelength: Any) -> list[int]:
    if wavelength is not None:
        distance = np.abs(as_band_wavelengths(wavelength, bands)[:, None] - np.array(_COLOURS))
        if bool((distance.min(axis=0) <= _NEAR).all()):
            return [int(band) for band in distance.argmin(axis=0)]
    return [bands * 5 // 6, bands // 2, bands // 6]
