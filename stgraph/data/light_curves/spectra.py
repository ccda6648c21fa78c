"""Spectra of light curves: power, autocorrelation and harmonic F-statistic of each star as training data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.light_curves.metadata import Metadata, as_metadata
from stgraph.data.light_curves.selection import select_curves
from stgraph.data.light_curves.spectral_grid import Grid, Spacing, frequency_grid
from stgraph.data.light_curves.spectral_input import CurveSet, RealPoints, Summary
from stgraph.data.light_curves.spectral_names import CHANNELS, STATIC_NAMES
from stgraph.data.light_curves.spectral_scaling import normalise_spectra
from stgraph.errors import InputError
from stgraph.ops.multitaper import autocorrelation, autocorrelation_timescale, multitaper

__all__ = ["AcfMode", "spectra_of"]

AcfMode: TypeAlias = Literal["correlation", "covariance"]

_logger = logging.getLogger("stgraph")
_LEAST_POINTS = 9
_NAMES_SHOWN = 5
_LARGEST = torch.finfo(torch.float32).max
_CARRIED = ("node_names", "sky", "pos", "edge_index", "edge_attr", "edge_weight")


class _Transform(NamedTuple):
    """The choices of :func:`spectra_of` that concern a curve by itself."""

    NW: float
    K: int
    acf_mode: AcfMode
    scales: tuple[float | None, ...]
    engine: str

    def __call__(self, points: RealPoints, frequency: Tensor, lags: Tensor) -> dict[str, Tensor]:
        """Standardised curves ``[B, L]`` become the rows of the result."""
        spectrum = multitaper(*points[:2], self.NW, self.K, frequency, mask=points.real, engine=self.engine)
        # An autocorrelation needs the density on equally spaced frequencies, from 0.
        linear = multitaper(*points[:2], self.NW, self.K, ftest=False, mask=points.real, engine=self.engine)
        covariance = autocorrelation(linear.frequency, linear.psd, lags, normalise=False, engine=self.engine)
        correlation = covariance / covariance[:, :1]
        acf = correlation if self.acf_mode == "correlation" else covariance
        assert spectrum.fstat is not None
        assert spectrum.pvalue is not None
        # A line without any noise has an infinite F-statistic.
        channels = (spectrum.psd, acf, spectrum.fstat.clamp(max=_LARGEST))
        scaled = [normalise_spectra(values, scale) for values, scale in zip(channels, self.scales, strict=True)]
        rows = {
            "x": torch.stack([part.values for part in scaled], dim=2),
            "pvalues": spectrum.pvalue,
            # Not over the grid of the channels: a common one goes beyond half of the sampling rate of most stars.
            "psd_integral": torch.trapezoid(linear.psd, linear.frequency),
            "psd_peak": spectrum.psd.amax(dim=1),
            "flux_variance": _variance(points) if self.acf_mode == "correlation" else covariance[:, 0],
            "acf_timescale": autocorrelation_timescale(lags, correlation).nan_to_num(0.0),
        }
        for name, part in zip(CHANNELS, scaled, strict=True):
            rows |= {f"{name}_mean": part.mean, f"{name}_std": part.std}
        return rows


def spectra_of(
    data: Data,
    *,
    NW: float = 4.0,
    K: int = 7,
    bins: int = 1024,
    spacing: Spacing = "log",
    grid: Grid = "common",
    frequency_range: tuple[float, float] | None = None,
    acf_mode: AcfMode = "correlation",
    max_lag: float | None = None,
    psd_scale: float | None = 1.0,
    acf_scale: float | None = 1.0,
    fstat_scale: float | None = 1.0,
    batch_size: int = 100,
    engine: str = "auto",
) -> Data:
    r"""Power spectral density, autocorrelation and harmonic F-statistic of light curves, normalised for training.

    The flux is standardised by the curve's median and interquartile range (0 counts as 1). Density and F-statistic
    are computed by :func:`~stgraph.ops.multitaper.multitaper` at exactly the frequencies of the grid; the
    autocorrelation comes from a second density at equally spaced frequencies. Then each row is compressed and scaled
    by :func:`~stgraph.data.light_curves.spectral_scaling.normalise_spectra`;
    :func:`~stgraph.data.light_curves.spectral_scaling.restore_spectra` undoes that.

    Curves with fewer than 9 or K points or without variance are left out and named in a warning of the logger
    ``stgraph``; the others keep their order. A row does not depend on the other curves, except by a common grid.

    Args:
        data: Light curves as :func:`from_light_curves` gives them.
        NW: Time-bandwidth product of the tapers.
        K: Number of tapers, at least 2.
        bins: Number of frequencies, and of lags.
        spacing: ``"log"`` or ``"linear"`` spacing of the frequencies.
        grid: ``"own"`` takes for each star frequencies from 1/T, with the duration T, to half of the inverse of its
            median step; ``"common"`` one grid for all, so that a bin means the same frequency for each star.
        frequency_range: Lowest and highest frequency (1/day) of the common grid. (default: the 1st percentile of the
            stars' lowest frequencies, and the 99th of their highest)
        acf_mode: ``"correlation"``, or ``"covariance"`` that is not divided by its value at lag 0.
        max_lag: Largest lag in days for all curves; the lags are equally spaced from 0. (default: T/2 of each)
        psd_scale: Density up to which its compression is about linear; :obj:`None` for no compression.
        acf_scale: The same for the autocorrelation.
        fstat_scale: The same for the F-statistic.
        batch_size: Curves computed at a time; does not change the result.
        engine: Engine of :func:`~stgraph.ops.nufft.nufft`.

    Shapes:
        - **output:** ``x`` :math:`(N, F, 3)` float32 with the ``channel_names`` psd, acf and fstat; ``frequency``
          :math:`(F)` or :math:`(N, F)` in 1/day, float64; ``pvalues`` :math:`(N, F)` of the F-statistic; ``static``
          :math:`(N, 9)` with ``static_names``: median flux, interquartile range, integral of the density from 0 to half
          of the mean sampling rate (about half of the variance), its peak on the grid, variance of the standardised
          flux (in covariance mode the autocovariance at lag 0), days until the autocorrelation falls to 1/e (0 if it
          never does), duration, number of points, median step; ``metadata``: that
          of the curves, ``median_flux``, ``iqr_flux``, ``max_lag`` and for each channel ``_scale_factor`` (NaN for
          none), ``_mean`` and ``_std``; ``node_names``, ``sky``, ``pos`` and edges as they were; numbers ``NW``, ``K``
          and ``n_failed`` (curves left out)

    Raises:
        InputError: If the graph holds no light curves, an option cannot be used, or no curve can be transformed.

    Examples:
        >>> from stgraph.data.simulation.light_curves import simulate_light_curves
        >>> spectra = spectra_of(simulate_light_curves(2, points=(40, 60)), bins=16)
        >>> spectra.x.shape, spectra.frequency.shape, spectra.static.shape
        (torch.Size([2, 16, 3]), torch.Size([16]), torch.Size([2, 9]))
    """
    scales = (psd_scale, acf_scale, fstat_scale)
    _check_options(K, acf_mode, max_lag, batch_size, scales)
    curves = CurveSet(data)
    kept = _transformable(curves, max(_LEAST_POINTS, K))
    summary = Summary._make(vector[kept] for vector in curves.summary)
    frequency = frequency_grid(summary, bins, spacing, grid, frequency_range)
    max_lags = _max_lags(summary, max_lag, [curves.names[row] for row in kept])
    transform = _Transform(NW, K, acf_mode, scales, engine)
    rows: dict[str, Tensor] = {}
    unit = torch.linspace(0.0, 1.0, bins, dtype=torch.float64)
    for batch in _batches(summary.length, batch_size):
        points = _standardised(curves.points(torch.from_numpy(kept)[batch]), summary, batch)
        own = frequency if frequency.dim() == 1 else frequency[batch]
        for name, values in transform(points, own, unit * max_lags[batch].unsqueeze(1)).items():
            if name not in rows:
                dtype = torch.float32 if name in ("x", "pvalues") else torch.float64
                rows[name] = torch.empty((kept.size, *values.shape[1:]), dtype=dtype)
            rows[name][batch] = values.to(rows[name].dtype)
    result = _carried(data, kept, rows.pop("x"))
    result.frequency, result.pvalues = frequency, rows.pop("pvalues")
    result.static, result.static_names = _static(rows, summary), list(STATIC_NAMES)
    if acf_mode == "covariance":
        result.static_names[STATIC_NAMES.index("flux_variance")] = "acf_zero"
    result.metadata = {**result.get("metadata", {}), **_normalisation(rows, summary, max_lags, scales)}
    result.NW, result.K, result.n_failed = float(NW), int(K), len(curves.names) - kept.size
    return result


def _check_options(K: int, acf_mode: str, max_lag: float | None, batch_size: int, scales: Any) -> None:
    if acf_mode not in get_args(AcfMode):
        raise InputError(f"acf_mode is {acf_mode!r}; expected one of {', '.join(get_args(AcfMode))}")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; expected at least 1")
    for name, scale in (("max_lag", max_lag), *zip((f"{name}_scale" for name in CHANNELS), scales, strict=True)):
        if scale is not None and not 0 < scale < np.inf:
            raise InputError(f"{name} is {scale}; expected a positive number or None")
    if K < 2:
        raise InputError(f"K is {K}; the F-test needs at least 2 tapers")


def _transformable(curves: CurveSet, least: int) -> npt.NDArray[np.int64]:
    """Numbers of the curves that have a spectrum."""
    short, constant = curves.summary.length < least, curves.summary.constant
    failed = np.flatnonzero(short | constant)
    if not failed.size:
        return np.arange(len(curves.names))
    names = ", ".join(repr(curves.names[row]) for row in failed[:_NAMES_SHOWN])
    what = (
        f"{failed.size} of {len(curves.names)} light curves have fewer than {least} points or zero variance: "
        f"{names}{', ...' if failed.size > _NAMES_SHOWN else ''}"
    )
    if failed.size == len(curves.names):
        raise InputError(f"no light curve can be transformed; {what}")
    _logger.warning("%s; they are left out of the spectra", what)
    return np.flatnonzero(~(short | constant))


def _max_lags(curves: Summary, max_lag: float | None, names: list[str]) -> Tensor:
    if max_lag is None:
        return torch.from_numpy(curves.duration / 2)
    short = np.flatnonzero(curves.duration < max_lag)
    if short.size:
        raise InputError(
            f"max_lag is {max_lag} days, longer than {short.size} light curves, such as {names[int(short[0])]!r} of "
            f"{curves.duration[short[0]]:g} days"
        )
    return torch.full((curves.duration.size,), float(max_lag), dtype=torch.float64)


def _batches(length: npt.NDArray[np.int64], batch_size: int) -> Iterator[Tensor]:
    """Positions of curves of similar length.

    The default frequencies of the transform depend on the power of two above the longest curve: with one power in a
    batch a curve has its own frequencies. Curves of equal length, side by side, share their tapers.
    """
    order = np.argsort(length, kind="stable")
    powers = np.frexp(length[order] - 1)[1]
    for part in np.split(order, np.flatnonzero(np.diff(powers)) + 1):
        yield from torch.from_numpy(part).split(batch_size)


def _standardised(points: RealPoints, curves: Summary, rows: Tensor) -> RealPoints:
    median, spread = (torch.from_numpy(vector)[rows].unsqueeze(1) for vector in (curves.median, curves.spread))
    return points._replace(flux=torch.where(points.real, (points.flux - median) / spread, 0.0))


def _variance(points: RealPoints) -> Tensor:
    count = points.real.sum(dim=1, keepdim=True)
    deviation = torch.where(points.real, points.flux - points.flux.sum(dim=1, keepdim=True) / count, 0.0)
    return deviation.square().sum(dim=1) / count[:, 0]


def _static(rows: dict[str, Tensor], curves: Summary) -> Tensor:
    known = {
        "median_flux": curves.median,
        "iqr_flux": curves.spread,
        "duration": curves.duration,
        "num_points": curves.length,
        "median_step": curves.step,
    }
    columns = [rows[name] if name in rows else torch.from_numpy(known[name]) for name in STATIC_NAMES]
    return torch.stack([column.float() for column in columns], dim=1)


def _normalisation(rows: dict[str, Tensor], curves: Summary, max_lags: Tensor, scales: Any) -> Metadata:
    found: Metadata = {"median_flux": curves.median, "iqr_flux": curves.spread, "max_lag": max_lags.numpy()}
    for name, scale in zip(CHANNELS, scales, strict=True):
        found[f"{name}_scale_factor"] = np.full(curves.length.size, np.nan if scale is None else scale)
        found |= {key: rows[key].numpy() for key in (f"{name}_mean", f"{name}_std")}
    return found


def _carried(data: Data, kept: npt.NDArray[np.int64], x: Tensor) -> Data:
    """The spectra with what the curves' graph says of these stars."""
    count = data.x.shape[0]
    stars = Data(x=data.x, **{name: data[name] for name in _CARRIED if data.get(name) is not None})
    if data.get("metadata") is not None:
        stars.metadata = as_metadata(data.metadata, count)
    result = select_curves(stars, torch.from_numpy(kept)) if kept.size < count else stars
    result.x, result.channel_names = x, list(CHANNELS)
    return result
