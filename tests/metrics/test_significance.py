from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import signal, stats

from stgraph.errors import InputError
from stgraph.metrics import significance
from stgraph.metrics.ranks import friedman_ranks
from stgraph.metrics.significance import (
    automatic_block_length,
    block_bootstrap,
    diebold_mariano,
    holm,
    window_losses,
)


def autocorrelated(random, n, coefficient):
    return signal.lfilter([1], [1, -coefficient], random.normal(size=n + 100))[100:]


def test_window_losses_equal_a_loop_also_in_parts(monkeypatch):
    random = np.random.default_rng(0)
    p, y = random.normal(size=(2, 7, 3, 4, 2))
    y[random.random(y.shape) < 0.2] = np.nan
    mask = random.random(y.shape) < 0.7
    p[0, 0, 0, 0], mask[0, 0, 0, 0] = np.nan, False  # a forecast of what is not observed may be anything
    monkeypatch.setattr(significance, "_PART", 50)
    sums, counts = window_losses(p.astype(np.float32), y, mask)
    for s in range(7):
        for q in range(4):
            known = mask[s, :, q] & ~np.isnan(y[s, :, q])
            assert counts[s, q] == known.sum()
            expected = np.abs(p[s, :, q].astype(np.float32) - y[s, :, q])[known].sum()
            assert sums[s, q] == pytest.approx(expected)


def test_the_difference_is_that_of_the_global_means():
    random = np.random.default_rng(0)
    first, second, counts = random.random(100), random.random(100), random.integers(0, 9, 100)
    found = block_bootstrap(first, second, counts)
    assert found.difference == pytest.approx(first.sum() / counts.sum() - second.sum() / counts.sum())
    assert found.low < found.difference < found.high
    back = block_bootstrap(second, first, counts)
    np.testing.assert_allclose((back.low, back.high, back.p_value), (-found.high, -found.low, found.p_value))
    assert block_bootstrap(first, second, counts) == found
    assert block_bootstrap(first, second, counts, seed=1) != found


def test_the_interval_holds_0_where_the_p_value_is_larger_than_its_level():
    random = np.random.default_rng(3)
    decisions = set()
    for shift in np.linspace(0, 0.5, 20):
        found = block_bootstrap(random.normal(size=60) + shift, np.zeros(60), np.ones(60), resamples=199)
        assert (found.low <= 0 <= found.high) == (found.p_value > 0.05)
        decisions.add(found.p_value > 0.05)
    assert decisions == {True, False}


def test_intervals_of_independent_windows_are_those_of_student():
    d = np.random.default_rng(0).normal(size=400)
    found = block_bootstrap(d, np.zeros(400), np.ones(400), block_length=1, resamples=20000)
    half = stats.t.ppf(0.975, 399) * d.std(ddof=1) / 20
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.03)


def test_equal_forecasts_are_tied_and_a_constant_difference_is_none_of_chance():
    losses, counts = np.arange(40.0), np.ones(40)
    assert block_bootstrap(losses, losses, counts) == (0, 0, 0, 1)
    found = block_bootstrap(losses + 1, losses, counts, resamples=999)
    assert found == pytest.approx((1, 1, 1, 0.001))


def test_windows_without_targets_do_not_change_the_difference():
    d, counts = np.random.default_rng(0).normal(size=60), np.ones(60)
    d[::2] = counts[::2] = 0
    found = block_bootstrap(d, np.zeros(60), counts)
    assert found.difference == pytest.approx(d.sum() / 30)
    assert math.isfinite(found.low)


@pytest.mark.parametrize(("coefficient", "n"), [(0.0, 200), (0.7, 400)])
def test_rejections_without_a_difference_are_near_the_level(coefficient, n):
    """300 tests at 5 %: 15 expected, 3 standard deviations up to 26; a test that ignores the correlation has 180."""
    random = np.random.default_rng(1)
    bootstrap = diebold = naive = 0
    for _ in range(300):
        d, counts = autocorrelated(random, n, coefficient), random.integers(5, 10, n)
        bootstrap += block_bootstrap(d * counts, np.zeros(n), counts, shortest_block=12, resamples=199).p_value <= 0.05
        diebold += diebold_mariano(d, np.zeros(n), steps=12).p_value <= 0.05
        naive += stats.ttest_1samp(d, 0).pvalue <= 0.05
    assert 4 <= bootstrap <= 30
    assert 4 <= diebold <= 45
    assert naive > 70 or coefficient == 0


def test_a_difference_is_found():
    random = np.random.default_rng(2)
    found = []
    for _ in range(50):
        d = autocorrelated(random, 400, 0.7) + 1.0  # the mean has a deviation of about 1 / (0.3 * 20) = 0.17
        found.append(block_bootstrap(d, np.zeros(400), np.ones(400), shortest_block=12, resamples=199).p_value)
    assert np.mean(np.array(found) <= 0.05) > 0.95


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.ones(8), np.ones(7), np.ones(8)), {}, "shapes"),
        ((np.full(8, np.nan), np.ones(8), np.ones(8)), {}, "finite losses"),
        ((np.ones(8), np.ones(8), np.zeros(8)), {}, "at least one target"),
        ((np.ones(3), np.ones(3), np.ones(3)), {}, "3 windows for blocks of 1; expected at least 4 blocks"),
        ((np.ones(8), np.ones(8), np.ones(8)), {"block_length": 3}, "8 windows for blocks of 3"),
        ((np.ones(8), np.ones(8), np.ones(8)), {"level": 1.0}, "level is 1.0"),
    ],
)
def test_what_cannot_be_compared(arguments, options, message):
    with pytest.raises(InputError, match=message):
        block_bootstrap(*arguments, **options)
    with pytest.raises(InputError, match="expected the same"):
        window_losses(np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 5)))


def test_blocks_are_longer_for_longer_correlation():
    random = np.random.default_rng(0)
    lengths = [
        np.mean([automatic_block_length(autocorrelated(random, 1000, c)) for _ in range(20)]) for c in (0, 0.5, 0.9)
    ]
    assert lengths == sorted(lengths)
    # The optimum for an autoregression is (2 g^2 / d)^(1/3) n^(1/3) with g / spectrum = 2 c / (1 - c^2), d = 4/3.
    assert lengths[1] == pytest.approx((1.5 * (4 / 3) ** 2) ** (1 / 3) * 10, rel=0.4)
    assert automatic_block_length(np.full(50, 0.1)) == automatic_block_length([]) == 1


def test_one_step_of_diebold_mariano_is_the_paired_t_test():
    first, second = np.random.default_rng(0).random((2, 30))
    found, expected = diebold_mariano(first, second), stats.ttest_rel(first, second)
    np.testing.assert_allclose(found, (expected.statistic, expected.pvalue))


def test_diebold_mariano_equals_its_formula():
    d, n, steps, lags = np.random.default_rng(0).normal(size=40), 40, 3, 2
    e = d - d.mean()
    gamma = [float(np.sum(e[k:] * e[: n - k])) / n for k in range(3)]
    variance = (gamma[0] + 2 * (2 / 3 * gamma[1] + 1 / 3 * gamma[2])) / n
    expected = d.mean() / math.sqrt(variance) * math.sqrt((n + 1 - 2 * steps + steps * (steps - 1) / n) / n)
    assert diebold_mariano(d, np.zeros(n), steps=steps, lags=lags).statistic == pytest.approx(expected)


def test_diebold_mariano_of_a_constant_difference():
    assert diebold_mariano(np.ones(9), np.zeros(9)) == (math.inf, 0)
    with pytest.raises(InputError, match="5 losses, steps is 5"):
        diebold_mariano(np.ones(5), np.zeros(5), steps=5)
    with pytest.raises(InputError, match="shapes"):
        diebold_mariano(np.ones(5), np.zeros(4))


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    assert holm([]).size == 0
    with pytest.raises(InputError, match="from 0 to 1"):
        holm([1.5])


def test_ranks_of_the_example_of_demsar():
    """Four models on 14 data sets have 2.569 * sqrt(4 * 5 / (6 * 14)) = 1.25 (section 3.2.2 of the paper)."""
    errors = np.random.default_rng(0).random((14, 4))
    ranks = friedman_ranks(errors)
    assert ranks.critical_difference == pytest.approx(1.25, abs=0.005)
    np.testing.assert_allclose(ranks.average, stats.rankdata(errors, axis=1).mean(0))
    r = ranks.average
    assert ranks.statistic == pytest.approx(12 * 14 / 20 * (np.sum(r**2) - 4 * 25 / 4))
    assert ranks.p_value == pytest.approx(stats.chi2.sf(ranks.statistic, 3))


def test_ranks_of_equal_models():
    assert friedman_ranks(np.ones((3, 3)))[1:3] == (0, 1)
    with pytest.raises(InputError, match="k at least 3"):
        friedman_ranks(np.ones((3, 2)))
