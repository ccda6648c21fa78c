from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.metrics import AnomalyCorrelation, LatitudeWeightedRMSE, latitude_weights
from stgraph.metrics import functional as F

AXES = {"all": (0, 1, 2), "channel": (0, 1), "horizon": (0, 2), "none": (0,)}  # of frames [B, Q, C]
ROWS, COLUMNS = np.array([-67.5, -22.5, 22.5, 67.5]), 3
LATITUDE = np.repeat(ROWS, COLUMNS)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(9, 12, 3, 2)) + 280
    m = rng.random(y.shape) < 0.6
    m[3, :, 1] = False  # two frames without an observation
    return y + rng.normal(size=y.shape), y, 280 + 0.3 * rng.normal(size=(12, 3, 2)), m


def cosines():
    weights = np.cos(np.deg2rad(LATITUDE))
    return (weights / weights.mean())[:, None, None]


def numpy_rmse(p, y, m, root, per):
    w = cosines() * m
    with np.errstate(invalid="ignore"):
        frames = (w * (p - y) ** 2).sum(1) / w.sum(1)
    return np.nanmean(np.sqrt(frames), AXES[per]) if root == "first" else np.sqrt(np.nanmean(frames, AXES[per]))


def numpy_correlation(p, y, c, m, per):
    w, f, o = cosines() * m, p - c, y - c
    with np.errstate(invalid="ignore"):
        return np.nanmean((w * f * o).sum(1) / np.sqrt((w * f**2).sum(1) * (w * o**2).sum(1)), AXES[per])


def in_batches(metric, *arrays):
    for part in (slice(0, 4), slice(4, 4), slice(4, 9)):
        metric.update(*(a[part] for a in arrays))
    return metric.compute()


@pytest.mark.parametrize("per", AXES)
@pytest.mark.parametrize("root", ["last", "first"])
def test_rmse_equals_plain_numpy_however_it_is_batched(arrays, root, per):
    p, y, _, m = arrays
    expected = numpy_rmse(p, y, m, root, per)
    p, y, m, latitude = map(torch.from_numpy, (p, y, m, LATITUDE))
    np.testing.assert_allclose(F.latitude_weighted_rmse(p, y, latitude, m, per, root=root), expected, rtol=1e-12)
    metric = LatitudeWeightedRMSE(2, 3, latitude, per=per, root=root)
    np.testing.assert_allclose(in_batches(metric, p, torch.where(m, y, torch.nan)), expected, rtol=1e-12)


@pytest.mark.parametrize("per", AXES)
def test_correlation_equals_plain_numpy_however_it_is_batched(arrays, per):
    p, y, c, m = arrays
    expected = numpy_correlation(p, y, c, m, per)
    p, y, c, m, latitude = map(torch.from_numpy, (p, y, c, m, LATITUDE))
    np.testing.assert_allclose(F.anomaly_correlation(p, y, c, latitude, m, per), expected, rtol=1e-12)
    metric = AnomalyCorrelation(2, 3, latitude, per=per)
    np.testing.assert_allclose(in_batches(metric, p, y, c.expand_as(y), m), expected, rtol=1e-12)


def test_area_weights_are_the_areas_of_the_bands():
    fine = np.linspace(-90, 90, 200_001)
    for rows in (np.array([-90.0, -40.0, 0.0, 50.0, 90.0]), np.array([10.0, -20.0, 70.0])):
        # By numerical integration: each point of the meridian belongs to the nearest row.
        nearest = abs(fine[:, None] - rows).argmin(1)
        area = np.bincount(nearest, np.cos(np.deg2rad(fine)), len(rows))
        ours = latitude_weights(torch.from_numpy(rows), "area")
        np.testing.assert_allclose(ours, area / area.mean(), rtol=1e-3)


def test_both_weightings_agree_on_equal_steps_and_with_any_number_of_columns():
    latitude = torch.from_numpy(LATITUDE)
    area = latitude_weights(latitude, "area")
    torch.testing.assert_close(area, latitude_weights(latitude))
    # A row with twice as many nodes keeps its area.
    denser = latitude_weights(torch.cat([latitude, latitude[:COLUMNS]]), "area")
    torch.testing.assert_close(denser[0] / denser[5], area[0] / area[5] / 2)
    assert latitude_weights(torch.tensor([-90.0, 0.0, 90.0]))[0] < 1e-15  # no cosine at the poles
    assert denser.mean().item() == pytest.approx(1)


def test_weighting_reaches_the_metrics(arrays):
    p, y, c, m = map(torch.from_numpy, arrays)
    latitude = torch.linspace(-90, 80, 12)
    for choice in ("cosine", "area"):
        for metric, function, more in (
            (LatitudeWeightedRMSE, F.latitude_weighted_rmse, ()),
            (AnomalyCorrelation, F.anomaly_correlation, (c,)),
        ):
            ours = metric(2, 3, latitude, weighting=choice)
            ours.update(p, y, *more, m)
            torch.testing.assert_close(ours.compute(), function(p, y, *more, latitude, m, weighting=choice))
    values = [F.latitude_weighted_rmse(p, y, latitude, m, weighting=w).item() for w in ("cosine", "area")]
    assert values[0] != pytest.approx(values[1], rel=1e-4)


def test_equal_latitudes_give_the_plain_rmse(arrays):
    p, y, _, _ = map(torch.from_numpy, arrays)
    torch.testing.assert_close(F.latitude_weighted_rmse(p, y, torch.full((12,), 40.0)), F.masked_rmse(p, y))


def test_scores_of_special_forecasts(arrays):
    _, y, c, m = map(torch.from_numpy, arrays)
    latitude = torch.from_numpy(LATITUDE)
    for forecast, score in ((c + 5 * (y - c), 1.0), (c - 5 * (y - c), -1.0), (c.expand_as(y), 0.0)):
        assert F.anomaly_correlation(forecast, y, c, latitude, m).item() == pytest.approx(score, abs=1e-9)
    # The mean of the anomalies is not taken off: a common shift counts as skill.
    shift = F.anomaly_correlation(c.expand_as(y) + 3, c.expand_as(y) + 1, c, latitude)
    assert shift.item() == pytest.approx(1)
    # Targets equal to the climatology say nothing.
    assert F.anomaly_correlation(y, c.expand_as(y), c, latitude, m).isnan()


def test_unknown_climatology_hides_a_target(arrays):
    p, y, c, m = map(torch.from_numpy, arrays)
    latitude = torch.from_numpy(LATITUDE)
    gaps = c.clone()
    gaps[2] = torch.nan
    without = m.clone()
    without[:, 2] = False
    expected = F.anomaly_correlation(p, y, c, latitude, without)
    torch.testing.assert_close(F.anomaly_correlation(p, y, gaps, latitude, m), expected)


def test_a_forecast_of_nan_is_not_hidden(arrays):
    p, y, c, m = map(torch.from_numpy, arrays)
    latitude = torch.from_numpy(LATITUDE)
    p[0, m[0, :, 0, 0].nonzero()[0], 0, 0] = torch.nan
    assert F.latitude_weighted_rmse(p, y, latitude, m).isnan()
    assert F.anomaly_correlation(p, y, c, latitude, m).isnan()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: F.latitude_weighted_rmse(y, y, torch.zeros(3)), "latitude has 3 values; expected one for each of 2"),
        (lambda y: F.latitude_weighted_rmse(y, y, torch.zeros(2, 1)), r"latitude has shape \(2, 1\); expected \(N,\)"),
        (lambda y: latitude_weights(torch.tensor([91.0])), "outside -90..90"),
        (lambda y: latitude_weights(torch.tensor([torch.nan])), "outside -90..90"),
        (lambda y: latitude_weights(torch.zeros(2), "cell"), "weighting is 'cell'; expected 'cosine' or 'area'"),
        (lambda y: LatitudeWeightedRMSE(1, 1, torch.zeros(2), root="both"), "root is 'both'; expected 'last' or"),
        (lambda y: F.anomaly_correlation(y, y, torch.zeros(3, 1), torch.zeros(2)), r"climatology has shape \(3, 1\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.zeros(1, 2, 1, 1))
