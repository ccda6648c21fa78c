from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly.rules import detect_anomalous_regions


def test_masked_points_count_nowhere() -> None:
    original, reconstructed = np.tile([1.0, 3.0], (3, 4)), np.tile([1.5, 3.0], (3, 4))
    mask = np.ones((3, 8), dtype=bool)
    # Spectrum 0: the windows 0-4 and 2-6 keep points with residuals 0.5 0.5 0 and 0.5 0.
    mask[0, [1, 3, 4]] = False
    # Spectrum 1: window 0-4 has no good point. Spectrum 2 has none at all.
    mask[1, :4] = mask[2] = False
    original[~mask], reconstructed[~mask] = np.nan, np.inf
    limits: dict[str, Any] = {"abs_residual_threshold": 0.25, "rel_residual_threshold": 9.0, "mask": mask}
    result = detect_anomalous_regions(original, reconstructed, 4, **limits)
    windows = [[1 / 2, 0.5 / 2, 0.5 / 3], [math.nan, 0.5 / 2, 1 / 4], [math.nan] * 3]
    np.testing.assert_allclose(result.window_score.numpy(), np.array(windows) / 0.25, rtol=1e-12)
    # Window 2-6 of spectrum 0 has the good points 2 and 5: a = 0.25, a tie.
    assert result.regions.tolist() == [[True] * 4 + [False] * 4, [False] * 8, [False] * 8]
    # 2 of 5 good points.
    assert result.anomalous.tolist() == [True, False, False]
    np.testing.assert_allclose(result.score.numpy(), [2, 1, np.nan], rtol=1e-12)
    assert result.no_data.tolist() == [False, False, True]
    # Equal is not more.
    tied = detect_anomalous_regions(original, reconstructed, 4, overall_anomaly_threshold=0.4, **limits)
    assert tied.anomalous.tolist() == [False] * 3


def test_ranges_are_those_of_good_points() -> None:
    original, reconstructed = np.tile([0.5, 1.0], (1, 4)), np.tile([0.5, 1.0], (1, 4))
    mask = np.ones((1, 8), dtype=bool)
    reconstructed[0, 3] = 2.0
    limits: dict[str, Any] = {"abs_residual_threshold": 9.0, "rel_residual_threshold": 9.0, "window_size": 8}
    flagged = detect_anomalous_regions(original, reconstructed, **limits, mask=mask)
    assert flagged.metadata[0][0]["trigger_value"] == 1.5 / (0.5 + 1e-5)
    mask[0, 3] = False
    assert detect_anomalous_regions(original, reconstructed, **limits, mask=mask).metadata == [[]]
    # Without the range of the original there is only the reconstruction's own.
    flat = detect_anomalous_regions(np.ones((1, 8)), reconstructed, **limits, mask=mask)
    assert flat.metadata[0][0]["trigger_value"] == 0.5 / 1e-5


def test_kinds_of_arrays_give_the_same() -> None:
    first, noise = (
        torch.randn(2, 3, 60, generator=torch.Generator().manual_seed(3)) * torch.tensor([1, 0.1])[:, None, None]
    )
    original, reconstructed = (np.round(part.numpy() * 16) / 16 for part in (first, first + noise))
    expected = detect_anomalous_regions(original.astype(np.float64), reconstructed.astype(np.float64), 20, 80)
    assert expected.regions.any()
    read_only = original.astype(">f4")
    read_only.flags.writeable = False
    strided = torch.from_numpy(reconstructed).float().t().contiguous().t()
    kinds: list[tuple[Any, Any]] = [
        (original, torch.from_numpy(reconstructed)),
        (read_only, strided.requires_grad_()),
        (torch.from_numpy(original).bfloat16(), torch.from_numpy(reconstructed).bfloat16()),
        (np.ascontiguousarray(original[:, ::-1])[:, ::-1], np.repeat(reconstructed, 2, axis=1)[:, ::2]),
        (np.round(original * 16).astype(np.int32), np.round(reconstructed * 16).astype(np.int64)),
    ]
    for first, second in kinds[:-1]:
        result = detect_anomalous_regions(first, second, 20, 80)
        assert torch.equal(result.regions, expected.regions)
        assert result.abs_residual_threshold == expected.abs_residual_threshold
    whole_numbers = detect_anomalous_regions(*kinds[-1], 20, 80)
    assert whole_numbers.abs_residual_threshold == 16 * expected.abs_residual_threshold


def test_the_rule_is_that_of_the_thresholds() -> None:
    original, reconstructed = np.ones((1, 100)), np.ones((1, 100))
    reconstructed[0, :25] = 1.5
    documented = detect_anomalous_regions(original, reconstructed, rule="percentile")
    # The windows have a = 0.25, 0 and 0: percentile 95 is number 1.9 from 0.
    assert documented.abs_residual_threshold == pytest.approx(0.9 * 0.25)
    later = detect_anomalous_regions(original, reconstructed, rule="fixed")
    assert (later.abs_residual_threshold, later.rel_residual_threshold) == (0.1, 0.1)
    assert (later.rule, later.window_size, later.overall_anomaly_threshold) == ("fixed", 50, 0.3)


FLUX = np.ones((2, 60))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reconstructed_fluxes": np.ones((2, 61))}, r"reconstructed_fluxes has shape \(2, 61\); expected \(2, 60\)"),
        ({"original_fluxes": np.ones(60)}, r"original_fluxes has shape \(60,\); expected two dimensions"),
        ({"reconstructed_fluxes": np.ones((2, 60, 1))}, "reconstructed_fluxes has shape"),
        ({"mask": np.ones((1, 60), dtype=bool)}, "mask has shape"),
        ({"error": np.ones((2, 6)), "percentile_threshold": None}, "error has shape"),
        ({"error": np.ones((2, 60))}, "error is given, which the rule 'percentile' does not have"),
        ({"percentile_threshold": None, "overall_anomaly_threshold": 0.5}, "overall_anomaly_threshold is given, which"),
        ({"percentile_threshold": None, "range_mismatch_factor": 2}, "range_mismatch_factor is given, which the rule"),
        ({"percentile_threshold": None, "coverage": "double"}, "coverage is given, which the rule 'graph_residual'"),
        ({"percentile_threshold": None, "cover_tail": False}, "cover_tail is given, which the rule 'graph_residual'"),
        ({"window_size": 1}, "window_size is 1; expected 2 to 60"),
        ({"window_size": 61}, "window_size is 61; expected 2 to 60"),
        ({"percentile_threshold": -0.5}, "percentile_threshold is -0.5"),
        ({"percentile_threshold": 100.5}, "percentile_threshold is 100.5"),
        ({"percentile_threshold": math.nan}, "percentile_threshold is nan"),
        ({"range_mismatch_factor": 0}, "range_mismatch_factor is 0; expected a finite number above 0"),
        ({"range_mismatch_factor": math.inf}, "range_mismatch_factor is inf"),
        ({"overall_anomaly_threshold": 2.5}, "overall_anomaly_threshold is 2.5"),
        ({"overall_anomaly_threshold": -0.1}, "overall_anomaly_threshold is -0.1"),
        ({"percentile_threshold": None, "abs_residual_threshold": -1.0}, "abs_residual_threshold is -1.0"),
        ({"percentile_threshold": None, "rel_residual_threshold": -1.0}, "rel_residual_threshold is -1.0"),
        ({"abs_residual_threshold": 0.1}, "expected the thresholds of one rule"),
        ({"rule": "fixed"}, "thresholds of the rule 'percentile' are given"),
        ({"rule": "graph_residual"}, "thresholds of the rule 'percentile' are given"),
        ({"rule": "magic"}, "rule is 'magic'; expected 'graph_residual', 'percentile' or 'fixed'"),
        ({"coverage": "triple"}, "coverage is 'triple'; expected 'unique' or 'double'"),
        ({"reconstructed_fluxes": None}, "reconstructed_fluxes is None"),
    ],
)
def test_values_that_cannot_be_used_are_named(arguments: dict[str, Any], message: str) -> None:
    usable = {"original_fluxes": FLUX, "reconstructed_fluxes": FLUX, "percentile_threshold": 95}
    with pytest.raises(InputError, match=message):
        detect_anomalous_regions(**usable | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"original_fluxes": [[1.0]]}, "original_fluxes is a list; expected a NumPy array or a tensor"),
        ({"original_fluxes": np.array([["1", "2"]])}, "original_fluxes is an array of"),
        ({"reconstructed_fluxes": FLUX * 1j}, "reconstructed_fluxes is an array of complex128"),
        ({"reconstructed_fluxes": torch.ones(2, 60, dtype=torch.complex64)}, "reconstructed_fluxes is a tensor of"),
        ({"mask": FLUX}, "mask is a tensor of torch.float64; expected truth values"),
        ({"window_size": 50.0}, "window_size is 50.0; expected a whole number"),
        ({"percentile_threshold": "95"}, "percentile_threshold is '95', a str"),
        ({"range_mismatch_factor": True}, "range_mismatch_factor is True, a bool"),
    ],
)
def test_types_that_cannot_be_used_are_named(arguments: dict[str, Any], message: str) -> None:
    usable = {"original_fluxes": FLUX, "reconstructed_fluxes": FLUX, "percentile_threshold": 95}
    with pytest.raises(InputTypeError, match=message):
        detect_anomalous_regions(**usable | arguments)


@pytest.mark.parametrize("name", ["original_fluxes", "reconstructed_fluxes"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_the_first_good_point_that_is_not_finite_is_named(name: str, value: float) -> None:
    fluxes = {"original_fluxes": FLUX.copy(), "reconstructed_fluxes": FLUX.copy()}
    fluxes[name][1, 7] = fluxes[name][1, 30] = value
    with pytest.raises(InputError, match=f"{name} is {value} at point 7 of spectrum 1"):
        detect_anomalous_regions(**fluxes, percentile_threshold=95)
    mask = np.ones((2, 60), dtype=bool)
    mask[1, 7] = False
    with pytest.raises(InputError, match="at point 30 of spectrum 1"):
        detect_anomalous_regions(**fluxes, percentile_threshold=95, mask=mask)
