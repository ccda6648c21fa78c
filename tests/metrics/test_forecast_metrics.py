from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.metrics import (
    ForecastMetrics,
    IntervalCoverage,
    IntervalWidth,
    MaskedCRPS,
    MaskedFrameR2,
    MaskedMAE,
    MaskedMAPE,
    MaskedPinball,
    MaskedR2,
    MaskedRMSE,
    MaskedSMAPE,
    MaskedWAPE,
)
from stgraph.metrics import functional as F

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
SHAPE = (13, 6, 3, 2)
PER = ("all", "channel", "horizon", "none")
POINT = {
    MaskedMAE: F.masked_mae,
    MaskedRMSE: F.masked_rmse,
    MaskedSMAPE: F.masked_smape,
    MaskedMAPE: F.masked_mape,
    MaskedWAPE: F.masked_wape,
    MaskedR2: F.masked_r2,
    MaskedFrameR2: F.frame_r2,
}
QUANTILE = {
    MaskedPinball: F.masked_pinball,
    MaskedCRPS: F.masked_crps,
    IntervalCoverage: F.interval_coverage,
    IntervalWidth: F.interval_width,
}


def example(offset=0.0, quantiles=False, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=SHAPE) + offset
    p = y[..., None] + 0.5 * np.sort(rng.normal(size=(*SHAPE, len(LEVELS))), -1)
    m = rng.random(SHAPE) < 0.6
    m[2] = False
    return tuple(map(torch.from_numpy, (p if quantiles else p[..., 2], y, m)))


def in_batches(metric, arrays, sizes=(1, 5, 0, 6, 1)):
    for batch in zip(*(a.split(list(sizes)) for a in arrays), strict=True):
        metric.update(*batch)
    return metric.compute()


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("kind", POINT)
def test_uneven_batches_equal_the_function_on_everything(kind, per):
    arrays = example()
    ours = in_batches(kind(num_channels=2, horizon=3, per=per), arrays)
    torch.testing.assert_close(ours, POINT[kind](*arrays, per=per), rtol=1e-12, atol=1e-12)
    assert ours.dtype == torch.float64


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("kind", QUANTILE)
def test_uneven_batches_of_quantiles_equal_the_function_on_everything(kind, per):
    p, y, m = example(quantiles=True)
    ours = in_batches(kind(num_channels=2, horizon=3, quantiles=LEVELS, per=per), (p, y, m))
    torch.testing.assert_close(ours, QUANTILE[kind](p, y, LEVELS, m, per=per), rtol=1e-12, atol=1e-12)


def test_default_reductions():
    arrays = example()
    assert in_batches(MaskedMAE(2, 3), arrays).shape == ()
    assert in_batches(MaskedFrameR2(2, 3), arrays).shape == (2,)


@pytest.mark.parametrize("kind", POINT)
def test_forward_gives_the_batch_and_keeps_the_whole(kind):
    p, y, m = example()
    metric = kind(2, 3, per="none")
    for part in (slice(0, 4), slice(4, 13)):
        torch.testing.assert_close(
            metric(p[part], y[part], m[part]), POINT[kind](p[part], y[part], m[part], per="none")
        )
    torch.testing.assert_close(metric.compute(), POINT[kind](p, y, m, per="none"))
    metric.reset()
    metric.update(p[:4], y[:4], m[:4])
    torch.testing.assert_close(metric.compute(), POINT[kind](p[:4], y[:4], m[:4], per="none"))


def test_everything_is_what_the_functions_say():
    p, y, m = example(quantiles=True)
    result = in_batches(ForecastMetrics(2, 3, quantiles=LEVELS, channel_names=["a", "b"]), (p, y, m))
    point = p[..., 2]
    for key, per in (("global", "all"), ("per_channel", "channel"), ("per_horizon", "horizon")):
        r2 = F.frame_r2 if per == "channel" else F.masked_r2
        expected = {
            "mae": F.masked_mae(point, y, m, per),
            "rmse": F.masked_rmse(point, y, m, per),
            "smape": F.masked_smape(point, y, m, per),
            "mape": F.masked_mape(point, y, m, per),
            "wape": F.masked_wape(point, y, m, per),
            "r2": r2(point, y, m, per),
            "pinball": F.masked_pinball(p, y, LEVELS, m, per).mean(0),
            "crps": F.masked_crps(p, y, LEVELS, m, per),
        }
        assert result[key].keys() == expected.keys()
        for name, value in expected.items():
            assert result[key][name] == pytest.approx(value.tolist(), rel=1e-12), (key, name)
    assert result["count"] == int(m.sum())
    assert result["channel_names"] == ["a", "b"]


def test_quantile_part_of_the_result():
    p, y, m = example(quantiles=True)
    part = in_batches(ForecastMetrics(2, 3, quantiles=LEVELS), (p, y, m))["quantiles"]
    assert part["levels"] == list(LEVELS)
    assert part["pinball"] == pytest.approx(F.masked_pinball(p, y, LEVELS, m).tolist())
    assert part["below"] == pytest.approx((y.unsqueeze(-1) <= p)[m].double().mean(0).tolist())
    assert [(i["low"], i["high"]) for i in part["intervals"]] == [(0.1, 0.9), (0.25, 0.75)]
    assert [i["nominal"] for i in part["intervals"]] == pytest.approx([0.8, 0.5])
    assert [i["coverage"] for i in part["intervals"]] == pytest.approx(F.interval_coverage(p, y, LEVELS, m).tolist())
    assert [i["width"] for i in part["intervals"]] == pytest.approx(F.interval_width(p, y, LEVELS, m).tolist())
    steps = F.interval_coverage(p, y, LEVELS, m, "horizon").tolist()
    for interval, expected in zip(part["intervals"], steps, strict=True):
        assert interval["coverage_per_horizon"] == pytest.approx(expected)
    assert len(part["intervals"][0]["width_per_horizon"]) == 3


def test_quantiles_without_a_pair_have_no_interval():
    p, y, m = example(quantiles=True)
    metric = ForecastMetrics(2, 3, quantiles=[0.2, 0.5])
    metric.update(p[..., 1:3], y, m)
    assert metric.compute()["quantiles"]["intervals"] == []


def test_result_is_plain_and_survives_json():
    p, y, m = example(quantiles=True)
    metric = ForecastMetrics(2, 3, quantiles=LEVELS)
    metric.update(p, y, m)
    assert json.loads(json.dumps(metric.compute())) == metric.compute()


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_streamed_r2_does_not_cancel(offset):
    p, y, m = example(offset)
    result = in_batches(ForecastMetrics(2, 3), (p, y, m))
    kept = y[m].numpy()
    error = ((p - y)[m].numpy() ** 2).sum()
    assert result["global"]["r2"] == pytest.approx(1 - error / ((kept - kept.mean()) ** 2).sum(), rel=1e-9)


def test_nothing_observed_gives_nan_everywhere():
    p, y, m = example(quantiles=True)
    metric = ForecastMetrics(2, 3, quantiles=LEVELS)
    metric.update(p, y, torch.zeros_like(m))
    result = metric.compute()
    for value in result["global"].values():
        assert math.isnan(value)
    assert result["count"] == 0
    assert all(math.isnan(v) for name in result["per_horizon"] for v in result["per_horizon"][name])
    assert math.isnan(result["quantiles"]["intervals"][0]["coverage"])


def test_sums_stay_in_float64_when_the_module_is_halved():
    p, y, m = example()
    metric = torch.nn.ModuleDict({"m": MaskedMAE(2, 3)}).half()["m"]
    metric.update(p.float(), y.float(), m)
    assert metric.numerator.dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MaskedMAE(0, 1), "num_channels is 0; expected at least 1"),
        (lambda: ForecastMetrics(1, 0), "horizon is 0; expected at least 1"),
        (lambda: MaskedR2(1, 1, per="node"), "per is 'node'"),
        (lambda: ForecastMetrics(1, 1, quantiles=[0.1, 0.9]), "expected 0.5 among them"),
        (lambda: ForecastMetrics(1, 1, channel_names=["a", "b"]), "channel_names has 2 names"),
        (lambda: IntervalCoverage(1, 1, quantiles=[0.5]), "at least one pair"),
        (lambda: MaskedMAE(2, 3).update(torch.zeros(1, 4, 3, 1), torch.zeros(1, 4, 3, 1)), r"expected \(B, N, 3, 2\)"),
        (lambda: ForecastMetrics(1, 1).update(torch.zeros(4, 1, 1), torch.zeros(4, 1, 1)), r"expected \(B, N, 1, 1\)"),
        (lambda: MaskedR2(1, 2).update(torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1)), r"expected \(B, N, 2, 1\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
