"""Autocorrelation of a series from its spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.nufft import nufft
from stgraph.ops.nufft.arrays import ArrayLike, as_real
from stgraph.ops.nufft.uniform import uniform_grid

__all__ = ["autocorrelation", "autocorrelation_timescale"]

_STEP_TOLERANCE = 0.01  # phase error in radians at the largest lag: float32 frequencies are a hundred times better


def autocorrelation(
    frequency: ArrayLike,
    psd: ArrayLike,
    lags: ArrayLike,
    *,
    normalise: bool = True,
    one_sided: bool = False,
    engine: str = "auto",
) -> Tensor:
    r"""Autocorrelation or autocovariance at given lags, from a density at equally spaced frequencies.

    By the theorem of Wiener and Khinchin the autocovariance is the Fourier transform of the density,

    .. math::
        C(\tau) = \sum_f S(f) \cos(2 \pi f \tau)\, \delta f,

    over positive and negative frequencies: a two-sided density counts twice, except at frequency 0. The frequencies
    must be equally spaced, since a sum over a logarithmic grid would weigh low frequencies too much. The result repeats
    after :math:`1 / \delta f`, so lags end at half of that.

    Args:
        frequency: Equally spaced frequencies in 1/day, from 0 or above.
        psd: Density at these frequencies.
        lags: Lags in days.
        normalise: Whether to divide by the value at lag 0 (correlation); else the result is a covariance.
        one_sided: Whether the density is one-sided.
        engine: Engine of :func:`~stgraph.ops.nufft.nufft`.

    Shapes:
        - **frequency:** :math:`(F)` or :math:`(*, F)`
        - **psd:** :math:`(*, F)`
        - **lags:** :math:`(L)` or :math:`(*, L)`
        - **output:** :math:`(*, L)`, float64; NaN where a density that is zero everywhere is normalised

    Raises:
        InputError: If frequencies are not equally spaced and increasing from 0 or above, a lag is beyond half a period,
            or shapes do not fit.

    Examples:
        >>> frequency = torch.arange(64) / 128.0
        >>> psd = torch.zeros(64).index_fill(0, torch.tensor([16]), 4.0)  # a line of period 8 days
        >>> autocorrelation(frequency, psd, torch.tensor([0.0, 4.0, 8.0])).round(decimals=6)
        tensor([ 1., -1.,  1.], dtype=torch.float64)
    """
    grid, density, shift = as_real(frequency, "frequency"), as_real(psd, "psd"), as_real(lags, "lags")
    if grid.dim() == 0 or density.dim() == 0 or shift.dim() == 0 or shift.shape[-1] == 0:
        raise InputError("frequency, psd and lags must have at least one dimension, and there must be a lag")
    if density.shape[-1] != grid.shape[-1] or grid.shape[-1] < 2:
        raise InputError(
            f"psd and frequency are of shapes {tuple(density.shape)} and {tuple(grid.shape)}; expected one density for"
            " each of at least two frequencies"
        )
    step = _check_grid(grid, shift.abs().amax(dim=-1))
    sides = torch.where(grid == 0, 1.0, 2.0) if not one_sided else torch.ones_like(grid)
    strengths = (density * sides * step.unsqueeze(-1)).unsqueeze(-2)
    covariance = nufft(grid, strengths, shift, engine=engine).real.squeeze(-2)
    if not normalise:
        return covariance
    return covariance / strengths.sum(dim=-1)


def autocorrelation_timescale(lags: ArrayLike, acf: ArrayLike, level: float = 1 / math.e) -> Tensor:
    """First lag at which an autocorrelation falls to a level, by linear interpolation.

    Args:
        lags: Strictly increasing lags in days.
        acf: Autocorrelation at these lags.
        level: The level, for example 1/e, 1/2 or 0.

    Shapes:
        - **lags:** :math:`(L)` or :math:`(*, L)`
        - **acf:** :math:`(*, L)`
        - **output:** :math:`(*)`, days; NaN where the autocorrelation never falls to the level or is NaN

    Raises:
        InputError: If lags do not increase, or shapes do not fit.

    Examples:
        >>> autocorrelation_timescale(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 0.75, 0.25]), level=0.5)
        tensor(1.5000, dtype=torch.float64)
    """
    values, shift = as_real(acf, "acf", finite=False), as_real(lags, "lags")
    if values.dim() == 0 or shift.dim() == 0 or shift.shape[-1] != values.shape[-1] or values.shape[-1] == 0:
        raise InputError(
            f"lags and acf are of shapes {tuple(shift.shape)} and {tuple(values.shape)}; expected one value per lag"
        )
    if (shift.diff(dim=-1) <= 0).any():
        raise InputError("lags are not strictly increasing")
    shift = shift.expand_as(values)
    below = values <= level
    after = below.to(torch.int8).argmax(dim=-1, keepdim=True)  # the first one
    before = (after - 1).clamp_min(0)
    high, low = values.gather(-1, before), values.gather(-1, after)
    share = torch.where(after > before, (high - level) / (high - low), 0.0)
    start, end = shift.gather(-1, before), shift.gather(-1, after)
    crossing = (start + share * (end - start)).squeeze(-1)
    return torch.where(below.any(dim=-1), crossing, math.nan)


def _check_grid(frequency: Tensor, reach: Tensor) -> Tensor:
    """The step of equally spaced frequencies ``[*, F]``, on which lags up to ``reach`` ``[*]`` are unique."""
    if (frequency < 0).any() or (frequency.diff(dim=-1) <= 0).any():
        raise InputError("frequency is not increasing from 0 or above")
    try:
        leading = torch.broadcast_shapes(frequency.shape[:-1], reach.shape)
    except RuntimeError:
        raise InputError(
            f"frequency and lags have leading dimensions {tuple(frequency.shape[:-1])} and {tuple(reach.shape)};"
            " expected some that fit"
        ) from None
    rows = frequency.expand(*leading, -1).reshape(-1, frequency.shape[-1])
    grid = uniform_grid(rows, reach.expand(leading).reshape(-1), 10 * _STEP_TOLERANCE)
    if not grid.is_uniform.all():
        raise InputError(
            "frequency is not equally spaced; evaluate the density on a linear grid, not a logarithmic one"
        )
    step = (frequency[..., -1] - frequency[..., 0]) / (frequency.shape[-1] - 1)
    beyond = reach > 0.5 / step * (1 + 1e-9)
    if beyond.any():
        raise InputError(
            f"lags reach {float(reach.expand(leading)[beyond].max()):g} days with a frequency step of"
            f" {float(step.max()):g}; expected at most half of its inverse"
        )
    return step
