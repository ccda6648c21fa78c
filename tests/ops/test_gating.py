from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stgraph.ops.gating import change_score


def score_by_loops(x: np.ndarray) -> np.ndarray:
    """The score of one window (N, T, C), written out step by step."""
    steps = x.shape[1]
    base = x.copy()
    for t in range(steps):
        base[:, t] = x[:, 0] if t < 2 else (x[:, t - 2] + x[:, t - 1] + x[:, t]) / 3
    residual = x - base
    total = np.zeros(steps)
    for lag in (1, 2, 4, 6):
        m = np.zeros(steps)
        for t in range(lag, steps):
            m[t] = np.abs(residual[:, t] - residual[:, t - lag]).mean()
        median = np.sort(m)[(steps - 1) // 2]
        deviation = np.sort(np.abs(m - median))[(steps - 1) // 2]
        z = (m - median) / (1.4826 * deviation + 1e-6)
        total += np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0)
    g = total / 4
    e = np.zeros(steps)
    for t in range(steps):
        e[t] = g[t] if t == 0 else 0.6 * e[t - 1] + 0.4 * g[t]
    return np.array([1 / (1 + math.exp(-1.5 * v)) if v > -400 else 0.0 for v in e - e.mean()])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8, 13])
def test_equals_loops(steps: int) -> None:
    x = torch.randn(3, 4, steps, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(steps))
    expected = np.stack([score_by_loops(window.numpy()) for window in x])
    np.testing.assert_allclose(change_score(x).numpy(), expected, atol=1e-6)
    nodes = np.stack([score_by_loops(node.numpy()) for node in x.flatten(0, 1).unsqueeze(1)])
    np.testing.assert_allclose(change_score(x, per_node=True).flatten(0, 1).numpy(), nodes, atol=1e-6)


def test_invariances_and_edges() -> None:
    x = torch.randn(2, 5, 9, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    score = change_score(x)
    torch.testing.assert_close(change_score(x + 100), score, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(change_score(x * 7), score, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(change_score(x[:, [4, 2, 0, 1, 3]]), score)
    assert not change_score(x.requires_grad_()).requires_grad
    assert change_score(torch.zeros(2, 3, 0, 1)).shape == (2, 0)
    assert change_score(torch.zeros(2, 3, 0, 1), per_node=True).shape == (2, 3, 0)
    torch.testing.assert_close(change_score(torch.ones(1, 3, 6, 1)), torch.full((1, 6), 0.5))
