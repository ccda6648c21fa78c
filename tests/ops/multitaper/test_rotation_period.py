from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.periodic_signals import SAMPLINGS, Curve, Kind, pad, periodic_curves
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.multitaper import RotationPeriod, multitaper, rotation_period

ROWS = [
    Kind("regular", 27, 600, 10),
    Kind("gaps", 27, 600, 3),
    Kind("uniform", 27, 600, 1),
    Kind("variable", 200, 500, 5),
    Kind("seasons", 450, 600, 1),
    Kind("gaps", 27, 600, 3, modulated=True),
]
TIME = torch.linspace(0, 27, 400, dtype=torch.float64)


def sinusoid(period: float, amplitude: float = 1.0, time: torch.Tensor = TIME) -> torch.Tensor:
    return amplitude * torch.sin(2 * torch.pi * time / period + 0.4)


def noise(seed: int, size: int = 400) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=size))


@pytest.mark.parametrize("kind", ROWS, ids=str)
def test_periods_are_recovered(kind: Kind) -> None:
    curves = periodic_curves(kind, 12)
    t, x, mask = pad(curves)
    found = rotation_period(t, x, mask=mask)
    error = (found.period / torch.tensor([curve.period for curve in curves]) - 1).abs()
    assert (error < 0.05).all()
    assert (error < 0.02).sum() >= 11
    assert found.significant.all()
    assert not found.trend.any()
    torch.testing.assert_close(found.frequency, 1 / found.period)


def test_logarithmic_bins_recover_periods() -> None:
    curves = periodic_curves(Kind("gaps", 27, 600, 3), 12)
    t, x, mask = pad(curves)
    found = rotation_period(t, x, mask=mask, freqs=torch.logspace(np.log10(1 / 27), np.log10(11.0), 1024))
    assert ((found.period / torch.tensor([curve.period for curve in curves]) - 1).abs() < 0.02).sum() >= 11


def test_batch_equals_single_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (Kind("gaps", 27, 100, 2), Kind("uniform", 90, 60, 0.2), Kind("seasons", 450, 150, 5))
    curves = [curve for kind in kinds for curve in periodic_curves(kind, 3)]
    t, x, mask = pad(curves)
    monkeypatch.setattr("stgraph.ops.multitaper.rotation.CHUNK", 20_000)  # some chunks, out of order
    batch = rotation_period(t, x, mask=mask, significance=1e-4)
    for row, curve in enumerate(curves):
        single = rotation_period(curve.time, curve.flux, significance=1e-4)
        assert all(entry.shape == () for entry in single)
        for name, one, many in zip(RotationPeriod._fields, single, batch, strict=True):
            torch.testing.assert_close(many[row], one, rtol=1e-6, atol=1e-12, equal_nan=True, msg=name)
    assert batch.significant.any()
    assert not batch.significant.all()


def test_masked_points_do_not_count() -> None:
    kept = torch.rand(400, generator=torch.Generator().manual_seed(0)) < 0.8
    x = sinusoid(3.3) + noise(0)
    alone = rotation_period(TIME[kept], x[kept])
    masked = rotation_period(TIME, torch.where(kept, x, torch.nan), mask=kept)
    torch.testing.assert_close(tuple(masked), tuple(alone), equal_nan=True)
    assert float(alone.period) == pytest.approx(3.3, rel=0.02)


def test_limits_and_second_line() -> None:
    x = 5 + sinusoid(4.1, 2.0) + sinusoid(1.3) + 0.1 * noise(1)
    found = rotation_period(TIME, x)
    assert float(found.period) == pytest.approx(4.1, rel=2e-3)
    assert float(found.amplitude) == pytest.approx(2.0, rel=0.01)
    assert float(found.second_period) == pytest.approx(1.3, rel=2e-3)
    assert not found.harmonic_flag
    assert float(found.pvalue) < 1e-9
    for limits in ({"f_min": 0.5}, {"f_min": 0.3, "f_max": 3.0}):
        assert float(rotation_period(TIME, x, **limits).period) == pytest.approx(1.3, rel=2e-3)
    assert float(rotation_period(TIME, x, f_max=0.5).period) == pytest.approx(4.1, rel=2e-3)


def test_units_of_flux_and_time() -> None:
    x = sinusoid(2.7) + 0.5 * noise(2)
    found, scaled = rotation_period(TIME, x), rotation_period(2_455_000 + 10 * TIME, 1e4 + 50 * x)
    assert float(scaled.period) == pytest.approx(10 * float(found.period), rel=1e-6)
    assert float(scaled.amplitude) == pytest.approx(50 * float(found.amplitude), rel=1e-5)
    assert float(scaled.fstat) == pytest.approx(float(found.fstat), rel=1e-4)


@pytest.mark.parametrize(("harmonic", "flagged"), [(0.0, False), (0.3, True), (3.0, True)])
def test_flag_of_half_and_double_periods(harmonic: float, flagged: bool) -> None:
    x = sinusoid(3.7) + sinusoid(3.7 / 2, harmonic) + 0.05 * noise(3)
    found = rotation_period(TIME, x)
    assert float(found.period) == pytest.approx(3.7 if harmonic < 1 else 1.85, rel=2e-3)
    assert bool(found.harmonic_flag) == flagged
    if flagged:
        assert float(found.second_period) == pytest.approx(1.85 if harmonic < 1 else 3.7, rel=0.01)


def test_without_significant_line_the_largest_f_is_taken() -> None:
    found = rotation_period(TIME, noise(4), significance=1e-12)
    assert not found.significant
    assert not found.harmonic_flag
    assert found.second_period.isnan()
    grid = torch.arange(2 / 27, 0.5 / float(TIME[1]), 1 / (8 * 27), dtype=torch.float64)
    spectrum = multitaper(TIME, noise(4), freqs=grid)
    assert spectrum.fstat is not None
    assert float(found.fstat) == pytest.approx(float(spectrum.fstat.max()), rel=1e-6)
    assert abs(float(found.frequency - grid[spectrum.fstat.argmax()])) <= 1 / (8 * 27)


def test_white_noise_is_seldom_significant_at_a_threshold_for_all_frequencies() -> None:
    x = torch.stack([noise(seed) for seed in range(40)])
    found = rotation_period(TIME.expand(40, -1), x, significance=0.01 / 400)
    assert found.significant.sum() <= 6  # a share of 1.4 expected, if the 4 N tests were independent 4


def test_trend_is_removed_and_not_taken_for_a_rotation() -> None:
    curves = []
    for seed in range(24):
        rng = np.random.default_rng([3, seed])
        time = SAMPLINGS["seasons"](rng, 450.0, 300)
        slow = (time / time[-1] - rng.uniform(0.2, 0.8)) ** 2
        period = rng.uniform(4.0, 40.0)
        flux = 3 * slow / slow.std() + np.sqrt(2) * np.sin(2 * np.pi * time / period)
        curves.append(Curve(time, flux + rng.normal(0, 0.5, len(time)), period))
    t, x, mask = pad(curves)
    truth = torch.tensor([curve.period for curve in curves])

    def recovered(found: RotationPeriod) -> int:
        return int(((found.period / truth - 1).abs() < 0.02).sum())

    default = rotation_period(t, x, mask=mask)
    kept = rotation_period(t, x, mask=mask, exclude_trend=False)
    limited = rotation_period(t, x, mask=mask, f_min=1 / 50)
    assert default.trend.all()
    assert not (kept.trend | limited.trend).any()
    assert recovered(default) >= 23
    assert recovered(kept) < 20
    with pytest.raises(InputError, match=r"x of curve 0 has a trend, and 2 NW/T = 0.0\d* is not below f_max = 0.01"):
        rotation_period(t, x, mask=mask, f_max=0.01)


def test_nothing_but_a_trend_has_no_period() -> None:
    found = rotation_period(TIME, 7 + (TIME - 10) ** 3)
    assert found.trend
    assert not found.significant
    noisy = rotation_period(TIME, 30 * TIME + noise(5), significance=1e-5)
    assert noisy.trend
    assert not noisy.significant


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"f_min": 3.0, "f_max": 2.0}, "f_min = 3 is not below f_max = 2"),
        ({"f_min": -1.0}, "f_min is -1.0; expected a positive"),
        ({"f_max": float("nan")}, "f_max is nan; expected a positive"),
        ({"significance": 0.0}, "significance is 0.0"),
        ({"oversample": 0.5}, "oversample is 0.5"),
        ({"K": 1}, "K is 1"),
        ({"x": torch.ones(400)}, "x of curve 0 is constant"),
        ({"t": TIME[:8], "x": TIME[:8]}, "fewer than 9"),
        ({"t": TIME.flip(0)}, "not strictly increasing"),
        ({"freqs": torch.tensor([2.0, 1.0])}, "freqs has frequencies that are not positive or do not increase"),
        ({"freqs": torch.tensor([100.0])}, "freqs has no frequency from 0.0740741 to 7.38889"),
        ({"freqs": torch.ones(3, 4, 5)}, r"freqs is of shape \(3, 4, 5\)"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"t": TIME, "x": sinusoid(3.0)} | change
    with pytest.raises(InputError, match=message):
        rotation_period(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="t is"):
        rotation_period(np.array(["a"] * 20), sinusoid(3.0)[:20])


def real_curve(file: str) -> tuple[np.ndarray, np.ndarray]:
    fits = pytest.importorskip("astropy.io.fits")
    if "STGRAPH_DATA" not in os.environ:
        pytest.skip("STGRAPH_DATA is not set (needs kepler_tess_raw)")
    with fits.open(Path(os.environ["STGRAPH_DATA"]) / "kepler_tess_raw" / file) as hdus:
        data = hdus[1].data
        quality = data["SAP_QUALITY" if "SAP_QUALITY" in data.names else "QUALITY"]
        time, flux = (np.asarray(data[name], dtype=np.float64) for name in ("TIME", "PDCSAP_FLUX"))
    good = np.isfinite(time) & np.isfinite(flux) & (quality == 0)
    return time[good], flux[good]


@pytest.mark.parametrize("file", ["kplr010002792-2009259160929_llc.fits", "kplr010002792-2010174085026_llc.fits"])
def test_published_period_of_a_real_star(file: str) -> None:
    found = rotation_period(*real_curve(file))
    assert float(found.period) == pytest.approx(1.165, rel=0.01)
    assert found.significant


@pytest.mark.parametrize("degree", [1, 3, 5])
def test_flare_star_has_no_significant_period_of_days(degree: int) -> None:
    time, flux = real_curve("tess2018206045859-s0001-0000000358108509-0120-s_lc.fits")
    trend = np.polynomial.Polynomial.fit(time, flux, degree)(time)
    assert not rotation_period(time, flux - trend, f_min=1 / 8, f_max=1.0).significant
