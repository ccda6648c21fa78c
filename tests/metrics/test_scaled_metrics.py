from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.metrics import MaskedMASE, seasonal_naive_scale
from stgraph.metrics import functional as F

AXES = {"all": (0, 1, 2, 3), "channel": (0, 1, 2), "horizon": (0, 1, 3), "none": (0, 1)}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    x, x_mask = rng.normal(size=(6, 30, 2)), rng.random((6, 30, 2)) < 0.7
    x[1, :, 0] = 3.0  # constant in training: no scale
    x_mask[4] = False  # never observed in training: none either
    y = rng.normal(size=(9, 6, 3, 2))
    return x, x_mask, y + rng.normal(size=y.shape), y, rng.random(y.shape) < 0.6


def numpy_scale(x, mask, season):
    x = np.where(mask, x, np.nan)
    scale = np.full((x.shape[0], x.shape[2]), np.nan)
    for n, c in np.ndindex(scale.shape):
        changes = [abs(x[n, t, c] - x[n, t - season, c]) for t in range(season, x.shape[1])]
        known = [change for change in changes if not np.isnan(change)]
        if known:
            scale[n, c] = np.mean(known)
    return scale


@pytest.mark.parametrize("season", [1, 7, 29])
def test_scale_equals_plain_numpy(arrays, season):
    x, mask = arrays[:2]
    expected = numpy_scale(x, mask, season)
    np.testing.assert_allclose(seasonal_naive_scale(*map(torch.from_numpy, (x, mask)), season), expected, rtol=1e-12)
    marked = torch.from_numpy(np.where(mask, x, np.nan))
    np.testing.assert_allclose(seasonal_naive_scale(marked, None, season), expected, rtol=1e-12)


@pytest.mark.parametrize("per", AXES)
def test_mase_equals_plain_numpy_however_it_is_batched(arrays, per):
    x, x_mask, p, y, m = arrays
    scale = numpy_scale(x, x_mask, 2)
    scale[scale == 0] = np.nan
    scaled = np.where(m, abs(p - y), np.nan) / scale[:, None]
    assert 0 < np.isnan(scale).sum() < scale.size
    expected = np.nanmean(scaled, axis=AXES[per])
    p, y, m = map(torch.from_numpy, (p, y, m))
    ours = seasonal_naive_scale(torch.from_numpy(x), torch.from_numpy(x_mask), 2)
    np.testing.assert_allclose(F.masked_mase(p, y, ours, m, per), expected, rtol=1e-12)
    metric = MaskedMASE(2, 3, ours, per=per)
    for part in (slice(0, 4), slice(4, 4), slice(4, 9)):
        metric.update(p[part], torch.where(m, y, torch.nan)[part])
    np.testing.assert_allclose(metric.compute(), expected, rtol=1e-12)


def test_the_naive_forecast_of_the_training_period_has_a_mase_of_one():
    x = torch.randn(4, 50, 2)
    y, p = x[:, 7:].movedim(1, 0).unsqueeze(2), x[:, :-7].movedim(1, 0).unsqueeze(2)
    assert F.masked_mase(p, y, seasonal_naive_scale(x, season=7)).item() == pytest.approx(1, rel=1e-6)


def test_units_do_not_matter_to_mase(arrays):
    x, _, p, y, m = map(torch.from_numpy, arrays)
    scale, factors = seasonal_naive_scale(x), torch.rand(6, 1, 2, dtype=torch.float64) + 0.5
    other = seasonal_naive_scale(x * factors)
    torch.testing.assert_close(F.masked_mase(p * factors, y * factors, other, m), F.masked_mase(p, y, scale, m))


def test_a_forecast_of_nan_is_not_hidden(arrays):
    x, _, p, y, m = map(torch.from_numpy, arrays)
    p[m] = torch.nan
    assert F.masked_mase(p, y, seasonal_naive_scale(x), m).isnan()
    assert F.masked_mase(y, y, torch.zeros(6, 2), m).isnan()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: seasonal_naive_scale(x[0]), r"x has shape \(5, 2\); expected \(N, T, C\)"),
        (lambda x: seasonal_naive_scale(x, x[:1] > 0), r"mask has shape \(1, 5, 2\)"),
        (lambda x: seasonal_naive_scale(x, season=5), "season is 5; expected 1 to 4"),
        (lambda x: seasonal_naive_scale(x, season=0), "season is 0; expected 1 to 4"),
        (lambda x: MaskedMASE(2, 1, x), r"scale has shape \(3, 5, 2\); expected \(N, 2\)"),
        (
            lambda x: MaskedMASE(2, 1, x[:, 0]).update(torch.zeros(1, 4, 1, 2), torch.zeros(1, 4, 1, 2)),
            r"scale has shape \(3, 2\); expected \(N, C\) = \(4, 2\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.zeros(3, 5, 2))
