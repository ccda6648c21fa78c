"""Metrics of fused images as the published tables have them, so that numbers can be compared with those.

The tables were made with the package sewar 0.4, partly on images of 8 bits, and with a regularised spectral angle.
What differs from :func:`stgraph.metrics.image.fusion_metrics`, and why these are not the default, is said at each part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.metrics.image_inputs import Chunks, Cube, ImagePair, band_chunks, image_pair, native_bands
from stgraph.metrics.image_sums import error_measures, error_sums, similarity_mean, window_sums
from stgraph.metrics.image_windows import (
    SSIM_WINDOW,
    UIQI_WINDOW,
    box,
    check_size,
    ssim_index,
    window_means,
    window_moments,
)

__all__ = ["compat_metrics"]

_LEVELS = 255.0
# ERGAS was called without the ratio, whose default is 4.
_ERGAS_RATIO = 4


def compat_metrics(estimate: Cube, truth: Cube) -> dict[str, float]:
    """Return RMSE, PSNR, SSIM, UIQI, ERGAS and SAM as published tables have them.

    - ``rmse`` is that of :func:`stgraph.metrics.image.fusion_metrics`;
    - ``psnr`` and ``ssim`` are of images cut down to integers from 0 to 255, SSIM within equally weighted windows of
      11 x 11 that fit whole into the image;
    - ``uiqi`` takes means within windows for sums, and so is far too kind;
    - ``ergas`` has the factor 25 at any ratio of resolutions;
    - ``sam`` is reckoned in the type of the images, adds 1e-8 to the product of the norms, and counts zero spectra
      as 90 degrees.

    Args:
        estimate: Fused image.
        truth: True image.

    Shapes:
        - **estimate**, **truth:** :math:`(H, W, C)`

    Raises:
        InputError: If shapes differ, a value is NaN or infinite, or the image is smaller than 11 x 11.
        InputTypeError: If an image is not of float32 or float64.

    Examples:
        >>> import torch
        >>> truth = torch.full((12, 12, 2), 0.5, dtype=torch.float64)
        >>> result = compat_metrics(truth - 0.25, truth)
        >>> result["rmse"], result["ergas"], round(result["psnr"], 4)
        (0.25, 12.5, 12.0072)
    """
    pair = image_pair(estimate, truth)
    check_size(pair.size, SSIM_WINDOW, SSIM_WINDOW, "SSIM")
    errors = error_measures(error_sums(pair), _ERGAS_RATIO)
    measures = {
        "rmse": errors["rmse"],
        "psnr": _integer_psnr(pair),
        "ssim": similarity_mean(window_sums(pair, _integer_chunks(pair), _integer_ssim)),
        "uiqi": similarity_mean(window_sums(pair, pair.chunks(), _uiqi_of_means)),
        "ergas": errors["ergas"],
        "sam": _regularised_angle(pair),
    }
    return {name: float(value) for name, value in measures.items()}


def _integer_chunks(pair: ImagePair) -> Chunks:
    """Yield bands of both images as integers from 0 to 255; fractions are cut off in the images' own type."""
    for bands in band_chunks(pair.size, pair.bands):
        x, y = (
            (native_bands(cube, bands, pair.device) * _LEVELS).clamp(0, _LEVELS).floor().double()
            for cube in (pair.estimate, pair.truth)
        )
        yield bands, x, y


def _integer_psnr(pair: ImagePair) -> Tensor:
    total = torch.stack([(x - y).square().sum() for _, x, y in _integer_chunks(pair)]).sum()
    mse = total / (pair.size[0] * pair.size[1] * pair.bands)
    return 10 * (_LEVELS**2 / mse).log10()


def _integer_ssim(x: Tensor, y: Tensor) -> Tensor:
    return ssim_index(window_moments(x, y, box(SSIM_WINDOW)), _LEVELS)


def _uiqi_of_means(x: Tensor, y: Tensor) -> Tensor:
    """Return the index by a formula meant for the sums over a window, of their means.

    The last window of each row and column is left out, with the borders that were reflected.
    """
    mean_x, mean_y, square_x, square_y, product = window_means(x, y, box(UIQI_WINDOW))
    count = UIQI_WINDOW**2
    means, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    spread = count * (square_x + square_y) - squares
    q = torch.where((spread == 0) & (squares != 0), 2 * means / squares, 1.0)
    bottom = spread * squares
    q = torch.where(bottom != 0, 4 * (count * product - means) * means / bottom, q)
    return q[..., :-1, :-1]


def _regularised_angle(pair: ImagePair) -> Tensor:
    """Return the mean angle in degrees, reckoned in the type of the images."""
    parts = []
    for bands in band_chunks(pair.size, pair.bands):
        x, y = (native_bands(cube, bands, pair.device) for cube in (pair.estimate, pair.truth))
        parts.append(torch.stack([(x * y).sum(0), x.square().sum(0), y.square().sum(0)]))
    product, squares_x, squares_y = torch.stack(parts).sum(0)
    cosine: Tensor = product / (squares_x.sqrt() * squares_y.sqrt() + 1e-8)
    return cosine.clamp(-1.0, 1.0 - 1e-9).acos().rad2deg().double().mean()
