"""A blurred and a multispectral image of one scene, made from a hyperspectral cube that serves as the truth."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.simulation.fusion.cube import as_wavelengths, percentile_limits, read_cube, scaled
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import (
    Boundary,
    add_noise,
    apply_response,
    area_downsample,
    blur,
    normalise_kernel,
    normalise_response,
    psf_kernel,
    sensor_response,
)
from stgraph.ops.fusion.blur import check_boundary
from stgraph.ops.fusion.downsample import check_ratio
from stgraph.ops.fusion.noise import check_snr

__all__ = ["FusionPair", "simulate_pair"]

_logger = logging.getLogger("stgraph")

_VALUES_AT_ONCE = 2**24  # bands are blurred in groups of about this many values


class FusionPair(NamedTuple):
    r"""Two images of one scene, what made them, and the truth.

    Attributes:
        truth: High-resolution hyperspectral image :math:`(H, W, C)`.
        hr_msi: High-resolution multispectral image :math:`(H, W, b)`.
        lr_hsi: Low-resolution hyperspectral image :math:`(h, w, C)`.
        srf: Spectral response :math:`(b, C)`; rows add up to 1.
        psf: Point-spread function :math:`(m, m)`; adds up to 1.
        ratio: Downsampling ratio r.
        wavelengths: Wavelengths of the cube in nm :math:`(C)`, float64; None where unknown.
    """

    truth: Tensor
    hr_msi: Tensor
    lr_hsi: Tensor
    srf: Tensor
    psf: Tensor
    ratio: int
    wavelengths: Tensor | None

    def graphs(self) -> tuple[Data, Data]:
        r"""The pixels of both images as nodes of two graphs without edges.

        Returns:
            The graph of the multispectral and that of the hyperspectral image, each with the spectra ``x``
            :math:`(N, L, 1)`, ``grid`` (rows, columns) and ``pos`` :math:`(N, 2)`: row and column of the pixel's
            centre in pixels of the multispectral image, :math:`(i + \frac{1}{2})\, r - \frac{1}{2}` for the coarse
            ones. The hyperspectral one has the ``wavelength`` in nm where it is known.
        """
        sharp = _graph(self.hr_msi, self.hr_msi.shape[:2])
        coarse = _graph(self.lr_hsi, self.hr_msi.shape[:2])
        if self.wavelengths is not None:
            coarse.wavelength = self.wavelengths
        return sharp, coarse


def simulate_pair(
    cube: Any,
    *,
    ratio: int = 4,
    psf: Any = "gaussian",
    sigma: float = 3.4,
    half_size: int = 7,
    bands: Any = 4,
    wavelengths: Any = None,
    fwhm_factor: float = 4.2,
    snr_spatial: float = 35.0,
    snr_spectral: float = 40.0,
    boundary: Boundary = "reflect",
    crop: bool = True,
    seed: int = 42,
    normalise: bool = True,
) -> FusionPair:
    r"""Make a pair of images for fusion from one hyperspectral cube X, by Wald's protocol.

    The multispectral image is :math:`X R^\top` with the spectral response R, the coarse hyperspectral one the blurred
    and then area-averaged X; white noise is added to both, first to the multispectral one. The same seed gives the
    same bits, on every device the same noise.

    Published tables of image fusion were made with ``boundary="zero"``, ``crop=False``, ``wavelengths="stretched"`` and
    ``psf_kernel("airy", compat=True)`` in place of ``"airy"``.

    Args:
        cube: Array, tensor or graph of pixels (with ``x`` of :math:`(N, C, 1)`, ``grid`` and, where known,
            ``wavelength``). It is left unchanged; the results are on its device.
        ratio: Downsampling ratio r.
        psf: Name of a point-spread function (see :func:`~stgraph.ops.fusion.psf_kernel`), or an array of odd size,
            which is divided by its sum.
        sigma: Width of a named point-spread function in pixels.
        half_size: Pixels on either side of the centre of a named point-spread function.
        bands: 1, 3, 4, 8 or 16 for the bands of :func:`~stgraph.ops.fusion.sensor_response`, or a spectral response
            :math:`(b, C)`, whose rows are divided by their sums.
        wavelengths: Wavelengths of the cube in nm. (default: those of the graph) ``"stretched"`` takes invented ones
            (:func:`~stgraph.ops.fusion.stretched_wavelengths`) for the response.
        fwhm_factor: Width of a band from edge to edge over the standard deviation of its Gaussian.
        snr_spatial: Signal-to-noise ratio of the coarse hyperspectral image in dB; infinity means no noise.
        snr_spectral: Signal-to-noise ratio of the multispectral image in dB.
        boundary: Values outside the cube for the blur, see :func:`~stgraph.ops.fusion.blur`.
        crop: Cut off the last rows and columns so that H and W are multiples of r, which is logged. Otherwise coarse
            pixels average over fractions of pixels.
        seed: Seed of the noise.
        normalise: Clip the whole cube to its 1st and 99th percentile and map these to 0 and 1.

    Shapes:
        - **cube:** :math:`(H, W, C)`; float64 stays, all else becomes float32
        - **output:** see :class:`FusionPair`

    Raises:
        InputError: If the cube holds NaN, infinite or negative values or is constant, there are no wavelengths for the
            response, a band sees none of them, or an argument is out of range.
        InputTypeError: If an argument is of the wrong type.

    Examples:
        >>> cube = torch.arange(8 * 8 * 5.0).view(8, 8, 5)
        >>> pair = simulate_pair(cube, ratio=4, bands=3, wavelengths=[450, 500, 550, 600, 650])
        >>> pair.truth.shape, pair.hr_msi.shape, pair.lr_hsi.shape
        (torch.Size([8, 8, 5]), torch.Size([8, 8, 3]), torch.Size([2, 2, 5]))
        >>> pair.graphs()[1].pos[:2]
        tensor([[1.5000, 1.5000],
                [1.5000, 5.5000]])
    """
    values = read_cube(cube)
    height, width, channels = values.shape
    check_ratio(ratio, height, width)
    check_boundary(boundary)
    check_snr(snr_spatial, "snr_spatial")
    check_snr(snr_spectral, "snr_spectral")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputTypeError(f"seed must be a whole number, got {type(seed).__name__}")
    kernel = (psf_kernel(psf, sigma, half_size) if isinstance(psf, str) else normalise_kernel(psf)).to(values)
    stretched = isinstance(wavelengths, str)
    known = as_wavelengths(None if stretched else wavelengths, cube, channels)
    response = _response(bands, wavelengths if stretched else known, channels, fwhm_factor).to(values)
    limits = percentile_limits(values) if normalise else None
    if crop:
        values = _cropped(values, ratio)
    values = values.clone(memory_format=torch.contiguous_format) if limits is None else scaled(values, *limits)
    image = values.permute(2, 0, 1)
    generator = torch.Generator().manual_seed(seed)
    hr_msi = add_noise(apply_response(image, response), snr_spectral, generator)
    lr_hsi = add_noise(_coarse(image, kernel, ratio, boundary), snr_spatial, generator)
    return FusionPair(values, _channels_last(hr_msi), _channels_last(lr_hsi), response, kernel, ratio, known)


def _response(bands: Any, wavelengths: Any, channels: int, fwhm_factor: float) -> Tensor:
    if not isinstance(bands, int):
        return normalise_response(bands, channels)
    if wavelengths is None:
        raise InputError(
            f"wavelengths (in nm, one for each of the {channels} bands of the cube) are needed for the spectral "
            f"response of {bands} bands; give them, give the response itself as bands, or wavelengths='stretched' for "
            "invented ones"
        )
    return sensor_response(bands, wavelengths, channels=channels, fwhm_factor=fwhm_factor)


def _cropped(values: Tensor, ratio: int) -> Tensor:
    height, width = values.shape[:2]
    rows, columns = height - height % ratio, width - width % ratio
    if (rows, columns) != (height, width):
        _logger.warning(
            "cube cropped from %d x %d to %d x %d pixels, multiples of %d", height, width, rows, columns, ratio
        )
    return values[:rows, :columns]


def _coarse(image: Tensor, kernel: Tensor, ratio: int, boundary: Boundary) -> Tensor:
    """Blur and shrink some bands at a time: they do not mix, and a blurred cube is never held whole."""
    step = max(1, _VALUES_AT_ONCE // (image.shape[1] * image.shape[2]))
    return torch.cat([area_downsample(blur(part, kernel, boundary), ratio) for part in image.split(step)])


def _channels_last(image: Tensor) -> Tensor:
    return image.permute(1, 2, 0).contiguous()


def _graph(image: Tensor, extent: torch.Size) -> Data:
    """Pixels of an image that covers ``extent`` rows and columns of pixels of unit size."""
    rows, columns = image.shape[:2]
    y = (torch.arange(rows, device=image.device) + 0.5) * (extent[0] / rows) - 0.5
    x = (torch.arange(columns, device=image.device) + 0.5) * (extent[1] / columns) - 0.5
    pos = torch.cartesian_prod(y, x)
    return Data(x=image.flatten(0, 1).unsqueeze(-1), pos=pos, grid=(rows, columns))
