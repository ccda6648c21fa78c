"""Frequency responses of real circular filters: the part that acts, and other lengths."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["hermitian_half", "resample_circular", "resample_half"]


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
