from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stgraph.errors import InputError
from stgraph.metrics import functional as F
from stgraph.metrics import sums as S

PER = ("all", "channel", "horizon", "none")
AXES = {"all": (0, 1, 2, 3), "channel": (0, 1, 2), "horizon": (0, 1, 3), "none": (0, 1)}


def numpy_metric(name, p, y, m, per, threshold=5e-5):
    """Plain NumPy, by the definitions, on NaN-marked arrays."""
    axes, y = AXES[per], np.where(m, y, np.nan)
    d = y - p
    with np.errstate(invalid="ignore", divide="ignore"):
        if name == "mae":
            return np.nanmean(abs(d), axes)
        if name == "rmse":
            return np.sqrt(np.nanmean(d**2, axes))
        if name == "smape":
            return np.nanmean(abs(d) / (abs(y) + abs(p) + 1e-8), axes)
        if name == "wape":
            return np.nansum(abs(d), axes) / np.nansum(abs(y), axes)
        if name == "mape":
            return np.nanmean(np.where((abs(y) >= threshold) & (y != 0), abs(d) / abs(y), np.nan), axes)
        about = np.nanmean(y, 1 if name == "frame_r2" else axes, keepdims=True)
        return 1 - np.nansum(d**2, axes) / np.nansum((y - about) ** 2, axes)


FUNCTIONS = {
    "mae": F.masked_mae,
    "rmse": F.masked_rmse,
    "smape": F.masked_smape,
    "mape": F.masked_mape,
    "wape": F.masked_wape,
    "r2": F.masked_r2,
    "frame_r2": F.frame_r2,
}


def example(shape=(5, 7, 3, 2), seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=shape) + offset
    return y + 0.3 * rng.normal(size=shape), y, rng.random(shape) < 0.7


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_plain_numpy(name, per):
    p, y, m = example()
    ours = FUNCTIONS[name](*map(torch.from_numpy, (p, y, m)), per=per)
    np.testing.assert_allclose(ours.numpy(), numpy_metric(name, p, y, m, per), rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_unobserved_targets_and_forecasts_never_count(name):
    p, y, m = map(torch.from_numpy, example())
    expected = FUNCTIONS[name](p, y, m)
    spoiled = torch.where(m, p, torch.nan), torch.where(m, y, torch.inf)
    torch.testing.assert_close(FUNCTIONS[name](*spoiled, m), expected)
    torch.testing.assert_close(FUNCTIONS[name](p, torch.where(m, y, torch.nan)), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_forecast_of_an_observed_target_is_not_hidden(name):
    p, y, m = map(torch.from_numpy, example())
    p[m] = torch.nan
    assert FUNCTIONS[name](p, y, m).isnan().all()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(0, 4, 2, 1), (3, 4, 2, 1), (3, 0, 2, 1)])
def test_nothing_observed_gives_nan(name, shape):
    y = torch.ones(shape)
    assert FUNCTIONS[name](y, y, torch.zeros(shape, dtype=torch.bool)).isnan().all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_non_contiguous_and_low_precision_inputs(name):
    p, y, m = map(torch.from_numpy, example())
    moved = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in (p, y, m)]
    torch.testing.assert_close(FUNCTIONS[name](*moved), FUNCTIONS[name](p, y, m))
    half = p.bfloat16(), y.bfloat16()
    torch.testing.assert_close(FUNCTIONS[name](*half, m), FUNCTIONS[name](*(t.double() for t in half), m))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_order_of_nodes_and_windows_does_not_matter(name):
    p, y, m = map(torch.from_numpy, example())
    order, windows = torch.randperm(7), torch.randperm(5)
    shuffled = [t[windows][:, order] for t in (p, y, m)]
    torch.testing.assert_close(FUNCTIONS[name](*shuffled), FUNCTIONS[name](p, y, m))


def test_large_offset_keeps_r2_exact():
    p, y, m = example(offset=1e6)
    near = example()
    for function in (F.masked_r2, F.frame_r2):
        ours = function(*map(torch.from_numpy, (p, y, m)))
        torch.testing.assert_close(ours, function(*map(torch.from_numpy, near)), rtol=1e-7, atol=1e-7)


def test_mape_leaves_out_small_targets():
    y = torch.tensor([0.0, 0.5, 2.0, -4.0]).view(1, 4, 1, 1)
    p = torch.full_like(y, 1.0)
    assert F.masked_mape(p, y, threshold=1.0).item() == pytest.approx((0.5 + 1.25) / 2)
    assert F.masked_mape(p, y, threshold=0.0).item() == pytest.approx((1 + 0.5 + 1.25) / 3)
    assert F.masked_mape(p[:, :1], y[:, :1]).isnan()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(-1e6, 1e6), st.integers(1, 6))
def test_merging_moments_equals_moments_of_the_whole(seed, offset, parts):
    rng = np.random.default_rng(seed)
    y = torch.from_numpy(rng.normal(size=(11, 4, 2, 3)) + offset)
    m = torch.from_numpy(rng.random(y.shape) < 0.5)
    pieces = [
        S.moments_update(a.where(b, 0.0), b) for a, b in zip(y.tensor_split(parts), m.tensor_split(parts), strict=True)
    ]
    torch.testing.assert_close(
        S.merge_moments(torch.stack(pieces)), S.moments_update(y.where(m, 0.0), m), rtol=1e-9, atol=1e-7
    )


def test_quantile_metrics_equal_plain_numpy():
    rng = np.random.default_rng(1)
    levels = (0.1, 0.25, 0.5, 0.9)
    _, y, m = example()
    q = np.sort(rng.normal(size=(*y.shape, 4)), -1)
    d = y[..., None] - q
    loss = np.maximum(np.array(levels) * d, (np.array(levels) - 1) * d)
    args = torch.from_numpy(q), torch.from_numpy(y), levels, torch.from_numpy(m)
    np.testing.assert_allclose(F.masked_pinball(*args).numpy(), loss[m].mean(0), rtol=1e-12)
    weights = 2 * np.array([0.175, 0.2, 0.325, 0.3])
    np.testing.assert_allclose(F.masked_crps(*args).item(), (loss[m] * weights).sum(-1).mean(), rtol=1e-12)
    inside = (q[..., 0] <= y) & (y <= q[..., 3])
    np.testing.assert_allclose(F.interval_coverage(*args).numpy(), [inside[m].mean()], rtol=1e-12)
    np.testing.assert_allclose(F.interval_width(*args).numpy(), [(q[..., 3] - q[..., 0])[m].mean()], rtol=1e-12)
    per_step = F.masked_pinball(*args, per="horizon")
    assert per_step.shape == (4, 3)
    np.testing.assert_allclose(per_step[2, 1].item(), loss[:, :, 1, :, 2][m[:, :, 1]].mean(), rtol=1e-12)


def test_crps_of_a_point_forecast_is_its_absolute_error():
    p, y, m = map(torch.from_numpy, example())
    quantiles = p.unsqueeze(-1).expand(*p.shape, 5)
    torch.testing.assert_close(F.masked_crps(quantiles, y, [0.1, 0.3, 0.5, 0.7, 0.9], m), F.masked_mae(p, y, m))


def test_crps_tends_to_the_closed_form_of_a_gaussian():
    levels = [(i + 0.5) / 200 for i in range(200)]
    quantiles = torch.from_numpy(stats.norm.ppf(levels)).view(1, 1, 1, 1, -1)
    y = 0.7
    closed = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    ours = F.masked_crps(quantiles, torch.full((1, 1, 1, 1), y), levels)
    assert ours.item() == pytest.approx(closed, rel=2e-3)


@pytest.mark.parametrize(
    ("levels", "pairs"),
    [([0.5], []), ([0.1, 0.5, 0.9], [(0, 2)]), ([0.05, 0.1, 0.5, 0.9, 0.95], [(0, 4), (1, 3)]), ([0.2, 0.5, 0.9], [])],
)
def test_interval_pairs(levels, pairs):
    assert F.interval_pairs(levels) == pairs


def test_no_interval_gives_an_empty_result():
    y = torch.zeros(1, 1, 1, 1)
    assert F.interval_coverage(y.unsqueeze(-1), y, [0.5]).shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: F.masked_mae(y, y[0]), r"target has shape \(3, 2, 1\); expected \(B, N, Q, C\)"),
        (lambda y: F.masked_mae(y[:1], y), r"prediction has shape \(1, 3, 2, 1\); expected \(2, 3, 2, 1\)"),
        (lambda y: F.masked_mae(y, y, y[:1] > 0), r"mask has shape \(1, 3, 2, 1\); expected \(2, 3, 2, 1\)"),
        (lambda y: F.masked_mae(y, y, per="node"), "per is 'node'; expected one of"),
        (lambda y: F.masked_crps(y, y, [0.5]), r"prediction has shape .*; expected \(2, 3, 2, 1, 1\)"),
        (lambda y: F.masked_crps(y, y, []), r"quantiles is \[\]; expected increasing levels"),
        (lambda y: F.masked_crps(y, y, [0.9, 0.1]), r"quantiles is \[0.9, 0.1\]"),
        (lambda y: F.masked_crps(y, y, [0.0, 0.5]), r"quantiles is \[0.0, 0.5\]"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.zeros(2, 3, 2, 1))


@pytest.mark.skipif("STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA is not set (needs spectranet_golden)")
@pytest.mark.parametrize("view", ["node", "grid"])
def test_golden_metrics_of_the_original(view):
    folder = Path(os.environ["STGRAPH_DATA"]) / "spectranet_golden" / view
    with np.load(folder / "golden.npz", allow_pickle=False) as arrays:
        p, y = (
            torch.from_numpy(arrays[k]).flatten(1, 2).unsqueeze(2) for k in ("prediction", "y_raw")
        )  # (B, H, W, C) to [B, N, 1, C]
    expected = json.loads((folder / "golden.json").read_text())["metrics"]
    for name in ("rmse", "mae", "smape", "r2"):
        whole = FUNCTIONS[name](p, y)
        assert whole.item() == pytest.approx(expected["global"][name], rel=1e-6)
        by_channel = FUNCTIONS["frame_r2" if name == "r2" else name](p, y, per="channel")
        assert by_channel.tolist() == pytest.approx(expected["per_channel"][name], rel=1e-6)
