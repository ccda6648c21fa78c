"""Frequency responses of real circular filters: the part that acts, and other lengths."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from stgraph.ops.transforms.constants import constant_table
from stgraph.ops.transforms.empty_fft import irfftn, rfftn
from stgraph.ops.transforms.fourier import irfft, rfft

__all__ = ["circular_filter", "hermitian_half", "resample_circular", "resample_half"]


def circular_filter(x: Tensor, half: Tensor, dim: tuple[int, ...], norm: str | None = "ortho") -> Tensor:
    r"""Filter real signals by a frequency response, :math:`F^{-1} (H \odot F x)`.

    Its backward pass is the filter with the conjugate response, and reuses the spectrum of the signals.

    Args:
        x: Real signals in float32 or float64, ``[..., *sizes, ...]``.
        half: Half spectrum of the response, which broadcasts over leading axes of ``x``.
        dim: The axes, counted from the end; the last of them is halved in ``half``.
        norm: Normalisation of both transforms, without influence on the result.

    Examples:
        >>> delay = torch.polar(torch.ones(3), -torch.pi / 2 * torch.arange(3))
        >>> circular_filter(torch.tensor([1.0, 2.0, 3.0, 4.0]), delay, (-1,)).round()
        tensor([4., 1., 2., 3.])
    """
    return _CircularFilter.apply(x, half, dim, norm)  # type: ignore[no-any-return, no-untyped-call]


class _CircularFilter(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, half: Tensor, dim: tuple[int, ...], norm: str | None) -> Tensor:
        ctx.dim, ctx.norm, ctx.sizes = dim, norm, tuple(x.shape[axis] for axis in dim)
        ctx.save_for_backward(x, half)
        ctx.spectrum = rfftn(x, dim, norm)
        return irfftn(ctx.spectrum * half, ctx.sizes, dim, norm)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, half = ctx.saved_tensors
        need_x, need_half = ctx.needs_input_grad[:2]
        # Where the gradient is itself to be differentiated, it has to know that the spectrum depends on x.
        spectrum = rfft(x, ctx.dim, ctx.norm) if torch.is_grad_enabled() else ctx.spectrum
        of_grad = rfft(grad, ctx.dim, ctx.norm)
        grad_x = irfft(of_grad * half.conj(), ctx.sizes, ctx.dim, ctx.norm) if need_x else None
        if not need_half:
            return grad_x, None, None, None
        product = (of_grad * spectrum.conj()).sum_to_size(half.shape)
        last = ctx.dim[-1]
        pairs = _pair_count(half.shape[last], ctx.sizes[-1], last, dtype=grad.dtype, device=grad.device)
        return grad_x, product * (pairs * _scale(ctx.sizes, ctx.norm)), None, None


def _scale(sizes: tuple[int, ...], norm: str | None) -> float:
    """What both transforms together multiply the sum over the bins by, relative to the unscaled transforms."""
    points = math.prod(sizes)
    return {"ortho": 1.0, "forward": float(points)}.get(norm or "backward", 1.0 / points)


@constant_table
def _pair_count(bins: int, size: int, axis: int, device: torch.device) -> Tensor:
    """Number of frequencies that each bin of a half spectrum stands for."""
    count = torch.full((bins,), 2.0, dtype=torch.float64, device=device)
    count[0] = 1
    if size % 2 == 0:
        count[-1] = 1
    return count.view(-1, *[1] * (-axis - 1))


def hermitian_half(response: Tensor, dim: tuple[int, ...]) -> Tensor:
    r"""Half spectrum of the Hermitian part :math:`\tfrac12 (H_k + \overline{H_{-k}})` of a response.

    It is all of a response that acts on real signals whose filtered real part is kept.

    Args:
        response: Complex response over all bins in the order of :func:`torch.fft.fftfreq`.
        dim: Its frequency axes; the last of them is halved.

    Examples:
        >>> hermitian_half(torch.tensor([1 + 1j, 2 + 1j, 4 + 3j]), (0,))
        tensor([1.+0.j, 3.-1.j])
    """
    last = dim[-1]
    bins = response.shape[last] // 2 + 1
    index = -torch.arange(bins, device=response.device) % response.shape[last]
    mirrored = response.index_select(last, index)
    for axis in dim[:-1]:
        mirrored = mirrored.flip(axis).roll(1, axis)
    return (response.narrow(last, 0, bins) + mirrored.conj()) / 2


def resample_half(half: Tensor, size: int, new_size: int, dim: int) -> Tensor:
    """Half spectrum of a filter for signals of another length, linear over frequency in cycles per sample.

    Frequencies above the last bin take its value; the bin at half a cycle per sample is real.

    Args:
        half: Half spectrum, complex.
        size: Number of points of the signals it is for.
        new_size: Number of points of the signals wanted.
        dim: The frequency axis.

    Examples:
        >>> low_pass = torch.tensor([1, 1, 0, 0, 0], dtype=torch.complex64)  # up to 1/8 of a cycle per sample
        >>> resample_half(low_pass, 8, 16, 0).real
        tensor([1.0000, 1.0000, 1.0000, 0.5000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000])
    """
    if size == new_size:
        return half
    position = torch.arange(new_size // 2 + 1, dtype=torch.float64, device=half.device) * size / new_size
    out = _interpolate(half, position.clamp(max=size // 2), half.shape[dim] - 1, dim, wrap=False)
    if new_size % 2:
        return out
    last = out.shape[dim] - 1
    return torch.cat([out.narrow(dim, 0, last), out.narrow(dim, last, 1).real.to(out.dtype)], dim=dim)


def resample_circular(response: Tensor, new_size: int, dim: int) -> Tensor:
    """Response over all bins for signals of another length, linear over signed frequency with wrap-around.

    Args:
        response: Complex response in the order of :func:`torch.fft.fftfreq`.
        new_size: Number of points of the signals wanted.
        dim: The frequency axis.

    Examples:
        >>> low_pass = torch.tensor([1, 1, 0, 1], dtype=torch.complex64)
        >>> resample_circular(low_pass, 8, 0).real
        tensor([1.0000, 1.0000, 1.0000, 0.5000, 0.0000, 0.5000, 1.0000, 1.0000])
    """
    size = response.shape[dim]
    if size == new_size:
        return response
    frequency = torch.fft.fftfreq(new_size, dtype=torch.float64, device=response.device)
    return _interpolate(response, (frequency * size) % size, size, dim, wrap=True)


def _interpolate(values: Tensor, position: Tensor, last: int, dim: int, wrap: bool) -> Tensor:
    # A position that is an integer but for rounding is that integer.
    nearest = position.round()
    position = torch.where((position - nearest).abs() < 1e-9, nearest, position)
    below = position.floor()
    weight = (position - below).to(values.real.dtype)
    lower = below.long() % last if wrap else below.long()
    upper = (lower + 1) % last if wrap else (lower + 1).clamp(max=last)
    shape = [1] * values.dim()
    shape[dim] = -1
    weight = weight.view(shape)
    return values.index_select(dim, lower) * (1 - weight) + values.index_select(dim, upper) * weight
