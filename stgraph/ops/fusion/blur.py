"""Blur: every band of an image convolved with one point-spread function."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.kernels import check_kernel

__all__ = ["Boundary", "blur", "boundary_index", "check_boundary", "check_image"]

#: What an image is taken to be outside its border.
Boundary = Literal["reflect", "replicate", "zero"]


def blur(image: Tensor, kernel: Tensor, boundary: Boundary = "reflect") -> Tensor:
    r"""Convolve every band with the same kernel; the size stays.

    .. math::
        y(i, j) = \sum_{u, v} K(u, v)\, x(i - u, j - v)

    This is a convolution, not a correlation, which matters for kernels without symmetry. float32 on a CPU goes through
    a depthwise convolution, everything else through the fast Fourier transform: a direct convolution in float64 lays
    out :math:`m^2` copies of a band, and on a GPU it may round to ten bits.

    Args:
        image: Bands of an image.
        kernel: Point-spread function of odd size m, see :func:`~stgraph.ops.fusion.psf_kernel`. It is taken as it is
            and not divided by its sum.
        boundary: Values outside the image: mirrored about the centres of the border pixels (which are not repeated),
            those of the nearest border pixel, or 0, which darkens the border.

    Shapes:
        - **image**, **output:** :math:`(*, C, H, W)`, float32 or float64
        - **kernel:** :math:`(m, m)`

    Raises:
        InputError: If a shape does not fit, the kernel has an even size or the boundary is unknown.
        InputTypeError: If the image is not of float32 or float64.

    Examples:
        >>> point = torch.tensor([[[0.0, 0.0, 1.0, 0.0, 0.0]]])
        >>> kernel = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.25, 0.25], [0.0, 0.0, 0.0]])
        >>> blur(point, kernel)
        tensor([[[0.0000, 0.5000, 0.2500, 0.2500, 0.0000]]])
    """
    check_image(image)
    check_kernel(kernel, "kernel")
    kernel = kernel.to(image)
    height, width = image.shape[-2:]
    padded = _pad(image.reshape(-1, height, width), kernel.shape[0] // 2, check_boundary(boundary))
    direct = image.dtype == torch.float32 and image.device.type == "cpu"
    blurred = _convolve_directly(padded, kernel) if direct else _convolve_by_fourier(padded, kernel)
    return blurred.reshape(image.shape)


def boundary_index(size: int, half_size: int, boundary: Boundary, device: torch.device | None = None) -> Tensor:
    r"""Which pixel stands at each of the positions :math:`-k, \dots, size + k - 1` of one axis.

    Args:
        size: Number of pixels of the axis.
        half_size: Positions k beyond either end.
        boundary: See :func:`blur`; -1 stands for a value of 0.
        device: Device of the result.

    Shapes:
        - **output:** :math:`(size + 2k)`

    Raises:
        InputError: If the boundary is unknown.

    Examples:
        >>> boundary_index(3, 2, "reflect"), boundary_index(3, 2, "zero")
        (tensor([2, 1, 0, 1, 2, 1, 0]), tensor([-1, -1,  0,  1,  2, -1, -1]))
    """
    check_boundary(boundary)
    index = torch.arange(-half_size, size + half_size, device=device)
    if boundary == "zero":
        return index.masked_fill((index < 0) | (index >= size), -1)
    if boundary == "replicate" or size == 1:
        return index.clamp(0, size - 1)
    index = index.remainder(2 * (size - 1))
    return torch.minimum(index, 2 * (size - 1) - index)


def check_boundary(boundary: Boundary) -> Boundary:
    """Refuse an unknown name of a boundary."""
    if boundary not in get_args(Boundary):
        raise InputError(f"boundary must be one of {', '.join(get_args(Boundary))}, got {boundary!r}")
    return boundary


def check_image(image: Tensor) -> None:
    """Refuse what is not an image ``[..., C, H, W]`` of float32 or float64 with at least one value."""
    if not isinstance(image, Tensor) or image.dtype not in (torch.float32, torch.float64):
        found = str(image.dtype) if isinstance(image, Tensor) else type(image).__name__
        raise InputTypeError(f"image must be a tensor of float32 or float64, got {found}")
    if image.dim() < 3 or image.numel() == 0:
        raise InputError(f"image must have the shape (..., bands, rows, columns), got {tuple(image.shape)}")


def _pad(image: Tensor, half_size: int, boundary: Boundary) -> Tensor:
    if boundary == "zero":
        return F.pad(image, (half_size,) * 4)
    for axis in (-2, -1):
        image = image.index_select(axis, boundary_index(image.shape[axis], half_size, boundary, image.device))
    return image


def _convolve_directly(padded: Tensor, kernel: Tensor) -> Tensor:
    bands = padded.shape[0]
    weight = kernel.flip(0, 1).expand(bands, 1, -1, -1)
    return F.conv2d(padded[None], weight, groups=bands)[0]


def _convolve_by_fourier(padded: Tensor, kernel: Tensor) -> Tensor:
    # Where the kernel fits whole, the circular convolution of the padded image is the plain one.
    size = tuple(next_fast_len(length, real=True) for length in padded.shape[-2:])
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel, s=size)
    start = kernel.shape[0] - 1
    full: Tensor = torch.fft.irfft2(spectrum, s=size)
    return full[..., start : padded.shape[-2], start : padded.shape[-1]]
