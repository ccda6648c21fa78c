"""The coarse spectral prior: what the spectrum of a pixel is around it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.ops.fusion.downsample import area_downsample

__all__ = ["coarse_prior", "enlarge"]

_MODES = ("nearest", "bilinear", "bicubic")


def coarse_prior(lr_hsi: Tensor, factor: int = 4, upsample: str = "nearest") -> Tensor:
    """Blur the low-resolution spectra to what they would be like at a coarser scale, to train with.

    Area-downsampled by ``factor`` and brought back to their size. With few multispectral bands, which cannot tell
    materials apart, the network reads this beside the bands; on the high-resolution image it reads
    :func:`enlarge` of the low-resolution spectra themselves.

    Args:
        lr_hsi: The low-resolution hyperspectral image.
        factor: The scale of the prior.
        upsample: ``"nearest"``, ``"bilinear"`` or ``"bicubic"``.

    Shapes:
        - **lr_hsi:** :math:`(C, h, w)`
        - **output:** :math:`(C, h, w)`

    Raises:
        InputError: If the image has no three dimensions, the factor is below 1 or above its size, or no way of
            enlarging has that name.

    Examples:
        >>> coarse_prior(torch.tensor([[[0.0, 2.0], [4.0, 6.0]]]), factor=2)
        tensor([[[3., 3.],
                 [3., 3.]]])
    """
    _check_image(lr_hsi)
    height, width = lr_hsi.shape[1:]
    if not 1 <= factor <= min(height, width):
        raise InputError(f"factor is {factor}; expected 1 to {min(height, width)}, for an image of {height} x {width}")
    return enlarge(area_downsample(lr_hsi, factor), (height, width), upsample)


def enlarge(image: Tensor, size: tuple[int, int], upsample: str = "nearest", rows: slice = slice(None)) -> Tensor:
    r"""Bring an image to a larger size.

    ``"nearest"`` takes for row i of H rows the row :math:`\min(\lfloor i / q \rfloor, h - 1)` of h rows with
    :math:`q = \lfloor H / h \rfloor`, and for columns alike; the other two interpolate between the centres of pixels.

    Args:
        image: Any image, channels first.
        size: Numbers of rows H and columns W of the result.
        upsample: ``"nearest"``, ``"bilinear"`` or ``"bicubic"``.
        rows: The rows of the result to return. (default: all) ``"nearest"`` makes no others.

    Shapes:
        - **image:** :math:`(C, h, w)`
        - **output:** :math:`(C, H, W)`, or fewer rows

    Raises:
        InputError: If the image has no three dimensions, the size is below its own, or no way has that name.

    Examples:
        >>> enlarge(torch.tensor([[[1.0, 2.0]]]), (1, 5))
        tensor([[[1., 1., 2., 2., 2.]]])
    """
    _check_image(image)
    if upsample not in _MODES:
        raise InputError(f"upsample is {upsample!r}; expected one of {list(_MODES)}")
    if size[0] < image.shape[1] or size[1] < image.shape[2]:
        raise InputError(f"size is {tuple(size)}; expected at least that of the image, {tuple(image.shape[1:])}")
    if upsample == "nearest":
        row, column = (
            (torch.arange(target, device=image.device) // (target // source)).clamp(max=source - 1)
            for target, source in zip(size, image.shape[1:], strict=True)
        )
        return image[:, row[rows][:, None], column]
    return F.interpolate(image[None], size, mode=upsample, align_corners=False)[0, :, rows]


def _check_image(image: Tensor) -> None:
    if image.dim() != 3 or 0 in image.shape:
        raise InputError(f"the image has shape {tuple(image.shape)}; expected (channels, rows, columns), none empty")
