"""Rotation periods of stars by the harmonic F-test of multitaper spectra."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.multitaper.curves import Curves, check_curves
from stgraph.ops.multitaper.harmonic import line_test
from stgraph.ops.multitaper.options import check_tapers
from stgraph.ops.multitaper.period_search import (
    SearchGrid,
    real_points,
    refine_peak,
    search_grid,
    search_in_chunks,
    search_limits,
)
from stgraph.ops.multitaper.tapers import sample_tapers
from stgraph.ops.nufft import nufft
from stgraph.ops.nufft.arrays import ArrayLike

__all__ = ["RotationPeriod", "rotation_period"]

CHUNK = 2**21  # eigencoefficients (curves x tapers x frequencies) that are held at a time
TREND_DEGREE, TREND_SHARE = 3, 0.5
ROUNDING = 1e-26  # share of the variance of a polynomial that is left of it when it is removed


class RotationPeriod(NamedTuple):
    """Rotation periods and how sure they are; each entry has shape ``[B]``, or no dimension for a single curve.

    Args:
        period: Period in days.
        frequency: Its inverse, in 1/day.
        fstat: Harmonic F-statistic at the nearest frequency of the grid.
        pvalue: Share of larger F-statistics in noise.
        amplitude: Amplitude of the sinusoid, in units of the flux.
        significant: Whether the p-value is below the threshold.
        second_period: Period of the next line, farther away than the tapers' half bandwidth; NaN where there is none.
        harmonic_flag: Whether another significant line has half or twice the frequency.
        trend: Whether a trend was removed, and frequencies below twice the half bandwidth were left out.
    """

    period: Tensor
    frequency: Tensor
    fstat: Tensor
    pvalue: Tensor
    amplitude: Tensor
    significant: Tensor
    second_period: Tensor
    harmonic_flag: Tensor
    trend: Tensor


class _Lines(NamedTuple):
    """Candidates of a batch of curves, all ``[B, F]`` but the half bandwidth of the tapers ``[B]``."""

    frequency: Tensor
    fstat: Tensor
    pvalue: Tensor
    power: Tensor
    valid: Tensor
    significant: Tensor
    half_bandwidth: Tensor


def rotation_period(
    t: ArrayLike,
    x: ArrayLike,
    *,
    NW: float = 4.0,
    K: int = 7,
    mask: ArrayLike | None = None,
    f_min: float | None = None,
    f_max: float | None = None,
    significance: float | None = None,
    oversample: float = 8,
    freqs: ArrayLike | None = None,
    exclude_trend: bool = True,
    engine: str = "auto",
) -> RotationPeriod:
    r"""Rotation periods of stars from light curves at irregular times.

    Among the frequencies whose harmonic F-test (Thomson, 1982, Proceedings of the IEEE 70, 1055) has a p-value below
    the threshold, the one with the largest amplitude is taken, and refined by a parabola through the squared
    amplitudes of it and its neighbours. Where no frequency is significant, the one with the largest F-statistic is
    taken and said to be insignificant. The test allows for the overlap of tapers at irregular times, as that of
    :func:`~stgraph.ops.multitaper.multitaper` does. The largest F-statistic alone would often be at a harmonic, and
    the largest power is only known to the bandwidth of the tapers.

    With :math:`T` the duration and :math:`W = NW / T` the half bandwidth of the tapers, the search goes from
    :math:`W / 2`, below which a line and its mirror image at the negative frequency are in one band, to half the
    inverse median step. A trend is held likely where a polynomial of degree 3 explains more than half of the variance
    (of a sinusoid with four cycles or more it explains a tenth, and a quarter where seasons are missing); it is then
    removed, and the search starts at :math:`2 W`. A limit ``f_min`` that is given is kept to, and nothing is removed.

    The default threshold is one false alarm for N independent tests, which a search of all frequencies exceeds: most
    curves of white noise have a p-value below 1/N somewhere. With ``significance=0.01 / N`` few have.

    The next line is the strongest significant one more than :math:`W` away. ``harmonic_flag`` tells that a significant
    frequency, more than :math:`W` away, is within :math:`1 / (2 T)` (or half a step of a coarser grid) of twice or
    half the frequency found: the true period may be twice or half as long.

    Args:
        t: Times in days, strictly increasing along each curve.
        x: Fluxes.
        NW: Time-bandwidth product of the tapers.
        K: Number of tapers.
        mask: True at real points; ``None`` where all are.
        f_min: Lowest frequency, in 1/day.
        f_max: Highest frequency, in 1/day.
        significance: Threshold of the p-value; ``None`` stands for the inverse number of points.
        oversample: The grid has steps of 1 / (``oversample`` T).
        freqs: Frequencies to search instead of that grid, in 1/day, increasing; the limits hold for them too.
        exclude_trend: Whether to remove a likely trend and leave out the lowest frequencies there.
        engine: Engine of :func:`~stgraph.ops.nufft.nufft`.

    Shapes:
        - **t, x, mask:** :math:`(N)` or :math:`(B, N)`
        - **freqs:** :math:`(F)` or :math:`(B, F)`
        - **output:** each entry scalar or :math:`(B)`

    Raises:
        InputError: If a curve has fewer than 9 points or is constant, if times do not increase, if no frequency is left
            between the limits (or above 2 NW / T where a trend is likely), or an argument is out of range.
        InputTypeError: If an input does not hold real numbers.

    Examples:
        >>> t = torch.linspace(0, 27, 600, dtype=torch.float64)
        >>> star = rotation_period(t, 10 + torch.sin(2 * torch.pi * t / 3.5) + 0.1 * torch.cos(40 * t))
        >>> print(f"{float(star.period):.2f} d, amplitude {float(star.amplitude):.1f}, {bool(star.significant)}")
        3.50 d, amplitude 1.0, True
    """
    if significance is not None and not 0 < significance < 1:
        raise InputError(f"significance is {significance}; expected a p-value between 0 and 1")
    curves = check_curves(t, x, mask)
    check_tapers(NW, K, curves.length, ftest=True, jackknife=False)
    low, high = search_limits(curves, f_min, f_max, NW / 2)
    trend = torch.zeros_like(low, dtype=torch.bool)
    if exclude_trend and f_min is None:
        curves, trend = _without_trends(curves)
        low = _above_trends(low, high, trend, 2 * NW / curves.time[:, -1])
    grid = search_grid(curves, low, high, oversample, freqs)

    def search(part: Curves, own: SearchGrid, rows: Tensor) -> RotationPeriod:
        return _search(part, _find_lines(part, own, NW, K, significance, engine), trend[rows])

    merged = search_in_chunks(curves, grid, CHUNK // K, search)
    return RotationPeriod(*(merged if curves.batched else (entry[0] for entry in merged)))


def _without_trends(curves: Curves) -> tuple[Curves, Tensor]:
    """Subtract the polynomial from curves of which it explains most of the variance; also tells which, ``[B]``."""
    values, trends = [], []
    for rows in torch.arange(len(curves.time)).split(max(1, CHUNK // curves.time.shape[1])):
        time, value = curves.time[rows], curves.value[rows]
        scaled = 2 * time / time[:, -1:] - 1
        columns = torch.stack([scaled**power for power in range(TREND_DEGREE + 1)], dim=-1)
        basis, _ = torch.linalg.qr(torch.where(real_points(curves)[rows][..., None], columns, 0.0))
        rest = value - (basis @ (basis.mT @ value[..., None]))[..., 0]
        total, left = value.square().sum(dim=1), rest.square().sum(dim=1)
        rest = torch.where((left > ROUNDING * total)[:, None], rest, 0.0)
        trend = left < (1 - TREND_SHARE) * total
        values.append(torch.where(trend[:, None], rest, value))
        trends.append(trend)
    return curves._replace(value=torch.cat(values)), torch.cat(trends)


def _above_trends(low: Tensor, high: Tensor, trend: Tensor, lowest: Tensor) -> Tensor:
    """Raise the lowest frequency of curves with a trend."""
    impossible = trend & (lowest >= high)
    if impossible.any():
        row = int(impossible.nonzero()[0, 0])
        raise InputError(
            f"x of curve {row} has a trend, and 2 NW/T = {float(lowest[row]):g} is not below f_max = "
            f"{float(high[row]):g} (1/day); expected a longer curve, a smaller NW, a larger f_max, or an f_min"
        )
    return torch.where(trend, torch.maximum(low, lowest), low)


def _find_lines(curves: Curves, grid: SearchGrid, NW: float, K: int, significance: float | None, engine: str) -> _Lines:
    tapers = sample_tapers(curves.time, curves.length, NW, K).values
    coefficients = nufft(curves.time, tapers * curves.value[:, None], grid.frequency, engine=engine)
    test = line_test(coefficients, tapers, zero_odd=False, decorrelate=True)
    threshold = 1 / curves.length[:, None] if significance is None else significance
    significant = grid.valid & (test.pvalue < threshold)
    frequency, power = grid.frequency.expand_as(test.fstat), test.amplitude.abs().square()
    return _Lines(frequency, test.fstat, test.pvalue, power, grid.valid, significant, NW / curves.time[:, -1])


def _search(curves: Curves, lines: _Lines, trend: Tensor) -> RotationPeriod:
    index = _strongest(lines)
    frequency, power = refine_peak(lines.frequency, lines.power, index)
    fstat, pvalue, significant = (_at(entries, index) for entries in (lines.fstat, lines.pvalue, lines.significant))
    second = _second_frequency(lines, index)
    return RotationPeriod(
        1 / frequency,
        frequency,
        fstat,
        pvalue,
        2 * power.sqrt(),
        significant,
        1 / second,
        _has_harmonic(curves, lines, index, frequency) & significant,
        trend,
    )


def _at(entries: Tensor, index: Tensor) -> Tensor:
    return entries.gather(1, index[:, None])[:, 0]


def _strongest(lines: _Lines) -> Tensor:
    """Largest power of the significant frequencies, else the largest F-statistic."""
    none = torch.full_like(lines.power, -1.0)
    strongest = torch.where(lines.significant, lines.power, none).argmax(dim=1)
    likeliest = torch.where(lines.valid, lines.fstat, none).argmax(dim=1)
    return torch.where(lines.significant.any(dim=1), strongest, likeliest)


def _elsewhere(lines: _Lines, index: Tensor) -> Tensor:
    """Significant frequencies outside the band around the line found, ``[B, F]``."""
    distance = (lines.frequency - _at(lines.frequency, index)[:, None]).abs()
    return lines.significant & (distance > lines.half_bandwidth[:, None])


def _second_frequency(lines: _Lines, index: Tensor) -> Tensor:
    others = _elsewhere(lines, index)
    second = torch.where(others, lines.power, -1.0).argmax(dim=1)
    frequency, _ = refine_peak(lines.frequency, lines.power, second)
    return torch.where(others.any(dim=1), frequency, torch.nan)


def _has_harmonic(curves: Curves, lines: _Lines, index: Tensor, frequency: Tensor) -> Tensor:
    steps = lines.frequency.diff(dim=1, append=lines.frequency[:, -1:])
    width = torch.maximum(steps, 1 / curves.time[:, -1:]) / 2
    octaves = [((lines.frequency - factor * frequency[:, None]).abs() <= width) for factor in (0.5, 2.0)]
    return (_elsewhere(lines, index) & (octaves[0] | octaves[1])).any(dim=1)
