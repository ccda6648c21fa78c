"""Scores of windows against plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.ops.anomaly import window_scores as module
from stgraph.ops.anomaly.window_scores import default_widths, standardise_windows, window_statistics


def deviations(rows: int = 6, length: int = 37, good: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(rows, length, generator=generator, dtype=torch.float64)
    return z, torch.rand(rows, length, generator=generator) < good


def test_statistics_are_those_of_the_good_points_of_each_window() -> None:
    z, mask = deviations()
    mask[2] = False
    found = window_statistics(z.masked_fill(~mask, torch.nan), mask, [5, 12, 37])
    assert found.power.shape == found.coherence.shape == (6, len(found.start))
    missing = 0
    for row in range(6):
        for window, (begin, end) in enumerate(zip(found.start.tolist(), found.end.tolist(), strict=True)):
            values = z[row, begin:end][mask[row, begin:end]].numpy()
            power, coherence = float(found.power[row, window]), float(found.coherence[row, window])
            if 2 * len(values) < end - begin:
                missing += 1
                assert math.isnan(power)
                assert math.isnan(coherence)
            else:
                assert power == pytest.approx(np.sqrt(np.mean(values**2)))
                assert coherence == pytest.approx(abs(values.sum()) / np.sqrt(len(values)), abs=1e-9)
    assert len(found.start) < missing < found.power.numel()


def test_blocks_change_nothing_and_no_series_have_no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    z, mask = deviations()
    whole = window_statistics(z, mask, 6)
    monkeypatch.setattr(module, "_BLOCK", 80)
    for part, expected in zip(window_statistics(z, mask, 6), whole, strict=True):
        assert part.equal(expected) or part.nan_to_num(-1).equal(expected.nan_to_num(-1))
    assert window_statistics(z[:0], mask[:0], 6).power.shape == (0, len(whole.start))


def test_a_window_longer_than_the_series_is_refused() -> None:
    z, mask = deviations()
    with pytest.raises(InputError, match="widths has a window of 38 points"):
        window_statistics(z, mask, [5, 38])


@pytest.mark.parametrize("length", [2, 9, 10, 19, 199, 200, 1001, 7781])
def test_default_widths_fit(length: int) -> None:
    widths = default_widths(length)
    assert widths[0] == min(10, length)
    assert all(after == 2 * before for before, after in itertools.pairwise(widths))
    assert len(widths) == 1 or widths[-1] <= length // 10 < 2 * widths[-1]


def test_windows_of_each_width_are_standardised_by_their_own_median_and_spread() -> None:
    z, mask = deviations(rows=20)
    statistics = window_statistics(z, mask, [4, 9])
    found = standardise_windows(statistics)
    both = [statistics.power.numpy(), statistics.coherence.numpy()]
    expected = np.full(statistics.power.shape, -np.inf)
    for width in (4, 9):
        own = ((statistics.end - statistics.start) == width).numpy()
        for values in both:
            known = np.sort(values[:, own][~np.isnan(values[:, own])])
            center = known[(len(known) - 1) // 2]
            far = np.sort(np.abs(known - center))
            score = (values[:, own] - center) / (1.4826 * far[(len(far) - 1) // 2])
            expected[:, own] = np.where(np.isnan(score), np.nan, np.maximum(expected[:, own], score))
    np.testing.assert_allclose(found.score.numpy(), expected)


def test_other_series_are_measured_by_what_was_usual() -> None:
    z, mask = deviations(rows=20)
    statistics = window_statistics(z, mask, [4, 9])
    usual = standardise_windows(statistics)
    alone = standardise_windows(window_statistics(z[3:4], mask[3:4], [4, 9]), usual.center, usual.scale)
    torch.testing.assert_close(alone.score, usual.score[3:4], equal_nan=True)


def test_equal_windows_score_zero_and_others_what_they_differ() -> None:
    z = torch.ones(5, 8)
    z[4, :4] = 3.0
    found = standardise_windows(window_statistics(z, torch.ones_like(z, dtype=torch.bool), 4))
    assert not found.score[:4].any()
    assert found.score[4, 0].item() == pytest.approx(4.0)  # coherence 12 / 2 against 4 / 2
    nothing = standardise_windows(window_statistics(z, torch.zeros_like(z, dtype=torch.bool), 4))
    assert nothing.score.isnan().all()
    assert nothing.scale.eq(1).all()
