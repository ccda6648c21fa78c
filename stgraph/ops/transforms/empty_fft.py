"""The transforms of :mod:`torch.fft`, for empty batches too, where oneMKL fails."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fftn", "irfftn", "rfftn"]


def fftn(x: Tensor, dim: tuple[int, ...], norm: str | None = None, *, inverse: bool = False) -> Tensor:
    """Complex transform, or its inverse, along the axes ``dim``; the sizes along them are kept.

    Examples:
        >>> fftn(torch.zeros(0, 8), (-1,)).shape
        torch.Size([0, 8])
    """
    _require_points(x, dim)
    if x.numel() == 0:
        return x.to(torch.promote_types(x.dtype, torch.complex64))
    transform = torch.fft.ifftn if inverse else torch.fft.fftn
    out: Tensor = transform(x, dim=dim, norm=norm)
    return out


def rfftn(x: Tensor, dim: tuple[int, ...], norm: str | None = None) -> Tensor:
    """Transform of real signals along the axes ``dim``, the half spectrum along the last of them.

    Examples:
        >>> rfftn(torch.zeros(0, 8), (-1,)).shape
        torch.Size([0, 5])
    """
    _require_points(x, dim)
    if x.numel() == 0:
        half = x.narrow(dim[-1], 0, x.shape[dim[-1]] // 2 + 1)
        return half.to(torch.promote_types(x.dtype, torch.complex64))
    out: Tensor = torch.fft.rfftn(x, dim=dim, norm=norm)
    return out


def irfftn(spectrum: Tensor, sizes: tuple[int, ...], dim: tuple[int, ...], norm: str | None = None) -> Tensor:
    """Real signals of the given sizes along the axes ``dim`` from their half spectrum.

    Examples:
        >>> irfftn(torch.zeros(0, 5, dtype=torch.complex64), (8,), (-1,)).shape
        torch.Size([0, 8])
    """
    if spectrum.numel() == 0:
        shape = list(spectrum.shape)
        for axis, size in zip(dim, sizes, strict=True):
            shape[axis] = size
        return spectrum.real.new_zeros(shape)
    out: Tensor = torch.fft.irfftn(spectrum, s=sizes, dim=dim, norm=norm)
    return out


def _require_points(x: Tensor, dim: tuple[int, ...]) -> None:
    if any(x.shape[axis] == 0 for axis in dim):
        raise RuntimeError(f"x has shape {tuple(x.shape)}; expected at least one point along the axes {dim}")
