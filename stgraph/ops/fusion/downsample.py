"""Downsampling by area: a coarse pixel is the mean of the fine pixels it covers."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.blur import check_image

__all__ = ["area_downsample", "area_weights", "check_ratio"]


def area_downsample(image: Tensor, ratio: int) -> Tensor:
    r"""Shrink an image to :math:`\lfloor H/r \rfloor \times \lfloor W/r \rfloor` pixels by averaging over areas.

    For sizes divisible by r this is the mean of blocks of :math:`r \times r` pixels. Otherwise a coarse pixel covers
    a fraction of some fine pixels, which count by that fraction; the coarse pixels then are slightly larger than
    :math:`r \times r`, and lie up to about one fine pixel away from where blocks would lie. Crop the image first
    to avoid this.

    Args:
        image: Bands of an image.
        ratio: Downsampling ratio r.

    Shapes:
        - **image:** :math:`(*, C, H, W)`, float32 or float64
        - **output:** :math:`(*, C, \lfloor H/r \rfloor, \lfloor W/r \rfloor)`

    Raises:
        InputError: If the ratio is below 1 or larger than the image.
        InputTypeError: If the ratio is not a whole number or the image not of float32 or float64.

    Examples:
        >>> area_downsample(torch.tensor([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]), 2)
        tensor([[[3.5000, 5.5000]]])
        >>> area_downsample(torch.tensor([[[3.0, 6.0, 9.0]] * 3]), 2)
        tensor([[[6.]]])
    """
    check_image(image)
    height, width = image.shape[-2:]
    check_ratio(ratio, height, width)
    rows, columns = height // ratio, width // ratio
    if height % ratio == 0 and width % ratio == 0:
        return image.reshape(*image.shape[:-2], rows, ratio, columns, ratio).mean(dim=(-3, -1))
    down = area_weights(height, rows).to(image)
    across = area_weights(width, columns).to(image)
    return down @ (image @ across.mT)


def area_weights(size: int, target: int) -> Tensor:
    r"""How much of each of :math:`target` equal parts of an axis lies in each of its pixels.

    Args:
        size: Number of pixels of the axis.
        target: Number of parts.

    Shapes:
        - **output:** :math:`(target, size)`, float64; rows add up to 1

    Raises:
        InputError: If there are no parts, or more parts than pixels.

    Examples:
        >>> area_weights(3, 2) * 3
        tensor([[2., 1., 0.],
                [0., 1., 2.]], dtype=torch.float64)
    """
    if not 1 <= target <= size:
        raise InputError(f"target must be 1..{size} parts of an axis of {size} pixels, got {target}")
    pixels = torch.arange(size, dtype=torch.float64)
    starts = torch.arange(target, dtype=torch.float64)[:, None]
    # In units of 1/target pixel every edge is a whole number, so that the overlaps are exact.
    left = torch.maximum(pixels * target, starts * size)
    right = torch.minimum((pixels + 1) * target, (starts + 1) * size)
    return (right - left).clamp(min=0) / size


def check_ratio(ratio: int, height: int, width: int) -> None:
    """Refuse a ratio that is not a whole number from 1 to the smaller side of the image."""
    if isinstance(ratio, bool) or not isinstance(ratio, int):
        raise InputTypeError(f"ratio must be a whole number, got {type(ratio).__name__}")
    if not 1 <= ratio <= min(height, width):
        raise InputError(f"ratio must be 1..{min(height, width)} for {height} x {width} pixels, got {ratio}")
