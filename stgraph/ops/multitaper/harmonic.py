"""Thomson's F-test for lines in a spectrum."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LineTest", "line_test"]

_SINGULAR = 1e-10  # share of a taper's energy that no other taper has, below which it is rounding


class LineTest(NamedTuple):
    """Amplitude of a line (complex128), F-statistic and p-value at each frequency, all ``[B, F]``."""

    amplitude: Tensor
    fstat: Tensor
    pvalue: Tensor


def line_test(eigencoefficients: Tensor, tapers: Tensor, *, zero_odd: bool, decorrelate: bool) -> LineTest:
    r"""Regress the eigencoefficients on the transforms :math:`H_k` of the tapers at zero frequency.

    See Thomson (1982), Proceedings of the IEEE 70, 1055, section XIII. That test takes the eigencoefficients of noise
    as independent, which they are on equally spaced times. Elsewhere those of white noise have a covariance
    proportional to :math:`G_{jk} = \sum_n h_j(t_n) h_k(t_n)`; with it the regression is generalised least squares,
    and F again follows F(2, 2K - 2) in noise.

    Args:
        eigencoefficients: :math:`J_k(f)`, ``[B, K, F]``.
        tapers: Tapers at the times, ``[B, K, N]``.
        zero_odd: Whether to set :math:`H_k` of odd k to zero, as on equally spaced times.
        decorrelate: Whether to allow for the covariance.
    """
    num_tapers = tapers.shape[1]
    sums = tapers.sum(dim=-1)
    if zero_odd:
        sums = sums * (torch.arange(num_tapers, device=sums.device) % 2 == 0)
    elif decorrelate:
        whitening = _whitening(tapers)
        sums = (whitening @ sums.unsqueeze(-1)).squeeze(-1)
        eigencoefficients = whitening.to(eigencoefficients.dtype) @ eigencoefficients
    energy = (sums**2).sum(dim=-1, keepdim=True)
    amplitude = (sums.unsqueeze(1).to(eigencoefficients.dtype) @ eigencoefficients).squeeze(1) / energy
    line = amplitude.unsqueeze(1) * sums.unsqueeze(-1)
    residual = _power(eigencoefficients - line).sum(dim=1)
    power = _power(amplitude) * energy
    # A constant series has neither line nor noise.
    fstat = torch.where(power > 0, (num_tapers - 1) * power / residual, torch.zeros_like(power))
    # The survival function of F(2, 2K - 2) in closed form.
    pvalue = torch.exp((1 - num_tapers) * torch.log1p(fstat / (num_tapers - 1)))
    return LineTest(amplitude, fstat, pvalue)


def _whitening(tapers: Tensor) -> Tensor:
    """Inverse square root ``[B, K, K]`` of the matrix of products of the tapers with each other."""
    values, vectors = torch.linalg.eigh(tapers @ tapers.transpose(1, 2))
    scale = values.clamp_min(_SINGULAR).rsqrt()
    root: Tensor = (vectors * scale.unsqueeze(1)) @ vectors.transpose(1, 2)
    return root


def _power(values: Tensor) -> Tensor:
    return values.real**2 + values.imag**2
