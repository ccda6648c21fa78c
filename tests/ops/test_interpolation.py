from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.interpolation import distance_to_visible, linear_interpolation


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 9), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_equals_numpy_for_every_series_and_channel(seed: int, steps: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    time = rng.uniform(1e-3, 2.0, (2, 3, steps)).cumsum(-1) + 2.45e6  # Julian dates
    x, visible = rng.normal(size=(2, 3, steps, 2)), rng.random((2, 3, steps, 2)) < share
    noisy = np.where(visible, x, np.nan)  # what is not visible must not matter
    result = linear_interpolation(*map(torch.from_numpy, (time, noisy, visible)), fill=-7.0).numpy()
    for i, j, c in np.ndindex(2, 3, 2):
        seen = visible[i, j, :, c]
        expected = np.full(steps, -7.0)
        if seen.any():
            expected = np.interp(time[i, j], time[i, j, seen], x[i, j, seen, c])
        np.testing.assert_allclose(result[i, j, :, c], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(result[i, j, seen, c], x[i, j, seen, c])


def test_shared_times_and_float32_values_with_late_times() -> None:
    time = 2_450_000.0 + torch.tensor([0.0, 0.001, 0.004], dtype=torch.float64)  # float32 would not tell them apart
    x = torch.tensor([[0.0], [9.0], [4.0]]).expand(2, 3, 1)
    visible = torch.tensor([[True], [False], [True]]).expand(2, 3, 1)
    result = linear_interpolation(time, x, visible)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, torch.tensor([[0.0], [1.0], [4.0]]).expand(2, 3, 1), rtol=1e-5, atol=0)


def test_gradient_reaches_the_visible_values_alone() -> None:
    x = torch.tensor([[1.0], [5.0], [2.0]], requires_grad=True)
    visible = torch.tensor([[True], [False], [True]])
    linear_interpolation(torch.tensor([0.0, 1.0, 4.0]), x, visible)[1].sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[0.75], [0.0], [0.25]]))


def test_no_steps_and_no_series() -> None:
    assert linear_interpolation(torch.zeros(0), torch.zeros(2, 0, 1), torch.zeros(2, 0, 1) > 0).shape == (2, 0, 1)
    assert linear_interpolation(torch.arange(3), torch.zeros(0, 3, 1), torch.zeros(0, 3, 1) > 0).shape == (0, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ((torch.zeros(3), torch.zeros(3), torch.zeros(3) > 0), InputError, "x has shape"),
        ((torch.arange(3), torch.zeros(3, 1).long(), torch.zeros(3, 1) > 0), InputTypeError, "x is of type"),
        ((torch.arange(3), torch.zeros(3, 1), torch.zeros(3, 1)), InputTypeError, "visible is of type"),
        ((torch.arange(3), torch.zeros(3, 1), torch.zeros(3, 2) > 0), InputError, "visible has shape"),
        ((torch.arange(4), torch.zeros(3, 1), torch.zeros(3, 1) > 0), InputError, "time has shape"),
        ((torch.zeros(2, 3), torch.zeros(3, 1), torch.zeros(3, 1) > 0), InputError, "time has shape"),
        ((torch.zeros(2, 3), torch.zeros(5, 3, 1), torch.zeros(5, 3, 1) > 0), InputError, "time has shape"),
        ((torch.tensor([0, 1, 1]), torch.zeros(3, 1), torch.zeros(3, 1) > 0), InputError, "time does not increase"),
    ],
)
def test_wrong_input_is_named(arguments: tuple[torch.Tensor, ...], error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=name):
        linear_interpolation(*arguments)


def test_distances_against_a_loop():
    visible = torch.rand(4, 30, 2, generator=torch.Generator().manual_seed(0)) > 0.8
    visible[2, :, 1] = False
    found = distance_to_visible(visible)
    for row in range(4):
        for channel in range(2):
            shown = visible[row, :, channel].nonzero().flatten().tolist()
            expected = [min((abs(step - other) for other in shown), default=float("inf")) for step in range(30)]
            assert found[row, :, channel].tolist() == expected
    assert distance_to_visible(visible[:, :0]).shape == (4, 0, 2)
