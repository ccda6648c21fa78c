"""Whether two images of one place agree: noise, misfit, and the gain and offset between their radiances."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.ops.fusion.blur import Boundary
from stgraph.ops.fusion.kernels import check_kernel
from stgraph.ops.fusion.observation import check_pair, observe
from stgraph.ops.fusion.response import apply_response

__all__ = ["RadiometricMatch", "band_noise", "match_radiometry", "observation_misfit"]

_logger = logging.getLogger("stgraph")

_LOWEST_CORRELATION = 0.9


class RadiometricMatch(NamedTuple):
    r"""A multispectral image on the radiometric scale of a hyperspectral one.

    Attributes:
        hr_msi: The matched image :math:`(b, H, W)`.
        gain: Factor of each band :math:`(b)`.
        offset: What is added to each band after that :math:`(b)`.
        correlation: Correlation of the bands of both images at low resolution :math:`(b)`; 0 where one is constant.
    """

    hr_msi: Tensor
    gain: Tensor
    offset: Tensor
    correlation: Tensor


def match_radiometry(
    lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor, ratio: int, boundary: Boundary = "reflect"
) -> RadiometricMatch:
    r"""Bring each band of the multispectral image to the radiometric scale of the hyperspectral one.

    Gain g and offset o minimise :math:`\lVert g A \mathbf{m} + o - R Y \rVert^2` per band, with the multispectral band
    m seen through the blur A and the hyperspectral image Y through the spectral response R. A band that is constant is
    only moved. A correlation below 0.9 is logged as a warning: such images do not show the same place, or the
    response or the blur is another.

    Args:
        lr_hsi: Low-resolution hyperspectral image.
        hr_msi: High-resolution multispectral image.
        srf: Spectral response.
        psf: Point-spread function in pixels of the multispectral image.
        ratio: Multispectral pixels r along the edge of a hyperspectral one.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.

    Shapes:
        - **lr_hsi:** :math:`(C, h, w)`, **hr_msi:** :math:`(b, H, W)`, **srf:** :math:`(b, C)`, **psf:** :math:`(m, m)`
        - **output:** see :class:`RadiometricMatch`

    Raises:
        InputError: If shapes do not fit or a value is not finite.
        InputTypeError: If the images are not both float32 or both float64.

    Examples:
        >>> lr_hsi, hr_msi = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 0.0, 1.0, 1.0]] * 2])
        >>> match = match_radiometry(lr_hsi, hr_msi, torch.ones(1, 1), torch.ones(1, 1), 2)
        >>> match.gain, match.offset, match.hr_msi[0, 0]
        (tensor([2.]), tensor([1.]), tensor([1., 1., 3., 3.]))
    """
    check_pair(lr_hsi, hr_msi, srf, ratio)
    check_kernel(psf, "psf")
    seen = observe(hr_msi, psf, ratio, boundary).flatten(1).double()
    wanted = apply_response(lr_hsi, srf).flatten(1).double()
    mean, wanted_mean = seen.mean(dim=1), wanted.mean(dim=1)
    deviation, wanted_deviation = seen - mean[:, None], wanted - wanted_mean[:, None]
    # Rounding of a constant is no variance.
    power = deviation.square().sum(dim=1)
    varies = power > torch.finfo(hr_msi.dtype).eps ** 2 * seen.square().sum(dim=1)
    product = (deviation * wanted_deviation).sum(dim=1)
    gain = torch.where(varies, product / power.where(varies, 1), 1.0)
    offset = wanted_mean - gain * mean
    norm = (power * wanted_deviation.square().sum(dim=1)).sqrt()
    correlation = torch.where(varies & (norm > 0), product / norm.where(norm > 0, 1), 0.0)
    _warn(correlation)
    gain, offset, correlation = (value.to(hr_msi) for value in (gain, offset, correlation))
    return RadiometricMatch(hr_msi * gain[:, None, None] + offset[:, None, None], gain, offset, correlation)


def observation_misfit(
    lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor, ratio: int, boundary: Boundary = "reflect"
) -> tuple[Tensor, Tensor]:
    r"""How far the multispectral image seen through the blur is from the hyperspectral one seen through the response.

    Args:
        lr_hsi: Low-resolution hyperspectral image Y.
        hr_msi: High-resolution multispectral image M.
        srf: Spectral response R.
        psf: Point-spread function in pixels of the multispectral image.
        ratio: Multispectral pixels r along the edge of a hyperspectral one.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.

    Returns:
        The root mean square of :math:`A M - R Y` per band, and what the noise of Y (:func:`band_noise`) lets expect of
        it, :math:`\sqrt{\sum_c R_{ic}^2 \sigma_c^2}`. The noise of M is left out, as the blur averages it away.

    Shapes:
        - **lr_hsi:** :math:`(C, h, w)`, **hr_msi:** :math:`(b, H, W)`, **srf:** :math:`(b, C)`, **psf:** :math:`(m, m)`
        - **output:** :math:`(b)` and :math:`(b)`, float64

    Raises:
        InputError: If shapes do not fit or a value is not finite.
        InputTypeError: If the images are not both float32 or both float64.

    Examples:
        >>> lr_hsi, hr_msi = torch.tensor([[[1.0, 3.0]]] * 3), torch.tensor([[[1.5, 1.5, 3.5, 3.5]] * 2])
        >>> observation_misfit(lr_hsi, hr_msi, torch.full((1, 3), 1 / 3), torch.ones(1, 1), 2)[0].round(decimals=3)
        tensor([0.5000], dtype=torch.float64)
    """
    check_pair(lr_hsi, hr_msi, srf, ratio)
    difference = observe(hr_msi, psf, ratio, boundary) - apply_response(lr_hsi, srf)
    misfit = difference.flatten(1).double().square().mean(dim=1).sqrt()
    noise = (srf.to(lr_hsi).double().square() @ band_noise(lr_hsi).square()).sqrt()
    return misfit, noise


def band_noise(image: Tensor) -> Tensor:
    r"""Standard deviation of the noise of each band, from what its two neighbours do not tell.

    Each band is fitted by its neighbours in wavelength over all pixels, as in the spectral decorrelation of Roger and
    Arnold (International Journal of Remote Sensing 17(10), 1996), without their fit in space. The noise of
    the neighbours gets into what is left over: of noise that is alike in the three bands, with the coefficients a and
    b, it has :math:`1 + a^2 + b^2` times the variance, which is divided by. Spectra that vary sharply along the
    wavelength count as noise. Noise that neighbouring bands share is not seen.

    Args:
        image: A hyperspectral image.

    Shapes:
        - **image:** :math:`(C, h, w)`
        - **output:** :math:`(C)`, float64; NaN for fewer than 3 bands or 5 pixels

    Examples:
        >>> band_noise(torch.arange(6.0).view(1, 2, 3) * torch.tensor([1.0, 2.0, 4.0])[:, None, None]).round(decimals=3)
        tensor([0., 0., 0.], dtype=torch.float64)
    """
    bands, pixels = image.shape[0], image.shape[1] * image.shape[2]
    if bands < 3 or pixels < 5:
        return torch.full((bands,), math.nan, dtype=torch.float64, device=image.device)
    spectra = image.flatten(1).double()
    spectra = spectra - spectra.mean(dim=1, keepdim=True)
    centre = torch.arange(bands, device=image.device)
    # The first and last band are fitted by the two next to them on one side.
    first, second = (centre - 1).abs(), centre + 1
    first[0], first[-1], second[0], second[-1] = 1, bands - 2, 2, bands - 3
    neighbours = torch.stack([spectra[first], spectra[second]], dim=2)
    gram = neighbours.mT @ neighbours
    product = neighbours.mT @ spectra[:, :, None]
    # A little of the identity takes in neighbours that are proportional to each other.
    power = gram.diagonal(dim1=1, dim2=2).mean(dim=1)
    ridge = torch.where(power > 0, 1e-9 * power, 1.0)
    weight = torch.linalg.solve(gram + ridge[:, None, None] * torch.eye(2).to(gram), product)
    left = (spectra - (neighbours @ weight)[..., 0]).square().sum(dim=1) / (pixels - 3)
    noise: Tensor = (left / (1 + weight[..., 0].square().sum(dim=1))).sqrt()
    return noise


def _warn(correlation: Tensor) -> None:
    low = (correlation < _LOWEST_CORRELATION).nonzero()[:, 0].tolist()
    if low:
        _logger.warning(
            "the two images hardly agree in %d of %d bands of hr_msi (correlation %s); expected at least %s: check "
            "that they show the same place, and the spectral response",
            len(low),
            len(correlation),
            ", ".join(f"band {band}: {float(correlation[band]):.2f}" for band in low),
            _LOWEST_CORRELATION,
        )
