from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stgraph.ops.quadratic_kernel import num_quadratic_features, quadratic_attention, quadratic_weights


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 8])  # an even and an odd number of entries with the added one
@pytest.mark.parametrize("masked", [False, True])
def test_features_give_what_the_matrix_gives(d: int, masked: bool) -> None:
    q, k, v = random(2, 9, d), random(2, 11, d, seed=1), random(2, 11, 3, seed=2)
    mask = torch.rand(2, 11, generator=torch.Generator().manual_seed(3)) < 0.6 if masked else None
    weights = (q @ k.mT + 1) ** 2 / (q.norm(dim=-1)[..., None] * k.norm(dim=-1)[:, None])
    weights = weights if mask is None else weights * mask[:, None]
    weights = weights / weights.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(quadratic_weights(q, k, mask), weights)
    inputs = [t.clone().requires_grad_() for t in (q, k, v)]
    results = []
    for function in (quadratic_attention, lambda q, k, v, mask: quadratic_weights(q, k, mask) @ v):
        out = function(*inputs, mask)
        results.append((out, *torch.autograd.grad(out.sin().sum(), inputs)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("d", [2, 3])
def test_gradients_of_both_orders(d: int) -> None:
    inputs = [t.requires_grad_() for t in (random(1, 4, d), random(1, 5, d, seed=1), random(1, 5, 2, seed=2))]
    for keep in (None, torch.tensor([[True, True, False, True, False]])):
        assert gradcheck(lambda *t, keep=keep: quadratic_attention(*t, keep), inputs)
        assert gradgradcheck(lambda *t, keep=keep: quadratic_attention(*t, keep), inputs)


def test_without_keys_the_result_is_zero() -> None:
    q, k, v = (t.requires_grad_() for t in random(3, 1, 4, 2).unbind())
    none = torch.zeros(1, 4, dtype=torch.bool)
    for out in (quadratic_attention(q, k, v, none), quadratic_weights(q, k, none)):
        assert out.abs().max() == 0
        for gradient in torch.autograd.grad(out.square().sum() + out.sum(), (q, k)):
            assert gradient.isfinite().all()


def test_opposite_keys_keep_the_mean_finite() -> None:
    q, k = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0], [-1.0, 3.0]])  # q . k + 1 = 0 for all keys
    v = torch.tensor([[1.0], [3.0]])
    assert quadratic_weights(q, k).isfinite().all()
    assert 1 <= quadratic_attention(q, k, v).item() <= 3


def test_zero_points_and_counts() -> None:
    zero = torch.zeros(3, 2, requires_grad=True)
    out = quadratic_attention(zero, zero, torch.ones(3, 1))
    torch.testing.assert_close(out, torch.ones(3, 1))
    out.sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()
    assert num_quadratic_features(16) == 153  # 1 + d + d (d + 1) / 2
