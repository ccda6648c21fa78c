"""Noise of the bands of an image, and non-local means, which averages it away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.blur import boundary_index, check_image

__all__ = ["denoise_image", "image_noise", "neighbor_similarity"]

Window = tuple[slice, slice]

#: Right, down-left, down, down-right: each edge of the 8-neighbour pixel grid once.
_NEIGHBORS = ((0, 1), (1, -1), (1, 0), (1, 1))
#: Median of the absolute value of a standard normal variable.
_NORMAL_MEDIAN = 0.6745
#: With fewer values than this for each coefficient, a regression fits the noise itself.
_VALUES_PER_COEFFICIENT = 10
#: The lowest noise, as a share of the range of a band: the limit of no noise without a division by 0.
_LOWEST_NOISE = 1e-6
#: Pixels compared at once: a bound on the memory, high enough for threads to pay.
_STRIP_PIXELS = 2**20


@torch.no_grad()
def image_noise(image: Tensor) -> Tensor:
    r"""Standard deviation of the white noise in each band.

    The mask :math:`(1, -2, 1)^\top (1, -2, 1) / 6` of `Immerkær (1996) <https://doi.org/10.1006/cviu.1996.0060>`_
    removes what is smooth and leaves the deviation of white noise as it is. What is left of the edges is shared by the
    bands: the filtered band :math:`h_c` is regressed on the others, and

    .. math::
        \sigma_c = \frac{1}{\sqrt{1 + \sum_k a_{ck}^2}}\,
            \frac{\operatorname{median} |h_c - \sum_k a_{ck} h_k|}{0.6745}

    with each band in units of its estimate from the band alone, in which the noise of all is taken to be alike; but at
    most that estimate, :math:`\operatorname{median} |h_c| / 0.6745`, which is all there is for one band and for images
    with fewer than ten filtered values for each band. Noise that is the same in several bands counts as structure.

    Args:
        image: Bands of an image.

    Shapes:
        - **image:** :math:`(b, H, W)`, float32 or float64, **output:** :math:`(b)`, float64

    Raises:
        InputError: If the image has fewer than 3 rows or columns, another number of axes or a value that is not finite.
        InputTypeError: If the image is not of float32 or float64.

    Examples:
        >>> ramp = torch.arange(64.0).reshape(1, 8, 8)
        >>> checks = 1.0 - 2.0 * ((torch.arange(8)[:, None] + torch.arange(8)) % 2)
        >>> image_noise(torch.cat([ramp, ramp + 0.25 * 0.6745 * checks])) * 6 / 16
        tensor([0.0000, 0.2500], dtype=torch.float64)
    """
    _check_bands(image)
    if min(image.shape[-2:]) < 3:
        rows, columns = image.shape[-2:]
        raise InputError(f"image must have at least 3 x 3 pixels to estimate its noise, got {rows} x {columns}")
    filtered = torch.diff(torch.diff(image.double(), n=2, dim=-1), n=2, dim=-2).flatten(1) / 6
    noise = _median_deviation(filtered)
    bands, values = filtered.shape
    if bands > 1 and values >= _VALUES_PER_COEFFICIENT * bands:
        # In units of its own deviation, so that the result does not depend on the units of the bands.
        unit = torch.where(noise > 0, noise, 1.0)
        noise = torch.minimum(noise, unit * _median_deviation(_unit_residuals(filtered / unit[:, None])))
    return noise


@torch.no_grad()
def denoise_image(image: Tensor, noise: Tensor, *, search: int = 3, patch: int = 1) -> Tensor:
    r"""Non-local means: average each pixel with the pixels nearby whose surroundings look the same in all bands.

    .. math::
        \hat x_i = \frac{\sum_{j \in S(i)} w_{ij} x_j}{\sum_{j \in S(i)} w_{ij}}, \qquad
        w_{ij} = \exp(-\max(d_{ij} - 2, 0)), \qquad
        d_{ij} = \operatorname{mean}_{c,\, p} \frac{(x_{c, i + p} - x_{c, j + p})^2}{\sigma_c^2}

    with p over the patch and c over the bands; :math:`d_{ij}` is 2 on average where only noise tells the two patches
    apart. Outside the image, the patches see it mirrored at its border pixels. A band without noise tells all pixels
    apart that differ in it, so that none of them are averaged. The memory is that of a few images, whatever the window.
    No gradient flows through.

    From `Buades, Coll and Morel, "A non-local algorithm for image denoising" (CVPR 2005)
    <https://doi.org/10.1109/CVPR.2005.38>`_.

    Args:
        image: Bands of an image.
        noise: Standard deviation :math:`\sigma` of the noise of each band, see
            :func:`~stgraph.ops.fusion.image_noise`; if all are 0, the result is a copy of the image.
        search: Half the size of the window S: :math:`(2 \cdot search + 1)^2` pixels.
        patch: Half the size of the patch: :math:`(2 \cdot patch + 1)^2` pixels.

    Shapes:
        - **image**, **output:** :math:`(b, H, W)`, float32 or float64
        - **noise:** :math:`(b)`

    Raises:
        InputError: If a shape does not fit, a value is not finite, a noise is negative, :obj:`search` is not positive
            or :obj:`patch` is negative.
        InputTypeError: If the image is not of float32 or float64, :obj:`noise` not a tensor of real numbers, or a size
            not a whole number.

    Examples:
        >>> edge = torch.tensor([[[1.0, 3.0, 1.0, 9.0, 9.0]]])
        >>> denoise_image(edge, torch.tensor([2.0]), search=1, patch=0)
        tensor([[[2.0000, 1.6667, 2.0000, 9.0000, 9.0000]]])
    """
    _check_bands(image)
    _check_noise(image, noise)
    _check_size(search, "search", lowest=1)
    _check_size(patch, "patch", lowest=0)
    if not bool(noise.any()):
        return image.clone()
    scale, padded = _in_units_of_noise(image, noise, patch)
    change, total = torch.zeros_like(image), torch.ones_like(image[0])
    for offset in _half_window(search):
        for pairs in _pairs(padded, offset, patch):
            # Differences, not values, are summed: what is constant stays so to the last digit.
            change[(..., *pairs.first)].addcmul_(pairs.weight, pairs.difference)
            change[(..., *pairs.second)].addcmul_(pairs.weight, pairs.difference, value=-1)
            total[pairs.first].add_(pairs.weight)
            total[pairs.second].add_(pairs.weight)
    return change.div_(total).mul_(scale).add_(image)


@torch.no_grad()
def neighbor_similarity(image: Tensor, noise: Tensor) -> Tensor:
    r"""Weights of the edges of the 8-neighbour pixel grid: how alike two pixels are, measured by the noise.

    The weights are those of :func:`~stgraph.ops.fusion.denoise_image` with patches of :math:`3 \times 3` pixels: 1
    where only noise tells the surroundings of the two pixels apart, 0 across an edge well above the noise.

    Args:
        image: Bands of an image.
        noise: Standard deviation of the noise of each band, see :func:`~stgraph.ops.fusion.image_noise`.

    Shapes:
        - **image:** :math:`(b, H, W)`, float32 or float64, **noise:** :math:`(b)`
        - **output:** :math:`(4, H, W)`: the weight between a pixel and its neighbour to the right, down-left, down and
          down-right; 0 where this is outside

    Raises:
        InputError: If a shape does not fit, a value is not finite or a noise is negative.
        InputTypeError: If the image is not of float32 or float64, or :obj:`noise` not a tensor of real numbers.

    Examples:
        >>> image = torch.tensor([[[0.0, 0.0, 0.0, 9.0, 9.0, 9.0]]])
        >>> right, down_left, down, down_right = neighbor_similarity(image, torch.tensor([0.1]))
        >>> right, int(down.sum())
        (tensor([[1., 0., 0., 0., 1., 0.]]), 0)
    """
    _check_bands(image)
    _check_noise(image, noise)
    _, padded = _in_units_of_noise(image, noise, patch=1)
    weight = image.new_zeros(len(_NEIGHBORS), *image.shape[-2:])
    for direction, offset in enumerate(_NEIGHBORS):
        for pairs in _pairs(padded, offset, patch=1):
            weight[direction][pairs.first] = pairs.weight
    return weight


class _Pairs(NamedTuple):
    """Pairs of pixels at one offset: where both stand, ``second - first`` per band, and the weight of the pair."""

    first: Window
    second: Window
    difference: Tensor
    weight: Tensor


def _half_window(search: int) -> Iterator[tuple[int, int]]:
    """Offsets that reach each unordered pair of pixels of a window once."""
    for row in range(search + 1):
        for column in range(-search, search + 1):
            if (row, column) > (0, 0):
                yield row, column


def _pairs(padded: Tensor, offset: tuple[int, int], patch: int) -> Iterator[_Pairs]:
    """All pairs of pixels that lie in the image at one offset, strip by strip, from the image with its margin."""
    height, width = (size - 2 * patch for size in padded.shape[-2:])
    down, right = offset
    left, stop = max(-right, 0), width - max(right, 0)
    if left >= stop:
        return
    rows = max(_STRIP_PIXELS // width, 1)
    for top in range(0, height - down, rows):
        bottom = min(top + rows, height - down)
        first = slice(top, bottom), slice(left, stop)
        second = slice(top + down, bottom + down), slice(left + right, stop + right)
        difference = padded[(..., *_grown(second, patch))] - padded[(..., *_grown(first, patch))]
        distance = _box_mean(difference.square().mean(dim=0), patch)
        weight = distance.sub_(2).clamp_(min=0).neg_().exp_()
        yield _Pairs(first, second, difference[:, patch : patch + bottom - top, patch : patch + stop - left], weight)


def _grown(window: Window, patch: int) -> Window:
    """The pixels of a window and of the patches about them, in the image with a margin of half a patch."""
    rows, columns = window
    return slice(rows.start, rows.stop + 2 * patch), slice(columns.start, columns.stop + 2 * patch)


def _box_mean(values: Tensor, patch: int) -> Tensor:
    size = 2 * patch + 1
    rows, columns = (length - 2 * patch for length in values.shape)
    for axis, length in ((0, rows), (1, columns)):
        total = values.narrow(axis, 0, length).clone()
        for start in range(1, size):
            total.add_(values.narrow(axis, start, length))
        values = total
    return values.div_(size * size)


def _in_units_of_noise(image: Tensor, noise: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """The unit of each band ``[b, 1, 1]``, and the image in it with a mirrored margin of half a patch."""
    low, high = image.amin(dim=(1, 2), keepdim=True), image.amax(dim=(1, 2), keepdim=True)
    scale = torch.maximum(noise.to(image)[:, None, None], _LOWEST_NOISE * (high - low))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    # About the middle of the range: an offset costs no digits.
    units = (image - (low + (high - low) / 2)) / scale
    for axis in (1, 2):
        units = units.index_select(axis, boundary_index(image.shape[axis], patch, "reflect", image.device))
    return scale, units


def _unit_residuals(filtered: Tensor) -> Tensor:
    """Each band less its regression on the others, divided by ``sqrt(1 + sum of squared coefficients)``."""
    gram = filtered @ filtered.T
    ridge = max(1e-9 * float(gram.trace()), torch.finfo(gram.dtype).tiny)
    # Row c of the inverse is proportional to 1 at c and minus the coefficients elsewhere.
    inverse = torch.linalg.inv(gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    rows: Tensor = inverse / torch.linalg.vector_norm(inverse, dim=1, keepdim=True)
    return rows @ filtered


def _median_deviation(values: Tensor) -> Tensor:
    return values.abs().median(dim=1).values / _NORMAL_MEDIAN


def _check_bands(image: Tensor) -> None:
    check_image(image)
    if image.dim() != 3:
        raise InputError(f"image must have the shape (bands, rows, columns), got {tuple(image.shape)}")
    if not bool(image.isfinite().all()):
        raise InputError("image must be finite, got NaN or infinity")


def _check_noise(image: Tensor, noise: Tensor) -> None:
    if not isinstance(noise, Tensor) or not noise.is_floating_point():
        found = str(noise.dtype) if isinstance(noise, Tensor) else type(noise).__name__
        raise InputTypeError(f"noise must be a tensor of real numbers, got {found}")
    if noise.shape != image.shape[:1]:
        raise InputError(f"noise must have the shape ({image.shape[0]},), one per band, got {tuple(noise.shape)}")
    if not bool((noise.isfinite() & (noise >= 0)).all()):
        raise InputError(f"noise must be finite and 0 or more, got {noise.tolist()}")


def _check_size(size: int, name: str, lowest: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise InputTypeError(f"{name} must be a whole number of pixels, got {type(size).__name__}")
    if size < lowest:
        raise InputError(f"{name} must be {lowest} or more, got {size}")
