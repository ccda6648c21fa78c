from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.ops.missing import fill_with_nearest_observed, last_observed


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 8))
def test_equals_pandas_forward_then_backward_fill(seed: int, steps: int) -> None:
    generator = np.random.default_rng(seed)
    x, mask = generator.standard_normal((3, steps, 2)), generator.random((3, steps, 2)) < 0.5
    filled = fill_with_nearest_observed(torch.from_numpy(x), torch.from_numpy(mask))
    expected = [pd.DataFrame(np.where(m, v, np.nan)).ffill().bfill().fillna(0) for v, m in zip(x, mask, strict=True)]
    np.testing.assert_array_equal(filled.numpy(), np.stack(expected))
    np.testing.assert_array_equal(last_observed(torch.from_numpy(x), torch.from_numpy(mask)), np.stack(expected)[:, -1])


def test_nan_where_unobserved_and_complete_series() -> None:
    x = torch.tensor([[float("nan")], [2.0]])
    assert fill_with_nearest_observed(x, ~x.isnan()).tolist() == [[2.0], [2.0]]
    assert fill_with_nearest_observed(x, None) is x
    assert fill_with_nearest_observed(x[:0], ~x[:0].isnan()).shape == (0, 1)
