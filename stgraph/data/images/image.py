"""An image of many bands with what is known of it, and the checks of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.checks import as_finite_array, as_numeric_array
from stgraph.errors import InputError

__all__ = [
    "MAPPED_BYTES",
    "MICROMETRES_BELOW",
    "Image",
    "as_band_wavelengths",
    "as_cube",
    "as_float32",
    "without_missing",
]

#: Optical wavelengths below this are micrometres: none are so short in nm, or so long in micrometres.
MICROMETRES_BELOW = 100.0

#: Files up to this size are read at once, larger ones stay on disk where their type allows this.
MAPPED_BYTES = 2**28


@dataclass(frozen=True, eq=False)
class Image:
    r"""An image of many bands.

    Args:
        values: The image; NaN where the file says that there is no data.
        wavelength: Wavelengths of the bands in nm, where known.
        georeference: Where the image lies on the Earth, as plain values under the names that its file gives them
            (tags of a GeoTIFF, fields of an ENVI header), and ``format``, the kind of file (``"geotiff"``, ``"envi"``).
        name: Name of the variable in its file, or of the file.

    Shapes:
        - **values:** :math:`(H, W, C)`, float32
        - **wavelength:** :math:`(C)`, float64

    Examples:
        >>> Image(np.zeros((2, 3, 4), np.float32)).values.shape
        (2, 3, 4)
    """

    values: npt.NDArray[np.float32]
    wavelength: npt.NDArray[np.float64] | None = None
    georeference: dict[str, Any] | None = None
    name: str = ""


def as_cube(value: Any, name: str) -> npt.NDArray[Any]:
    """An image as an array [H, W, C] of its own type; [H, W] is an image of one band.

    Raises:
        InputError: If it has another number of dimensions or no pixels.
        InputTypeError: If it does not hold real numbers.
    """
    array = as_numeric_array(value, name)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.size == 0:
        raise InputError(f"{name} must be an image of the shape (H, W, C) or (H, W), got {array.shape}")
    return array


def as_float32(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The array itself if it is of float32 already (also a memory map), else a copy; what is too large is infinite."""
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(np.float64), np.nan)
    with np.errstate(over="ignore"):
        return array.astype(np.float32, order="C", copy=False)


def without_missing(values: npt.NDArray[Any], missing: Any) -> npt.NDArray[np.float32]:
    """The values in float32, NaN where they equal the number for missing data that a file states, if it is one."""
    image = as_float32(values)
    try:
        number = float(missing)
    except (TypeError, ValueError):
        return image
    with np.errstate(over="ignore"):
        bad = values == number
    return np.where(bad, np.float32(np.nan), image) if bool(bad.any()) else image


def as_band_wavelengths(value: Any, bands: int, name: str = "wavelength") -> npt.NDArray[np.float64]:
    """Wavelengths [C] in nm.

    Raises:
        InputError: If there are too few or too many, one is not finite or not positive, or they are in micrometres.
        InputTypeError: If they are not numeric.
    """
    wavelength = as_finite_array(value, name)
    if wavelength.shape != (bands,):
        raise InputError(f"{name} must hold the wavelengths of {bands} bands, got the shape {wavelength.shape}")
    if not bool((wavelength > 0).all()):
        raise InputError(f"{name} must be positive, but {name}[{int((wavelength <= 0).argmax())}] is not")
    if bool((wavelength < MICROMETRES_BELOW).all()):
        raise InputError(
            f"{name} must be in nm, got {wavelength.min():g} to {wavelength.max():g}; multiply micrometres by 1000"
        )
    return wavelength
