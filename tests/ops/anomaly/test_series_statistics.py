from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.ops.anomaly.series_statistics import (
    agreed_means,
    fit_tail,
    largest_over_windows,
    robust_scale,
    row_quantile,
    series_windows,
    surprise,
    window_means,
)


def test_surprise_within_and_beyond_what_the_values_tell() -> None:
    level = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    tail = fit_tail(-(1 - level).log().float()[None], torch.zeros(100_000))
    decades = torch.tensor([0.5, 1.0, 3.0, 4.0])
    assert torch.allclose(surprise(tail, decades * 2.302585), decades, rtol=0.01)
    # Beyond the last values the probability falls with a power of the value, so ten times as far is no 40 decades.
    far = surprise(tail, torch.tensor([1e3, 1e4]))
    assert float(far.diff()) == pytest.approx(1 / 0.7, rel=0.01)


def test_tail_is_that_of_the_worst_group() -> None:
    values = torch.cat([torch.linspace(0, 1, 500), torch.linspace(0, 2, 500)])[None]
    tail = fit_tail(values, torch.arange(1000) // 500)
    assert torch.allclose(surprise(tail, torch.tensor([1.0, 1.8])), torch.tensor([0.30103, 1.0]), atol=1e-3)


def test_dependent_values_tell_less() -> None:
    values, group = torch.linspace(0, 1, 1000)[None], torch.zeros(1000)
    few, many = (surprise(fit_tail(values, group, overlap), torch.tensor([3.0])) for overlap in (20, 1))
    assert float(few) < float(many)


def test_surprise_never_falls_and_keeps_nan() -> None:
    tail = fit_tail(torch.randn(1, 500, generator=torch.Generator().manual_seed(0)), torch.zeros(500))
    found = surprise(tail, torch.linspace(-5, 30, 1000))
    assert (found.diff() >= 0).all()
    assert found[0] == 0
    assert surprise(tail, torch.tensor([float("nan")])).isnan().all()
    with pytest.raises(InputError, match="NaN"):
        fit_tail(torch.full((1, 3), float("nan")), torch.zeros(3))


def test_windows_reach_the_end() -> None:
    start, end, number = series_windows(11, [1, 4, 8])
    for width in range(3):
        assert start[number == width][0] == 0
        assert end[number == width][-1] == 11
    with pytest.raises(InputError, match="does not fit"):
        series_windows(7, [8])


def test_largest_over_windows_by_hand() -> None:
    start, end, _ = series_windows(12, [1, 3, 8])
    score = torch.randn(2, len(start), generator=torch.Generator().manual_seed(1))
    expected = torch.stack([score[:, (start <= t) & (end > t)].amax(dim=1) for t in range(12)], dim=1)
    assert torch.equal(largest_over_windows(score, start, end, 12), expected)


def test_unknown_values_have_no_part() -> None:
    values = torch.tensor([[1.0, 9.0, 3.0, 5.0, 5.0, 9.0, 9.0, 9.0]])
    known = values < 9
    start, end = torch.tensor([0, 4, 5]), torch.tensor([4, 6, 8])
    assert window_means(values, known, start, end).nan_to_num(-1.0).tolist() == [[3.0, 5.0, -1.0]]
    scale = robust_scale(values, known)
    assert scale.center.item() == 3.0
    assert scale.scale.item() == pytest.approx(1.4826 * 2)
    assert agreed_means(values, known, torch.tensor([0]), torch.tensor([8])).item() == 4.0


def test_quantile_of_a_row_without_values() -> None:
    assert row_quantile(torch.tensor([[float("nan")] * 2, [4.0, 2.0]]), 0.0).tolist() == [0.0, 2.0]
