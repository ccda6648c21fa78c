from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.ops.anomaly.neighbor_regression import cross_fitted_ridge, neighbor_table, shift_steps, time_folds


def test_what_is_fitted_comes_from_the_other_folds() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.cat([torch.ones(2, 40, 1), torch.randn(2, 40, 2, generator=generator)], dim=-1)
    target = torch.randn(2, 40, generator=generator)
    weight = torch.rand(2, 40, generator=generator)
    fold = time_folds(40, 4)
    fit = cross_fitted_ridge(features, target, weight, fold, alphas=[3.0])
    for row in range(2):
        for number in range(4):
            kept = fold != number
            part, scaled = features[row, kept], features[row, kept] * weight[row, kept, None]
            gram = part.T @ scaled + torch.diag(torch.tensor([1e-6, 3.0, 3.0]))
            solved = torch.linalg.solve(gram, scaled.T @ target[row, kept])
            expected = features[row, ~kept] @ solved
            assert torch.allclose(fit.fitted[row, ~kept], expected, atol=1e-4)


def test_penalty_of_least_error_left_out() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.cat([torch.ones(1, 60, 1), torch.randn(1, 60, 1, generator=generator)], dim=-1)
    known = features[..., 1]
    noise = torch.randn(1, 60, generator=generator)
    target = torch.cat([known, noise])
    fit = cross_fitted_ridge(features, target, torch.ones(2, 60), time_folds(60, 3), alphas=[0.001, 1e5])
    assert fit.alpha[0] == pytest.approx(0.001)
    assert fit.weight[0, 1] == pytest.approx(1.0, abs=1e-3)
    chosen, other = (
        (target[1] - cross_fitted_ridge(features, target[1:], torch.ones(1, 60), time_folds(60, 3), [a]).fitted[0])
        .square()
        .sum()
        for a in sorted([0.001, 1e5], key=lambda a: a != pytest.approx(float(fit.alpha[1])))
    )
    assert chosen <= other


def test_table_keeps_the_most_relevant_and_no_loops() -> None:
    edge_index = torch.tensor([[0, 1, 2, 3, 2], [0, 0, 0, 0, 1]])
    table = neighbor_table(edge_index, 4, 2, torch.tensor([9.0, 0.1, 0.5, 0.3, 1.0]))
    assert table.source[0].tolist() == [2, 3]
    assert table.exists.tolist() == [[True, True], [True, False], [False, False], [False, False]]
    with pytest.raises(InputError, match="limit"):
        neighbor_table(edge_index, 4, 0)


def test_shift_there_and_back() -> None:
    values = torch.arange(6.0).view(2, 3)
    assert torch.equal(shift_steps(shift_steps(values, 1), -1)[:, :2], values[:, :2])
