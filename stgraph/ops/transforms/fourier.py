"""Real Fourier transforms whose backward passes are real transforms as well, and the real maps of token mixing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from stgraph.errors import InputError
from stgraph.ops.transforms.empty_fft import irfftn, rfftn
from stgraph.ops.transforms.precision import full_precision

__all__ = ["ADJOINT_NORM", "hartley", "irfft", "real_fft", "rfft"]

#: The normalisation under which the inverse transform is the adjoint of the forward one, and the reverse.
ADJOINT_NORM: dict[str | None, str] = {"ortho": "ortho", "backward": "forward", "forward": "backward", None: "forward"}


@full_precision
def rfft(x: Tensor, dim: int | tuple[int, ...] = -1, norm: str | None = "ortho", bins: int | None = None) -> Tensor:
    """Fourier transform of real signals along one or more axes, the half spectrum along the last of them.

    The values are those of :func:`torch.fft.rfftn`; the backward pass is a real inverse transform instead of a complex
    one, several times faster.

    Args:
        x: Real signals in float32 or float64.
        dim: The axis or axes.
        norm: ``"ortho"``, ``"backward"`` (or ``None``) or ``"forward"``, as in :mod:`torch.fft`.
        bins: Number of bins to keep of the half spectrum, from the lowest frequency on; all by default.

    Examples:
        >>> rfft(torch.tensor([1.0, 0.0, 0.0, 0.0]), norm=None)
        tensor([1.+0.j, 1.+0.j, 1.+0.j])
    """
    axes = _axes(x, dim)
    most = x.shape[axes[-1]] // 2 + 1
    kept = most if bins is None else min(bins, most)
    return _Analysis.apply(x, kept, axes, _check_norm(norm), 1.0)  # type: ignore[no-any-return, no-untyped-call]


def irfft(
    spectrum: Tensor, size: int | tuple[int, ...], dim: int | tuple[int, ...] = -1, norm: str | None = "ortho"
) -> Tensor:
    """Inverse of :func:`rfft`: the real signals with that half spectrum.

    Bins that ``spectrum`` lacks along the last of the axes are 0, those beyond ``size`` are dropped.

    Args:
        spectrum: Half spectra.
        size: Number of points along each axis of ``dim``.
        dim: The axis or axes.
        norm: As given to :func:`rfft`.

    Examples:
        >>> irfft(rfft(torch.tensor([1.0, 2.0, 3.0])), 3).round()
        tensor([1., 2., 3.])
    """
    axes = _axes(spectrum, dim)
    sizes = (size,) if isinstance(size, int) else tuple(size)
    kept = min(spectrum.shape[axes[-1]], sizes[-1] // 2 + 1)
    cut = spectrum.narrow(axes[-1], 0, kept)
    return _Synthesis.apply(cut, sizes, axes, _check_norm(norm), 1.0)  # type: ignore[no-any-return, no-untyped-call]


@full_precision
def real_fft(x: Tensor, dim: int | tuple[int, ...] = -1, norm: str | None = "ortho") -> Tensor:
    r"""Real part of the Fourier transform of real signals, :math:`\sum_n x_n \cos(2\pi\, k \cdot n / N)`.

    Computed from the half spectrum and :math:`y_{-k} = y_k`. The map is symmetric, so it is its own backward pass.

    Examples:
        >>> real_fft(torch.tensor([0.0, 1.0, 0.0, 0.0]), norm=None).round().abs()
        tensor([1., 0., 1., 0.])
    """
    return _RealMap.apply(x, _axes(x, dim), _check_norm(norm), 0.0)  # type: ignore[no-any-return, no-untyped-call]


@full_precision
def hartley(x: Tensor, dim: int | tuple[int, ...] = -1, norm: str | None = "ortho") -> Tensor:
    r"""Hartley transform of real signals, the real minus the imaginary part of their Fourier transform.

    Over several axes it is :math:`\sum_n x_n \operatorname{cas}(2\pi\, k \cdot n / N)` with
    :math:`\operatorname{cas} = \cos + \sin` (Bracewell, "The discrete Hartley transform", 1983). With
    ``norm="ortho"`` it is orthogonal, symmetric and its own inverse.

    Examples:
        >>> hartley(hartley(torch.tensor([1.0, 2.0, 3.0]))).round()
        tensor([1., 2., 3.])
    """
    return _RealMap.apply(x, _axes(x, dim), _check_norm(norm), 1.0)  # type: ignore[no-any-return, no-untyped-call]


class _Analysis(Function):
    """The first bins of the half spectrum, the interior ones times ``interior``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, bins: int, axes: tuple[int, ...], norm: str, interior: float) -> Tensor:
        spectrum = rfftn(x, axes, norm).narrow(axes[-1], 0, bins)
        return _scale_interior(spectrum, axes[-1], x.shape[axes[-1]], interior)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, ctx.axes, ctx.norm, ctx.interior = inputs
        ctx.sizes = tuple(x.shape[axis] for axis in ctx.axes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The inverse transform counts every interior bin twice, once for its mirror image.
        out = _Synthesis.apply(grad, ctx.sizes, ctx.axes, ADJOINT_NORM[ctx.norm], ctx.interior / 2)  # type: ignore[no-untyped-call]
        return out, None, None, None, None


class _Synthesis(Function):
    """The signals whose half spectrum has the given first bins, the interior ones times ``interior``, and zeros."""

    generate_vmap_rule = True

    @staticmethod
    def forward(spectrum: Tensor, sizes: tuple[int, ...], axes: tuple[int, ...], norm: str, interior: float) -> Tensor:
        if interior != 1:
            spectrum = _scale_interior(spectrum.clone(), axes[-1], sizes[-1], interior)
        return irfftn(spectrum, sizes, axes, norm)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        spectrum, _, ctx.axes, ctx.norm, ctx.interior = inputs
        ctx.bins = spectrum.shape[ctx.axes[-1]]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        norm = ADJOINT_NORM[ctx.norm]
        out = _Analysis.apply(grad, ctx.bins, ctx.axes, norm, 2 * ctx.interior)  # type: ignore[no-untyped-call]
        return out, None, None, None, None


class _RealMap(Function):
    """Real part minus ``sine`` times imaginary part of the spectrum."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...], norm: str, sine: float) -> Tensor:
        half = rfftn(x, axes, norm)
        last = axes[-1]
        bins, size = half.shape[last], x.shape[last]
        mirrored = half.narrow(last, 1, size - bins)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        own, rest = out.narrow(last, 0, bins), out.narrow(last, bins, size - bins)
        own.copy_(half.real if not sine else half.real - half.imag)
        _write_mirrored(rest, mirrored.real if not sine else mirrored.real + mirrored.imag, axes)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.axes, ctx.norm, ctx.sine = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _RealMap.apply(grad, ctx.axes, ctx.norm, ctx.sine), None, None, None  # type: ignore[no-untyped-call]


def _write_mirrored(out: Tensor, values: Tensor, axes: tuple[int, ...]) -> None:
    """Write ``values`` of the bins 1, 2, ... in reverse, and reversed modulo N along the other axes."""
    if len(axes) == 1:
        out.copy_(values.flip(axes[-1]))
        return
    axis, others = axes[0], axes[1:]
    _write_mirrored(out.narrow(axis, 0, 1), values.narrow(axis, 0, 1), others)
    rest = values.shape[axis] - 1
    _write_mirrored(out.narrow(axis, 1, rest), values.narrow(axis, 1, rest).flip(axis), others)


def _scale_interior(spectrum: Tensor, axis: int, size: int, factor: float) -> Tensor:
    """Multiply, in place, the bins that stand for a pair of frequencies."""
    last = min(spectrum.shape[axis], (size + 1) // 2)
    if factor != 1 and last > 1:
        spectrum.narrow(axis, 1, last - 1).mul_(factor)
    return spectrum


def _axes(x: Tensor, dim: int | tuple[int, ...]) -> tuple[int, ...]:
    # Counted from the end, so that axes in front (of vmap, for example) do not move them.
    given = (dim,) if isinstance(dim, int) else tuple(dim)
    return tuple(axis if axis < 0 else axis - x.dim() for axis in given)


def _check_norm(norm: str | None) -> str:
    if norm not in ADJOINT_NORM:
        raise InputError(f"norm is {norm!r}; expected 'ortho', 'backward' or 'forward'")
    return norm or "backward"
