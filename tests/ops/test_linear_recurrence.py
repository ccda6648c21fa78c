from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.linear_recurrence import linear_recurrence


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loop(a: Tensor, b: Tensor) -> Tensor:
    state, states = torch.zeros_like(b[..., 0, :]), []
    for t in range(b.shape[-2]):
        state = a[..., t, :] * state + b[..., t, :]
        states.append(state)
    return torch.stack(states, dim=-2)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2), st.booleans(), st.integers(0, 2**16))
def test_equals_a_loop(steps: int, batch: int, reverse: bool, seed: int) -> None:
    a, b = random(batch, 2, steps, 3, seed=seed).sigmoid(), random(batch, 2, steps, 3, seed=seed + 1)
    expected = loop(a.flip(-2), b.flip(-2)).flip(-2) if reverse else loop(a, b)
    torch.testing.assert_close(linear_recurrence(a, b, reverse=reverse), expected)


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients(steps: int, reverse: bool) -> None:
    a, b = random(2, steps, 2).sigmoid().requires_grad_(), random(2, steps, 2, seed=1).requires_grad_()
    mask = torch.ones(2, steps, dtype=torch.bool)
    mask[0, steps // 2] = False

    def function(a: Tensor, b: Tensor) -> Tensor:
        return linear_recurrence(a, b, mask=mask, reverse=reverse)

    assert torch.autograd.gradcheck(function, (a, b))
    assert torch.autograd.gradgradcheck(function, (a, b))


def test_equals_the_logarithmic_form() -> None:
    """Heinsen's formula, from the logarithms of positive numbers."""
    log_a, log_b = F.logsigmoid(random(2, 50, 3)), random(2, 50, 3, seed=1)
    total = log_a.cumsum(-2)
    expected = (total + (log_b - total).logcumsumexp(-2)).exp()
    torch.testing.assert_close(linear_recurrence(log_a.exp(), log_b.exp()), expected)


@pytest.mark.parametrize("shift", [-6.0, 0.0, 6.0])  # a near 0, 0.5 and 1
def test_a_long_series_in_single_precision(shift: float) -> None:
    a, b = (random(20_000, 4) + shift).sigmoid().float(), random(20_000, 4, seed=1).exp().float()
    states = linear_recurrence(a, b)
    expected = loop(a.double(), b.double())
    assert ((states - expected).abs() / expected).max() < 2e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_in_single_precision(dtype: torch.dtype) -> None:
    # In half precision, a sum of 5000 ones stops at 256 or 2048.
    ones = torch.ones(5000, 1, dtype=dtype)
    states = linear_recurrence(ones, ones)
    assert states.dtype == dtype
    torch.testing.assert_close(states[-1].float(), torch.tensor([5000.0]), rtol=1e-2, atol=0)


def test_the_graph_has_one_node_for_any_length() -> None:
    for steps in (2, 1000):
        a = torch.full((steps, 1), 0.5, requires_grad=True)
        node = linear_recurrence(a, a).grad_fn
        assert node is not None
        assert all(before.name().endswith("AccumulateGrad") for before, _ in node.next_functions)


def test_the_mask_leaves_the_state() -> None:
    a, b = random(7, 2).sigmoid(), random(7, 2, seed=1)
    mask = torch.tensor([False, True, True, False, False, True, False])
    states = linear_recurrence(a, b, mask=mask)
    kept = loop(a[mask], b[mask])
    assert torch.equal(states[0], torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(states[1:], kept[[0, 1, 1, 1, 2, 2]])
    # Not even a missing number gets through.
    b[~mask] = torch.nan
    torch.testing.assert_close(linear_recurrence(a, b, mask=mask), states)


def test_bad_input() -> None:
    a = torch.ones(4, 2)
    with pytest.raises(InputError, match=r"a has shape \(4, 2\) and b \(3, 2\)"):
        linear_recurrence(a, a[:3])
    with pytest.raises(InputError, match="T >= 1"):
        linear_recurrence(a[:0], a[:0])
    with pytest.raises(InputTypeError, match=r"b has dtype torch.int64"):
        linear_recurrence(a, a.long())
    with pytest.raises(InputTypeError, match=r"mask has dtype torch.float32"):
        linear_recurrence(a, a, mask=a[:, 0])
    with pytest.raises(InputError, match=r"mask has shape \(4, 2\)"):
        linear_recurrence(a, a, mask=a.bool())
