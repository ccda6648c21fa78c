"""Lomb-Scargle periodograms with a floating mean, their best period, and their mean over tapers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.multitaper.curves import Curves, check_curves
from stgraph.ops.multitaper.options import check_tapers
from stgraph.ops.multitaper.period_search import (
    SearchGrid,
    check_frequencies,
    check_varying,
    real_points,
    refine_peak,
    search_grid,
    search_in_chunks,
    search_limits,
)
from stgraph.ops.multitaper.tapers import sample_tapers
from stgraph.ops.multitaper.weights import adaptive_spectrum, plain_spectrum
from stgraph.ops.nufft import nufft
from stgraph.ops.nufft.arrays import ArrayLike

__all__ = ["LombScarglePeriod", "lomb_scargle", "lomb_scargle_multitaper", "lomb_scargle_period"]

CHUNK = 2**20  # values (curves x frequencies) that are held at a time
LOWEST = 2.0  # cycles of the slowest period searched
SINGULAR = 1e-9  # share of a sinusoid's power that the times see, below which it is left out


class LombScarglePeriod(NamedTuple):
    """Best periods of Lomb-Scargle periodograms; each entry has shape ``[B]``, or no dimension for a single curve.

    Args:
        period: Period in days.
        frequency: Its inverse, in 1/day.
        power: Share of the variance that the sinusoid explains, from 0 to 1.
    """

    period: Tensor
    frequency: Tensor
    power: Tensor


class _Products(NamedTuple):
    """Mean squares and mean product of the cosine and the sine at the times, each ``[B, F]``."""

    cos_cos: Tensor
    sin_sin: Tensor
    cos_sin: Tensor


def _explained(sums: Tensor, products: _Products) -> Tensor:
    """Mean square of the fitted sinusoid, from the means of x exp(-i phase); batched by broadcasting.

    The phase is shifted to where cosine and sine are orthogonal (Scargle's time offset), so that one of them can be
    left out where the times do not see it.
    """
    cos_cos, sin_sin, cos_sin = products
    angle = torch.atan2(2 * cos_sin, cos_cos - sin_sin) / 2
    radius = torch.hypot(cos_cos - sin_sin, 2 * cos_sin) / 2
    middle = (cos_cos + sin_sin) / 2
    turned = sums * torch.polar(torch.ones_like(angle), angle)
    parts = ((turned.real.square(), middle + radius), (turned.imag.square(), middle - radius))
    shares = [torch.where(norm > SINGULAR, part / norm, 0.0) for part, norm in parts]
    return shares[0] + shares[1]


def lomb_scargle(
    t: ArrayLike, x: ArrayLike, freqs: ArrayLike, mask: ArrayLike | None = None, *, engine: str = "auto"
) -> Tensor:
    r"""Lomb-Scargle periodogram with a floating mean: the share of the variance that a sinusoid explains.

    For each frequency a sinusoid and a constant are fitted by least squares (Zechmeister and Kürster, 2009, Astronomy
    and Astrophysics 496, 577, without weights). The sums over times are non-uniform Fourier transforms (as in Press and
    Rybicki, 1989, The Astrophysical Journal 338, 277), for all curves at once. The values are those of
    ``scipy.signal.lombscargle(t, x, 2 * pi * freqs, floating_mean=True, normalize=True)`` for a centred ``x``.

    Args:
        t: Times in days, strictly increasing along each curve.
        x: Fluxes.
        freqs: Frequencies in 1/day, positive and increasing.
        mask: True at real points; ``None`` where all are.
        engine: Engine of :func:`~stgraph.ops.nufft.nufft`.

    Shapes:
        - **t, x, mask:** :math:`(N)` or :math:`(B, N)`
        - **freqs:** :math:`(F)` or :math:`(B, F)`
        - **output:** :math:`(F)` or :math:`(B, F)`

    Raises:
        InputError: If a curve has fewer than 9 points or is constant, or times or frequencies do not increase.
        InputTypeError: If an input does not hold real numbers.

    Examples:
        >>> t = torch.linspace(0, 10, 200, dtype=torch.float64)
        >>> lomb_scargle(t, 5 + torch.sin(2 * torch.pi * 0.7 * t), torch.tensor([0.7, 2.0])).round(decimals=2)
        tensor([1., 0.], dtype=torch.float64)
    """
    curves = check_curves(t, x, mask)
    check_varying(curves)
    power = _power(curves, check_frequencies(freqs, curves), engine)
    return power if curves.batched else power[0]


def _power(curves: Curves, frequency: Tensor, engine: str) -> Tensor:
    weight = real_points(curves) / curves.length[:, None]
    strengths = torch.stack([weight * curves.value, weight], dim=1)
    flux, window = nufft(curves.time, strengths, frequency, engine=engine).unbind(dim=1)
    twice = nufft(curves.time, weight[:, None], 2 * frequency, engine=engine)[:, 0]
    # The floating mean takes the means of the cosine and the sine off (those of x are zero).
    cosine, sine = window.real, -window.imag
    products = _Products(
        (1 + twice.real) / 2 - cosine.square(), (1 - twice.real) / 2 - sine.square(), -twice.imag / 2 - cosine * sine
    )
    return _explained(flux, products) / curves.variance[:, None]


def lomb_scargle_multitaper(
    t: ArrayLike,
    x: ArrayLike,
    freqs: ArrayLike,
    NW: float = 4.0,
    K: int = 7,
    *,
    mask: ArrayLike | None = None,
    adaptive: bool = True,
    ftest: bool = False,
    engine: str = "auto",
) -> Tensor:
    r"""Multitaper spectrum whose eigenspectra are Lomb-Scargle periodograms of the tapered curves.

    The method of Springford, Eadie and Thomson (2020, The Astronomical Journal 159, 205), in the units of
    :func:`~stgraph.ops.multitaper.multitaper`: white noise of variance :math:`\sigma^2` and mean step :math:`\Delta`
    has the level :math:`\sigma^2 \Delta`. A periodogram has no phase, so that there is no F-test.

    Args:
        t: Times in days, strictly increasing along each curve.
        x: Fluxes.
        freqs: Frequencies in 1/day, positive and increasing.
        NW: Time-bandwidth product of the tapers.
        K: Number of tapers.
        mask: True at real points; ``None`` where all are.
        adaptive: Whether tapers that leak count less where the spectrum is low.
        ftest: Must be False.
        engine: Engine of :func:`~stgraph.ops.nufft.nufft`.

    Shapes:
        - **t, x, mask:** :math:`(N)` or :math:`(B, N)`
        - **freqs:** :math:`(F)` or :math:`(B, F)`
        - **output:** :math:`(F)` or :math:`(B, F)`

    Raises:
        InputError: If ``ftest`` is asked for, a curve has fewer than 9 points, times or frequencies do not increase, or
            NW or K is out of range.
        InputTypeError: If an input does not hold real numbers.

    Examples:
        >>> t = torch.linspace(0, 10, 200, dtype=torch.float64)
        >>> freqs = torch.linspace(0.1, 5, 50)
        >>> psd = lomb_scargle_multitaper(t, torch.sin(2 * torch.pi * 2.1 * t), freqs)
        >>> bool(abs(freqs[psd.argmax()] - 2.1) < 0.4)
        True
    """
    if ftest:
        raise InputError("ftest is True, but Lomb-Scargle eigenspectra have no phase to test; use multitaper()")
    curves = check_curves(t, x, mask)
    check_tapers(NW, K, curves.length, ftest=False, jackknife=False)
    frequency = check_frequencies(freqs, curves)
    tapers = sample_tapers(curves.time, curves.length, NW, K)
    weight = real_points(curves) / curves.length[:, None]
    sums = nufft(curves.time, tapers.values * curves.value[:, None], frequency, engine=engine)
    twice = nufft(curves.time, weight[:, None], 2 * frequency, engine=engine)
    products = _Products((1 + twice.real) / 2, (1 - twice.real) / 2, -twice.imag / 2)
    eigenspectra = curves.step[:, None, None] * _explained(sums, products) / 2
    noise = curves.variance * curves.step
    spectrum = adaptive_spectrum(eigenspectra, tapers.eigenvalues, noise) if adaptive else plain_spectrum(eigenspectra)
    return spectrum.psd if curves.batched else spectrum.psd[0]


def lomb_scargle_period(
    t: ArrayLike,
    x: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    f_min: float | None = None,
    f_max: float | None = None,
    oversample: float = 8,
    freqs: ArrayLike | None = None,
    engine: str = "auto",
) -> LombScarglePeriod:
    r"""Period of the largest Lomb-Scargle power, refined by a parabola; a peer of :func:`rotation_period`.

    Args:
        t: Times in days, strictly increasing along each curve.
        x: Fluxes.
        mask: True at real points; ``None`` where all are.
        f_min: Lowest frequency, in 1/day; ``None`` stands for 2 / T.
        f_max: Highest frequency, in 1/day; ``None`` stands for half the inverse median step.
        oversample: The grid has steps of 1 / (``oversample`` T).
        freqs: Frequencies to search instead of that grid, in 1/day, increasing; the limits hold for them too.
        engine: Engine of :func:`~stgraph.ops.nufft.nufft`.

    Shapes:
        - **t, x, mask:** :math:`(N)` or :math:`(B, N)`
        - **freqs:** :math:`(F)` or :math:`(B, F)`
        - **output:** each entry scalar or :math:`(B)`

    Raises:
        InputError: If a curve has fewer than 9 points or is constant, if times do not increase, or if no frequency is
            left between the limits.
        InputTypeError: If an input does not hold real numbers.

    Examples:
        >>> t = torch.linspace(0, 27, 600, dtype=torch.float64)
        >>> print(f"{float(lomb_scargle_period(t, torch.sin(2 * torch.pi * t / 3.5)).period):.2f}")
        3.50
    """
    curves = check_curves(t, x, mask)
    grid = search_grid(curves, *search_limits(curves, f_min, f_max, LOWEST), oversample, freqs)

    def search(part: Curves, own: SearchGrid, _rows: Tensor) -> tuple[Tensor, Tensor]:
        return _best(own, _power(part, own.frequency, engine))

    frequency, power = search_in_chunks(curves, grid, CHUNK, search)
    found = LombScarglePeriod(1 / frequency, frequency, power)
    return found if curves.batched else LombScarglePeriod(*(entry[0] for entry in found))


def _best(grid: SearchGrid, power: Tensor) -> tuple[Tensor, Tensor]:
    """Frequency and power of the best peaks, ``[B]`` each."""
    index = torch.where(grid.valid, power, -1.0).argmax(dim=1)
    return refine_peak(grid.frequency.expand_as(power), power, index)
