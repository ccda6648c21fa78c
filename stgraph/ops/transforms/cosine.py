"""Discrete cosine and sine transforms by one real Fourier transform of the same length."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from stgraph.errors import InputError
from stgraph.ops.transforms.constants import constant_table
from stgraph.ops.transforms.empty_fft import fftn, irfftn, rfftn
from stgraph.ops.transforms.precision import full_precision

__all__ = ["dct", "dst", "idct", "idst"]

# Up to this many points a product with the matrix is cheaper.
_MATRIX_POINTS = 64
_INVERSE_TYPE = {2: 3, 3: 2, 4: 4}


@full_precision
def dct(x: Tensor, type: int = 2, dim: int = -1, norm: str | None = "ortho") -> Tensor:
    r"""Discrete cosine transform of type 2, 3 or 4, with the values of :func:`scipy.fft.dct`.

    Type 2 is :math:`y_k = 2 \sum_j x_j \cos(\pi (2j + 1) k / 2N)`, times :math:`\sqrt{1/4N}` for :math:`k = 0` and
    :math:`\sqrt{1/2N}` else with ``norm="ortho"``. It costs :math:`O(N \log N)` by one real FFT of the reordered signal
    (Makhoul, "A fast cosine transform in one and two dimensions", IEEE TASSP 1980).

    Args:
        x: Real or complex signals, any number of axes.
        type: 2, 3 (its inverse) or 4 (its own inverse).
        dim: The axis.
        norm: ``"ortho"`` for the orthonormal transform, or ``None``.

    Raises:
        InputError: If the axis is empty or an option unknown.

    Examples:
        >>> dct(torch.ones(4)).round().abs()
        tensor([2., 0., 0., 0.])
    """
    return _transform(x, type, dim, norm, sine=False)


@full_precision
def idct(y: Tensor, type: int = 2, dim: int = -1, norm: str | None = "ortho") -> Tensor:
    """Inverse of :func:`dct`, with the values of :func:`scipy.fft.idct`.

    Examples:
        >>> idct(dct(torch.tensor([1.0, 2.0, 3.0]))).round()
        tensor([1., 2., 3.])
    """
    return _inverse(y, type, dim, norm, sine=False)


@full_precision
def dst(x: Tensor, type: int = 2, dim: int = -1, norm: str | None = "ortho") -> Tensor:
    r"""Discrete sine transform of type 2, 3 or 4, with the values of :func:`scipy.fft.dst`.

    Type 2 is :math:`y_k = 2 \sum_j x_j \sin(\pi (k + 1)(2j + 1) / 2N)`. It is the cosine transform of
    :math:`(-1)^j x_j` in reverse order.

    Args:
        x: Real or complex signals, any number of axes.
        type: 2, 3 (its inverse) or 4 (its own inverse).
        dim: The axis.
        norm: ``"ortho"`` for the orthonormal transform, or ``None``.

    Raises:
        InputError: If the axis is empty or an option unknown.

    Examples:
        >>> dst(torch.tensor([1.0, -1.0, 1.0, -1.0])).round().abs()
        tensor([0., 0., 0., 2.])
    """
    return _transform(x, type, dim, norm, sine=True)


@full_precision
def idst(y: Tensor, type: int = 2, dim: int = -1, norm: str | None = "ortho") -> Tensor:
    """Inverse of :func:`dst`, with the values of :func:`scipy.fft.idst`.

    Examples:
        >>> idst(dst(torch.tensor([1.0, 2.0, 3.0]))).round()
        tensor([1., 2., 3.])
    """
    return _inverse(y, type, dim, norm, sine=True)


def _inverse(y: Tensor, type: int, dim: int, norm: str | None, sine: bool) -> Tensor:
    if type not in _INVERSE_TYPE:
        raise InputError(f"type is {type}; expected one of {list(_INVERSE_TYPE)}")
    out = _transform(y, _INVERSE_TYPE[type], dim, norm, sine)
    return out if norm == "ortho" else out / (2 * y.shape[dim])


def _transform(x: Tensor, type: int, dim: int, norm: str | None, sine: bool) -> Tensor:
    if type not in _INVERSE_TYPE:
        raise InputError(f"type is {type}; expected one of {list(_INVERSE_TYPE)}")
    if norm not in ("ortho", None):
        raise InputError(f"norm is {norm!r}; expected 'ortho' or None")
    size = x.shape[dim]
    if size < 1:
        raise InputError(f"x has no points along axis {dim}; expected at least 1")
    if x.is_complex():
        return torch.complex(_transform(x.real, type, dim, norm, sine), _transform(x.imag, type, dim, norm, sine))
    axis = dim if dim < 0 else dim - x.dim()
    if norm is None and type == 3:
        x = x * _scale(size, sine, math.sqrt(size), axis, dtype=x.dtype, device=x.device)
    apply = _by_matrix if size <= _MATRIX_POINTS else _Orthonormal.apply
    out = apply(x, type, axis, sine)
    if norm is None and type == 2:
        return out * _scale(size, sine, 2 * math.sqrt(size), axis, dtype=x.dtype, device=x.device)
    return out * math.sqrt(2 * size) if norm is None and type == 4 else out


class _Orthonormal(Function):
    """The orthonormal transform by FFT; its transpose, the backward pass, is its inverse."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, type: int, axis: int, sine: bool) -> Tensor:
        return _by_sine(x, type, axis) if sine else _COSINE[type](x, axis)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.type, ctx.axis, ctx.sine = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        out = _Orthonormal.apply(grad, _INVERSE_TYPE[ctx.type], ctx.axis, ctx.sine)  # type: ignore[no-untyped-call]
        return out, None, None, None


def _by_matrix(x: Tensor, type: int, axis: int, sine: bool) -> Tensor:
    matrix = _orthonormal_matrix(x.shape[axis], type, sine, dtype=x.dtype, device=x.device)
    if axis == -1:
        return x @ matrix.T
    return (matrix @ x.movedim(axis, -2)).movedim(-2, axis) if axis != -2 else matrix @ x


@constant_table
def _orthonormal_matrix(size: int, type: int, sine: bool, device: torch.device) -> Tensor:
    k, j = (torch.arange(size, dtype=torch.float64, device=device) for _ in range(2))
    wave = torch.sin if sine else torch.cos
    if type == 4:
        return math.sqrt(2 / size) * wave(math.pi / size * torch.outer(k + 0.5, j + 0.5))
    frequency = k + 1 if sine else k
    matrix = wave(math.pi / (2 * size) * torch.outer(frequency, 2 * j + 1)) * math.sqrt(2 / size)
    matrix[-1 if sine else 0] *= math.sqrt(0.5)
    return matrix if type == 2 else matrix.T.contiguous()


@constant_table
def _scale(size: int, sine: bool, lone: float, axis: int, device: torch.device) -> Tensor:
    """Scale of the coefficients where not orthonormal, ``lone`` for the one that stands apart."""
    scale = torch.full((size,), math.sqrt(2 * size), dtype=torch.float64, device=device)
    scale[-1 if sine else 0] = lone
    return scale.view(-1, *[1] * (-axis - 1))


@constant_table
def _twiddle(size: int, axis: int, inverse: bool, device: torch.device) -> Tensor:
    """Phase factors of the half spectrum with the orthonormal scale, shaped to multiply along ``axis``."""
    k = torch.arange(size // 2 + 1, dtype=torch.float64, device=device)
    scale = torch.full_like(k, math.sqrt(1 / (2 * size)) if inverse else math.sqrt(2 / size))
    scale[0] = math.sqrt(1 / size)
    angle = math.pi / (2 * size) * k
    return torch.polar(scale, angle if inverse else -angle).view(-1, *[1] * (-axis - 1))


@constant_table
def _chirp(count: int, size: int, axis: int, device: torch.device) -> Tensor:
    """Phase factors of the transform of type 4: exp(-i pi (n + 1/8) / N)."""
    angle = -math.pi / size * (torch.arange(count, dtype=torch.float64, device=device) + 0.125)
    return torch.polar(torch.ones_like(angle), angle).view(-1, *[1] * (-axis - 1))


@constant_table
def _alternating(size: int, axis: int, device: torch.device) -> Tensor:
    signs = 1.0 - 2.0 * (torch.arange(size, device=device) % 2).double()
    return signs.view(-1, *[1] * (-axis - 1))


def _every_second(axis: int, start: int) -> tuple[Any, ...]:
    return (..., slice(start, None, 2), *[slice(None)] * (-axis - 1))


def _dct2(x: Tensor, axis: int) -> Tensor:
    size = x.shape[axis]
    even, odd = x[_every_second(axis, 0)], x[_every_second(axis, 1)]
    spectrum = rfftn(torch.cat([even, odd.flip(axis)], dim=axis), (axis,))
    spectrum *= _twiddle(size, axis, False, dtype=spectrum.dtype, device=x.device)
    mirrored = spectrum.imag.narrow(axis, 1, (size - 1) // 2).flip(axis)
    return torch.cat([spectrum.real, -mirrored], dim=axis)


def _dct3(y: Tensor, axis: int) -> Tensor:
    size = y.shape[axis]
    bins, half = size // 2 + 1, (size + 1) // 2
    # Bin k is made of the coefficients k and N - k; bin 0 has no partner.
    partner = -y.narrow(axis, size - bins + 1, bins - 1).flip(axis)
    imaginary = torch.cat([torch.zeros_like(y.narrow(axis, 0, 1)), partner], dim=axis)
    spectrum = torch.complex(y.narrow(axis, 0, bins), imaginary)
    spectrum *= _twiddle(size, axis, True, dtype=spectrum.dtype, device=y.device)
    reordered = irfftn(spectrum, (size,), (axis,), norm="forward")
    out = torch.empty_like(y, memory_format=torch.contiguous_format)
    out[_every_second(axis, 0)] = reordered.narrow(axis, 0, half)
    out[_every_second(axis, 1)] = reordered.narrow(axis, half, size - half).flip(axis)
    return out


def _dct4(x: Tensor, axis: int) -> Tensor:
    size = x.shape[axis]
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    scale = math.sqrt(2 / size)
    if size % 2:
        return _dct4_odd(x, axis, scale)
    half = size // 2
    pairs = torch.complex(x[_every_second(axis, 0)], x.flip(axis)[_every_second(axis, 0)])
    chirp = _chirp(half, size, axis, dtype=pairs.dtype, device=x.device)
    spectrum = fftn(pairs * chirp, (axis,))
    spectrum *= chirp
    out[_every_second(axis, 0)] = spectrum.real * scale
    out[_every_second(axis, 1)] = spectrum.imag.flip(axis) * -scale
    return out


def _dct4_odd(x: Tensor, axis: int, scale: float) -> Tensor:
    # cos(pi (j + 1/2)(k + 1/2) / N) is the real part of a transform of length 2 N with phases before and after.
    size = x.shape[axis]
    n = torch.arange(size, dtype=torch.float64, device=x.device).view(-1, *[1] * (-axis - 1))
    before = torch.polar(torch.ones_like(n), -math.pi / (2 * size) * n)
    after = torch.polar(torch.full_like(n, scale), -math.pi / (4 * size) * (2 * n + 1))
    dtype = torch.promote_types(x.dtype, torch.complex64)
    turned = x * before.to(dtype)
    spectrum = fftn(torch.cat([turned, torch.zeros_like(turned)], dim=axis), (axis,)).narrow(axis, 0, size)
    return (spectrum * after.to(dtype)).real


_COSINE = {2: _dct2, 3: _dct3, 4: _dct4}


def _by_sine(x: Tensor, type: int, axis: int) -> Tensor:
    """The orthonormal sine transform, from the cosine transform of the same type."""
    signs = _alternating(x.shape[axis], axis, dtype=x.dtype, device=x.device)
    if type == 2:
        return _dct2(x * signs, axis).flip(axis)
    return _COSINE[type](x.flip(axis), axis) * signs
