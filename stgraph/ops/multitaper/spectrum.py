"""Multitaper spectra of irregularly sampled series."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.multitaper.curves import Curves, check_curves
from stgraph.ops.multitaper.harmonic import line_test
from stgraph.ops.multitaper.options import check_tapers
from stgraph.ops.multitaper.tapers import sample_tapers
from stgraph.ops.multitaper.weights import adaptive_spectrum, jackknife_std, plain_spectrum
from stgraph.ops.nufft import nufft
from stgraph.ops.nufft.arrays import ArrayLike, as_real

__all__ = ["MultitaperSpectrum", "multitaper"]

_BLOCK = 1 << 22  # eigencoefficients of the curves worked on at once: 64 MiB


class MultitaperSpectrum(NamedTuple):
    """A multitaper spectrum; every field is ``[F]``, or ``[B, F]`` for a batch of curves.

    Attributes:
        frequency: Frequencies in 1/day, as given: ``[F]`` if all curves share them.
        psd: Power spectral density in squared units of the values times days.
        fstat: F-statistic of a line at each frequency, or ``None``.
        pvalue: Probability of such an F-statistic or a larger one in noise, or ``None``.
        line_amplitude: Complex amplitude of the line, or ``None``: a sinusoid has the amplitude ``2 * abs`` and, at the
            first point, the phase ``angle``.
        dof: Degrees of freedom of the density, between 2 and 2 K.
        log_psd_std: Standard deviation of the natural logarithm of the density by the jackknife, or ``None``; NaN for
            constant series.
    """

    frequency: Tensor
    psd: Tensor
    fstat: Tensor | None
    pvalue: Tensor | None
    line_amplitude: Tensor | None
    dof: Tensor
    log_psd_std: Tensor | None


def multitaper(
    t: ArrayLike,
    x: ArrayLike,
    NW: float = 4.0,
    K: int = 7,
    freqs: ArrayLike | None = None,
    oversample: int = 2,
    adaptive: bool = True,
    ftest: bool = True,
    *,
    mask: ArrayLike | None = None,
    zero_odd: bool = False,
    decorrelate: bool = True,
    one_sided: bool = False,
    jackknife: bool = False,
    engine: str = "auto",
) -> MultitaperSpectrum:
    r"""Power spectral density, harmonic F-test and line amplitudes of irregularly sampled series.

    The series is multiplied by K orthogonal tapers :math:`h_k` of unit energy that concentrate their power within
    :math:`\pm NW / T`; each product is Fourier transformed at exactly the frequencies asked for,

    .. math::
        J_k(f) = \sum_n h_k(t_n)\, (x_n - \bar x)\, e^{-2 \pi i f (t_n - t_1)}, \quad S_k = \Delta\, |J_k|^2,

    with the mean sampling step :math:`\Delta = (t_N - t_1) / (N - 1)`; the density is a weighted mean of the
    :math:`S_k`. White noise of variance :math:`\sigma^2` has the density :math:`\sigma^2 \Delta` at all frequencies.

    The F-test asks whether the :math:`J_k` at a frequency are those of a line, :math:`\mu H_k` with
    :math:`H_k = \sum_n h_k(t_n)`, beside noise:

    .. math::
        \mu = \frac{\sum_k H_k J_k}{\sum_k H_k^2}, \quad
        F = \frac{(K - 1)\, |\mu|^2 \sum_k H_k^2}{\sum_k |J_k - \mu H_k|^2},

    after the :math:`J_k` and the :math:`H_k` have been decorrelated. In noise it is distributed as F(2, 2K - 2).

    The method is Thomson's (1982, Proceedings of the IEEE 70, 1055), for irregular times that of Springford, Eadie and
    Thomson (2020, Astronomical Journal 159, 205) and Patil, Eadie, Speagle and Thomson (2024, arXiv:2209.15027). A
    constant series has density 0, F-statistic 0 and p-value 1.

    Args:
        t: Times in days, strictly increasing over real points.
        x: Values; NaN only where the mask is False.
        NW: Time-bandwidth product, at least 0.5; the half bandwidth is NW / T.
        K: Number of tapers, at most about 2 NW - 1.
        freqs: Frequencies in 1/day. (default: :math:`k / (M \Delta)`, :math:`k < M / 2`, with
            :math:`M = \mathrm{oversample} \cdot 2^{\lceil \log_2 N \rceil}` for the longest curve; each curve has its
            own step)
        oversample: Density of the default frequencies.
        adaptive: Whether tapers that leak count less where the spectrum is low (Thomson's adaptive weights); else the
            density is the plain mean.
        ftest: Whether to test for lines.
        mask: Which points are real (True); others are padding or gaps.
        zero_odd: Whether the F-test is the textbook's, which takes the sums of odd tapers as zero. They are zero on
            equally spaced times only.
        decorrelate: Whether the F-test and the line amplitudes allow for tapers that overlap, as they do where times
            leave gaps. Else a gap that is as long as the rest makes false alarms many times as frequent as the p-value
            says. Without effect on equally spaced times and with ``zero_odd``.
        one_sided: Whether to double the density, so that its integral over positive frequencies is the variance.
        jackknife: Whether to estimate the error of the logarithm of the density.
        engine: Engine of :func:`~stgraph.ops.nufft.nufft`.

    Shapes:
        - **t**, **x**, **mask:** :math:`(N)` or :math:`(B, N)`; times and mask :math:`(N)` may serve all curves
        - **freqs:** :math:`(F)` or :math:`(B, F)`
        - **output:** fields of shape :math:`(F)` or :math:`(B, F)`, float64

    Raises:
        InputError: If a curve has fewer than 9 real points or fewer than K, holds NaN, or has times that do not
            increase; if NW, K or the shapes are out of range; the message names the curves.
        InputTypeError: If an input holds no real numbers, the mask is not boolean, or K is not an integer.

    Warns:
        UserWarning: If NW is above 500 or above half the number of points, or K above 2 NW + 1.5.

    Examples:
        >>> import math
        >>> t = torch.arange(100, dtype=torch.float64) * 0.5
        >>> spectrum = multitaper(t, 3 * torch.cos(2 * math.pi * 0.2 * t), freqs=torch.tensor([0.2, 0.6]))
        >>> (2 * spectrum.line_amplitude.abs()).round(decimals=1)
        tensor([3., 0.], dtype=torch.float64)
    """
    curves = check_curves(t, x, mask)
    check_tapers(NW, K, curves.length, ftest=ftest, jackknife=jackknife)
    frequency = _default_grid(curves, oversample) if freqs is None else _check_freqs(freqs, curves)
    estimate = _Estimator(NW, K, adaptive, ftest, zero_odd, decorrelate, one_sided, jackknife, engine)
    rows = max(1, _BLOCK // (K * max(curves.time.shape[1], frequency.shape[-1])))
    blocks = []
    for first in range(0, len(curves.time), rows):
        block = slice(first, first + rows)
        blocks.append(estimate(curves.select(block), frequency if frequency.dim() == 1 else frequency[block]))
    fields = [None if parts[0] is None else torch.cat(parts) for parts in zip(*blocks, strict=True)]
    if not curves.batched:
        frequency = frequency[0] if frequency.dim() == 2 else frequency
        fields = [None if field is None else field[0] for field in fields]
    return MultitaperSpectrum._make([frequency, *fields])


class _Estimator(NamedTuple):
    """The choices of :func:`multitaper`; a call computes the fields of the result after the frequency."""

    NW: float
    K: int
    adaptive: bool
    ftest: bool
    zero_odd: bool
    decorrelate: bool
    one_sided: bool
    jackknife: bool
    engine: str

    def __call__(self, curves: Curves, frequency: Tensor) -> tuple[Tensor | None, ...]:
        tapers = sample_tapers(curves.time, curves.length, self.NW, self.K)
        strengths = tapers.values * curves.value.unsqueeze(1)
        coefficients = nufft(curves.time, strengths, frequency, engine=self.engine)
        eigenspectra = curves.step.reshape(-1, 1, 1) * (coefficients.real**2 + coefficients.imag**2)
        if self.adaptive:
            spectrum = adaptive_spectrum(eigenspectra, tapers.eigenvalues, curves.variance * curves.step)
        else:
            spectrum = plain_spectrum(eigenspectra)
        psd = 2 * spectrum.psd if self.one_sided else spectrum.psd
        error = jackknife_std(eigenspectra, spectrum.weights) if self.jackknife else None
        if not self.ftest:
            return psd, None, None, None, spectrum.dof, error
        line = line_test(coefficients, tapers.values, zero_odd=self.zero_odd, decorrelate=self.decorrelate)
        return psd, line.fstat, line.pvalue, line.amplitude, spectrum.dof, error


def _default_grid(curves: Curves, oversample: int) -> Tensor:
    if isinstance(oversample, bool) or not isinstance(oversample, int) or oversample < 1:
        raise InputError(f"oversample is {oversample!r}; expected a positive integer")
    longest = int(curves.length.max())
    size = oversample * 2 ** (longest - 1).bit_length()
    step: Tensor = 1 / (size * curves.step)
    return torch.arange(size // 2, dtype=step.dtype, device=step.device) * step.unsqueeze(-1)


def _check_freqs(freqs: ArrayLike, curves: Curves) -> Tensor:
    frequency = as_real(freqs, "freqs").to(curves.time.device)
    allowed = ((), curves.time.shape[:1]) if curves.batched else ((),)
    if frequency.dim() not in (1, 2) or frequency.shape[:-1] not in allowed or frequency.shape[-1] == 0:
        raise InputError(
            f"freqs is of shape {tuple(frequency.shape)}; expected [F] or one row for each of {len(curves.time)} curves"
        )
    return frequency
