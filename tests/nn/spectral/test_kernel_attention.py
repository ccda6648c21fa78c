from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from stgraph.errors import InputError
from stgraph.nn.spectral.kernel_attention import KernelAttention
from tests.nn.spectral import attention_rules as rules
from tests.nn.spectral.attention_rules import random

KINDS = ("gaussian", "polynomial", "spectral")


def make(kind: str, *arguments: int, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return KernelAttention(*arguments, kernel_type=kind, **options).eval()


def heads(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    projected = (layer.q_proj(x), layer.k_proj(x), layer.v_proj(x))
    q, k, v = (t.unflatten(-1, (layer.num_heads, -1)).transpose(-3, -2) for t in projected)
    return q, k, v


def kernel_matrix(layer: nn.Module, q: Tensor, k: Tensor) -> Tensor:
    kernel, d = layer.kernel, q.shape[-1]
    if layer.kernel_type == "polynomial":
        return (q @ k.mT + 1) ** 2 / (q.norm(dim=-1).unsqueeze(-1) * k.norm(dim=-1).unsqueeze(-2))
    if layer.kernel_type == "spectral":
        scaled = kernel.eigenvectors * (kernel.eigenvalues.abs() + 1e-8).sqrt()
        q_features, k_features = (torch.nn.functional.elu(t @ scaled) + 1 for t in (q, k))
    else:
        q_features, k_features = (
            (t @ kernel.projection * d**-0.25 - t.square().sum(-1, keepdim=True) / d**0.5).exp() for t in (q, k)
        )
    return q_features @ k_features.mT


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    @pytest.mark.parametrize("tokens", [2, 7, 40])
    def test_masks(self, kind: str, tokens: int) -> None:
        rules.mask_rules(make(kind, 12, 3), tokens, 12)

    def test_batch_is_a_loop(self, kind: str) -> None:
        rules.batch_is_a_loop(make(kind, 12, 3), 12)

    @pytest.mark.parametrize("tokens", [9, 31])
    def test_permutes(self, kind: str, tokens: int) -> None:
        rules.permutes(make(kind, 12, 3), tokens, 12)

    @pytest.mark.parametrize("tokens", [9, 31])
    def test_dtypes(self, kind: str, tokens: int) -> None:
        rules.dtypes(make(kind, 12, 3), tokens, 12)

    def test_shapes(self, kind: str) -> None:
        rules.shapes(make(kind, 12, 3), 12)

    @pytest.mark.parametrize("tokens", [1, 2, 7, 31, 64, 100, 129])
    @pytest.mark.parametrize("masked", [False, True])
    def test_equals_the_kernel_matrix(self, kind: str, tokens: int, masked: bool) -> None:
        layer = make(kind, 12, 3).double()
        x = random(2, tokens, 12, dtype=torch.float64)
        mask = torch.rand(2, tokens, generator=torch.Generator().manual_seed(1)) < 0.5
        mask[:, 0] = True
        q, k, v = heads(layer, x)
        weights = kernel_matrix(layer, q, k) * (mask[:, None, None] if masked else 1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        assert (weights >= 0).all()
        expected = layer.out_proj((weights @ v).transpose(-3, -2).flatten(-2))
        out, given = layer(x, mask if masked else None, return_attention=True)
        kept = mask if masked else torch.ones_like(mask)
        torch.testing.assert_close(out[kept], expected[kept], atol=1e-6, rtol=1e-6)
        if kind == "polynomial":
            torch.testing.assert_close(given.transpose(1, 2)[kept], weights.transpose(1, 2)[kept])
            torch.testing.assert_close(given.sum(dim=-1), torch.ones(2, 3, tokens).double())
        else:
            assert given is None

    @pytest.mark.parametrize("tokens", [2, 7])
    def test_gradients_of_both_orders(self, kind: str, tokens: int) -> None:
        layer = make(kind, 4, 2).double()  # 6 quadratic features: both forms of the polynomial kernel
        x = random(2 if tokens == 2 else 1, tokens, 4, dtype=torch.float64).requires_grad_()
        mask = torch.ones(len(x), tokens)
        mask[0, -1], mask[1:] = 0, 0
        for given in (None, mask):
            assert gradcheck(lambda x, given=given: layer(x, given), (x,), eps=1e-6, atol=1e-4)
            assert gradgradcheck(lambda x, given=given: layer(x, given), (x,), eps=1e-6, atol=1e-4)
        layer(x).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
    def test_means_lie_in_the_range_of_the_values(self, kind: str, scale: float) -> None:
        layer, x = make(kind, 32, 4), scale * random(2, 200, 32)
        q, k, v = heads(layer, x)
        mixed = layer.attend(q, k, v, None)
        slack = 1e-4 * v.abs().max()
        assert (mixed <= v.amax(dim=-2, keepdim=True) + slack).all()
        assert (mixed >= v.amin(dim=-2, keepdim=True) - slack).all()

    def test_state_copy_and_reset(self, kind: str) -> None:
        layer, other = make(kind, 12, 3), KernelAttention(12, 3, kind).eval()
        x = random(2, 9, 12)
        other.load_state_dict(layer.state_dict())
        assert torch.equal(layer(x), other(x))
        assert torch.equal(copy.deepcopy(layer)(x), other(x))
        layer.reset_parameters()
        assert not torch.equal(layer(x), other(x))
        assert kind in repr(layer)


def test_estimates_the_gaussian_kernel() -> None:
    layer, x = make("gaussian", 8, 2, num_features=20_000), random(1, 30, 8)
    q, k, v = heads(layer, x)
    weights = (-torch.cdist(q, k).square() / 4).softmax(dim=-1)  # 2 sqrt(d) = 4
    expected = layer.out_proj((weights @ v).transpose(-3, -2).flatten(-2))
    assert (layer(x) - expected).norm() < 0.03 * expected.norm()


def test_defaults_and_parameters() -> None:
    assert make("gaussian", 32, 4).kernel.projection.shape == (8, 8)
    assert make("spectral", 32, 4).rank == 8
    spectral = make("spectral", 32, 4, rank=3)
    assert spectral.kernel.eigenvectors.shape == (8, 3)
    assert spectral.kernel.eigenvalues.shape == (3,)


def test_weights_of_a_mini_batch_are_refused() -> None:
    x, batch = random(9, 12), torch.zeros(9, dtype=torch.long)
    with pytest.raises(InputError, match="return_attention"):
        make("polynomial", 12, 3)(x, return_attention=True, batch=batch)
    assert make("spectral", 12, 3)(x, return_attention=True, batch=batch)[1] is None


@pytest.mark.parametrize(
    "options", [{"kernel_type": "cosine"}, {"kernel_type": "spectral", "rank": 5}, {"num_features": 0}]
)
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=list(options)[-1]):
        KernelAttention(12, 3, **options)
    with pytest.raises(InputError, match="num_heads"):
        KernelAttention(12, 5)
