"""The separable discrete wavelet transform along two axes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.transforms.precision import full_precision
from stgraph.ops.transforms.wavelets import (
    check_axis,
    check_count,
    dwt,
    fit_length,
    idwt,
    warn_above_max_level,
)

__all__ = ["dwt2", "idwt2", "wavedec2", "waverec2"]

#: The details of one level: HL, LH, HH.
Details = tuple[Tensor, Tensor, Tensor]


@full_precision
def dwt2(
    x: Tensor, wavelet: str = "db4", dim: tuple[int, int] = (-2, -1), mode: str = "symmetric"
) -> tuple[Tensor, Details]:
    """One level of the transform along the first axis of ``dim``, then along the second.

    Args:
        x: Images.
        wavelet: One of :data:`~stgraph.ops.transforms.wavelets.KNOWN_WAVELETS`.
        dim: The two axes.
        mode: That of :func:`~stgraph.ops.transforms.wavelets.dwt`.

    Returns:
        tuple[Tensor, tuple[Tensor, Tensor, Tensor]]: LL and (HL, LH, HH): HL is detail along the first axis and
        approximation along the second, LH the reverse.

    Raises:
        InputError: If the axes are not two different ones, or as :func:`~stgraph.ops.transforms.wavelets.dwt`.

    Examples:
        >>> import torch
        >>> approximation, (hl, lh, hh) = dwt2(torch.arange(4.0).expand(4, 4), "haar")
        >>> hl.abs().max().item(), lh.abs().min().item() > 0.9
        (0.0, True)
    """
    first, second = _axes(x, dim)
    low, high = dwt(x, wavelet, first, mode)
    (ll, lh), (hl, hh) = dwt(low, wavelet, second, mode), dwt(high, wavelet, second, mode)
    return ll, (hl, lh, hh)


@full_precision
def idwt2(
    ll: Tensor,
    hl: Tensor,
    lh: Tensor,
    hh: Tensor,
    wavelet: str = "db4",
    dim: tuple[int, int] = (-2, -1),
    mode: str = "symmetric",
) -> Tensor:
    """Inverse of :func:`dwt2`; odd sizes come back one larger.

    Args:
        ll: Approximation.
        hl: Detail along the first axis.
        lh: Detail along the second axis.
        hh: Detail along both.
        wavelet: One of :data:`~stgraph.ops.transforms.wavelets.KNOWN_WAVELETS`.
        dim: The two axes.
        mode: That of :func:`dwt2`.

    Raises:
        InputError: If the shapes differ, or as :func:`~stgraph.ops.transforms.wavelets.idwt`.

    Examples:
        >>> import torch
        >>> x = torch.randn(6, 8, dtype=torch.float64)
        >>> ll, details = dwt2(x, "db2")
        >>> torch.allclose(idwt2(ll, *details, wavelet="db2"), x)
        True
    """
    first, second = _axes(ll, dim)
    low, high = idwt(ll, lh, wavelet, second, mode), idwt(hl, hh, wavelet, second, mode)
    return idwt(low, high, wavelet, first, mode)


@full_precision
def wavedec2(
    x: Tensor,
    wavelet: str = "db4",
    levels: int = 1,
    dim: tuple[int, int] = (-2, -1),
    mode: str = "symmetric",
    check_levels: bool = True,
) -> tuple[Tensor, list[Details]]:
    """Several levels of :func:`dwt2`, each of the approximation before.

    Args:
        x: Images.
        wavelet: One of :data:`~stgraph.ops.transforms.wavelets.KNOWN_WAVELETS`.
        levels: Number J of levels.
        dim: The two axes.
        mode: That of :func:`dwt2`.
        check_levels: Warn if there are more levels than the shorter axis has use for.

    Returns:
        tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]: The coarsest LL, and (HL, LH, HH) of each level, the finest
        first.

    Raises:
        InputError: If there is less than one level, or as :func:`dwt2`.

    Examples:
        >>> import torch
        >>> approximation, details = wavedec2(torch.randn(2, 32, 32), "haar", levels=3)
        >>> approximation.shape, [tuple(hl.shape) for hl, lh, hh in details]
        (torch.Size([2, 4, 4]), [(2, 16, 16), (2, 8, 8), (2, 4, 4)])
    """
    check_count(levels)
    axes = _axes(x, dim)
    if check_levels:
        warn_above_max_level(levels, wavelet, min(x.shape[axis] for axis in axes))
    details = []
    for _ in range(levels):
        x, bands = dwt2(x, wavelet, axes, mode)
        details.append(bands)
    return x, details


def waverec2(
    coefficients: tuple[Tensor, Sequence[Details]],
    wavelet: str = "db4",
    dim: tuple[int, int] = (-2, -1),
    mode: str = "symmetric",
    output_size: tuple[int, int] | None = None,
) -> Tensor:
    """Inverse of :func:`wavedec2`.

    Args:
        coefficients: Approximation and details, finest first.
        wavelet: One of :data:`~stgraph.ops.transforms.wavelets.KNOWN_WAVELETS`.
        dim: The two axes.
        mode: That of :func:`wavedec2`.
        output_size: Sizes of the result along ``dim``: the rest is cut off, or zeros are appended. Without it odd sizes
            come back one larger.

    Raises:
        InputError: If a detail is larger than the approximation of its level, or as :func:`idwt2`.

    Examples:
        >>> import torch
        >>> x = torch.randn(2, 9, 7, dtype=torch.float64)
        >>> coefficients = wavedec2(x, "haar", levels=2)
        >>> torch.allclose(waverec2(coefficients, "haar", output_size=(9, 7)), x)
        True
    """
    approximation, details = coefficients
    bands = [band for level in details for band in level]
    return _waverec2(approximation, *bands, wavelet=wavelet, dim=dim, mode=mode, output_size=output_size)


@full_precision
def _waverec2(
    approximation: Tensor,
    *bands: Tensor,
    wavelet: str,
    dim: tuple[int, int],
    mode: str,
    output_size: tuple[int, int] | None,
) -> Tensor:
    x, axes = approximation, _axes(approximation, dim)
    for last in range(len(bands), 0, -3):
        hl, lh, hh = bands[last - 3 : last]
        for axis in axes:
            if hl.shape[axis] > x.shape[axis]:
                raise InputError(
                    f"a detail has size {hl.shape[axis]} along axis {axis}; expected at most {x.shape[axis]}, that of "
                    "the approximation"
                )
            x = x.narrow(axis, 0, hl.shape[axis])
        x = idwt2(x, hl, lh, hh, wavelet, axes, mode)
    for axis, size in zip(axes, output_size or (), strict=False):
        x = fit_length(x, axis, size)
    return x


def _axes(x: Tensor, dim: tuple[int, int]) -> tuple[int, int]:
    """Both axes, counted from the front."""
    if len(dim) != 2:
        raise InputError(f"dim is {dim}; expected two axes")
    for axis in dim:
        check_axis(x, axis)
    first, second = (axis % x.dim() for axis in dim)
    if first == second:
        raise InputError(f"dim is {dim}; expected two different axes")
    return first, second
