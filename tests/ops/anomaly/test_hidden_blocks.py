"""Predictions of points that were hidden from the model."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly.hidden_blocks import hidden_block_masks, predict_hidden, uncertainty_deviation
from stgraph.ops.interpolation import linear_interpolation


def series(length: int = 40) -> tuple[Tensor, Tensor]:
    x = torch.rand(3, length, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1.0
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) > 0.2
    return x, mask


@given(st.integers(2, 60), st.integers(1, 20), st.integers(2, 6), st.integers(0, 50))
def test_each_point_is_hidden_exactly_once(length: int, block: int, passes: int, offset: int) -> None:
    if (length - 1 + offset % block) // block == 0:
        with pytest.raises(InputError, match="would hide"):
            hidden_block_masks(length, block, passes, offset=offset)
        return
    masks = hidden_block_masks(length, block, passes, offset=offset)
    assert masks.shape == (passes, length)
    assert (masks.sum(dim=0) == 1).all()
    assert not masks.all(dim=1).any()


def test_offset_moves_the_blocks() -> None:
    masks = hidden_block_masks(9, 3, 3, offset=1)
    assert masks[0].nonzero().flatten().tolist() == [0, 1, 8]
    assert masks[1].nonzero().flatten().tolist() == [2, 3, 4]


def test_a_copy_of_what_is_visible_predicts_nothing() -> None:
    x, mask = series()

    def copy(visible: Tensor, hidden: Tensor) -> tuple[Tensor, None]:
        assert (visible[hidden] == 0).all()
        assert hidden[~mask].all()
        return visible, None

    mean, log_variance = predict_hidden(copy, x, mask, block=5)
    assert (mean == 0).all()
    assert log_variance is None


def test_prediction_does_not_depend_on_the_point_nor_on_its_block() -> None:
    x, mask = series()

    def interpolate(visible: Tensor, hidden: Tensor) -> tuple[Tensor, None]:
        return linear_interpolation(torch.arange(visible.shape[1]), visible, ~hidden), None

    mean, _ = predict_hidden(interpolate, x, mask, block=5)
    changed = x.clone()
    changed[:, 10:15] = 1e6  # one whole block
    changed[~mask] = math.nan
    found, _ = predict_hidden(interpolate, changed, mask, block=5)
    torch.testing.assert_close(found[:, 10:15], mean[:, 10:15], rtol=0, atol=0)


def test_interpolation_predicts_a_line() -> None:
    x = torch.linspace(0.0, 1.0, 41, dtype=torch.float64).reshape(1, 41, 1)
    mask = torch.ones_like(x, dtype=torch.bool)

    def interpolate(visible: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return linear_interpolation(torch.arange(41), visible, ~hidden), hidden.to(x.dtype)

    mean, log_variance = predict_hidden(interpolate, x, mask, block=4, passes=3)
    torch.testing.assert_close(mean[:, 4:-4], x[:, 4:-4])
    assert log_variance is not None
    assert (log_variance == 1.0).all()  # from the pass in which the point was hidden


def test_fewer_blocks_than_passes() -> None:
    x, mask = series(length=6)
    calls = []

    def count(visible: Tensor, hidden: Tensor) -> tuple[Tensor, None]:
        calls.append(hidden)
        return torch.ones_like(visible), None

    mean, _ = predict_hidden(count, x, mask, block=3, passes=5)
    assert len(calls) == 2
    assert (mean == 1).all()


def test_deviation_is_standard_normal_for_a_right_prediction() -> None:
    generator = torch.Generator().manual_seed(2)
    error = torch.rand(2, 5000, 1, generator=generator) + 0.5
    log_variance = torch.rand(2, 5000, 1, generator=generator)
    x = torch.randn(2, 5000, 1, generator=generator) * (log_variance.exp() + error.square()).sqrt() + 3.0
    mask = torch.rand(2, 5000, 1, generator=generator) > 0.3
    z = uncertainty_deviation(x.masked_fill(~mask, math.nan), torch.full_like(x, 3.0), log_variance, error, mask)
    assert (z[~mask] == 0).all()
    assert float(z[mask].mean()) == pytest.approx(0.0, abs=0.05)
    assert float(z[mask].std()) == pytest.approx(1.0, abs=0.05)


def test_deviation_with_one_uncertainty_only() -> None:
    x, mask = torch.full((1, 1, 1), 6.0), torch.ones(1, 1, 1, dtype=torch.bool)
    two, zero = torch.full_like(x, 2.0), torch.zeros_like(x)
    assert float(uncertainty_deviation(x, zero, None, two, mask)) == 3.0
    assert float(uncertainty_deviation(x, zero, (two * 2).log(), None, mask)) == pytest.approx(3.0)
    with pytest.raises(InputError, match="no uncertainty"):
        uncertainty_deviation(x, zero, None, zero, mask)
    assert float(uncertainty_deviation(x, zero, None, zero, ~mask)) == 0.0


def test_bad_input() -> None:
    x, mask = series()
    for values, name in (((1, 1, 2), "length"), ((9, 0, 2), "block"), ((9, 2, 1), "passes")):
        with pytest.raises(InputError, match=name):
            hidden_block_masks(*values)
    with pytest.raises(InputError, match="offset"):
        hidden_block_masks(9, 2, 2, offset=-1)
    with pytest.raises(InputError, match="the mean has shape"):
        predict_hidden(lambda visible, hidden: (visible[:1], None), x, mask, block=5)
    with pytest.raises(InputError, match="x has shape"):
        predict_hidden(lambda visible, hidden: (visible, None), x[0], mask[0], block=5)
    with pytest.raises(InputTypeError, match="mask"):
        predict_hidden(lambda visible, hidden: (visible, None), x, x, block=5)
    answers = iter([(x, x), (x, None)])
    with pytest.raises(InputError, match="some calls only"):
        predict_hidden(lambda visible, hidden: next(answers), x, mask, block=5)
