from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stgraph.errors import InputError
from stgraph.ops.random_features import (
    kernel_feature_attention,
    orthogonal_gaussian,
    positive_feature_attention,
    positive_log_features,
    random_feature_attention,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=seeded(seed))


def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v


def estimate(q: Tensor, k: Tensor, v: Tensor, m: int, seed: int) -> Tensor:
    d = q.shape[-1]
    projection = orthogonal_gaussian(d, m, generator=seeded(seed)).to(q.dtype) * d**-0.25
    return random_feature_attention(q, k, v, projection, decay=0.5 / math.sqrt(d))


def quotient(log_q: Tensor, log_k: Tensor, v: Tensor) -> Tensor:
    """The defining quotient, without any stabilisation."""
    weights = log_q.exp() @ log_k.exp().mT
    return weights @ v / weights.sum(dim=-1, keepdim=True)


@pytest.mark.parametrize(("d", "m"), [(1, 1), (1, 5), (4, 4), (4, 10), (16, 8)])
def test_orthogonal_blocks(d: int, m: int) -> None:
    omega = orthogonal_gaussian(d, m, generator=seeded())
    assert omega.shape == (d, m)
    directions = omega / omega.norm(dim=0)
    for block in directions.split(d, dim=1):
        torch.testing.assert_close(block.mT @ block, torch.eye(block.shape[1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_each_column_is_gaussian(orthogonal: bool) -> None:
    d, m = 4, 40_000
    omega = orthogonal_gaussian(d, m, orthogonal, seeded()).double()
    assert omega.mean(dim=1).abs().max() < 5 / math.sqrt(m)
    covariance = omega @ omega.mT / m
    assert (covariance - torch.eye(d)).abs().max() < 5 * math.sqrt(2 / m)
    # Squared norms are chi-squared: mean d, variance 2 d.
    squared = omega.square().sum(dim=0)
    assert abs(squared.mean().item() - d) < 5 * math.sqrt(2 * d / m)
    assert abs(squared.var().item() - 2 * d) < 0.5
    assert abs((omega[0] ** 4).mean().item() - 3) < 0.25


def test_generator_decides() -> None:
    state = torch.random.get_rng_state()
    a, b = (orthogonal_gaussian(3, 7, generator=seeded(4)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(a, orthogonal_gaussian(3, 7, generator=seeded(5)))


@pytest.mark.parametrize("size", [(0, 3), (3, 0)])
def test_bad_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="expected at least 1"):
        orthogonal_gaussian(*size)


@pytest.mark.parametrize("orthogonal", [True, False])
@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_features_have_no_bias(orthogonal: bool, decay: float) -> None:
    d, m, draws = 6, 12, 3000
    x, y = 0.6 * random(1, d, seed=1), 0.6 * random(1, d, seed=2)
    generator = seeded()
    estimates = []
    for _ in range(draws):
        omega = orthogonal_gaussian(d, m, orthogonal, generator).double()
        log_x, log_y = (positive_log_features(t, omega, decay) for t in (x, y))
        estimates.append((log_x + log_y).exp().mean())
    mean, error = torch.stack(estimates).mean(), torch.stack(estimates).std() / math.sqrt(draws)
    expected = (x @ y.mT).exp() if decay == 0.5 else (-(x - y).square().sum() / 2).exp()
    assert abs(mean - expected) < 4 * error
    assert error < 0.05 * expected


def test_equals_the_quotient() -> None:
    log_q, log_k, v = random(2, 3, 5, 7), random(2, 3, 6, 7, seed=1), random(2, 3, 6, 4, seed=2)
    torch.testing.assert_close(positive_feature_attention(log_q, log_k, v), quotient(log_q, log_k, v))


@pytest.mark.parametrize("tokens", [1, 2, 7, 31, 129])
def test_fused_equals_two_steps(tokens: int) -> None:
    q, k, v = random(3, 2, tokens, 4).unbind()
    v = torch.cat([v, v[..., :1]], dim=-1)  # values of another width
    omega = random(4, 9, seed=3)
    mask = torch.rand(2, tokens, generator=seeded(9)) < 0.7
    mask[0] = False
    for keep in (None, mask):
        inputs = [t.clone().requires_grad_() for t in (q, k, v)]
        results = []
        fused = random_feature_attention(*inputs, omega, 0.3, keep)
        steps = positive_feature_attention(
            inputs[0] @ omega, positive_log_features(inputs[1], omega, 0.3), inputs[2], keep
        )
        results = [(out, *torch.autograd.grad(out.sin().sum(), inputs)) for out in (fused, steps)]
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b)


def test_gradients_of_both_orders() -> None:
    q, k, v = (0.5 * random(3, 2, 5, 3)).unbind()
    inputs = [t.clone().requires_grad_() for t in (q, k, v)]
    omega, mask = random(3, 4, seed=1), torch.tensor([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0]]).bool()
    for keep in (None, mask):
        assert gradcheck(lambda *t, keep=keep: random_feature_attention(*t, omega, 0.5, keep), inputs)
        assert gradgradcheck(lambda *t, keep=keep: random_feature_attention(*t, omega, 0.5, keep), inputs)
        assert gradcheck(
            lambda *t, keep=keep: positive_feature_attention(t[0] @ omega, t[1] @ omega, t[2], keep), inputs
        )
        assert gradcheck(lambda *t, keep=keep: kernel_feature_attention(t[0].exp(), t[1].exp(), t[2], keep), inputs)


def test_error_falls_as_the_root_of_the_features() -> None:
    counts, seeds = (64, 256, 1024, 4096), 12
    errors = []
    for m in counts:
        relative = []
        for seed in range(seeds):
            q, k = 0.5 * random(256, 16, seed=3 * seed), 0.5 * random(256, 16, seed=3 * seed + 1)
            v = random(256, 16, seed=3 * seed + 2)
            q, k, v = (t.float() for t in (q, k, v))
            expected = exact(q, k, v)
            relative.append((estimate(q, k, v, m, seed) - expected).norm() / expected.norm())
        errors.append(torch.stack(relative).mean().item())
    assert errors[0] < 0.35
    assert errors[2] < 0.12
    assert errors[3] < 0.08
    x, y = torch.tensor(counts).double().log(), torch.tensor(errors).double().log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert -0.65 < slope < -0.35


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0, 20.0, 100.0])
def test_no_scale_breaks_it(scale: float) -> None:
    q, k, v = random(3, 256, 16, dtype=torch.float32).unbind()
    q, k = (scale * q).requires_grad_(), (scale * k).requires_grad_()
    out = estimate(q, k, v, 64, seed=0)
    out.square().sum().backward()
    assert out.isfinite().all()
    assert q.grad is not None
    assert q.grad.isfinite().all()
    assert k.grad is not None
    assert k.grad.isfinite().all()
    ratio = out.norm() / exact(q, k, v).norm()
    assert 0.25 < ratio < 4
    assert (out <= v.amax(dim=0) + 1e-5).all()
    assert (out >= v.amin(dim=0) - 1e-5).all()


def test_a_row_without_keys_is_zero() -> None:
    q, k, v = (t.requires_grad_() for t in random(3, 2, 4, 3, dtype=torch.float32).unbind())
    mask = torch.tensor([[True, True, False, False], [False] * 4])
    projection = random(3, 5, dtype=torch.float32)
    for function in (
        lambda: random_feature_attention(q, k, v, projection, 0.5, mask),
        lambda: positive_feature_attention(q @ projection, k @ projection, v, mask),
        lambda: kernel_feature_attention(q.exp(), k.exp(), v, mask),
    ):
        out = function()
        assert torch.equal(out[1], torch.zeros(4, 3))
        for gradient in torch.autograd.grad(out.sum() + out.square().sum(), (q, k, v)):
            assert gradient.isfinite().all()
            assert gradient[1].abs().max() == 0


def test_leading_axes_broadcast_and_empty() -> None:
    q, k, v = random(3, 2, 3, 5, 4).unbind()
    omega = random(4, 6)
    whole = random_feature_attention(q, k, v, omega, 0.5)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(whole[i, j], random_feature_attention(q[i, j], k[i, j], v[i, j], omega, 0.5))
    for shape in ((0, 5, 4), (2, 0, 4)):
        empty = torch.zeros(shape)
        assert random_feature_attention(empty, empty, empty, omega.float(), 0.5).shape == shape
