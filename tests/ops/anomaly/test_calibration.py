"""Thresholds and p-values hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly.calibration import (
    benjamini_hochberg,
    check_calibration_size,
    conformal_pvalues,
    robust_threshold,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_robust_threshold_equals_scipy() -> None:
    scores = normal(6, 7)
    spread = 1.4826 * stats.median_abs_deviation(scores.numpy(), axis=None)
    expected = np.median(scores.numpy()) + 5 * spread
    assert float(robust_threshold(scores)) == pytest.approx(expected, rel=1e-12)
    with_gaps = torch.cat([scores.flatten(), torch.tensor([math.nan, math.inf, -math.inf])])
    assert float(robust_threshold(with_gaps)) == pytest.approx(expected, rel=1e-12)


def test_robust_threshold_is_moved_little_by_anomalies() -> None:
    scores = normal(1000)
    clean = float(robust_threshold(scores))
    scores[:100] += 1000.0
    assert float(robust_threshold(scores)) < 1.4 * clean


def test_robust_threshold_where_most_scores_are_equal() -> None:
    scores = torch.tensor([0.0] * 8 + [4.0, 100.0])
    threshold = robust_threshold(scores, multiplier=1.0)
    assert float(threshold) == pytest.approx(math.sqrt(math.pi / 2) * 10.4, rel=1e-6)
    equal = torch.full((5,), 3.0)
    assert not (equal > robust_threshold(equal)).any()


def test_robust_threshold_without_scores_flags_nothing() -> None:
    assert robust_threshold(torch.full((3,), math.nan)) == math.inf
    assert robust_threshold(torch.empty(0)) == math.inf


def test_conformal_pvalues_count_ties_as_at_least_as_high() -> None:
    scores = torch.tensor([[2.0, math.nan], [2.5, math.inf]])
    found = conformal_pvalues(scores, torch.tensor([3.0, 2.0, 2.0, math.nan, 1.0]))
    assert found.tolist() == [[4 / 5, 1.0], [2 / 5, 1 / 5]]


def test_conformal_pvalues_equal_a_count() -> None:
    scores, calibration = normal(40, seed=1).round(decimals=1), normal(30, seed=2).round(decimals=1)
    expected = (1 + (calibration >= scores.unsqueeze(-1)).sum(dim=-1)).double() / 31
    torch.testing.assert_close(conformal_pvalues(scores, calibration), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("decimals", [12, 0])
def test_conformal_pvalues_are_rarely_small_for_normal_data(decimals: int) -> None:
    """P(p <= alpha) <= alpha, with and without ties; three standard errors of the simulation are allowed."""
    repetitions = 3000
    draws = normal(repetitions, 20, seed=3).round(decimals=decimals)
    pvalues = torch.stack([conformal_pvalues(row[0], row[1:]) for row in draws])
    for alpha in (0.05, 0.1, 0.25, 0.5):
        rate = float((pvalues <= alpha).double().mean())
        assert rate <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / repetitions)
        if decimals == 12:  # without ties the bound is attained: (n + 1) alpha is an integer
            assert rate >= alpha - 3 * math.sqrt(alpha * (1 - alpha) / repetitions)


def test_calibration_size() -> None:
    for count, rate in ((19, 0.05), (99, 0.01), (999, 0.001), (2, 1 / 3), (48, 1 / 49)):
        check_calibration_size(count, rate)
        assert float(conformal_pvalues(torch.tensor(9.0), torch.zeros(count))) <= rate * (1 + 1e-12)
        with pytest.raises(InputError, match=f"at least {count} "):
            check_calibration_size(count - 1, rate)


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_benjamini_hochberg_equals_scipy(rate: float) -> None:
    pvalues = torch.rand(8, 25, generator=torch.Generator().manual_seed(4), dtype=torch.float64).pow(3)
    expected = stats.false_discovery_control(pvalues.numpy(), axis=None) <= rate
    found = benjamini_hochberg(pvalues, rate)
    assert 0 < int(found.sum()) < pvalues.numel()
    assert np.array_equal(found.flatten().numpy(), expected)


def test_benjamini_hochberg_flags_what_equals_its_bound() -> None:
    assert benjamini_hochberg(torch.tensor([0.05, 1.0], dtype=torch.float64), 0.1).tolist() == [True, False]
    assert benjamini_hochberg(torch.tensor([0.3, 0.3, 0.3], dtype=torch.float64), 0.3).all()
    assert not benjamini_hochberg(torch.ones(3), 0.1).any()
    assert benjamini_hochberg(torch.empty(0), 0.1).shape == (0,)


def test_false_discoveries_with_shared_calibration_scores() -> None:
    """The mean share of false discoveries is at most the rate (times the share of normal objects)."""
    repetitions, rate, anomalies, objects = 800, 0.2, 5, 25
    shares, found = [], 0
    for draw in normal(repetitions, 100 + objects, seed=5):
        scores = draw[100:].clone()
        scores[:anomalies] += 3.0
        flagged = benjamini_hochberg(conformal_pvalues(scores, draw[:100]), rate)
        found += int(flagged[:anomalies].sum())
        shares.append(float(flagged[anomalies:].sum()) / max(1, int(flagged.sum())))
    bound = rate * (1 - anomalies / objects)
    assert np.mean(shares) <= bound + 3 * np.std(shares) / math.sqrt(repetitions)
    assert found > repetitions * anomalies / 2  # and it does find something


def test_bad_input() -> None:
    with pytest.raises(InputError, match="multiplier"):
        robust_threshold(torch.zeros(2), multiplier=-1.0)
    with pytest.raises(InputTypeError, match="scores"):
        robust_threshold(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match="calibration"):
        conformal_pvalues(torch.zeros(2), torch.zeros(2, 2))
    with pytest.raises(InputTypeError, match="calibration"):
        conformal_pvalues(torch.zeros(2), torch.zeros(2, dtype=torch.bool))
    with pytest.raises(InputError, match="rate"):
        benjamini_hochberg(torch.ones(2), 1.0)
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="pvalues"):
            benjamini_hochberg(torch.tensor([0.1, bad]), 0.1)
