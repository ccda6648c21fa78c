"""Products of the lowest Fourier modes with a matrix for each mode: convolutions whose kernels have few modes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from stgraph.ops.transforms.empty_fft import fftn
from stgraph.ops.transforms.fourier import irfft, rfft
from stgraph.ops.transforms.precision import full_precision

__all__ = ["low_mode_convolution", "low_mode_convolution_2d"]


@full_precision
def low_mode_convolution(x: Tensor, weight: Tensor, channels_last: bool = False) -> Tensor:
    r"""Multiply the lowest modes along one axis with complex matrices and leave out all others.

    .. math::
        Y_{k, o} = \sum_i X_{k, i} W_{i, o, k}, \qquad k < \min(K, \lfloor N/2 \rfloor + 1)

    Half precision is computed in float32, float64 in float64.

    Args:
        x: Real signals, ``[..., I, N]``, or ``[..., N, I]`` with ``channels_last``.
        weight: Real and imaginary parts of the matrices of the K lowest modes, ``[I, O, K, 2]``.
        channels_last: Where the channels of ``x`` are.

    Returns:
        Tensor: ``[..., O, N]``, or ``[..., N, O]``.

    Examples:
        >>> mean = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
        >>> low_mode_convolution(torch.tensor([[1.0, 2.0, 3.0]]), mean).round()
        tensor([[2., 2., 2.]])
    """
    axis = -2 if channels_last else -1
    size = x.shape[axis]
    kept = min(weight.shape[2], size // 2 + 1)
    mixed = _mix(rfft(x, axis, None, bins=kept), _narrow(weight, 2, 0, kept), channels_last)
    return irfft(mixed, size, axis, None)


@full_precision
def low_mode_convolution_2d(
    x: Tensor, weight: Tensor, negative: Tensor | None = None, channels_last: bool = False
) -> Tensor:
    r"""Multiply the lowest modes of images with complex matrices and leave out all others.

    ``weight`` acts on the vertical frequencies :math:`0, 1, \ldots, K_1 - 1` and ``negative`` on
    :math:`-K_1, \ldots, -1`, each with the horizontal ones :math:`0, \ldots, K_2 - 1`. Those beyond the Nyquist
    frequencies of the image are not used; the vertical Nyquist frequency is a positive one if ``weight`` has it.
    Without ``negative`` the first K1 rows of the spectrum are multiplied and all others left out.

    Args:
        x: Real images, ``[..., I, H, W]``, or ``[..., H, W, I]`` with ``channels_last``.
        weight: Real and imaginary parts of the matrices, ``[I, O, K1, K2, 2]``.
        negative: Those of the negative vertical frequencies, of the same shape.
        channels_last: Where the channels of ``x`` are.

    Returns:
        Tensor: ``[..., O, H, W]``, or ``[..., H, W, O]``.

    Examples:
        >>> mean = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
        >>> low_mode_convolution_2d(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]), mean).round()
        tensor([[[3., 3.],
                 [3., 3.]]])
    """
    rows, columns = (-3, -2) if channels_last else (-2, -1)
    height, width = x.shape[rows], x.shape[columns]
    kept = min(weight.shape[3], width // 2 + 1)
    first = min(weight.shape[2], height if negative is None else height // 2 + 1)
    last = 0 if negative is None else min(weight.shape[2], height - first)
    half = rfft(x, columns, None, bins=kept)
    upper, middle, lower = fftn(half, (rows,)).split([first, height - first - last, last], dim=rows)
    mixed = _mix(upper, _narrow(_narrow(weight, 2, 0, first), 3, 0, kept), channels_last)
    shape = list(mixed.shape)
    shape[rows] = middle.shape[rows]
    parts = [mixed, mixed.new_zeros(shape)]
    if negative is not None and last:
        matrices = _narrow(_narrow(negative, 2, negative.shape[2] - last, last), 3, 0, kept)
        parts.append(_mix(lower, matrices, channels_last))
    images = fftn(torch.cat(parts, dim=rows), (rows,), inverse=True)
    return irfft(images, width, columns, None)


class _Transpose(Function):
    """A contiguous transpose of a matrix, whose gradient is contiguous as well."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> Tensor:
        return matrix.t().contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Transpose.apply(grad)  # type: ignore[no-any-return, no-untyped-call]


def _mix(spectrum: Tensor, weight: Tensor, channels_last: bool) -> Tensor:
    """Multiply the channels of each mode with its matrix, all modes as one batch of real matrix products."""
    inputs, outputs, *modes, _ = weight.shape
    count, lead = math.prod(modes), spectrum.shape[: -1 - len(modes)]
    flat = (math.prod(lead), count, inputs, 2) if channels_last else (math.prod(lead), inputs, count, 2)
    # The gradient of an empty view may come with strides that the view cannot have.
    parts = torch.view_as_real(spectrum) if spectrum.numel() else torch.stack([spectrum.real, spectrum.imag], dim=-1)
    rows = parts.reshape(flat).permute((1, 3, 0, 2) if channels_last else (2, 3, 0, 1)).reshape(count, -1, inputs)
    by_mode = _by_mode(weight.to(rows.dtype).reshape(inputs * outputs, count, 2)).view(count, inputs, 2 * outputs)
    product = torch.view_as_complex(torch.bmm(rows, by_mode).view(count, 2, flat[0], outputs, 2))
    real, imaginary = product.unbind(1)  # what the real and the imaginary parts of the spectrum contribute
    mixed = real + 1j * imaginary
    if channels_last:
        return mixed.transpose(0, 1).reshape(*lead, *modes, outputs)
    return mixed.permute(1, 2, 0).reshape(*lead, outputs, *modes)


def _by_mode(weight: Tensor) -> Tensor:
    """Bring matrices ``[I * O, K, 2]`` to ``[K, I * O, 2]``."""
    return torch.view_as_real(_Transpose.apply(torch.view_as_complex(weight)))  # type: ignore[no-untyped-call]


def _narrow(weight: Tensor, axis: int, start: int, length: int) -> Tensor:
    # Its backward pass would fill a tensor of the size of the weight with zeros.
    return weight if weight.shape[axis] == length else weight.narrow(axis, start, length)
