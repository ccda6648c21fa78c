"""Similarity of two images within sliding windows: SSIM and the universal image quality index.

torchmetrics has both, but its index weighs the pixels of a window by a Gaussian of 11 x 11, where Wang and Bovik take
the plain mean over 8 x 8; and it convolves in two dimensions, which in float64 takes 5 GB for one band of 1024 x 1024
(in float32 the variances lose their digits). Here a window is applied along rows, then along columns.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from stgraph.errors import InputError

__all__ = [
    "SSIM_WINDOW",
    "UIQI_WINDOW",
    "Means",
    "Moments",
    "box",
    "check_size",
    "gaussian",
    "ssim_index",
    "ssim_map",
    "uiqi_index",
    "uiqi_map",
    "whole_windows",
    "window_means",
    "window_moments",
]

#: Sides of the windows in pixels.
SSIM_WINDOW = 11
UIQI_WINDOW = 8
_SSIM_SIGMA = 1.5
# A variance is rounding where it is below this times the mean square.
_ROUNDING = 1e-14


class Means(NamedTuple):
    """Means of two images, of their squares and of their product within each window."""

    x: Tensor
    y: Tensor
    square_x: Tensor
    square_y: Tensor
    product: Tensor


class Moments(NamedTuple):
    """Means, variances and covariance of two images within each window."""

    mean_x: Tensor
    mean_y: Tensor
    variance_x: Tensor
    variance_y: Tensor
    covariance: Tensor


def box(side: int) -> list[float]:
    """Return equal weights along one side of a window."""
    return [1.0 / side] * side


def gaussian(side: int, sigma: float) -> list[float]:
    """Return Gaussian weights of sum 1 along one side of a window."""
    at = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    weights = (-(at / sigma).square() / 2).exp()
    return [float(weight) for weight in weights / weights.sum()]


def window_means(x: Tensor, y: Tensor, weights: list[float]) -> Means:
    """Return the means within all windows that fit whole into the images ``[..., H, W]``."""
    return Means(*(_slide(image, weights) for image in (x, y, x.square(), y.square(), x * y)))


def window_moments(x: Tensor, y: Tensor, weights: list[float]) -> Moments:
    """Return the moments within all windows that fit whole into the images ``[..., H, W]``."""
    mean_x, mean_y, square_x, square_y, product = window_means(x, y, weights)
    return Moments(mean_x, mean_y, square_x - mean_x.square(), square_y - mean_y.square(), product - mean_x * mean_y)


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """Return the structural similarity at each pixel of images ``[k, H, W]`` whose data range is 1.

    The window is a Gaussian of 11 x 11 pixels with a standard deviation of 1.5 pixels; images are reflected at their
    borders. (Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, "Image Quality Assessment: From Error Visibility
    to Structural Similarity", IEEE Transactions on Image Processing 13, 2004.)

    >>> image = torch.eye(8, dtype=torch.float64).unsqueeze(0)
    >>> float(ssim_map(image, image).mean())
    1.0
    """
    x, y = (pad(image, [SSIM_WINDOW // 2] * 4, mode="reflect") for image in (x, y))
    return ssim_index(window_moments(x, y, gaussian(SSIM_WINDOW, _SSIM_SIGMA)), 1.0)


def ssim_index(moments: Moments, data_range: float) -> Tensor:
    """Return the structural similarity of windows with the usual constants 0.01 and 0.03."""
    mean_x, mean_y, variance_x, variance_y, covariance = moments
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def uiqi_map(x: Tensor, y: Tensor) -> Tensor:
    """Return the universal image quality index of all windows of 8 x 8 that fit whole into images ``[k, H, W]``.

    (Z. Wang and A. C. Bovik, "A Universal Image Quality Index", IEEE Signal Processing Letters 9, 2002.)

    >>> image = torch.eye(8, dtype=torch.float64).unsqueeze(0)
    >>> float(uiqi_map(image, image)), float(uiqi_map(torch.ones_like(image), torch.ones_like(image) / 2))
    (1.0, 0.8)
    """
    return uiqi_index(window_moments(x, y, box(UIQI_WINDOW)))


def uiqi_index(moments: Moments) -> Tensor:
    """Return the index from the moments of windows.

    It is a product of two factors; one that is 0 / 0 counts as 1, as in the authors' own program: that of the means
    where both are 0, that of the spread where neither image varies within the window.
    """
    mean_x, mean_y, variance_x, variance_y, covariance = moments
    squares = mean_x.square() + mean_y.square()
    spread = variance_x + variance_y
    varies = spread > _ROUNDING * (squares + spread.abs())
    luminance = torch.where(squares > 0, 2 * mean_x * mean_y / squares, 1.0)
    return luminance * torch.where(varies, 2 * covariance / spread, 1.0)


def whole_windows(mask: Tensor, side: int) -> Tensor:
    """Return for all windows that fit into a mask ``[H, W]`` whether all their pixels count."""
    bad = (~mask).to(torch.float32)[None, None]
    return max_pool2d(bad, side, stride=1)[0, 0] == 0


def check_size(size: tuple[int, int], least: int, window: int, name: str) -> None:
    """Check that an image is large enough for a window.

    Raises:
        InputError: If a side is less than ``least``; it names the window.
    """
    if min(size) < least:
        raise InputError(
            f"the images have {size[0]} x {size[1]} pixels; {name} has a window of {window} x {window} "
            f"and needs at least {least} x {least}"
        )


def _slide(image: Tensor, weights: list[float]) -> Tensor:
    for dim in (-2, -1):
        length = image.shape[dim] - len(weights) + 1
        total = image.narrow(dim, 0, length) * weights[0]
        for i, weight in enumerate(weights[1:], start=1):
            total.add_(image.narrow(dim, i, length), alpha=weight)
        image = total
    return image
