"""The blur between two images of one place, estimated from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.blur import Boundary, boundary_index, check_boundary
from stgraph.ops.fusion.downsample import area_weights
from stgraph.ops.fusion.observation import check_pair
from stgraph.ops.fusion.radiometry import observation_misfit
from stgraph.ops.fusion.response import apply_response

__all__ = ["PSFEstimate", "estimate_psf"]

Array = NDArray[np.float64]

_SMALLEST_SIGMA = 0.2  # pixels; the next pixel then has 4e-6 of the weight of the centre
_LARGEST_STRETCH = 1.5  # logarithm of the ratio of an axis to the geometric mean of both
_PLACES_PER_AXIS = 48  # coarse rows and columns that are fitted, spread over the image
_FEWEST_INSIDE = 4  # coarse rows and columns away from the border that suffice
_STARTS = 3
_FEWEST_PIXELS = 9  # of the hyperspectral image, for five parameters and a gain and an offset
_FAR_OUT = 7.5  # medians of the misfits of a band, 5 standard deviations of normal ones


class PSFEstimate(NamedTuple):
    r"""A Gaussian point-spread function that two images of one place agree on.

    Attributes:
        kernel: The point-spread function :math:`(2k+1, 2k+1)`, sum 1, float64.
        sigma1: Standard deviation along the longer axis, in pixels of the multispectral image.
        sigma2: Standard deviation along the shorter axis.
        angle: From the direction of the columns to the longer axis, towards higher rows, in degrees, above -90 to 90;
            of no meaning where both standard deviations are equal.
        shift: Rows and columns by which the hyperspectral image lies further on than the multispectral one, in pixels
            of this.
        residual: Root mean square of what the images differ by through this kernel, over pixels and bands.
        noise: What the noise of the hyperspectral image lets expect of it.
    """

    kernel: Tensor
    sigma1: float
    sigma2: float
    angle: float
    shift: tuple[float, float]
    residual: float
    noise: float


def estimate_psf(
    lr_hsi: Tensor,
    hr_msi: Tensor,
    srf: Tensor,
    ratio: int,
    half_size: int = 7,
    *,
    boundary: Boundary = "reflect",
) -> PSFEstimate:
    r"""Estimate the point-spread function from two images: both sides of :math:`A M \approx R Y` are known.

    An anisotropic Gaussian with a shift, cut off at :math:`\pm k` pixels, is fitted so that the multispectral image M,
    seen through it, is like the hyperspectral image Y seen through the spectral response R, up to a gain and an offset
    of each band. Least squares with a loss that grows linearly beyond twice the typical misfit, from the best three of
    a grid of widths and shifts; then once more without pixels beyond 7.5 times the typical misfit, which changed
    between the images. Up to 48 by 48 coarse
    pixels spread over the image are used, away from its border where it is large enough.

    Args:
        lr_hsi: Low-resolution hyperspectral image.
        hr_msi: High-resolution multispectral image.
        srf: Spectral response.
        ratio: Multispectral pixels r along the edge of a hyperspectral one.
        half_size: Pixels k on either side of the kernel's centre. Shifts are looked for up to k / 2.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.

    Shapes:
        - **lr_hsi:** :math:`(C, h, w)`, **hr_msi:** :math:`(b, H, W)`, **srf:** :math:`(b, C)`
        - **output:** see :class:`PSFEstimate`

    Raises:
        InputError: If shapes do not fit, a value is not finite, an image is constant, or the hyperspectral
            one has fewer than 9 pixels.
        InputTypeError: If the images are not both float32 or both float64, or the size is not a whole number.

    Examples:
        >>> from stgraph.ops.fusion import psf_kernel
        >>> from stgraph.ops.fusion.observation import observe
        >>> row, column = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
        >>> image = torch.sin(row**2 / 40 + column)[None].double()
        >>> coarse = observe(image, psf_kernel("gaussian", 1.5, 3), 2)
        >>> round(estimate_psf(coarse, image, torch.ones(1, 1), 2, half_size=3).sigma1, 2)
        1.5
    """
    check_pair(lr_hsi, hr_msi, srf, ratio)
    check_boundary(boundary)
    if isinstance(half_size, bool) or not isinstance(half_size, int):
        raise InputTypeError(f"half_size must be a whole number of pixels, got {type(half_size).__name__}")
    if half_size < 1:
        raise InputError(f"half_size must be 1 or more pixels, got {half_size}")
    if lr_hsi[0].numel() < _FEWEST_PIXELS:
        raise InputError(f"lr_hsi must have {_FEWEST_PIXELS} pixels or more, got {lr_hsi[0].numel()}")
    for name, image in (("hr_msi", hr_msi), ("lr_hsi", lr_hsi)):
        if bool((image.amax(dim=(1, 2)) == image.amin(dim=(1, 2))).all()):
            raise InputError(f"{name} must not be constant, or it does not show the blur")
    taps, wanted = _taps(hr_msi, apply_response(lr_hsi, srf), ratio, half_size, boundary)
    best = _fit(taps, wanted, half_size)
    kernel = torch.from_numpy(_kernels(best[None], half_size)[:, 0].reshape(2 * half_size + 1, -1)).to(hr_msi.device)
    misfit, noise = observation_misfit(lr_hsi, hr_msi, srf, kernel, ratio, boundary)
    stretch = math.hypot(best[1], best[2])
    return PSFEstimate(
        kernel,
        sigma1=math.exp(best[0] + stretch),
        sigma2=math.exp(best[0] - stretch),
        angle=math.degrees(math.atan2(best[2], best[1]) / 2),
        shift=(float(best[3]), float(best[4])),
        residual=_mean(misfit),
        noise=_mean(noise),
    )


def _mean(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _taps(hr_msi: Tensor, wanted: Tensor, ratio: int, half_size: int, boundary: Boundary) -> tuple[Array, Array]:
    """What each entry of a kernel adds to each coarse pixel ``[b, n, m * m]``, and what they should make ``[b, n]``."""
    row, row_place = _shifted_means(hr_msi.shape[1], wanted.shape[1], half_size, boundary)
    column, column_place = _shifted_means(hr_msi.shape[2], wanted.shape[2], half_size, boundary)
    image = hr_msi.detach().cpu().double()
    taps = torch.einsum("uir,brc,vjc->bijuv", row, image, column)
    target = wanted.detach().cpu().double()[:, row_place[:, None], column_place]
    return taps.flatten(3).flatten(1, 2).numpy(), target.flatten(1).numpy()


def _shifted_means(size: int, target: int, half_size: int, boundary: Boundary) -> tuple[Tensor, Tensor]:
    """Weights ``[m, places, size]`` of the means of an axis after a shift by each of -k..k, and the coarse places."""
    margin = math.ceil(half_size * target / size)
    inside = target - 2 * margin >= _FEWEST_INSIDE
    first, last = (margin, target - 1 - margin) if inside else (0, target - 1)
    count = min(_PLACES_PER_AXIS, last - first + 1)
    places = torch.linspace(first, last, count, dtype=torch.float64).round().long()
    shifts = torch.arange(2 * half_size, -1, -1)
    index = boundary_index(size, half_size, boundary)[shifts[:, None] + torch.arange(size)]
    area = area_weights(size, target)[places]
    weight = torch.zeros(len(shifts), count, size, dtype=torch.float64)
    kept = (index >= 0).to(area)[:, None] * area
    return weight.scatter_add_(2, index.clamp(min=0)[:, None].expand_as(weight), kept), places


def _kernels(parameters: Array, half_size: int) -> Array:
    """Gaussians as columns ``[m * m, s]`` of ``[s, 5]``: a symmetric logarithm (a + c, d; d, a - c) and the shift."""
    offsets = np.arange(-half_size, half_size + 1.0)
    y, x = (grid.reshape(-1, 1) for grid in np.meshgrid(offsets, offsets, indexing="ij"))
    level, across, diagonal, down, right = parameters.T
    y, x = y - down, x - right
    stretch = np.hypot(across, diagonal)
    # sinh(2 s) / s, which is 2 at s = 0.
    ratio = np.where(stretch > 1e-9, np.sinh(2 * stretch) / np.maximum(stretch, 1e-9), 2)
    form = np.cosh(2 * stretch) * (x**2 + y**2) - ratio * (across * (x**2 - y**2) + 2 * diagonal * x * y)
    exponent = -0.5 * np.exp(-2 * level) * form
    values = np.exp(exponent - exponent.max(axis=0))
    return np.asarray(values / values.sum(axis=0))


def _misfits(taps: Array, wanted: Array, parameters: Array, half_size: int) -> Array:
    """Differences ``[b, n, s]`` of the bands after the best gain and offset of each."""
    seen = taps @ _kernels(parameters, half_size)
    seen = seen - seen.mean(axis=1, keepdims=True)
    target = (wanted - wanted.mean(axis=1, keepdims=True))[..., None]
    power = (seen**2).sum(axis=1, keepdims=True)
    gain = (seen * target).sum(axis=1, keepdims=True) / np.where(power > 0, power, 1)
    return np.asarray(gain * seen - target)


def _fit(taps: Array, wanted: Array, half_size: int) -> Array:
    """The parameters that fit best: from the best starts of a grid, and once more with the scale of what is left."""
    sigmas = np.geomspace(2 * _SMALLEST_SIGMA, half_size, 6)
    shifts = np.linspace(-half_size / 2, half_size / 2, 7)
    grid = np.stack(np.meshgrid(np.log(sigmas), [0.0], [0.0], shifts, shifts, indexing="ij"), axis=-1).reshape(-1, 5)
    costs = np.abs(_misfits(taps, wanted, grid, half_size)).mean(axis=(0, 1))
    scale = 2 * float(costs.min())
    fits = [_refine(taps, wanted, start, half_size, scale) for start in grid[np.argsort(costs)[:_STARTS]]]
    best = min(fits, key=lambda fit: fit[1])[0]
    left = np.abs(_misfits(taps, wanted, best[None], half_size))[..., 0]
    # Gain and offset are plain least squares, so what is far out is left out.
    kept = (left <= _FAR_OUT * np.median(left, axis=1, keepdims=True)).all(axis=0)
    kept |= 2 * kept.sum() < kept.size  # if these are most, the images do not agree anywhere
    return _refine(taps[:, kept], wanted[:, kept], best, half_size, 2 * float(np.median(left[:, kept])))[0]


def _refine(taps: Array, wanted: Array, start: Array, half_size: int, scale: float) -> tuple[Array, float]:
    limit = np.array([0, _LARGEST_STRETCH, _LARGEST_STRETCH, half_size / 2, half_size / 2])
    lower, upper = -limit, limit.copy()
    lower[0], upper[0] = math.log(_SMALLEST_SIGMA), math.log(2 * half_size)
    scale = max(scale, 1e-9 * float(np.abs(wanted).max()))

    def differences(parameters: Array) -> Array:
        # One misfit's worth towards a round kernel in place decides where the images cannot: of a very narrow kernel
        # only the pixels that it is sampled at are seen.
        misfits = _misfits(taps, wanted, parameters[None], half_size).ravel()
        return np.concatenate([misfits, scale * parameters[1:]])

    inner = np.clip(start, lower + 1e-6, upper - 1e-6)
    fit = optimize.least_squares(differences, inner, bounds=(lower, upper), loss="soft_l1", f_scale=scale)
    return np.asarray(fit.x), float(fit.cost)
