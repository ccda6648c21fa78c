from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly.reconstruction_errors import compute_dynamic_anomaly_ratio, compute_reconstruction_errors

ORIGINAL = [[1.0, 2.0, -1.0], [0.0, 4.0, 0.5]]
RECONSTRUCTED = [[1.5, 2.0, 1.0], [0.0, 1.0, 0.25]]
SQUARES = [[0.25, 0.0, 4.0], [0.0, 9.0, 0.0625]]
ABSOLUTE = [[0.5, 0.0, 2.0], [0.0, 3.0, 0.25]]


@pytest.mark.parametrize(("method", "expected"), [("mse", SQUARES), ("mae", ABSOLUTE)])
def test_errors_of_each_point_by_hand(method: str, expected: list[list[float]]) -> None:
    from_arrays = compute_reconstruction_errors(np.array(ORIGINAL), np.array(RECONSTRUCTED), method=method)
    assert isinstance(from_arrays, np.ndarray)
    assert from_arrays.tolist() == expected
    from_tensors = compute_reconstruction_errors(torch.tensor(ORIGINAL), torch.tensor(RECONSTRUCTED), method=method)
    assert isinstance(from_tensors, torch.Tensor)
    assert from_tensors.tolist() == expected
    # One spectrum keeps its axis.
    one = compute_reconstruction_errors(np.array(ORIGINAL[:1]), np.array(RECONSTRUCTED[:1]), method=method)
    assert one.shape == (1, 3)


def test_squares_are_the_default_and_arguments_stay_as_they_are() -> None:
    original, reconstructed = torch.tensor(ORIGINAL), torch.tensor(RECONSTRUCTED, requires_grad=True)
    errors = compute_reconstruction_errors(original, reconstructed)
    assert errors.tolist() == SQUARES
    assert not errors.requires_grad
    assert original.tolist() == ORIGINAL


def test_arrays_as_files_hand_them_out() -> None:
    foreign = np.array(ORIGINAL, dtype=">f4")
    foreign.flags.writeable = False
    reversed_view = np.array([row[::-1] for row in RECONSTRUCTED])[:, ::-1]
    assert compute_reconstruction_errors(foreign, reversed_view).tolist() == SQUARES


def test_errors_say_what_was_wrong() -> None:
    with pytest.raises(InputError, match="method is 'rmse'"):
        compute_reconstruction_errors(np.zeros((1, 2)), np.zeros((1, 2)), method="rmse")  # type: ignore[type-var]
    with pytest.raises(InputError, match=r"\(2, 1\); expected \(1, 2\)"):
        compute_reconstruction_errors(np.zeros((1, 2)), np.zeros((2, 1)))
    with pytest.raises(InputTypeError, match="reconstructed_fluxes"):
        compute_reconstruction_errors(np.zeros((1, 2)), np.zeros((1, 2), dtype=complex))
    with pytest.raises(InputTypeError, match="original_fluxes is a list"):
        compute_reconstruction_errors([[1.0]], np.zeros((1, 1)))  # type: ignore[type-var]


def test_ratio_is_the_share_above_median_and_raw_mad() -> None:
    # Median 4.5 (of 1 ... 8), deviations 0.5 0.5 1.5 1.5 2.5 2.5 3.5 3.5, so MAD 2: with 1, values above 6.5.
    errors = np.arange(1.0, 9.0).reshape(2, 4)
    assert compute_dynamic_anomaly_ratio(errors, mad_multiplier=1) == 2 / 8
    assert compute_dynamic_anomaly_ratio(torch.from_numpy(errors), mad_multiplier=1) == 2 / 8
    # 4.5 + 1.75 * 2 = 8 exactly: equal is not above.
    assert compute_dynamic_anomaly_ratio(errors, mad_multiplier=1.75) == 0
    assert compute_dynamic_anomaly_ratio(errors, mad_multiplier=0) == 4 / 8
    # 3 by default: median 3, MAD 1, limit 6; scaled to a standard deviation the limit would be 7.4.
    assert compute_dynamic_anomaly_ratio(np.array([1.0, 2.0, 3.0, 4.0, 7.0])) == 0.2


def test_ratio_leaves_out_nan() -> None:
    assert compute_dynamic_anomaly_ratio(np.array([1.0, np.nan, 2.0, 3.0, 4.0, np.nan, 7.0])) == 0.2
    assert math.isnan(compute_dynamic_anomaly_ratio(np.array([np.nan])))
    assert math.isnan(compute_dynamic_anomaly_ratio(np.zeros((0, 5))))


@pytest.mark.parametrize("multiplier", [-1.0, math.nan, math.inf])
def test_ratio_needs_a_multiplier(multiplier: float) -> None:
    with pytest.raises(InputError, match="mad_multiplier"):
        compute_dynamic_anomaly_ratio(np.ones(3), multiplier)


def test_ratio_needs_finite_errors() -> None:
    with pytest.raises(InputError, match="errors holds infinite"):
        compute_dynamic_anomaly_ratio(np.array([1.0, np.inf]))


def test_unsigned_numbers_do_not_wrap_around():
    original, reconstructed = np.array([[1, 200]], dtype=np.uint8), np.array([[3, 100]], dtype=np.uint8)
    assert compute_reconstruction_errors(original, reconstructed, method="mae").tolist() == [[2, 100]]
    assert compute_reconstruction_errors(original, reconstructed).tolist() == [[4, 10000]]
