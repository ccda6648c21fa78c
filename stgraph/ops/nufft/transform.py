"""The non-uniform Fourier transform, by whichever engine suits."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.nufft.arrays import ArrayLike, as_double, as_real
from stgraph.ops.nufft.direct import direct_sum
from stgraph.ops.nufft.gridding import gridding_sum
from stgraph.ops.nufft.library import library_sum

__all__ = ["nufft"]

_ENGINES = {"finufft": library_sum, "gridding": gridding_sum, "direct": direct_sum}
_DIRECT_PAIRS = 1 << 18  # pairs of a time and a frequency; measured: below, matrix products beat gridding
_GRID_POINTS = 8  # points of the grid of an irregular transform per product of the ranges of times and frequencies


def nufft(t: ArrayLike, strengths: ArrayLike, freqs: ArrayLike, *, eps: float = 1e-9, engine: str = "auto") -> Tensor:
    r"""Fourier sums of irregularly sampled values at any frequencies.

    .. math::
        J_k(f) = \sum_n c_{k,n}\, e^{-2 \pi i f t_n}

    This is the non-uniform discrete Fourier transform of type 3 (Dutt and Rokhlin, 1993, SIAM Journal on Scientific
    Computing 14, 1368; Lee and Greengard, 2005, Journal of Computational Physics 206, 1). All engines compute in
    float64 whatever the inputs. A phase is as exact as the product of a frequency and a time: hand in times relative
    to the first one, not days since an epoch long ago.

    Engines:

    - ``"finufft"``: the compiled library of Barnett, Magland and af Klinteberg (2019, SIAM Journal on Scientific
      Computing 41, C479); on the host and without gradients
    - ``"gridding"``: spreading to an oversampled grid, fast Fourier transform, and interpolation, in torch
    - ``"direct"``: products with matrices of complex exponentials, in blocks of bounded memory
    - ``"auto"``: finufft where it is installed and can be used, else direct for small problems and gridding for others

    Args:
        t: Times, in days if the frequencies are per day.
        strengths: Real or complex values :math:`c_{k,n}`.
        freqs: Frequencies in cycles per unit of time, in any order; equally spaced ones are the fastest.
        eps: Relative error in the l2 norm, from 1e-12 to 0.1; the direct engine is exact.
        engine: Name of the engine.

    Shapes:
        - **t:** :math:`(*, N)`
        - **strengths:** :math:`(*, K, N)`
        - **freqs:** :math:`(F)` or :math:`(*, F)`
        - **output:** :math:`(*, K, F)`, complex128; the leading dimensions of the inputs are broadcast

    Raises:
        InputError: If shapes do not fit, a time or a frequency is not finite, ``eps`` is out of range, or the engine is
            unknown.
        InputTypeError: If an input does not hold numbers, or times or frequencies are complex.
        ImportError: If the engine is ``"finufft"`` and it is not installed.

    Examples:
        >>> t = torch.tensor([0.0, 0.25, 0.5, 1.0])
        >>> nufft(t, torch.ones(1, 4), torch.tensor([0.0, 2.0])).real.round(decimals=6)
        tensor([[4., 2.]], dtype=torch.float64)
    """
    if engine != "auto" and engine not in _ENGINES:
        raise InputError(f"engine is {engine!r}; expected 'auto' or one of {sorted(_ENGINES)}")
    if not 1e-12 <= eps <= 0.1:
        raise InputError(f"eps is {eps}; expected a relative error from 1e-12 to 0.1")
    times, values, frequencies = as_real(t, "t"), as_double(strengths, "strengths"), as_real(freqs, "freqs")
    leading = _leading_shape(times, values, frequencies)
    num_transforms, num_times, num_freqs = values.shape[-2], times.shape[-1], frequencies.shape[-1]
    if values.numel() == 0:
        return values.new_zeros((*leading, num_transforms, num_freqs), dtype=torch.complex128)
    times = times.to(values.device).expand(*leading, -1).reshape(-1, num_times)
    frequencies = frequencies.to(values.device).expand(*leading, -1).reshape(-1, num_freqs)
    values = values.expand(*leading, -1, -1).reshape(-1, num_transforms, num_times)
    if (times == times[:1]).all() and (frequencies == frequencies[:1]).all():  # all rows are one problem
        times, frequencies, values = times[:1], frequencies[:1], values.reshape(1, -1, num_times)
    name = _choose(times, values, frequencies) if engine == "auto" else engine
    out = _ENGINES[name](times, values, frequencies, eps)
    return out.reshape(*leading, num_transforms, num_freqs)


def _leading_shape(t: Tensor, strengths: Tensor, freqs: Tensor) -> torch.Size:
    """The common leading shape, once the shapes are known to fit."""
    for name, tensor, dimensions in (("t", t, 1), ("strengths", strengths, 2), ("freqs", freqs, 1)):
        if tensor.dim() < dimensions:
            raise InputError(f"{name} has {tensor.dim()} dimensions; expected at least {dimensions}")
    if t.shape[-1] == 0 or freqs.shape[-1] == 0:
        raise InputError(f"got {t.shape[-1]} times and {freqs.shape[-1]} frequencies; expected at least one of each")
    if strengths.shape[-1] != t.shape[-1]:
        raise InputError(f"strengths is of shape {tuple(strengths.shape)}; expected {t.shape[-1]} values, one per time")
    try:
        leading: torch.Size = torch.broadcast_shapes(t.shape[:-1], strengths.shape[:-2], freqs.shape[:-1])
    except RuntimeError:
        raise InputError(
            f"t, strengths and freqs are of shapes {tuple(t.shape)}, {tuple(strengths.shape)} and {tuple(freqs.shape)};"
            " expected [..., N], [..., K, N] and [F] or [..., F] with leading dimensions that fit"
        ) from None
    return leading


def _choose(t: Tensor, strengths: Tensor, freqs: Tensor) -> str:
    usable = strengths.device.type == "cpu" and not strengths.requires_grad
    if usable and importlib.util.find_spec("finufft") is not None:
        return "finufft"
    # A few points over a wide range would need a large and nearly empty grid.
    grid = _GRID_POINTS * float(((t.amax(-1) - t.amin(-1)) * (freqs.amax(-1) - freqs.amin(-1))).amax())
    pairs = t.shape[-1] * freqs.shape[-1]
    return "direct" if pairs <= max(_DIRECT_PAIRS, strengths.shape[1] * grid) else "gridding"
