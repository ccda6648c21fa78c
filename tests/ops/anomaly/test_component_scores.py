"""Scores in components against weighted least squares, and their robustness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stgraph.ops.anomaly import component_scores as module
from stgraph.ops.anomaly.component_scores import component_scores


def some(seed: int = 0, rows: int = 5, length: int = 60, rank: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, orthonormal components and a mean."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(length, rank, generator=generator, dtype=torch.float64)).Q.T
    scores = torch.randn(rows, rank, generator=generator, dtype=torch.float64)
    return scores, basis, torch.randn(length, generator=generator, dtype=torch.float64)


def test_noiseless_spectra_get_their_scores_back() -> None:
    scores, basis, mean = some()
    x = mean + scores @ basis
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 10:20] = False
    found = component_scores(x.masked_fill(~mask, torch.nan), mask, basis, mean, torch.ones_like(x))
    torch.testing.assert_close(found, scores, rtol=1e-4, atol=1e-5)


def test_scores_are_those_of_weighted_least_squares() -> None:
    # Residuals of one size in units of the errors are within Huber's corner, 2 medians of them, if each tells little of the scores.
    scores, basis, mean = some(length=400)
    generator = torch.Generator().manual_seed(5)
    error = 0.01 * (0.5 + torch.rand(5, 400, generator=generator, dtype=torch.float64))
    signs = torch.randn(5, 400, generator=generator, dtype=torch.float64).sign()
    mask = torch.rand(5, 400, generator=generator) < 0.8
    x = mean + scores @ basis + error * signs
    found = component_scores(x, mask, basis, mean, error)
    for row in range(5):
        good = mask[row].numpy()
        weight = 1 / error[row].numpy()[good]
        design, target = basis.T.numpy()[good] * weight[:, None], (x[row] - mean).numpy()[good] * weight
        expected = np.linalg.lstsq(design, target, rcond=None)[0]
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_an_outlier_hardly_moves_the_scores() -> None:
    scores, basis, mean = some(length=200)
    noise = 0.05 * torch.randn(5, 200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = mean + scores @ basis + noise
    mask, error = torch.ones_like(x, dtype=torch.bool), torch.full_like(x, 0.05)
    clean = component_scores(x, mask, basis, mean, error)
    x[:, 40:50] += 5.0
    moved = (component_scores(x, mask, basis, mean, error) - clean).norm(dim=1)
    least_squares = ((x - mean) @ basis.T - clean).norm(dim=1)
    assert (moved < 0.1 * least_squares).all()


def test_a_point_that_claims_to_be_exact_does_not_decide_alone() -> None:
    scores, basis, mean = some()
    x = (mean + scores @ basis).float()
    error = torch.full_like(x, 0.05)
    error[:, 30] = 1e-7
    x[:, 30] += 1.0
    found = component_scores(x, torch.ones_like(x, dtype=torch.bool), basis.float(), mean.float(), error)
    torch.testing.assert_close(found, scores.float(), rtol=0.05, atol=0.1)


def test_spectra_that_tell_nothing_get_zero() -> None:
    scores, basis, mean = some()
    basis[2] = 0  # fewer components than asked for
    x = mean + scores @ basis
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[3] = False
    found = component_scores(x, mask, basis, mean, torch.ones_like(x))
    assert not found[3].any()
    assert not found[:, 2].any()
    torch.testing.assert_close(found[:3, :2], scores[:3, :2], rtol=1e-4, atol=1e-5)
    assert component_scores(x[:0], mask[:0], basis, mean, x[:0]).shape == (0, 3)


def test_blocks_and_units_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, basis, mean = some()
    x = mean + scores @ basis + torch.randn(5, 60, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mask, error = torch.ones_like(x, dtype=torch.bool), torch.ones_like(x)
    whole = component_scores(x, mask, basis, mean, error)
    torch.testing.assert_close(component_scores(x, mask, basis, mean, 7 * error), whole)
    torch.testing.assert_close(component_scores(1e3 * x, mask, basis, 1e3 * mean, 1e3 * error), 1e3 * whole)
    monkeypatch.setattr(module, "_BLOCK", 120)
    torch.testing.assert_close(component_scores(x, mask, basis, mean, error), whole)
