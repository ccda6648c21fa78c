"""Spectral responses: how much of each wavelength every band of a multispectral sensor takes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = [
    "SENSOR_BANDS",
    "SensorBand",
    "apply_response",
    "band_response",
    "normalise_response",
    "sensor_response",
    "stretched_wavelengths",
]

_SMALLEST_SUM = 1e-8
_SMALLEST_RESPONSE = 1e-3  # of the peak: more than 3.7 standard deviations away from every wavelength of the cube


class SensorBand(NamedTuple):
    """A band of a sensor: its centre and its lower and upper edge in nm."""

    name: str
    center: float
    lower: float
    upper: float


_IKONOS = (
    SensorBand("blue", 480, 421, 539),
    SensorBand("green", 552, 480, 624),
    SensorBand("red", 666, 602, 729),
    SensorBand("near infrared", 803, 713, 893),
)

#: Bands of IKONOS (1, 3 and 4 bands), WorldView-2 (8) and WorldView-3 (16).
SENSOR_BANDS: dict[int, tuple[SensorBand, ...]] = {
    1: (SensorBand("panchromatic", 729, 409, 1048),),
    3: _IKONOS[:3],
    4: _IKONOS,
    8: (
        SensorBand("coastal", 427, 396, 458),
        SensorBand("blue", 478, 442, 515),
        SensorBand("green", 546, 506, 586),
        SensorBand("yellow", 608, 584, 632),
        SensorBand("red", 659, 624, 694),
        SensorBand("red edge", 724, 699, 749),
        SensorBand("NIR1", 833, 765, 901),
        SensorBand("NIR2", 949, 856, 1043),
    ),
    16: (
        SensorBand("coastal", 426, 397, 454),
        SensorBand("blue", 481, 445, 517),
        SensorBand("green", 547, 507, 586),
        SensorBand("yellow", 605, 580, 629),
        SensorBand("red", 661, 626, 696),
        SensorBand("red edge", 724, 698, 749),
        SensorBand("NIR1", 832, 765, 899),
        SensorBand("NIR2", 948, 857, 1039),
        SensorBand("SWIR1", 1210, 1184, 1235),
        SensorBand("SWIR2", 1572, 1546, 1598),
        SensorBand("SWIR3", 1661, 1636, 1686),
        SensorBand("SWIR4", 1730, 1702, 1759),
        SensorBand("SWIR5", 2164, 2137, 2191),
        SensorBand("SWIR6", 2203, 2174, 2232),
        SensorBand("SWIR7", 2260, 2228, 2292),
        SensorBand("SWIR8", 2329, 2285, 2373),
    ),
}


def band_response(
    centers: Any,
    lower: Any,
    upper: Any,
    wavelengths: Any,
    fwhm_factor: float = 4.2,
    names: Sequence[str] | None = None,
) -> Tensor:
    r"""Gaussian responses of bands given by their centres and edges.

    .. math::
        R_{ij} = \frac{g_{ij}}{\sum_j g_{ij}}, \quad g_{ij} = e^{-(\lambda_j - c_i)^2 / 2 s_i^2}, \quad
        s_i = \frac{u_i - l_i}{f}

    Args:
        centers: Centres :math:`c` of the bands in nm.
        lower: Lower edges :math:`l` in nm.
        upper: Upper edges :math:`u` in nm.
        wavelengths: Wavelengths :math:`\lambda` of the cube in nm, in any order.
        fwhm_factor: Width from edge to edge over the standard deviation, :math:`f`.
        names: Names of the bands for error messages.

    Shapes:
        - **centers**, **lower**, **upper:** :math:`(b)`, **wavelengths:** :math:`(C)`
        - **output:** :math:`(b, C)`, float64; rows add up to 1

    Raises:
        InputError: If shapes or numbers do not fit, or a band does not see any of the wavelengths.

    Examples:
        >>> band_response([500.0], [495.8], [504.2], [490.0, 500.0, 510.0]).round(decimals=3)
        tensor([[0., 1., 0.]], dtype=torch.float64)
    """
    edges = [_vector(value, name) for value, name in ((centers, "centers"), (lower, "lower"), (upper, "upper"))]
    if len({edge.shape for edge in edges}) > 1:
        shapes = ", ".join(str(len(edge)) for edge in edges)
        raise InputError(f"centers, lower and upper must be of one length, got {shapes}")
    center, low, high = edges
    nanometers = _vector(wavelengths, "wavelengths")
    if bool((nanometers <= 0).any()):
        raise InputError(f"wavelengths must be positive numbers of nm, got {float(nanometers.min()):g}")
    if not bool((low < high).all()):
        band = int((low >= high).nonzero()[0])
        raise InputError(f"lower must be below upper, got {float(low[band]):g} and {float(high[band]):g} nm")
    if not fwhm_factor > 0:
        raise InputError(f"fwhm_factor must be positive, got {fwhm_factor}")
    deviation = (high - low) / fwhm_factor
    response = torch.exp(-0.5 * ((nanometers - center[:, None]) / deviation[:, None]) ** 2)
    blind = response.amax(dim=1) < _SMALLEST_RESPONSE
    if bool(blind.any()):
        band = int(blind.nonzero()[0])
        label = f"{names[band]!r}" if names is not None else f"{band}"
        raise InputError(
            f"band {label} ({float(low[band]):g}-{float(high[band]):g} nm) does not see any of the wavelengths, which "
            f"run from {float(nanometers.min()):g} to {float(nanometers.max()):g}; expected nm that cover it"
        )
    return response / response.sum(dim=1, keepdim=True)


def sensor_response(
    number_of_bands: int,
    wavelengths: Any | Literal["stretched"],
    *,
    channels: int | None = None,
    fwhm_factor: float = 4.2,
) -> Tensor:
    r"""Responses of IKONOS (1 panchromatic, 3 or 4 bands), WorldView-2 (8) or WorldView-3 (16).

    Args:
        number_of_bands: 1, 3, 4, 8 or 16.
        wavelengths: Wavelengths of the cube in nm. ``"stretched"`` invents them
            (:func:`stretched_wavelengths`), as was done for published tables of image fusion; this changes results
            by several dB.
        channels: Number C of the cube's bands; needed for ``"stretched"`` only.
        fwhm_factor: Width of a band from edge to edge over the standard deviation of its Gaussian.

    Shapes:
        - **wavelengths:** :math:`(C)`
        - **output:** :math:`(b, C)`, float64; rows add up to 1

    Raises:
        InputError: If there is no table for the number of bands, wavelengths are missing or not one for each channel,
            or a band does not see any of them; the band is named.

    Examples:
        >>> wavelengths = torch.linspace(400.0, 900.0, 101)
        >>> response = sensor_response(4, wavelengths)
        >>> wavelengths[response.argmax(dim=1)]
        tensor([480., 550., 665., 805.])
    """
    bands = _bands(number_of_bands)
    if isinstance(wavelengths, str):
        if wavelengths != "stretched" or channels is None:
            raise InputError(
                f"wavelengths must be numbers in nm, or 'stretched' with the number of channels; got {wavelengths!r} "
                f"and channels={channels}"
            )
        wavelengths = stretched_wavelengths(number_of_bands, channels)
    nanometers = _vector(wavelengths, "wavelengths")
    if channels is not None and len(nanometers) != channels:
        raise InputError(f"wavelengths must hold one value for each of {channels} channels, got {len(nanometers)}")
    names, centers, lower, upper = zip(*bands, strict=True)
    return band_response(centers, lower, upper, nanometers, fwhm_factor, names)


def stretched_wavelengths(number_of_bands: int, channels: int) -> Tensor:
    r"""Equal steps from the lowest to the highest edge of a sensor's bands, whatever the cube really covers.

    Published tables of image fusion were computed with these instead of the true wavelengths.

    Args:
        number_of_bands: 1, 3, 4, 8 or 16.
        channels: Number C of wavelengths.

    Shapes:
        - **output:** :math:`(C)` in nm, float64

    Raises:
        InputError: If there is no table for the number of bands or no channel.

    Examples:
        >>> stretched_wavelengths(4, 3)
        tensor([421., 657., 893.], dtype=torch.float64)
    """
    bands = _bands(number_of_bands)
    if channels < 1:
        raise InputError(f"channels must be 1 or more, got {channels}")
    lowest, highest = min(band.lower for band in bands), max(band.upper for band in bands)
    return torch.linspace(lowest, highest, channels, dtype=torch.float64)


def normalise_response(values: Any, channels: int) -> Tensor:
    r"""A spectral response of one's own: bands first, and every row divided by its sum.

    Args:
        values: Array or tensor; with more rows than columns it is transposed.
        channels: Number C of the cube's bands.

    Shapes:
        - **values:** :math:`(b, C)` or :math:`(C, b)`
        - **output:** :math:`(b, C)`, float64; rows add up to 1

    Raises:
        InputError: If it is not two-dimensional, not finite, not of C columns, or a row adds up to nothing.

    Examples:
        >>> normalise_response([[1, 0], [1, 4], [2, 0]], channels=3)
        tensor([[0.2500, 0.2500, 0.5000],
                [0.0000, 1.0000, 0.0000]], dtype=torch.float64)
    """
    response = _as_float(values, "srf")
    if response.dim() != 2:
        raise InputError(f"srf must be two-dimensional (bands, channels), got the shape {tuple(response.shape)}")
    if response.shape[0] > response.shape[1]:
        response = response.T
    if response.shape[1] != channels:
        raise InputError(f"srf must have {channels} columns, one for each band of the cube, got {response.shape[1]}")
    if not bool(torch.isfinite(response).all()):
        raise InputError(f"srf must be finite, got {int((~torch.isfinite(response)).sum())} values that are not")
    totals = response.sum(dim=1, keepdim=True)
    if bool((totals <= _SMALLEST_SUM).any()):
        band = int((totals[:, 0] <= _SMALLEST_SUM).nonzero()[0])
        raise InputError(f"srf row {band} must have a positive sum, got {float(totals[band]):.3g}")
    return response / totals


def apply_response(image: Tensor, srf: Tensor) -> Tensor:
    r"""What a sensor of the given spectral response sees of an image, :math:`Y = R X`.

    Args:
        image: Bands of an image.
        srf: Spectral response R.

    Shapes:
        - **image:** :math:`(*, C, H, W)`, **srf:** :math:`(b, C)`
        - **output:** :math:`(*, b, H, W)`

    Raises:
        InputError: If the response does not have as many columns as the image has bands.

    Examples:
        >>> image = torch.tensor([[[2.0]], [[4.0]]])
        >>> apply_response(image, torch.tensor([[0.5, 0.5], [0.0, 1.0]]))[:, 0, 0]
        tensor([3., 4.])
    """
    if image.dim() < 3:
        raise InputError(f"image must have the shape (..., bands, rows, columns), got {tuple(image.shape)}")
    if srf.dim() != 2 or srf.shape[1] != image.shape[-3]:
        raise InputError(f"srf must have the shape (bands, {image.shape[-3]}), got {tuple(srf.shape)}")
    seen: Tensor = srf.to(image) @ image.flatten(-2)
    return seen.reshape(*seen.shape[:-1], *image.shape[-2:])


def _bands(number_of_bands: int) -> tuple[SensorBand, ...]:
    bands = None if isinstance(number_of_bands, bool) else SENSOR_BANDS.get(number_of_bands)
    if bands is None:
        known = ", ".join(map(str, SENSOR_BANDS))
        raise InputError(f"bands must be one of {known} without a spectral response, got {number_of_bands!r}")
    return bands


def _vector(values: Any, name: str) -> Tensor:
    vector = _as_float(values, name)
    if vector.dim() != 1 or vector.numel() == 0 or not bool(torch.isfinite(vector).all()):
        raise InputError(f"{name} must be a vector of finite numbers, got the shape {tuple(vector.shape)}")
    return vector


def _as_float(values: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(values).to(torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(f"{name} must be numbers: {error}") from error
