"""What the spectra most like a spectrum make expect of it, and how far it is from that."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.ops.anomaly.neighbor_median import neighbor_median

__all__ = ["GraphResidual", "ScaledSpectra", "column_scale", "graph_residual", "noise_level", "scale_spectra"]

_MAD_OF_NORMAL = 1.4826
# Variance of the median of n normal values in units of their variance over n.
_VARIANCE_OF_MEDIAN = 1.57
# Quantiles of the absolute deviations at one wavelength, and what they are for a normal distribution.
_QUANTILES = ((0.5, 0.6745), (0.9, 1.6449), (0.95, 1.96))
_BLOCK = 1 << 22  # values that are sorted at once


class ScaledSpectra(NamedTuple):
    """Spectra less their median over their interquartile range.

    Args:
        x: Scaled values, 0 at bad points.
        mask: True at good points.
        error: Standard errors in the same units, 1 at bad points.
        center: Median ``[N, 1]``.
        scale: Interquartile range ``[N, 1]``.
    """

    x: Tensor
    mask: Tensor
    error: Tensor
    center: Tensor
    scale: Tensor


class GraphResidual(NamedTuple):
    """What is expected of residuals, and how far they are from it in standard deviations.

    Args:
        expected: Median of the neighbours' residuals.
        z: Deviation from it, 0 where it is not known.
        mask: True at good points at which enough neighbours are good, too.
    """

    expected: Tensor
    z: Tensor
    mask: Tensor


def noise_level(x: Tensor, mask: Tensor) -> Tensor:
    r"""Noise of each spectrum from differences of adjacent points, :math:`1.4826\,\mathrm{median}|\Delta|/\sqrt{2}`.

    Shapes:
        - **x**, **mask:** :math:`(N, L)`, **output:** :math:`(N, 1)`, NaN without two adjacent good points

    Examples:
        >>> x = torch.tensor([[0.0, 1.0, 0.0, 1.0]])
        >>> noise_level(x, x < 9)
        tensor([[1.0484]])
    """
    both = mask[:, 1:] & mask[:, :-1]
    steps = x.diff(dim=1).abs().masked_fill(~both, torch.nan)
    if not steps.shape[1]:
        return x.new_full((x.shape[0], 1), torch.nan)
    return _MAD_OF_NORMAL / 2**0.5 * steps.nanmedian(dim=1, keepdim=True).values


def scale_spectra(
    x: Tensor, mask: Tensor, error: Tensor | None = None, usual_error: Tensor | None = None
) -> ScaledSpectra:
    r"""Subtract the median of each spectrum and divide by its interquartile range, errors alike.

    A range of 0 counts as 1. Where no errors are given they are the :func:`noise_level` of the spectrum, or the usual
    error if that is 0, as in a constant spectrum.

    Args:
        x: Spectra.
        mask: True at good points.
        error: Standard errors, positive at good points.
        usual_error: Of scaled spectra; by default the median of those noise levels that are not 0.

    Shapes:
        - **x**, **mask**, **error:** :math:`(N, L)`, **usual_error:** a scalar
    """
    rows = max(1, _BLOCK // max(x.shape[1], 1))
    parts = [_quartiles(*part) for part in zip(x.split(rows), mask.split(rows), strict=True)]
    lower, center, upper = torch.cat(parts).split(1, dim=1)
    spread = upper - lower
    scale = torch.where(spread > torch.finfo(x.dtype).eps * center.abs(), spread, 1.0)
    scaled = ((x - center) / scale).masked_fill(~mask, 0.0)
    if error is None:
        noise = noise_level(scaled, mask)
        if usual_error is None:
            usual_error = torch.where(noise > 0, noise, torch.nan).nanmedian().nan_to_num(1.0)
        error = torch.where(noise > 0, noise, usual_error.to(x.dtype)).expand_as(x)
    else:
        error = error / scale
    return ScaledSpectra(scaled, mask, error.masked_fill(~mask, 1.0), center, scale)


def _quartiles(x: Tensor, mask: Tensor) -> Tensor:
    """The quartiles of the good points, 0 where there are none: ``[N, 3]``."""
    values = x.masked_fill(~mask, torch.inf).sort(dim=1).values
    count = mask.sum(dim=1, keepdim=True)
    place = x.new_tensor([0.25, 0.5, 0.75], dtype=torch.float64) * (count - 1).clamp(min=0)
    low, high = (values.gather(1, index.long()) for index in (place.floor(), place.ceil()))
    return torch.where(count > 0, low + (high - low) * place.frac().to(x.dtype), 0.0)


def graph_residual(
    residual: Tensor,
    mask: Tensor,
    error: Tensor,
    neighbors: Tensor,
    reference: tuple[Tensor, Tensor] | None = None,
    *,
    least_neighbors: float = 0.5,
) -> GraphResidual:
    r"""Compare the residuals of every spectrum with those of its neighbours in the graph.

    With median :math:`m` and spread :math:`s` (1.4826 times the median absolute deviation) of the :math:`n` neighbours
    that are good at a point, and noise :math:`\sigma`,

    .. math:: z = \frac{r - m}{\sqrt{\sigma^2 + s^2 (1 + 1.57 / n)}}.

    Args:
        residual: Spectra, or what is left of them after a model, on a common grid.
        mask: True at good points.
        error: Standard errors.
        neighbors: The neighbours of each spectrum among those of the reference.
        reference: Residuals and mask of the spectra among which the neighbours are. (default: the spectra themselves)
        least_neighbors: Share of the neighbours that must be good at a point.

    Shapes:
        - **residual**, **mask**, **error:** :math:`(N, L)`, **neighbors:** :math:`(N, k)`, **reference:** two tensors
          :math:`(M, L)`

    Examples:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [1.0, 8.0]])
        >>> mask, neighbors = torch.ones(4, 2, dtype=torch.bool), torch.tensor([[1, 2], [0, 2], [0, 1], [0, 1]])
        >>> graph_residual(x, mask, torch.ones(4, 2), neighbors).z[3].round()
        tensor([0., 8.])
    """
    found = neighbor_median(*((residual, mask) if reference is None else reference), neighbors)
    good = mask & (found.number >= max(1.0, least_neighbors * neighbors.shape[1]))
    variance = found.spread.square().mul_(1 + _VARIANCE_OF_MEDIAN / found.number.clamp(min=1)).add_(error.square())
    z = (residual - found.median).div_(variance.sqrt_()).masked_fill_(~good, 0.0)
    return GraphResidual(found.median, z, good)


def column_scale(z: Tensor, mask: Tensor) -> Tensor:
    r"""How much wider than a standard normal distribution deviations are at each wavelength, at least 1.

    The largest of the 50, 90 and 95 % quantiles of their absolute values over those of a normal distribution: at
    wavelengths of which the expectation is poor, such as the ends that few spectra reach, deviations count less.

    Shapes:
        - **z**, **mask:** :math:`(N, L)`, **output:** :math:`(L)`

    Examples:
        >>> z = torch.tensor([[-1.0, 4.0], [0.5, -4.0], [1.0, 4.0]])
        >>> column_scale(z, torch.ones(3, 2, dtype=torch.bool)).round(decimals=2)
        tensor([1.4800, 5.9300])
    """
    scale = z.new_ones(z.shape[1])
    if not len(z):
        return scale
    step = max(1, _BLOCK // len(z))
    for first in range(0, z.shape[1], step):
        part = slice(first, first + step)
        good = mask[:, part].T
        ordered = z[:, part].abs().T.masked_fill(~good, torch.inf).sort(dim=1).values
        last = (good.sum(dim=1, keepdim=True) - 1).clamp(min=0)
        for share, normal in _QUANTILES:
            value = ordered.gather(1, (share * last).ceil().long())[:, 0] / normal
            scale[part] = torch.maximum(scale[part], torch.where(value.isfinite(), value, 1.0))
    return scale
