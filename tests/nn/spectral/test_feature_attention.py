from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral.feature_attention import PerformerAttention, SpectralAttention
from tests.nn.spectral import attention_rules as rules
from tests.nn.spectral.attention_rules import random

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "softmax": SpectralAttention,
    "gaussian": lambda *a, **o: SpectralAttention(*a, kernel_type="gaussian", **o),
    "performer": PerformerAttention,
    "generalized": lambda *a, **o: PerformerAttention(*a, generalized=True, **o),
}


def make(name: str, *arguments: int, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return LAYERS[name](*arguments, **options).eval()


def heads(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    projected = (layer.q_proj(x), layer.k_proj(x), layer.v_proj(x))
    q, k, v = (t.unflatten(-1, (layer.num_heads, -1)).transpose(-3, -2) for t in projected)
    return q, k, v


@pytest.mark.parametrize("name", LAYERS)
class TestEveryLayer:
    @pytest.mark.parametrize("tokens", [2, 7, 40])
    def test_masks(self, name: str, tokens: int) -> None:
        rules.mask_rules(make(name, 12, 3), tokens, 12)

    def test_batch_is_a_loop(self, name: str) -> None:
        rules.batch_is_a_loop(make(name, 12, 3), 12)

    def test_permutes(self, name: str) -> None:
        rules.permutes(make(name, 12, 3), 31, 12)

    def test_dtypes(self, name: str) -> None:
        rules.dtypes(make(name, 12, 3), 20, 12)

    def test_shapes(self, name: str) -> None:
        rules.shapes(make(name, 12, 3), 12)

    @pytest.mark.parametrize("tokens", [1, 2, 7, 31, 64, 100, 129])
    def test_equals_its_features(self, name: str, tokens: int) -> None:
        """The layer as its formula reads, with a matrix of weights; they are convex."""
        layer = make(name, 12, 3, num_features=20).double()
        x = random(2, tokens, 12, dtype=torch.float64)
        q, k, v = heads(layer, x)
        kernel, d = layer.kernel, 4
        if name == "generalized":
            q_features, k_features = ((t @ kernel.projection * d**-0.25).relu() / 20**0.5 + 1e-3 for t in (q, k))
        else:
            decay = 1.0 if name == "gaussian" else 0.5
            q_features, k_features = (
                (t @ kernel.projection * d**-0.25 - decay * t.square().sum(-1, keepdim=True) / d**0.5).exp()
                for t in (q, k)
            )
        weights = q_features @ k_features.mT
        weights = weights / weights.sum(dim=-1, keepdim=True)
        assert (weights >= 0).all()
        expected = layer.out_proj((weights @ v).transpose(-3, -2).flatten(-2))
        torch.testing.assert_close(layer(x), expected)

    def test_gradients_of_both_orders(self, name: str) -> None:
        layer = make(name, 4, 2, num_features=3).double()
        x = random(2, 3, 4, dtype=torch.float64).requires_grad_()
        mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
        for given in (None, mask):
            assert gradcheck(lambda x, given=given: layer(x, given), (x,), eps=1e-6, atol=1e-4)
            assert gradgradcheck(lambda x, given=given: layer(x, given), (x,), eps=1e-6, atol=1e-4)
        layer(x).square().sum().backward()
        # The softmax does not see a shift common to all keys; every other parameter matters.
        assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
        assert all(p.grad.abs().sum() > 0 for n, p in layer.named_parameters() if n != "k_proj.bias")

    def test_state_copy_and_step(self, name: str) -> None:
        layer, other = make(name, 12, 3), LAYERS[name](12, 3).eval()
        x = random(2, 9, 12)
        other.load_state_dict(layer.state_dict())
        assert torch.equal(layer(x), other(x))
        assert "kernel.projection" in layer.state_dict()
        twin = copy.deepcopy(layer)
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
        twin(x).square().sum().backward()
        optimizer.step()
        assert not torch.equal(twin(x), layer(x))
        layer.reset_parameters()
        assert not torch.equal(layer(x), other(x))
        assert "12" in repr(layer)

    def test_interface(self, name: str) -> None:
        layer, x = make(name, 12, 3, dropout=0.5), random(2, 9, 12)
        out, weights = layer(x, None, True)
        assert weights is None
        assert torch.equal(out, layer(x))
        assert (layer.train()(x) == 0).float().mean() > 0.3
        assert isinstance(layer.dropout, nn.Dropout)
        assert layer(x[0], return_attention=True, batch=torch.zeros(9, dtype=torch.long))[1] is None

    def test_bad_input(self, name: str) -> None:
        layer, x = make(name, 12, 3), random(2, 9, 12)
        with pytest.raises(InputError, match="13"):
            layer(random(2, 9, 13))
        with pytest.raises(InputTypeError, match="int64"):
            layer(x.long())
        with pytest.raises(InputError, match="mask has shape"):
            layer(x, torch.ones(2, 8))
        with pytest.raises(InputError, match="both mask and batch"):
            layer(x[0], torch.ones(9), batch=torch.zeros(9, dtype=torch.long))
        for arguments in ((12, 5), (0, 1), (12, 0), (12, 3, 0)):
            with pytest.raises(InputError, match="expected"):
                LAYERS[name](*arguments)


@pytest.mark.parametrize(("d", "expected"), [(1, 1), (2, 2), (3, 6), (16, 48), (64, 320)])
def test_default_features(d: int, expected: int) -> None:
    layer = SpectralAttention(2 * d, 2)
    assert (layer.num_features, layer.head_dim) == (expected, d)
    assert layer.kernel.projection.shape == (d, expected)


def test_width_of_the_heads_is_free() -> None:
    layer = SpectralAttention(12, 3, head_dim=5, use_bias=False)
    assert layer.q_proj.weight.shape == (15, 12)
    assert layer.out_proj.weight.shape == (12, 15)
    assert layer.q_proj.bias is None
    assert layer(random(2, 7, 12)).shape == (2, 7, 12)


@pytest.mark.parametrize("use_orthogonal", [True, False])
def test_estimates_exact_attention(use_orthogonal: bool) -> None:
    torch.manual_seed(0)
    layer = SpectralAttention(8, 2, num_features=20_000, use_orthogonal=use_orthogonal).eval()
    x = random(1, 30, 8)
    q, k, v = heads(layer, x)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    expected = layer.out_proj(mixed.transpose(-3, -2).flatten(-2))
    assert (layer(x) - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("sigma", [None, 2.0, 3.0])
def test_estimates_gaussian_attention(sigma: float | None) -> None:
    torch.manual_seed(0)
    layer = SpectralAttention(8, 2, num_features=20_000, kernel_type="gaussian", sigma=sigma).eval()
    x = random(1, 30, 8)
    q, k, v = heads(layer, x)
    width = 4**0.25 if sigma is None else sigma
    weights = (-torch.cdist(q, k).square() / (2 * width**2)).softmax(dim=-1)
    expected = layer.out_proj((weights @ v).transpose(-3, -2).flatten(-2))
    assert (layer(x) - expected).norm() < 0.03 * expected.norm()


def test_redraw() -> None:
    layer, x = SpectralAttention(8, 2, num_features=6, feature_redraw=True), random(1, 30, 8)
    before = layer.kernel.projection.clone()
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    # The directions of the last call are the buffer, for queries and keys alike, and they serve evaluation.
    assert not torch.equal(layer.kernel.projection, before)
    layer.eval()
    assert torch.equal(layer(x), second)
    assert torch.equal(layer(x), layer(x))
    (first.sum() + second.sum()).backward()  # a new draw must not spoil the gradient of the former call
    layer.redraw_features(torch.Generator().manual_seed(1))
    drawn = layer.kernel.projection.clone()
    layer.redraw_features(torch.Generator().manual_seed(1))
    assert torch.equal(layer.kernel.projection, drawn)
    fixed = SpectralAttention(8, 2)
    assert torch.equal(fixed(x), fixed(x))


def test_generalized_does_not_grow_with_the_tokens() -> None:
    layer = make("generalized", 32, 4)
    spread = [layer(random(1, tokens, 32)).std().item() for tokens in (32, 2048)]
    assert spread[1] < 1.5 * spread[0]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_large_input_stays_finite(scale: float) -> None:
    for name in LAYERS:
        layer = make(name, 64, 4)
        x = (scale * random(2, 50, 64)).requires_grad_()
        layer(x).sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        _, _, v = heads(layer, x)
        mixed = layer.attend(*heads(layer, x), None)
        slack = 1e-4 * v.abs().max()
        assert (mixed <= v.amax(dim=-2, keepdim=True) + slack).all()
        assert (mixed >= v.amin(dim=-2, keepdim=True) - slack).all()


def test_unknown_kernel() -> None:
    for options in ({"kernel_type": "cosine"}, {"sigma": 1.0}, {"head_dim": 0}, {"dropout": 2.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            SpectralAttention(12, 3, **options)
    with pytest.raises(InputError, match="sigma"):
        SpectralAttention(12, 3, kernel_type="gaussian", sigma=math.inf)
