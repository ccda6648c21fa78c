"""Metrics of a fused image against the true one: RMSE, PSNR, SSIM, UIQI, ERGAS and SAM.

Images are ``[H, W, C]``, arrays or tensors of float32 or float64 whose values lie about 0 to 1; whatever their type,
sums are taken in float64, a few bands at a time.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from stgraph.errors import InputError
from stgraph.metrics.image_compat import compat_metrics
from stgraph.metrics.image_extended import extended_metrics
from stgraph.metrics.image_inputs import Cube, ImagePair, check_ratio, image_pair
from stgraph.metrics.image_sums import (
    angle_measures,
    angle_sums,
    error_measures,
    error_sums,
    psnr_from_mse,
    similarity_mean,
    spectral_angles,
    ssim_sums,
    uiqi_sums,
)

__all__ = [
    "angle_map",
    "band_metrics",
    "ergas",
    "fusion_metrics",
    "image_and_band_metrics",
    "mpsnr",
    "psnr",
    "rmse",
    "sam",
    "ssim",
    "uiqi",
]


def fusion_metrics(
    estimate: Cube,
    truth: Cube,
    ratio: int,
    *,
    compat: bool = False,
    mask: Cube | None = None,
    extended: bool = False,
) -> dict[str, float]:
    r"""Return the metrics by which fused images are compared.

    With :math:`x` the truth and :math:`y` the estimate, whose values should lie in [0, 1]:

    - ``rmse``: :math:`\sqrt{\overline{(x - y)^2}}` over all values;
    - ``psnr``: :math:`-10 \log_{10} \overline{(x - y)^2}` in dB; ``mpsnr``: the mean of the PSNR of each band. Both are
      infinite where there is no error;
    - ``ssim``: structural similarity within Gaussian windows, mean over pixels and bands;
    - ``uiqi``: universal image quality index within windows of 8 x 8, mean over windows and bands;
    - ``ergas``: :math:`\frac{100}{r} \sqrt{\frac{1}{C} \sum_c (\mathrm{RMSE}_c / \bar x_c)^2}`, without unit (L. Wald,
      "Quality of high resolution synthesised images: Is there a simple criterion?", Fusion of Earth Data, 2000); not
      finite where the mean of a band is 0;
    - ``sam``: mean angle between the spectra of a pixel in degrees (R. H. Yuhas, A. F. H. Goetz and J. W. Boardman,
      JPL Airborne Geoscience Workshop, 1992); pixels where a spectrum is zero are left out, their number is
      ``zero_spectra``; nan where no pixel is left.

    Args:
        estimate: Fused image.
        truth: True image.
        ratio: Ratio of the resolutions of the two images that were fused.
        compat: Return ``rmse``, ``psnr``, ``ssim``, ``uiqi``, ``ergas`` and ``sam`` as published tables have them, see
            :func:`stgraph.metrics.image_compat.compat_metrics`; not with a mask.
        mask: True at the pixels that count. A window counts where all its pixels do.
        extended: Also return ``scc``, ``rase``, ``ms_ssim`` and ``vif``, see
            :func:`stgraph.metrics.image_extended.extended_metrics`; not with a mask.

    Shapes:
        - **estimate**, **truth:** :math:`(H, W, C)`
        - **mask:** :math:`(H, W)`

    Raises:
        InputError: If shapes differ, a value that counts is NaN or infinite, the image is smaller than a window needs,
            the ratio is less than 1, or there is a mask where none is possible.
        InputTypeError: If an image is not of float32 or float64, the mask not bool, or the ratio not an integer.

    Examples:
        >>> import torch
        >>> truth = torch.full((8, 8, 2), 0.5)
        >>> result = fusion_metrics(truth + torch.tensor([0.125, -0.125]), truth, ratio=4)
        >>> result["rmse"], result["ergas"], round(result["psnr"], 2), round(result["sam"], 2)
        (0.125, 6.25, 18.06, 14.04)
    """
    pair, factor = image_pair(estimate, truth, mask), check_ratio(ratio)
    if mask is not None and (compat or extended):
        raise InputError("mask is given with compat or extended; expected none, as these metrics are of whole images")
    more = extended_metrics(estimate, truth) if extended else {}
    if compat:
        return compat_metrics(estimate, truth) | more
    return _image_metrics(pair, _band_sums(pair), factor) | more


def band_metrics(estimate: Cube, truth: Cube, *, mask: Cube | None = None) -> dict[str, Tensor]:
    """Return the metrics of each band: ``rmse``, ``psnr`` (dB), ``ssim`` and ``uiqi``, as in :func:`fusion_metrics`.

    Args:
        estimate: Fused image.
        truth: True image.
        mask: True at the pixels that count.

    Shapes:
        - **estimate**, **truth:** :math:`(H, W, C)`
        - **mask:** :math:`(H, W)`
        - **output:** a dictionary of tensors :math:`(C)`, float64

    Raises:
        InputError: If shapes differ, a value that counts is NaN or infinite, or the image is smaller than a window
            needs.
        InputTypeError: If an image is not of float32 or float64, or the mask not bool.

    Examples:
        >>> import torch
        >>> truth = torch.full((8, 8, 2), 0.5)
        >>> band_metrics(truth + torch.tensor([0.0, 0.25]), truth)["rmse"].tolist()
        [0.0, 0.25]
    """
    return _band_metrics(_band_sums(image_pair(estimate, truth, mask)))


def image_and_band_metrics(
    estimate: Cube, truth: Cube, ratio: int, *, mask: Cube | None = None
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return what :func:`fusion_metrics` and :func:`band_metrics` do, in about the time of one of them.

    Args:
        estimate: Fused image.
        truth: True image.
        ratio: Ratio of the resolutions of the two images that were fused.
        mask: True at the pixels that count.

    Shapes:
        - **estimate**, **truth:** :math:`(H, W, C)`
        - **mask:** :math:`(H, W)`

    Raises:
        InputError: As :func:`fusion_metrics`.
        InputTypeError: As :func:`fusion_metrics`.

    Examples:
        >>> import torch
        >>> truth = torch.full((8, 8, 2), 0.5)
        >>> whole, bands = image_and_band_metrics(truth + torch.tensor([0.125, -0.125]), truth, ratio=4)
        >>> whole["rmse"], bands["rmse"].tolist()
        (0.125, [0.125, 0.125])
    """
    pair, factor = image_pair(estimate, truth, mask), check_ratio(ratio)
    sums = _band_sums(pair)
    return _image_metrics(pair, sums, factor), _band_metrics(sums)


class _BandSums(NamedTuple):
    """The sums over the pixels of each band, from which its measures and those of the image follow."""

    errors: Tensor
    ssim: Tensor
    uiqi: Tensor


def _band_sums(pair: ImagePair) -> _BandSums:
    return _BandSums(error_sums(pair), ssim_sums(pair), uiqi_sums(pair))


def _image_metrics(pair: ImagePair, sums: _BandSums, ratio: int) -> dict[str, float]:
    windows = {"ssim": similarity_mean(sums.ssim), "uiqi": similarity_mean(sums.uiqi)}
    measures = error_measures(sums.errors, ratio) | windows | angle_measures(angle_sums(pair))
    return {name: float(value) for name, value in measures.items()}


def _band_metrics(sums: _BandSums) -> dict[str, Tensor]:
    squares, _, count = sums.errors
    mse = squares / count
    windows = {"ssim": sums.ssim[0] / sums.ssim[1], "uiqi": sums.uiqi[0] / sums.uiqi[1]}
    return {"rmse": mse.sqrt(), "psnr": psnr_from_mse(mse), **windows}


def rmse(estimate: Cube, truth: Cube, *, mask: Cube | None = None) -> float:
    """Return the root of the mean squared error over all values; arguments as :func:`fusion_metrics`.

    >>> import torch
    >>> rmse(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 7.0]]]))
    5.0
    """
    return float(error_measures(error_sums(image_pair(estimate, truth, mask)), 1)["rmse"])


def psnr(estimate: Cube, truth: Cube, *, mask: Cube | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB for a data range of 1; arguments as :func:`fusion_metrics`.

    >>> import torch
    >>> round(psnr(torch.zeros(1, 1, 2), torch.full((1, 1, 2), 0.1)), 4)
    20.0
    """
    return float(error_measures(error_sums(image_pair(estimate, truth, mask)), 1)["psnr"])


def mpsnr(estimate: Cube, truth: Cube, *, mask: Cube | None = None) -> float:
    """Return the mean of the bands' peak signal-to-noise ratios in dB; arguments as :func:`fusion_metrics`.

    >>> import torch
    >>> round(mpsnr(torch.zeros(1, 1, 2), torch.tensor([[[0.1, 0.01]]])), 4)
    30.0
    """
    return float(error_measures(error_sums(image_pair(estimate, truth, mask)), 1)["mpsnr"])


def ergas(estimate: Cube, truth: Cube, ratio: int, *, mask: Cube | None = None) -> float:
    """Return the relative global error without dimension; arguments as :func:`fusion_metrics`.

    >>> import torch
    >>> ergas(torch.full((1, 1, 2), 1.5), torch.ones(1, 1, 2), ratio=2)
    25.0
    """
    return float(error_measures(error_sums(image_pair(estimate, truth, mask)), check_ratio(ratio))["ergas"])


def sam(estimate: Cube, truth: Cube, *, mask: Cube | None = None) -> float:
    """Return the mean angle between spectra in degrees, zero spectra left out; arguments as :func:`fusion_metrics`.

    >>> import torch
    >>> round(sam(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 1.0]]])), 4)
    45.0
    """
    return float(angle_measures(angle_sums(image_pair(estimate, truth, mask)))["sam"])


def angle_map(estimate: Cube, truth: Cube, *, mask: Cube | None = None) -> Tensor:
    """Return the angle between the spectra of each pixel in degrees, ``[H, W]``; arguments as :func:`fusion_metrics`.

    It is nan where a spectrum is zero and where the mask is False.

    >>> import torch
    >>> angle_map(torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
    tensor([[nan]], dtype=torch.float64)
    """
    # Pixels that are masked out are read as zero spectra.
    return spectral_angles(image_pair(estimate, truth, mask))


def ssim(estimate: Cube, truth: Cube, *, mask: Cube | None = None) -> float:
    """Return the mean structural similarity for a data range of 1; arguments as :func:`fusion_metrics`.

    >>> import torch
    >>> ssim(torch.ones(6, 6, 1), torch.ones(6, 6, 1))
    1.0
    """
    return float(similarity_mean(ssim_sums(image_pair(estimate, truth, mask))))


def uiqi(estimate: Cube, truth: Cube, *, mask: Cube | None = None) -> float:
    """Return the mean universal image quality index; arguments as :func:`fusion_metrics`.

    >>> import torch
    >>> uiqi(torch.ones(8, 8, 1), torch.full((8, 8, 1), 0.5))
    0.8
    """
    return float(similarity_mean(uiqi_sums(image_pair(estimate, truth, mask))))
