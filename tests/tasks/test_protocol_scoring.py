from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.metrics import ForecastMetrics
from stgraph.tasks.protocols import PROTOCOLS, score, scoring

NAN = math.nan


def windows(rows):
    """Windows of one node and one channel from rows of steps."""
    return np.array(rows, dtype=np.float32)[:, None, :, None]


#: Three windows of two steps; the last target is unobserved, one observed target is 0.
TARGET = windows([[10, 20], [0, 40], [5, NAN]])
PREDICTION = windows([[12, 20], [7, 30], [4, 99]])


def per_step(protocol, **arguments):
    return score(PREDICTION, TARGET, None, protocol, **arguments)["per_step"]


def average(protocol, **arguments):
    return score(PREDICTION, TARGET, None, protocol, **arguments)["horizons"]["average"]


@pytest.mark.parametrize("protocol", ["dcrnn", "basicts"])
def test_zeros_do_not_count_and_all_else_is_one_mean(protocol):
    # Step 1: errors 2 of 10 and 1 of 5; step 2: 0 of 20 and 10 of 40.
    assert per_step(protocol)["mae"] == pytest.approx([1.5, 5.0])
    assert per_step(protocol)["rmse"] == pytest.approx([math.sqrt(2.5), math.sqrt(50)])
    assert per_step(protocol)["mape"] == pytest.approx([20.0, 12.5])
    assert average(protocol) == pytest.approx({"mae": 3.25, "rmse": math.sqrt(26.25), "mape": 16.25})
    assert score(PREDICTION, TARGET, None, protocol)["count"] == 4


def test_strict_counts_what_was_observed():
    # Step 1: errors 2, 7 and 1, the relative ones without the target of 0.
    assert per_step("strict")["mae"] == pytest.approx([10 / 3, 5.0])
    assert per_step("strict")["rmse"] == pytest.approx([math.sqrt(18), math.sqrt(50)])
    assert per_step("strict")["mape"] == pytest.approx([20.0, 12.5])
    assert average("strict") == pytest.approx({"mae": 4.0, "rmse": math.sqrt(30.8), "mape": 16.25})
    assert score(PREDICTION, TARGET, None, "strict")["count"] == 5


def test_tsl_divides_by_almost_nothing():
    # 2 / 10, 7 / 5e-8 and 1 / 5
    assert per_step("tsl")["mape"][0] == pytest.approx(100 * (0.2 + 1.4e8 + 0.2) / 3)
    assert per_step("tsl")["mae"] == pytest.approx(per_step("strict")["mae"])


def test_tsl_counts_everything_on_flows():
    result = score(PREDICTION, TARGET, None, "tsl", family="flow")
    assert result["count"] == 6
    assert result["per_step"]["mae"] == pytest.approx([10 / 3, (0 + 10 + 99) / 3])  # the unobserved target is a 0
    other = per_step("tsl", family="flow", null_value=90.0)
    assert other["mae"][1] == pytest.approx((0 + 10 + 9) / 3)


def test_largest_averages_the_errors_of_the_steps():
    assert per_step("largest") == per_step("dcrnn")  # the least target is 0
    expected = (math.sqrt(2.5) + math.sqrt(50)) / 2
    assert average("largest") == pytest.approx({"mae": 3.25, "rmse": expected, "mape": 16.25})
    assert abs(expected - average("dcrnn")["rmse"]) > 0.7


def test_the_mean_of_the_steps_has_equal_weights():
    # Step 1 has errors 1, 1, 1; step 2 has one target, with error 9.
    target, prediction = windows([[2, 1], [2, NAN], [2, NAN]]), windows([[3, 10], [3, 0], [3, 0]])
    assert score(prediction, target, None, "largest")["horizons"]["average"]["mae"] == pytest.approx(5.0)
    assert score(prediction, target, None, "dcrnn")["horizons"]["average"]["mae"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("targets", "counted"),
    [
        ([0.5, 0.5, 3.0], 1),  # the least target is taken for the null, though it is none
        ([1.0, 2.0, 3.0], 3),  # nothing below 1
        ([-0.3, 0.0, 3.0], 2),  # a zero counts where something is below it
    ],
)
def test_largest_takes_the_least_target_for_the_null(targets, counted):
    target = windows([[value] for value in targets])
    result = score(target + 1, target, None, "largest")
    assert result["count"] == counted
    assert math.isinf(result["horizons"]["average"]["mape"]) == (0.0 in targets)  # 1 / 0


def test_largest_drops_the_last_batch():
    target = np.full((70, 1, 1, 1), 10.0)
    prediction = target + np.where(np.arange(70) < 64, 1.0, 8.0)[:, None, None, None]
    assert score(prediction, target, None, "largest")["horizons"]["average"]["mae"] == pytest.approx(1.0)
    assert score(prediction, target, None, "dcrnn")["horizons"]["average"]["mae"] == pytest.approx((64 + 48) / 70)
    assert score(prediction[:64], target[:64], None, "largest")["count"] == 64
    # The least target of a window that is dropped is no null.
    target[69] = 0.25
    assert score(prediction, target, None, "largest")["count"] == 64


def test_libcity_repeats_the_last_window_and_averages_the_first_steps():
    # The third window counts 62 times. Step 1: (2 + 62 * 1) / 63; steps 1 and 2: (2 + 62 + 0 + 10) / 65.
    assert per_step("libcity")["mae"] == pytest.approx([64 / 63, 74 / 65])
    assert per_step("libcity")["rmse"] == pytest.approx([math.sqrt(66 / 63), math.sqrt(166 / 65)])
    assert per_step("libcity")["mape"] == pytest.approx([20.0, 100 * (0.2 + 62 * 0.2 + 0.25) / 65])
    assert average("libcity")["mae"] == pytest.approx(74 / 65)
    assert score(PREDICTION, TARGET, None, "libcity")["count"] == 65


def test_a_full_last_batch_is_not_padded():
    target = np.full((128, 1, 1, 1), 10.0)
    assert score(target, target, None, "libcity")["count"] == 128


def test_a_horizon_is_a_step_or_all_steps_up_to_it():
    """One harness's "step 3" is the mean of the first three, and an average is not the last step."""
    target = np.full((64, 1, 12, 1), 100.0)
    prediction = target + np.arange(1, 13)[:, None]  # an error of h at step h
    at = {name: score(prediction, target, None, name)["horizons"] for name in PROTOCOLS}
    for name in ("dcrnn", "basicts", "tsl", "largest", "strict"):
        assert [at[name][h]["mae"] for h in ("3", "6", "12", "average")] == pytest.approx([3, 6, 12, 6.5])
    assert [at["libcity"][h]["mae"] for h in ("3", "6", "12", "average")] == pytest.approx([2, 3.5, 6.5, 6.5])


@pytest.mark.parametrize(
    ("protocol", "counted"), [("dcrnn", 3), ("basicts", 2), ("libcity", 1 + 61), ("tsl", 4), ("strict", 4)]
)
def test_how_near_to_the_null_is_null(protocol, counted):
    target = windows([[0.0], [3e-5], [8e-5], [1.0]])
    # The last window is repeated 60 times by libcity.
    expected = counted if protocol != "libcity" else 61
    assert score(target, target, None, protocol)["count"] == expected


def test_relative_errors_of_tiny_targets():
    target = windows([[3e-5], [2.0]])
    prediction = target + 1
    # strict counts both errors, and the relative one of the second alone.
    strict = score(prediction, target, None, "strict")["horizons"]["average"]
    assert strict["mae"] == pytest.approx(1.0)
    assert strict["mape"] == pytest.approx(50.0)
    assert score(prediction, target, None, "dcrnn")["horizons"]["average"]["mape"] == pytest.approx(
        100 * (1 / np.float32(3e-5) + 0.5) / 2
    )


def test_another_null_value():
    target = windows([[-1.0], [0.0], [4.0], [NAN]])
    for protocol in ("dcrnn", "basicts"):
        assert score(target, target, None, protocol, null_value=-1.0)["count"] == 2
        assert score(target, target, None, protocol, null_value=NAN)["count"] == 3


def test_a_mean_of_means_over_batches_is_another_number():
    """Batches with few observed targets would weigh as much as full ones."""
    target = windows([[10.0], [10.0], [10.0], [0.0]])
    prediction = windows([[11.0], [11.0], [14.0], [10.0]])
    means = []
    for part in (slice(0, 2), slice(2, 4)):
        observed = target[part] != 0
        means.append(np.abs(prediction - target)[part][observed].mean())
    assert np.mean(means) == pytest.approx(2.5)  # (1 + 4) / 2
    for protocol in ("dcrnn", "basicts"):
        assert score(prediction, target, None, protocol)["horizons"]["average"]["mae"] == pytest.approx(2.0)  # 6 / 3


def test_the_mask_counts_as_well_as_nan():
    mask = ~np.isnan(TARGET)
    filled = np.nan_to_num(TARGET, nan=55.0)
    for name in PROTOCOLS:
        assert score(PREDICTION, filled, mask, name) == score(PREDICTION, TARGET, None, name)
        assert score(PREDICTION, TARGET, np.ones_like(mask), name) == score(PREDICTION, TARGET, None, name)


def test_forecasts_of_what_does_not_count_may_be_anything():
    prediction = PREDICTION.copy()
    prediction[2, 0, 1, 0] = NAN
    for name in PROTOCOLS:
        assert score(prediction, TARGET, None, name) == score(PREDICTION, TARGET, None, name)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_strict_agrees_with_the_metrics_of_a_run(missing):
    rng = np.random.default_rng(0)
    target = rng.normal(3, 2, (70, 4, 7, 2)).astype(np.float32)
    target[rng.random(target.shape) < 0.1] = 0.0
    mask = rng.random(target.shape) >= missing
    prediction = (target + rng.normal(0, 1, target.shape)).astype(np.float32)
    metrics = ForecastMetrics(2, 7)
    metrics.update(*(torch.from_numpy(values) for values in (prediction, target, mask)))
    expected, result = metrics.compute(), score(prediction, target, mask, "strict")
    assert list(result["horizons"]) == ["3", "6", "7", "average"]
    for name, factor in (("mae", 1), ("rmse", 1), ("mape", 100)):
        found = result["horizons"]["average"][name]
        assert found == pytest.approx(factor * float(expected["global"][name]), rel=1e-6)
        steps = np.asarray(expected["per_horizon"][name], dtype=float)
        assert result["per_step"][name] == pytest.approx(factor * steps, rel=1e-6)
        assert result["horizons"]["6"][name] == result["per_step"][name][5]
    assert result["count"] == int(mask.sum())


def test_long_periods_are_summed_in_parts(monkeypatch):
    rng = np.random.default_rng(1)
    target = np.maximum(rng.normal(1, 1, (150, 2, 3, 1)), 0)
    prediction = target + rng.normal(0, 1, target.shape)
    whole = {name: score(prediction, target, None, name) for name in PROTOCOLS}
    monkeypatch.setattr(scoring, "_BLOCK", 50)
    for name, expected in whole.items():
        found = score(prediction, target, None, name)
        assert found["count"] == expected["count"]
        assert found["horizons"]["average"] == pytest.approx(expected["horizons"]["average"], rel=1e-12)


def test_the_median_of_quantiles_is_scored():
    levels = np.stack([PREDICTION - 5, PREDICTION, PREDICTION + 3, PREDICTION + 9], axis=-1)
    expected = score(PREDICTION, TARGET, None, "strict")
    assert score(levels[..., :3], TARGET, None, "strict") == expected
    assert score(levels, TARGET, None, "strict", quantiles=[0.1, 0.5, 0.8, 0.9]) == expected
    with pytest.raises(InputError, match="none in the middle"):
        score(levels, TARGET, None, "strict")
    with pytest.raises(InputError, match=r"4 levels with 0\.5 among them"):
        score(levels, TARGET, None, "strict", quantiles=[0.1, 0.4, 0.8, 0.9])


def test_bad_arrays_are_refused():
    with pytest.raises(InputError, match="target has shape"):
        score(PREDICTION[0], TARGET[0], None, "strict")
    with pytest.raises(InputError, match="prediction has shape"):
        score(PREDICTION[:, :, :1], TARGET, None, "strict")
    with pytest.raises(InputError, match="mask has shape"):
        score(PREDICTION, TARGET, np.ones(3), "strict")
    with pytest.raises(InputError, match="protocol is 'fair'"):
        score(PREDICTION, TARGET, None, "fair")


def test_nothing_to_count_is_not_a_number():
    target = np.zeros((2, 1, 1, 1))
    assert math.isnan(score(target, target, None, "dcrnn")["horizons"]["average"]["mae"])
    assert score(target, target, None, "dcrnn")["count"] == 0
