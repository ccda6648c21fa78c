import logging
import math

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from stgraph.data import KNNGraph
from stgraph.data.light_curves import from_light_curves, restore_spectra, select_curves, spectra_of
from stgraph.errors import InputError
from stgraph.ops.multitaper import autocorrelation, autocorrelation_timescale, multitaper

BINS = 24


def a_curve(number, points):
    generator = np.random.default_rng(number)
    time = 1e4 + np.cumsum(generator.uniform(0.5, 1.5, points))
    return time, 50 + 3 * np.sin(2 * np.pi * time / 9) + generator.normal(size=points)


def some_curves(lengths=(40, 21, 70, 35), **options):
    times, fluxes = zip(*(a_curve(number, points) for number, points in enumerate(lengths)), strict=True)
    return from_light_curves(times, fluxes, clip=None, **options)


def standardised(data, row):
    count = int(data.length[row])
    flux = data.x[row, :count, 0].double()
    low, median, high = torch.quantile(flux, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    return data.time[row, :count], (flux - median) / (high - low)


def restored(spectra, name):
    keys = (f"{name}_mean", f"{name}_std", f"{name}_scale_factor")
    parts = [torch.from_numpy(spectra.metadata[key]) for key in keys]
    return restore_spectra(spectra.x[:, :, spectra.channel_names.index(name)], *parts)


@pytest.mark.parametrize("grid", ["own", "common"])
@pytest.mark.parametrize("spacing", ["log", "linear"])
def test_spectra_are_evaluated_at_the_frequencies_they_are_given_for(grid, spacing):
    data = some_curves()
    spectra = spectra_of(data, NW=3.0, K=5, bins=BINS, grid=grid, spacing=spacing)
    for row in range(4):
        frequency = spectra.frequency[row] if grid == "own" else spectra.frequency
        direct = multitaper(*standardised(data, row), 3.0, 5, frequency)
        assert torch.allclose(restored(spectra, "psd")[row], direct.psd, rtol=1e-4)
        assert torch.allclose(restored(spectra, "fstat")[row], direct.fstat, rtol=1e-4, atol=1e-5)
        assert torch.allclose(spectra.pvalues[row].double(), direct.pvalue, rtol=1e-4, atol=1e-6)


def test_own_frequencies_run_from_one_over_the_duration_to_half_the_sampling_rate():
    data = some_curves()
    logarithmic = spectra_of(data, bins=BINS, grid="own").frequency
    linear = spectra_of(data, bins=BINS, grid="own", spacing="linear").frequency
    for row in range(4):
        time, _ = standardised(data, row)
        ends = torch.stack([1 / (time[-1] - time[0]), 0.5 / time.diff().quantile(0.5)])
        for frequency in (logarithmic, linear):
            assert frequency.shape == (4, BINS)
            assert torch.allclose(frequency[row, [0, -1]], ends)
    assert torch.allclose(logarithmic.log().diff(n=2, dim=1), torch.zeros(1, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(linear.diff(n=2, dim=1), torch.zeros(1, dtype=torch.float64), atol=1e-10)


def test_common_frequencies_span_nearly_all_of_the_stars_ranges():
    data = some_curves()
    own = spectra_of(data, bins=BINS, grid="own").frequency.numpy()
    common = spectra_of(data, bins=BINS).frequency
    assert common.shape == (BINS,)
    assert common[0].item() == pytest.approx(np.percentile(own[:, 0], 1))
    assert common[-1].item() == pytest.approx(np.percentile(own[:, -1], 99))
    given = spectra_of(data, bins=BINS, frequency_range=(0.02, 0.3)).frequency
    assert given[[0, -1]].tolist() == pytest.approx([0.02, 0.3])


def test_the_autocorrelation_is_that_of_the_linear_spectrum_at_lags_up_to_half_the_duration():
    data = some_curves()
    spectra = spectra_of(data, bins=BINS)
    for row in range(4):
        time, flux = standardised(data, row)
        linear = multitaper(time, flux)
        lags = torch.linspace(0, 0.5, BINS, dtype=torch.float64) * (time[-1] - time[0])
        direct = autocorrelation(linear.frequency, linear.psd, lags)
        assert torch.allclose(restored(spectra, "acf")[row], direct, atol=1e-5)
        timescale = autocorrelation_timescale(lags, direct)
        assert spectra.static[row, 5].item() == pytest.approx(timescale.item(), rel=1e-4)
    assert np.allclose(spectra.metadata["max_lag"], spectra.static[:, 6] / 2)


def test_the_autocovariance_at_lag_zero_is_the_variance_of_white_noise():
    time = np.arange(256.0)
    data = from_light_curves([time], [np.random.default_rng(0).normal(size=256)])
    spectra = spectra_of(data, bins=BINS, acf_mode="covariance", acf_scale=None)
    _, flux = standardised(data, 0)
    assert spectra.static_names[4] == "acf_zero"
    assert spectra.static[0, 4].item() == pytest.approx(flux.var(correction=0).item(), rel=0.05)
    assert restored(spectra, "acf")[0, 0].item() == pytest.approx(spectra.static[0, 4].item(), rel=1e-5)
    assert 2 * spectra.static[0, 2].item() == pytest.approx(spectra.static[0, 4].item(), rel=0.02)
    assert math.isnan(spectra.metadata["acf_scale_factor"][0])


def test_lags_up_to_a_given_one_show_the_period_of_a_sinusoid():
    time = np.arange(1000.0)
    data = from_light_curves([time], [np.cos(2 * np.pi * time / 10)])
    acf = restored(spectra_of(data, bins=11, max_lag=10.0), "acf")[0]  # at lags of 0, 1, ..., 10 days
    assert acf.argmin().item() == 5
    assert acf[1:].argmax().item() == 9
    with pytest.raises(InputError, match=r"max_lag is 1000.0 days, longer than 1 light curves, such as '0' of 999"):
        spectra_of(data, max_lag=1000.0)


def test_a_sinusoid_has_its_peak_at_its_frequency():
    time = np.arange(0.0, 60.0, 0.5)
    data = from_light_curves([time], [10 + np.sin(2 * np.pi * 0.25 * time)])
    spectra = spectra_of(data, bins=96, spacing="linear", frequency_range=(0.0125, 1.2))
    frequency = spectra.frequency[restored(spectra, "psd")[0].argmax()]
    assert abs(frequency.item() - 0.25) <= 4 / 59.5  # half bandwidth
    assert spectra.frequency[spectra.pvalues[0].argmin()].item() == pytest.approx(0.25, abs=0.0125)


def test_what_is_computed_together_does_not_matter():
    data = some_curves((40, 21, 70, 35, 33, 64, 65, 66))
    together = spectra_of(data, bins=BINS, grid="own")
    for batch_size in (1, 3):
        assert torch.allclose(spectra_of(data, bins=BINS, grid="own", batch_size=batch_size).x, together.x, atol=1e-4)
    alone = spectra_of(select_curves(data, [5, 1]), bins=BINS, grid="own")
    assert torch.allclose(alone.x, together.x[[5, 1]], atol=1e-4)
    assert torch.allclose(alone.static, together.static[[5, 1]], rtol=1e-4)


def test_unit_and_offset_of_the_flux_do_not_matter():
    data = some_curves()
    other = some_curves()
    other.x = torch.where(other.mask, 4 * other.x - 128, 0.0)  # exact in float32
    first, second = spectra_of(data, bins=BINS), spectra_of(other, bins=BINS)
    assert torch.allclose(first.x, second.x, atol=1e-3)
    assert torch.allclose(4 * first.static[:, 1], second.static[:, 1], rtol=1e-4)


def test_gaps_of_a_shared_sampling_are_no_points():
    time, flux = a_curve(3, 60)
    keep = np.random.default_rng(1).random((2, 60)) < 0.8
    keep[:, [0, -1]] = True
    own = from_light_curves([time[row] for row in keep], [flux[row] for row in keep], clip=None)
    shared = Data(
        x=torch.where(torch.from_numpy(keep), torch.from_numpy(flux), torch.nan).float().unsqueeze(2),
        mask=torch.from_numpy(keep).unsqueeze(2),
        time=torch.from_numpy(time),
    )
    assert torch.allclose(spectra_of(own, bins=BINS).x, spectra_of(shared, bins=BINS).x, atol=1e-4)


def test_features_describe_the_curves():
    data = some_curves()
    spectra = spectra_of(data, bins=BINS)
    static = {name: spectra.static[:, column] for column, name in enumerate(spectra.static_names)}
    assert spectra.static.shape == (4, 9)
    assert static["num_points"].tolist() == [40, 21, 70, 35]
    for row in range(4):
        time, flux = standardised(data, row)
        raw = data.x[row, : len(time), 0]
        assert static["median_flux"][row].item() == pytest.approx(np.median(raw), rel=1e-6)
        assert static["iqr_flux"][row].item() == pytest.approx(np.subtract(*np.percentile(raw, [75, 25])), rel=1e-5)
        assert static["flux_variance"][row].item() == pytest.approx(flux.var(correction=0).item(), rel=1e-5)
        assert static["duration"][row].item() == pytest.approx(float(time[-1] - time[0]), rel=1e-6)
        assert static["median_step"][row].item() == pytest.approx(np.median(time.diff()), rel=1e-6)
        linear = multitaper(time, flux)
        integral = torch.trapezoid(linear.psd, linear.frequency).item()
        assert static["psd_integral"][row].item() == pytest.approx(integral, rel=1e-5)
    assert torch.allclose(static["psd_peak"].double(), restored(spectra, "psd").amax(dim=1), rtol=1e-4)


def test_an_autocorrelation_that_never_falls_has_no_timescale():
    time = np.arange(30.0)
    data = from_light_curves([time], [np.cos(2 * np.pi * time / 10)], clip=None)
    assert spectra_of(data, bins=BINS, max_lag=0.5).static[0, 5] == 0


def test_curves_without_a_spectrum_are_left_out_and_named(caplog):
    sky = np.array([[10.0 * row, 5.0] for row in range(4)])
    names = ["good", "short", "flat", "better"]
    data = some_curves((30, 8, 20, 40), names=names, sky=sky, metadata={"teff": [1, 2, 3, 4], "lc_type": list("abcd")})
    data.x[2, :20] = 7.0
    data = KNNGraph(k=3)(data)
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        spectra = spectra_of(data, bins=BINS)
    assert "2 of 4 light curves have fewer than 9 points or zero variance: 'short', 'flat'" in caplog.text
    assert (spectra.n_failed, spectra.NW, spectra.K) == (2, 4.0, 7)
    assert spectra.node_names == ["good", "better"]
    assert spectra.metadata["teff"].tolist() == [1, 4]
    assert spectra.metadata["lc_type"].tolist() == ["a", "d"]
    assert spectra.sky[:, 0].tolist() == [0.0, 30.0]
    assert sorted(spectra.edge_index.T.tolist()) == [[0, 1], [1, 0]]
    assert spectra.static[:, 7].tolist() == [30, 40]
    assert all(len(vector) == 2 for vector in spectra.metadata.values())
    assert not {"time", "mask", "length", "flux_error"} & set(spectra.keys())
    spectra.validate()


def test_no_curve_with_a_spectrum_is_an_error():
    with pytest.raises(InputError, match=r"no light curve can be transformed; 2 of 2 light curves have fewer than 9"):
        spectra_of(some_curves((8, 5)))
    with pytest.raises(InputError, match=r"fewer than 12 points"):
        spectra_of(some_curves((11, 10)), K=12, NW=6.0)


def test_an_interquartile_range_of_zero_counts_as_one():
    flux = np.zeros(40)
    flux[[3, 20]] = 1.0
    spectra = spectra_of(from_light_curves([np.arange(40.0)], [flux]), bins=BINS)
    assert spectra.metadata["iqr_flux"].tolist() == [1.0]
    assert spectra.static[0, 4].item() == pytest.approx(flux.var())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 1}, "bins is 1"),
        ({"spacing": "lin"}, "spacing is 'lin'; expected one of log, linear"),
        ({"grid": "mine"}, "grid is 'mine'; expected one of common, own"),
        ({"frequency_range": (0.3, 0.1)}, r"frequency_range is \(0.3, 0.1\)"),
        ({"frequency_range": (0.1, 0.3), "grid": "own"}, "frequency_range is for grid='common'"),
        ({"acf_mode": "both"}, "acf_mode is 'both'"),
        ({"max_lag": -1.0}, "max_lag is -1.0"),
        ({"psd_scale": 0.0}, "psd_scale is 0.0"),
        ({"fstat_scale": math.nan}, "fstat_scale is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"K": 1}, "K is 1; the F-test needs at least 2"),
        ({"NW": 0.1}, "NW is 0.1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        spectra_of(some_curves((20,)), **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.x.fill_(math.nan), "light curve 'b' .number 1. has a flux that is not finite"),
        (lambda data: data.time.fill_(math.inf), "light curve 'b' .number 1. has a time that is not finite"),
        (lambda data: data.time.zero_(), "light curve 'b' .number 1. has times that do not increase"),
    ],
)
def test_bad_curves_are_named(change, message):
    data = some_curves((20, 20), names=["a", "b"])
    change(Data(x=data.x[1], time=data.time[1]))
    with pytest.raises(InputError, match=message):
        spectra_of(data)


def test_other_graphs_are_refused():
    data = some_curves((20,))
    with pytest.raises(InputError, match="data must be light curves"):
        spectra_of(Data(x=data.x))
    with pytest.raises(InputError, match="data must be light curves"):
        spectra_of(Data(x=data.x.expand(-1, -1, 2), time=data.time))
    with pytest.raises(InputError, match="mask must have the shape"):
        spectra_of(Data(x=data.x, time=data.time, mask=data.mask[:, :5]))
