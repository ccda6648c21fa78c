"""Fourier sums by spreading to a grid, a fast Fourier transform, and interpolation."""

from __future__ import annotations

from functools import partial

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from stgraph.ops.nufft.kernel import OVERSAMPLING, Kernel
from stgraph.ops.nufft.uniform import UniformGrid, uniform_grid, unit

__all__ = ["gridding_sum"]

_BLOCK = 1 << 21  # complex grid values held at once: 32 MiB for each array


def gridding_sum(t: Tensor, strengths: Tensor, freqs: Tensor, eps: float) -> Tensor:
    """Sums ``[R, K, F]`` for times ``[R, N]``, strengths ``[R, K, N]`` and frequencies ``[R, F]``."""
    kernel = Kernel.for_error(eps)
    centre, reach = _middle(t)
    shifted = t - centre.unsqueeze(-1)
    grid = uniform_grid(freqs, reach, eps)
    if grid.is_uniform.all():
        size = next_fast_len(OVERSAMPLING * freqs.shape[-1] + kernel.width)
        engine = partial(_to_modes, kernel, size)
    else:
        grid = _irregular_grid(freqs, reach)
        points = int((2 * OVERSAMPLING * (grid.step * reach)).amax().mul(2).ceil()) + kernel.width + 2
        size = next_fast_len(OVERSAMPLING * points)
        engine = partial(_to_frequencies, kernel, points, size)
    turned = strengths * unit(shifted * grid.middle.unsqueeze(-1)).unsqueeze(-2)
    offset = freqs - grid.middle.unsqueeze(-1)
    transforms = min(turned.shape[1], max(1, _BLOCK // size))
    rows = max(1, _BLOCK // (size * transforms))
    blocks = []
    for first in range(0, turned.shape[0], rows):
        block = slice(first, first + rows)
        parts = turned[block].split(transforms, dim=1)
        out = torch.cat([engine(shifted[block], part, offset[block], grid.step[block]) for part in parts], dim=1)
        blocks.append(out * unit(freqs[block] * centre[block].unsqueeze(-1)).unsqueeze(-2))
    return torch.cat(blocks)


def _to_modes(kernel: Kernel, size: int, t: Tensor, strengths: Tensor, freqs: Tensor, step: Tensor) -> Tensor:
    """Type 1: frequencies at multiples of ``step``, counted from the middle one, are modes of a periodic grid."""
    spectrum: Tensor = torch.fft.fft(kernel.spread(strengths, t * (step * size).unsqueeze(-1), size), dim=-1)
    modes = torch.arange(freqs.shape[-1], device=t.device) - freqs.shape[-1] // 2
    return spectrum[..., modes.remainder(size)] / kernel.transform(modes.to(t.dtype) / size)


def _to_frequencies(
    kernel: Kernel, points: int, size: int, t: Tensor, strengths: Tensor, freqs: Tensor, reach: Tensor
) -> Tensor:
    """Type 3: spread in time, then interpolate the grid's transform; ``reach`` is the largest frequency of each row."""
    scale = (2 * OVERSAMPLING * reach).unsqueeze(-1)  # grid points per unit of time
    place = torch.arange(points, device=t.device) - points // 2
    grid = kernel.spread(strengths, t * scale + points // 2, points) / kernel.transform(place.to(t.dtype) / size)
    padded = torch.nn.functional.pad(grid, (0, size - points)).roll(-(points // 2), dims=-1)
    cycles = freqs / scale  # per grid point
    values = kernel.interpolate(torch.fft.fft(padded, dim=-1), cycles * size)
    return values / kernel.transform(cycles).unsqueeze(-2)


def _irregular_grid(freqs: Tensor, reach: Tensor) -> UniformGrid:
    """Middle of frequencies ``[R, F]`` and, as the step, their distance from it, which a single one lacks."""
    middle, distance = _middle(freqs)
    lone = torch.where(reach > 0, 1 / reach, torch.ones_like(reach))
    return UniformGrid(torch.where(distance > 0, distance, lone), middle, torch.zeros_like(reach, dtype=torch.bool))


def _middle(points: Tensor) -> tuple[Tensor, Tensor]:
    """Middle ``[R]`` of the range of points ``[R, P]``, and the largest distance from it."""
    low, high = points.amin(dim=-1), points.amax(dim=-1)
    return (low + high) / 2, (high - low) / 2
