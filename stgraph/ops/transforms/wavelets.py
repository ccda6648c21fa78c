"""The discrete wavelet transform along one axis."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.transforms.precision import full_precision
from stgraph.ops.transforms.wavelet_bank import (
    KNOWN_WAVELETS,
    Step,
    analyse,
    filter_length,
    synthesise,
    wavelet_filters,
)

__all__ = ["KNOWN_WAVELETS", "check_mode", "dwt", "idwt", "max_level", "wavedec", "wavelet_filters", "waverec"]

_MODES = ("symmetric", "periodization")


def max_level(points: int, wavelet: str) -> int:
    r"""Largest useful number of levels, :math:`\lfloor \log_2(N / (L - 1)) \rfloor` and at least 0.

    Deeper coefficients feel both ends of the signal.

    Examples:
        >>> max_level(256, "db4")
        5
    """
    ratio = points // (filter_length(wavelet) - 1)
    return max(ratio.bit_length() - 1, 0)


@full_precision
def dwt(x: Tensor, wavelet: str = "db4", dim: int = -1, mode: str = "symmetric") -> tuple[Tensor, Tensor]:
    r"""One level of the discrete wavelet transform.

    After Stéphane Mallat, A theory for multiresolution signal decomposition: the wavelet representation, IEEE
    Transactions on Pattern Analysis and Machine Intelligence, 1989. With the filters :math:`d_b` of length L and the
    signal extended by reflection,

    .. math::
        c_b[k] = \sum_{j < L} d_b[j] \, \tilde x[2k + 1 - j], \qquad 0 \le k < \lfloor (N + L - 1) / 2 \rfloor.

    With ``mode="periodization"`` the signal is periodic, after its last value is repeated where N is odd, and there are
    :math:`\lceil N / 2 \rceil` coefficients in each band; for even N and an orthogonal wavelet the map is orthogonal.

    Args:
        x: Signals, real or complex.
        wavelet: One of :data:`KNOWN_WAVELETS`.
        dim: Axis of the signals, of any length but 0.
        mode: ``"symmetric"`` or ``"periodization"``.

    Shapes:
        - **input:** :math:`(..., N, ...)`
        - **output:** approximation and detail, :math:`(..., K, ...)`

    Raises:
        InputError: If the wavelet is unknown or the axis does not exist or is empty.
        NotImplementedError: If the mode is another.

    Examples:
        >>> approximation, detail = dwt(torch.tensor([1.0, 1.0, 2.0, 4.0]), "haar")
        >>> approximation.square().round(), detail.square().round()
        (tensor([ 2., 18.]), tensor([0., 2.]))
    """
    taps = filter_length(wavelet)
    check_mode(mode)
    rows, restore = _rows_first(x, dim)
    points = rows.shape[1]
    if mode == "periodization":
        step = Step(wavelet, "dec", "periodic", points, (points + 1) // 2)
    else:
        step = Step(wavelet, "dec", "symmetric", points, (points + taps - 1) // 2)
    low, high = analyse(rows, step)
    return restore(low), restore(high)


@full_precision
def idwt(approximation: Tensor, detail: Tensor, wavelet: str = "db4", dim: int = -1, mode: str = "symmetric") -> Tensor:
    r"""Inverse of :func:`dwt`; a signal of odd length comes back with one point more.

    .. math::
        y[n] = \sum_k r_0[n + L - 2 - 2k] \, a[k] + r_1[n + L - 2 - 2k] \, d[k], \qquad 0 \le n < 2K - L + 2

    Args:
        approximation: Low-pass coefficients.
        detail: High-pass coefficients, of the same shape.
        wavelet: One of :data:`KNOWN_WAVELETS`.
        dim: Axis of the coefficients.
        mode: That of :func:`dwt`.

    Shapes:
        - **input:** two times :math:`(..., K, ...)`
        - **output:** :math:`(..., 2K - L + 2, ...)`, or :math:`(..., 2K, ...)` with periodization

    Raises:
        InputError: If the shapes differ, or there are fewer coefficients than any signal has.
        NotImplementedError: If the mode is another.

    Examples:
        >>> idwt(*dwt(torch.tensor([1.0, 1.0, 2.0, 4.0]), "db2"), "db2").round()
        tensor([1., 1., 2., 4.])
    """
    taps = filter_length(wavelet)
    check_mode(mode)
    if approximation.shape != detail.shape:
        raise InputError(
            f"detail has shape {tuple(detail.shape)}; expected {tuple(approximation.shape)}, that of the approximation"
        )
    low, restore = _rows_first(approximation, dim)
    high, _ = _rows_first(detail, dim)
    coefficients = low.shape[1]
    if mode == "periodization":
        return restore(synthesise(low, high, Step(wavelet, "rec", "periodic", 2 * coefficients, coefficients)))
    points = 2 * coefficients - taps + 2
    if points < 1:
        raise InputError(f"there are {coefficients} coefficients; expected at least {taps // 2} with {wavelet}")
    return restore(synthesise(low, high, Step(wavelet, "rec", "zero", points, coefficients)))


@full_precision
def wavedec(
    x: Tensor,
    wavelet: str = "db4",
    levels: int = 1,
    dim: int = -1,
    mode: str = "symmetric",
    check_levels: bool = True,
) -> tuple[Tensor, list[Tensor]]:
    """Several levels of :func:`dwt`, each of the approximation before.

    Args:
        x: Signals.
        wavelet: One of :data:`KNOWN_WAVELETS`.
        levels: Number J of levels.
        dim: Axis of the signals.
        mode: That of :func:`dwt`.
        check_levels: Warn if there are more levels than :func:`max_level`.

    Returns:
        tuple[Tensor, list[Tensor]]: The coarsest approximation, and the details from the finest to the coarsest.

    Raises:
        InputError: If there is less than one level, or as :func:`dwt`.

    Examples:
        >>> approximation, details = wavedec(torch.randn(3, 64), "db2", levels=2)
        >>> approximation.shape, [tuple(detail.shape) for detail in details]
        (torch.Size([3, 18]), [(3, 33), (3, 18)])
    """
    check_count(levels)
    check_axis(x, dim)
    if check_levels:
        warn_above_max_level(levels, wavelet, x.shape[dim])
    details = []
    for _ in range(levels):
        x, detail = dwt(x, wavelet, dim, mode)
        details.append(detail)
    return x, details


def waverec(
    coefficients: tuple[Tensor, Sequence[Tensor]],
    wavelet: str = "db4",
    dim: int = -1,
    mode: str = "symmetric",
    output_len: int | None = None,
) -> Tensor:
    """Inverse of :func:`wavedec`.

    Args:
        coefficients: Approximation and details, finest first.
        wavelet: One of :data:`KNOWN_WAVELETS`.
        dim: Axis of the coefficients.
        mode: That of :func:`wavedec`.
        output_len: Length of the result: the rest is cut off, or zeros are appended. Without it a signal of odd length
            comes back with one point more.

    Raises:
        InputError: If a detail is longer than the approximation of its level, or as :func:`idwt`.

    Examples:
        >>> x = torch.randn(3, 65, dtype=torch.float64)
        >>> torch.allclose(waverec(wavedec(x, "bior2.2", 3), "bior2.2", output_len=65), x)
        True
    """
    approximation, details = coefficients
    return _waverec(approximation, *details, wavelet=wavelet, dim=dim, mode=mode, output_len=output_len)


@full_precision
def _waverec(
    approximation: Tensor, *details: Tensor, wavelet: str, dim: int, mode: str, output_len: int | None
) -> Tensor:
    x = approximation
    for detail in reversed(details):
        length = detail.shape[dim]
        if length > x.shape[dim]:
            raise InputError(
                f"a detail has {length} coefficients; expected at most {x.shape[dim]}, those of the approximation"
            )
        x = idwt(x.narrow(dim, 0, length), detail, wavelet, dim, mode)
    return x if output_len is None else fit_length(x, dim, output_len)


def fit_length(x: Tensor, dim: int, length: int) -> Tensor:
    """Cut an axis to ``length``, or append zeros."""
    missing = length - x.shape[dim]
    if missing <= 0:
        return x.narrow(dim, 0, length)
    shape = list(x.shape)
    shape[dim] = missing
    return torch.cat([x, x.new_zeros(shape)], dim)


def check_mode(mode: str) -> None:
    """Require a mode that exists."""
    if mode not in _MODES:
        raise NotImplementedError(f"mode is {mode!r}; expected one of {_MODES}")


def check_count(levels: int) -> None:
    """Require at least one level."""
    if levels < 1:
        raise InputError(f"levels is {levels}; expected at least 1")


def check_axis(x: Tensor, dim: int) -> None:
    """Require an axis with at least one point."""
    if not -x.dim() <= dim < x.dim():
        raise InputError(f"dim is {dim}; expected an axis of a tensor of shape {tuple(x.shape)}")
    if x.shape[dim] == 0:
        raise InputError(f"x has shape {tuple(x.shape)}; expected at least one point along axis {dim}")


def warn_above_max_level(levels: int, wavelet: str, points: int) -> None:
    """Warn of levels that hold little but the extension of the signal; say nothing while a graph is traced."""
    if not torch.compiler.is_compiling() and levels > max_level(points, wavelet):
        warnings.warn(
            f"levels is {levels}; with {points} points and {wavelet} the ends of the signal reach every coefficient "
            f"above level {max_level(points, wavelet)}",
            UserWarning,
            stacklevel=4,
        )


def _rows_first(x: Tensor, dim: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Signals as ``[B, N, D]``, and the way back; the last axis needs no copy, nor does the one before it."""
    check_axis(x, dim)
    moved = x.unsqueeze(-1) if dim in (-1, x.dim() - 1) else x.movedim(dim, -2)
    *lead, points, features = moved.shape
    last = moved.dim() > x.dim()

    def restore(rows: Tensor) -> Tensor:
        out = rows.reshape(*lead, rows.shape[1], features)
        return out.squeeze(-1) if last else out.movedim(-2, dim)

    return moved.reshape(math.prod(lead), points, features), restore
