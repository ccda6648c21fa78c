from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.ops.anomaly import residual_windows
from stgraph.ops.anomaly.rules import detect_anomalous_regions

COMPATIBLE: dict[str, Any] = {"coverage": "double", "cover_tail": False}


@dataclasses.dataclass
class Plain:
    """The documented rule, window by window."""

    regions: np.ndarray
    anomalous: np.ndarray
    metadata: list[list[dict[str, Any]]]
    absolute_threshold: float
    relative_threshold: float
    #: Spectra with a window whose relative residual is the threshold up to rounding, which decides.
    undecided: np.ndarray


def plain(
    original: np.ndarray,
    reconstructed: np.ndarray,
    window: int,
    factor: float,
    overall: float,
    *,
    percentile: float | None = None,
    constants: tuple[float, float] = (0.1, 0.1),
) -> Plain:
    spectra, length = original.shape
    starts = range(0, length - window + 1, window // 2)
    absolute, relative = np.abs(original - reconstructed), np.abs((original - reconstructed) / (original + 1e-5))
    means = {
        (row, start): (absolute[row, start : start + window].mean(), relative[row, start : start + window].mean())
        for row in range(spectra)
        for start in starts
    }
    t_a, t_b = constants
    if percentile is not None:
        t_a, t_b = (float(np.percentile([mean[kind] for mean in means.values()], percentile)) for kind in (0, 1))
    regions, anomalous = np.zeros((spectra, length), dtype=bool), np.zeros(spectra, dtype=bool)
    undecided, metadata = np.zeros(spectra, dtype=bool), []
    for row in range(spectra):
        found = []
        for start in starts:
            a, b = means[row, start]
            p, q = (np.ptp(values[row, start : start + window]) for values in (original, reconstructed))
            if a > t_a:
                reason, value = "high_absolute_residual", a
            elif b > t_b:
                reason, value = "high_relative_residual", b
            elif q > p * factor:
                reason, value = "range_mismatch", q / (p + 1e-5)
            else:
                reason, value = "", 0.0
            undecided[row] |= abs(b - t_b) < 1e-9 * t_b and not a > t_a
            if reason:
                entry = {"range_start": start, "range_end": start + window, "reason_type": reason}
                found.append(entry | {"trigger_value": value})
                regions[row, start : start + window] = True
        anomalous[row] = len(found) * window / length > overall
        metadata.append(found)
    return Plain(regions, anomalous, metadata, t_a, t_b, undecided)


def assert_as_plain(result: Any, expected: Plain) -> None:
    regions, anomalous, metadata, absolute, relative, _ = result
    assert absolute == expected.absolute_threshold
    assert relative == pytest.approx(expected.relative_threshold, rel=1e-9)
    for row in np.flatnonzero(~expected.undecided):
        assert regions[row].tolist() == expected.regions[row].tolist()
        assert bool(anomalous[row]) == bool(expected.anomalous[row])
        assert [
            {**entry, "trigger_value": pytest.approx(entry["trigger_value"])} for entry in expected.metadata[row]
        ] == (metadata[row])


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, float, float]:
    """Small spectra of multiples of 1/4, whose sums are exact and often equal."""
    spectra, length = draw(st.integers(1, 4)), draw(st.integers(2, 24))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    original = random.integers(-6, 7, (spectra, length)) / 4
    changed = random.random((spectra, length)) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    reconstructed = original + changed * random.integers(-4, 5, (spectra, length)) / 4
    window = draw(st.integers(2, length))
    return (
        original,
        reconstructed,
        window,
        draw(st.sampled_from([0.5, 1.0, 1.5, 2.0])),
        draw(st.sampled_from([0, 0.3, 1])),
    )


@given(cases(), st.sampled_from([0, 10, 37.5, 50, 75, 90, 95, 100]))
@settings(max_examples=100, deadline=None)
def test_percentile_rule_is_the_plain_one(case: tuple[np.ndarray, np.ndarray, int, float, float], at: float) -> None:
    original, reconstructed, window, factor, overall = case
    result = detect_anomalous_regions(
        original, reconstructed, window, at, None, None, factor, overall, **COMPATIBLE
    )  # in the documented order
    assert result.rule == "percentile"
    assert_as_plain(result, plain(original, reconstructed, window, factor, overall, percentile=at))


@given(cases(), st.sampled_from([0.0, 0.125, 0.25, 0.3]), st.sampled_from([0.0, 0.2, 1.0, 7.0]))
@settings(max_examples=60, deadline=None)
def test_fixed_rule_is_the_plain_one(
    case: tuple[np.ndarray, np.ndarray, int, float, float], absolute: float, relative: float
) -> None:
    original, reconstructed, window, factor, overall = case
    result = detect_anomalous_regions(
        torch.from_numpy(original).float(),
        torch.from_numpy(reconstructed).float(),
        window_size=window,
        abs_residual_threshold=absolute,
        rel_residual_threshold=relative,
        range_mismatch_factor=factor,
        overall_anomaly_threshold=overall,
        **COMPATIBLE,
    )
    assert result.rule == "fixed"
    expected = plain(original, reconstructed, window, factor, overall, constants=(absolute, relative))
    assert_as_plain(result, expected)


def hand_made() -> tuple[np.ndarray, np.ndarray]:
    """Three spectra of 200 points 1, 3, 1, 3, ..., in 8 blocks of 25; window k of 50 points is blocks k and k + 1."""
    original = np.tile([1.0, 3.0], (3, 100))
    reconstructed = original.copy()
    # Spectrum 0, point 10 (1), window 0 only: reconstructed as -0.5, so a = 1.5/50 = 0.03, p = 2, q = 3.5.
    reconstructed[0, 10] = -0.5
    # Spectrum 0, point 180 (1), window 6 only: 0 instead, and 2^-10 in the reconstruction, so a = 2^-10/50,
    # b = 2^-10/1e-5/50 = 1.953125, p = 3, q = 3 - 2^-10.
    original[0, 180], reconstructed[0, 180] = 0.0, 2.0**-10
    # Spectrum 1, block 3 is 0.5 lower: windows 2 and 3 have a = 0.25, p = 2, q = 2.5.
    reconstructed[1, 75:100] -= 0.5
    # Spectrum 2, block 5 is 1 lower: windows 4 and 5 have a = 0.5, p = 2, q = 3 = 1.5 p, a tie.
    reconstructed[2, 125:150] -= 1.0
    return original, reconstructed


def test_hand_made_example_with_ties() -> None:
    original, reconstructed = hand_made()
    # The 21 values of a in order: 0.5 twice, 0.25 twice, 0.03, 2^-10/50, 15 times 0. Percentile 90 is number
    # 0.9 * 20 = 18 from 0, the third largest: t_a = 0.25. Spectrum 1 ties with it and is not flagged.
    # b: 1.953125; of windows 4 and 5 of spectrum 2, both (13/3.00001 + 12/1.00001)/50 = 0.3267; half that twice, ...
    # t_b = 0.3267.
    result = detect_anomalous_regions(
        original_fluxes=original,
        reconstructed_fluxes=reconstructed,
        window_size=50,
        percentile_threshold=90,
        range_mismatch_factor=1.5,
        overall_anomaly_threshold=0.3,
        **COMPATIBLE,
    )
    regions, anomalous, metadata, absolute, relative, factor = result
    assert absolute == 0.25
    assert relative == pytest.approx((13 / 3.00001 + 12 / 1.00001) / 50, rel=1e-12)
    assert factor == 1.5
    assert metadata == [
        [
            {"range_start": 0, "range_end": 50, "reason_type": "range_mismatch", "trigger_value": 3.5 / 2.00001},
            {
                "range_start": 150,
                "range_end": 200,
                "reason_type": "high_relative_residual",
                "trigger_value": pytest.approx(1.953125, rel=1e-12),
            },
        ],
        [],
        [
            {"range_start": 100, "range_end": 150, "reason_type": "high_absolute_residual", "trigger_value": 0.5},
            {"range_start": 125, "range_end": 175, "reason_type": "high_absolute_residual", "trigger_value": 0.5},
        ],
    ]
    expected = np.zeros((3, 200), dtype=bool)
    expected[0, :50] = expected[0, 150:] = expected[2, 100:175] = True
    assert isinstance(regions, list)
    assert [region.dtype for region in regions] == [np.bool_] * 3
    assert np.array_equal(np.stack(regions), expected)
    # 2 windows of 50 of 200 points: 0.5 twice.
    assert anomalous.tolist() == [True, False, True]
    # The largest a over t_a = 0.25.
    assert result.score.tolist() == [0.03 / 0.25, 1.0, 2.0]


def test_at_percentile_95_the_largest_windows_of_the_example_tie() -> None:
    # Number 0.95 * 20 = 19 from 0, the second largest, is 0.5 as is the largest: none is above. b: the second largest
    # is that of windows 4 and 5 of spectrum 2. The range of both windows ties as well.
    result = detect_anomalous_regions(*hand_made(), percentile_threshold=95, **COMPATIBLE)
    assert result.abs_residual_threshold == 0.5
    assert [[entry["reason_type"] for entry in found] for found in result.metadata] == [
        ["range_mismatch", "high_relative_residual"],
        [],
        [],
    ]
    assert result.anomalous.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("coverage", "overall", "expected"),
    [
        # 100 of 200 points of spectrum 0 and 75 of spectrum 2, or 2 windows of 50 both times; equal is not more.
        ("unique", 0.374, [True, False, True]),
        ("unique", 0.375, [True, False, False]),
        ("unique", 0.5, [False, False, False]),
        ("double", 0.375, [True, False, True]),
        ("double", 0.5, [False, False, False]),
    ],
)
def test_overall_rule_counts_points_or_windows(coverage: Any, overall: float, expected: list[bool]) -> None:
    result = detect_anomalous_regions(
        *hand_made(), percentile_threshold=90, overall_anomaly_threshold=overall, coverage=coverage
    )
    assert result.anomalous.tolist() == expected


def test_equal_windows_are_equal_wherever_they_lie() -> None:
    # The noise repeats itself every half window, so all windows are alike and none is above any percentile.
    noise = np.random.default_rng(0).normal(size=(2, 25))
    original, residual = (np.tile(part, (5, 9))[:, :215] for part in noise)
    for percentile in (0, 50, 95):
        result = detect_anomalous_regions(
            original, original + residual, 50, percentile, range_mismatch_factor=9, **COMPATIBLE
        )
        assert not result.regions.any()
        assert result.score.tolist() == [1.0] * 5


def test_the_tail_is_judged_unless_compatible() -> None:
    original = np.ones((1, 99))
    reconstructed = original.copy()
    reconstructed[0, 80:] = 2.0
    thresholds: dict[str, Any] = {"window_size": 50, "abs_residual_threshold": 0.35, "rel_residual_threshold": 9.0}
    # Windows 0-50 and 25-75 hold nothing; that of the last 50 points has 19 of 50 points changed.
    result = detect_anomalous_regions(original, reconstructed, range_mismatch_factor=1e9, **thresholds)
    assert [(entry["range_start"], entry["range_end"]) for entry in result.metadata[0]] == [(49, 99)]
    assert result.metadata[0][0]["trigger_value"] == 0.38
    compatible = detect_anomalous_regions(original, reconstructed, **thresholds, **COMPATIBLE)
    assert not compatible.regions.any()
    assert compatible.window_end.tolist() == [50, 75]


def test_percentiles_leave_out_windows_without_data() -> None:
    original, reconstructed = hand_made()
    padded = [np.vstack([part, np.full((4, 200), np.nan)]) for part in (original, reconstructed)]
    mask = np.isfinite(padded[0])
    alone = detect_anomalous_regions(original, reconstructed, percentile_threshold=90)
    joined = detect_anomalous_regions(*padded, percentile_threshold=90, mask=mask)
    assert joined.abs_residual_threshold == alone.abs_residual_threshold
    assert joined.metadata == [*alone.metadata, [], [], [], []]
    assert joined.no_data.tolist() == [False] * 3 + [True] * 4


def noisy(spectra: int = 9, length: int = 130) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    original = torch.randn(spectra, length, generator=generator)
    return original, original + 0.1 * torch.randn(spectra, length, generator=generator)


def test_a_permutation_of_spectra_permutes_the_result() -> None:
    original, reconstructed = noisy()
    order = torch.tensor([4, 0, 8, 2, 1, 3, 7, 6, 5])
    plain_order = detect_anomalous_regions(original, reconstructed, 20, 80)
    permuted = detect_anomalous_regions(original[order], reconstructed[order], 20, 80)
    for name in ("regions", "anomalous", "score", "no_data", "window_score"):
        assert torch.equal(getattr(permuted, name), getattr(plain_order, name)[order])
    assert permuted.metadata == [plain_order.metadata[row] for row in order]
    assert plain_order.regions.any()


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    original, reconstructed = noisy()
    whole = detect_anomalous_regions(original, reconstructed, 20, 80)
    monkeypatch.setattr(residual_windows, "_CHUNK", 300)  # two spectra
    parts = detect_anomalous_regions(original, reconstructed, 20, 80)
    assert torch.equal(parts.window_score, whole.window_score)
    assert torch.equal(parts.regions, whole.regions)
    assert parts.metadata == whole.metadata


def test_one_spectrum_none_and_a_window_as_long_as_a_spectrum() -> None:
    original, reconstructed = hand_made()
    one = detect_anomalous_regions(original[2:], reconstructed[2:], 200, abs_residual_threshold=0.1)
    # 25 of 200 points are 1 lower.
    assert one.metadata[0][0]["trigger_value"] == 0.125
    assert one.regions.all()
    assert one.regions.shape == (1, 200)
    assert one.rel_residual_threshold == 0.1
    none = detect_anomalous_regions(original[:0], reconstructed[:0], percentile_threshold=95)
    regions, anomalous, metadata, absolute, relative, _ = none
    assert (regions, anomalous.tolist(), metadata) == ([], [], [])
    assert math.isnan(absolute)
    assert math.isnan(relative)
    masked = detect_anomalous_regions(
        original, reconstructed, percentile_threshold=95, mask=np.zeros((3, 200), dtype=bool)
    )
    assert masked.no_data.all()
    assert not masked.anomalous.any()
    assert masked.metadata == [[], [], []]
    assert masked.score.isnan().all()


def test_records_are_plain_numbers() -> None:
    result = detect_anomalous_regions(*(part.float() for part in noisy()), 20, 80)
    assert json.loads(json.dumps(result.metadata)) == result.metadata
    entry = next(found for found in result.metadata if found)[0]
    assert [type(value) for value in entry.values()] == [int, int, str, float]
    assert [type(value) for value in tuple(result)[3:]] == [float, float, float]


def test_a_perfect_reconstruction_has_finite_scores_and_no_flags() -> None:
    original, _ = hand_made()
    result = detect_anomalous_regions(original, original.copy(), percentile_threshold=95)
    assert result.abs_residual_threshold == 0
    assert result.score.tolist() == [0, 0, 0]
    assert not result.regions.any()


def test_a_flux_that_makes_the_relative_residual_infinite() -> None:
    # x + 1e-5 = 0 at point 0: 0/0 in spectrum 0, where the other points give b = 0.5/1.00001/4, and 0.5/0 in spectrum 1.
    original = np.array([[-1e-5, 1.0, 3.0, 1.0]] * 2)
    reconstructed = np.array([[-1e-5, 1.5, 3.0, 1.0], [0.5, 1.0, 3.0, 1.0]])
    result = detect_anomalous_regions(original, reconstructed, 4, abs_residual_threshold=9, rel_residual_threshold=0.1)
    first, second = (found[0] for found in result.metadata)
    assert first["reason_type"] == second["reason_type"] == "high_relative_residual"
    assert first["trigger_value"] == pytest.approx(0.5 / 1.00001 / 4, rel=1e-12)
    assert 1e12 < second["trigger_value"] < math.inf


def test_without_thresholds_the_neighbours_decide() -> None:
    generator = torch.Generator().manual_seed(0)
    flux = torch.sin(torch.arange(200) / 9) + 0.05 * torch.randn(40, 200, generator=generator)
    flux[7, 90:130] += 3.0
    result = detect_anomalous_regions(flux)
    assert result.rule == "graph_residual"
    assert int(result.score.argmax()) == 7
    assert bool(result.anomalous[7])
