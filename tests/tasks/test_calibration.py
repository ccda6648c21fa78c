from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.errors import InputError
from stgraph.tasks.calibration import calibrate_quantiles, conformal_offset
from tests.tasks.stand_in import MLPForecaster, make_datamodule, make_series

LEVELS = [0.05, 0.5, 0.9]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=40), level=st.floats(0.02, 0.98))
def test_offset_is_the_corrected_order_statistic(values, level):
    residual = torch.tensor(values, dtype=torch.float64)
    offset = float(conformal_offset(residual, torch.ones(len(values), dtype=torch.bool), level))
    rank = math.ceil((len(values) + 1) * level - 1e-9)
    assert offset == sorted(values)[min(rank, len(values)) - 1]


@pytest.mark.parametrize("level", [0.1, 0.7, 0.9])
def test_coverage_of_a_new_value_is_at_least_the_level(level):
    """For n exchangeable values and one more, the chance to lie at or below the offset is ceil((n + 1) level) / (n + 1)."""
    n = 9
    values = torch.randperm(n + 1, generator=torch.Generator().manual_seed(0)).double()
    hits = 0
    for new in range(n + 1):  # leave one out: by exchangeability each is as likely to be the new one
        rest = torch.cat([values[:new], values[new + 1 :]])
        hits += bool(values[new] <= conformal_offset(rest, torch.ones(n, dtype=torch.bool), level))
    assert hits / (n + 1) == pytest.approx(math.ceil((n + 1) * level - 1e-9) / (n + 1))
    assert hits / (n + 1) >= level - 1e-12


def test_unobserved_residuals_do_not_count():
    residual = torch.tensor([[1.0, 5.0], [2.0, -1e9], [math.nan, 6.0], [3.0, 7.0]])
    observed = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
    for level in (0.2, 0.5, 0.9):
        expected = [
            float(conformal_offset(residual[observed[:, i], i], torch.ones(3, dtype=torch.bool), level)) for i in (0, 1)
        ]
        assert conformal_offset(residual, observed, level).tolist() == expected


def test_nothing_observed_gives_no_offset():
    assert conformal_offset(torch.full((3, 2), math.nan), torch.zeros(3, 2, dtype=torch.bool), 0.5).tolist() == [0, 0]


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_quantiles_cover_what_they_claim(missing):
    """An untrained model is far off; calibration alone brings its coverage to the levels, also on new data."""
    data = make_datamodule(make_series(nodes=30, steps=900, missing=missing), split=(1, 5, 4))
    torch.manual_seed(0)
    model = MLPForecaster(1, 4, 2, quantiles=LEVELS).fit(data.train_series)
    offset = calibrate_quantiles(model, data.loader("val"))
    assert offset.shape == (2, 1, 3)
    assert torch.equal(offset, model.quantile_offset)
    below, count = coverage(model, data.loader("test"))
    assert np.abs(below / count[..., None] - LEVELS).max() < 0.03
    below, count = coverage(model, data.loader("val"))
    share = below / count[..., None]
    assert (share >= np.array(LEVELS) - 1e-6).all()
    assert (share <= np.array(LEVELS) + 2 / count[..., None]).all()


def coverage(model, batches):
    """Observed targets at or below each quantile, [Q, C, L], and their number [Q, C], by NumPy."""
    below, count = 0, 0
    with torch.no_grad():
        for batch in batches:
            prediction, target = model(batch).numpy(), batch.y.numpy()
            mask = batch.y_mask.numpy() if batch.get("y_mask") is not None else np.ones_like(target, bool)
            # The offset puts some targets exactly on a quantile, up to the rounding of the sum.
            hit = target[..., None] <= prediction + 1e-4
            below = below + (hit & mask[..., None]).sum((0, 1))
            count = count + mask.sum((0, 1))
    return below, count


def test_calibrating_twice_is_calibrating_once():
    data = make_datamodule()
    model = MLPForecaster(1, 4, 2, quantiles=LEVELS).fit(data.train_series)
    first = calibrate_quantiles(model, data.loader("val")).clone()
    assert torch.equal(calibrate_quantiles(model, data.loader("val")), first)


def test_without_windows_there_is_no_offset():
    model = MLPForecaster(1, 4, 2, quantiles=LEVELS)
    assert not calibrate_quantiles(model, []).any()


def test_a_point_forecast_cannot_be_calibrated():
    with pytest.raises(InputError, match="no quantile outputs"):
        calibrate_quantiles(MLPForecaster(1, 4, 2), [])
