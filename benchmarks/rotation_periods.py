"""How often rotation periods are recovered, by our rule and by others, on curves whose period is known.

The rule takes the largest amplitude among frequencies whose harmonic F-test is significant. The others are the largest
F-statistic, the peak of the multitaper spectrum, Lomb-Scargle, and the highest peak of the autocorrelation; the rule
also runs on 1024 logarithmic bins. All search the same range. The script then prints how often white noise passes for
a line, the periods of a real star where the data are at hand (STGRAPH_DATA), and the cost of a curve.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks import measure
from benchmarks.periodic_signals import SAMPLINGS, Curve, Kind, pad, periodic_curves
from stgraph.ops.multitaper import autocorrelation, lomb_scargle_period, multitaper, rotation_period
from stgraph.ops.multitaper.curves import check_curves
from stgraph.ops.multitaper.period_search import refine_peak, search_grid, search_limits

NW, BINS = 4.0, 1024
KINDS = (
    Kind("regular", 27, 600, 0.5),
    Kind("regular", 27, 600, 10),
    Kind("gaps", 27, 600, 0.5),
    Kind("gaps", 27, 600, 3),
    Kind("uniform", 27, 600, 1),
    Kind("gaps", 200, 500, 5),
    Kind("variable", 200, 500, 5),
    Kind("seasons", 450, 600, 5),
    Kind("seasons", 450, 600, 1),
    Kind("gaps", 27, 600, 3, modulated=True),
    Kind("uniform", 27, 600, 3, modulated=True),
)
RULE, LOGARITHMIC = "rule", "rule, 1024 log bins"
#: Least shares within 2 % and 5 % where the ratio of standard deviations is 1 or more.
REQUIRED = {RULE: (0.95, 0.98), LOGARITHMIC: (0.93, 0.0)}
SHORT = (RULE, LOGARITHMIC, "Lomb-Scargle")  # the methods that also search short periods
NOISE_SAMPLINGS = ("regular", "gaps", "uniform", "variable")
FILES = {
    "KIC 10002792, quarter 2": "kplr010002792-2009259160929_llc.fits",
    "KIC 10002792, quarter 5": "kplr010002792-2010174085026_llc.fits",
    "TIC 358108509, sector 1": "tess2018206045859-s0001-0000000358108509-0120-s_lc.fits",
}


class Batch(NamedTuple):
    """Curves of one kind, padded to a common length."""

    time: Tensor
    flux: Tensor
    mask: Tensor


def rule(batch: Batch) -> Tensor:
    """Largest amplitude of the significant frequencies."""
    return rotation_period(batch.time, batch.flux, mask=batch.mask, NW=NW).period


def rule_on_logarithmic_bins(batch: Batch) -> Tensor:
    """The rule on bins from 1 / T to half the inverse median step."""
    curves = check_curves(*batch)
    low, high = search_limits(curves, None, None, cycles=1)
    bins = low[:, None] * (high / low)[:, None] ** torch.linspace(0, 1, BINS, dtype=torch.float64)
    return rotation_period(batch.time, batch.flux, mask=batch.mask, NW=NW, freqs=bins).period


def highest(batch: Batch, quantity: str) -> Tensor:
    """Period of the highest bin of an entry of the spectrum, on the grid of the rule."""
    curves = check_curves(*batch)
    grid = search_grid(curves, *search_limits(curves, None, None, NW / 2), 8, None)
    spectrum = multitaper(batch.time, batch.flux, NW, freqs=grid.frequency, mask=batch.mask)
    height = torch.where(grid.valid, getattr(spectrum, quantity), -torch.inf)
    return 1 / refine_peak(grid.frequency, height, height.argmax(dim=1))[0]


def largest_f(batch: Batch) -> Tensor:
    """Largest F-statistic."""
    return highest(batch, "fstat")


def spectral_peak(batch: Batch) -> Tensor:
    """Peak of the adaptive spectrum."""
    return highest(batch, "psd")


def lomb_scargle(batch: Batch) -> Tensor:
    """Largest Lomb-Scargle power."""
    return lomb_scargle_period(batch.time, batch.flux, mask=batch.mask).period


def correlation_peak(batch: Batch) -> Tensor:
    """Highest local maximum of the autocorrelation after it has first been negative, up to half the duration.

    The spectrum has one narrow taper: the smoothing by several would damp the autocorrelation and move its maxima.
    """
    duration = check_curves(*batch).time[:, -1:]
    spectrum = multitaper(batch.time, batch.flux, NW=1, K=1, ftest=False, mask=batch.mask)
    lags = duration / 2 * torch.linspace(0, 1, BINS, dtype=torch.float64)
    rows = zip(spectrum.frequency, spectrum.psd, lags, strict=True)  # one by one, since each has lags of its own
    height = torch.stack([autocorrelation(*row) for row in rows])
    inner = height[:, 1:-1]
    peaks = (inner > height[:, :-2]) & (inner > height[:, 2:]) & (inner < 0).cummax(dim=1).values
    return refine_peak(lags, height, 1 + torch.where(peaks, inner, -torch.inf).argmax(dim=1))[0]


METHODS: dict[str, Callable[[Batch], Tensor]] = {
    RULE: rule,
    LOGARITHMIC: rule_on_logarithmic_bins,
    "largest F": largest_f,
    "spectral peak": spectral_peak,
    "Lomb-Scargle": lomb_scargle,
    "autocorrelation": correlation_peak,
}


def shares(found: Tensor, curves: Sequence[Curve]) -> tuple[float, float]:
    """Shares within 2 % and 5 % of the true period."""
    truth = torch.tensor([curve.period for curve in curves], dtype=torch.float64)
    error = (found / truth - 1).abs()
    near, far = (float((error <= limit).double().mean()) for limit in (0.02, 0.05))
    return near, far


def recovery(report: measure.Report, count: int) -> None:
    """The table of recovered periods, and whether the required shares are reached."""
    table, missed = [["curves", *METHODS]], []
    for kind in KINDS:
        found = recovered(report, kind, count, METHODS)
        table.append([str(kind), *(f"{near:.2f} / {far:.2f}" for near, far in found.values())])
        for name, required in REQUIRED.items():
            if kind.snr >= 1 and any(share < least for share, least in zip(found[name], required, strict=True)):
                missed.append(f"{name}: {kind}")
    targets = "; ".join(f"{name} {near:.2f} / {far:.2f}" for name, (near, far) in REQUIRED.items())
    verdict = "MISSED: " + "; ".join(missed) if missed else "reached"
    report.note(f"share of {count} curves within 2 % / 5 % of the true period:\n{measure.format_table(table)}")
    report.note(f"required at SNR 1 and above: {targets}: {verdict}\n")
    table = [["curves", *SHORT]]
    for kind in KINDS:
        found = recovered(report, dataclasses.replace(kind, logarithmic=True), count, SHORT)
        table.append([str(kind), *(f"{near:.2f} / {far:.2f}" for near, far in found.values())])
    report.note(
        "the same where the logarithm of the period is uniform: more periods are short, and there the logarithmic bins "
        f"are wider than a line:\n{measure.format_table(table)}\n"
    )


def recovered(report: measure.Report, kind: Kind, count: int, methods: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Shares that the methods find of one kind of curves."""
    curves = periodic_curves(kind, count)
    batch = Batch(*pad(curves))
    found = {name: shares(METHODS[name](batch), curves) for name in methods}
    report.records.append({"kind": str(kind), "logarithmic": kind.logarithmic, "count": count, "shares": found})
    return found


def calibration(report: measure.Report, count: int) -> None:
    """White noise: shares of small p-values, level of the spectrum, share of curves that seem to have a period."""
    table = [["sampling", "p < 0.01", "p < 0.001", "level", "p < 1/N", "p < 0.01/N"]]
    for sampling in NOISE_SAMPLINGS:
        curves = []
        for index in range(count):
            rng = np.random.default_rng([1, index])
            time = SAMPLINGS[sampling](rng, 27.0, 600)
            curves.append(Curve(time, rng.normal(size=len(time)), np.nan))
        batch = Batch(*pad(curves))
        spectrum = multitaper(batch.time, batch.flux, NW, mask=batch.mask)
        prepared = check_curves(*batch)
        edge = NW / prepared.time[:, -1:]
        inner = (spectrum.frequency > edge) & (spectrum.frequency < 0.5 / prepared.step[:, None] - edge)
        small = [float((spectrum.pvalue[inner] < limit).double().mean()) for limit in (0.01, 0.001)]
        level = float((spectrum.psd / prepared.step[:, None])[inner].mean())
        alarms = [
            rotation_period(*batch[:2], mask=batch.mask, significance=limit).significant.double().mean()
            for limit in (None, 0.01 / 600)
        ]
        table.append([sampling, *(f"{share:.4f}" for share in small), f"{level:.3f}"])
        table[-1] += [f"{float(share):.2f}" for share in alarms]
    report.note(
        f"white noise of variance 1, {count} curves of 600 requested points: share of frequencies by p-value, level of "
        f"the spectrum over that of the noise, share of curves with a significant line\n{measure.format_table(table)}\n"
    )


def real_star(report: measure.Report, folder: Path) -> None:
    """Periods of a star whose period is published (1.165 d) and of one without a clear period."""
    from astropy.io import fits

    table = [
        ["curve", "points", "trend removed", "period d", "F", "p", "p < 1/N", "p < 1/N at 1-8 d", "Lomb-Scargle d"]
    ]
    for name, file in FILES.items():
        with fits.open(folder / "kepler_tess_raw" / file) as hdus:
            data = hdus[1].data
            quality = data["SAP_QUALITY" if "SAP_QUALITY" in data.names else "QUALITY"]
            time, flux = (np.asarray(data[column], dtype=np.float64) for column in ("TIME", "PDCSAP_FLUX"))
        good = np.isfinite(time) & np.isfinite(flux) & (quality == 0)
        time, flux = time[good], flux[good]
        trend = np.polynomial.Polynomial.fit(time, flux, 3)(time)
        for removed, values in (("none", flux), ("cubic", flux - trend)):
            star, peer = rotation_period(time, values), lomb_scargle_period(time, values)
            days = rotation_period(time, values, f_min=1 / 8, f_max=1.0)
            numbers = [f"{star.period:.4f}", f"{star.fstat:.1f}", f"{star.pvalue:.1e}"]
            numbers += ["yes" if found.significant else "no" for found in (star, days)]
            table.append([name, str(len(time)), removed, *numbers, f"{peer.period:.4f}"])
    report.note(f"real stars, points of good quality:\n{measure.format_table(table)}\n")


def cost(report: measure.Report, count: int, repeats: int) -> None:
    """Seconds of the rule and of Lomb-Scargle."""
    curves = periodic_curves(Kind("gaps", 27, 600, 3), count)
    batch = Batch(*pad(curves))
    seconds = measure.time_in_turns(
        {name: lambda method=METHODS[name]: method(batch) for name in (RULE, LOGARITHMIC, "Lomb-Scargle")},
        repeats,
        warmup=1,
    )
    each = ", ".join(f"{name} {1e3 * statistics.median(times) / count:.1f}" for name, times in seconds.items())
    report.note(f"milliseconds a curve, in a batch of {count} curves, {curves[0].time.size} points: {each}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything."""
    parser = measure.argument_parser(__doc__)
    parser.add_argument("--curves", type=int, default=120, help="curves of each kind")
    args = parser.parse_args(arguments)
    report = measure.Report("rotation_periods", args.threads, args.results)
    try:
        recovery(report, args.curves)
        calibration(report, args.curves)
        if "STGRAPH_DATA" in os.environ:
            real_star(report, Path(os.environ["STGRAPH_DATA"]))
        cost(report, args.curves, args.repeats)
    finally:
        report.finish()


if __name__ == "__main__":
    main()
