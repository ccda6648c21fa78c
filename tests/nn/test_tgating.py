from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn import TGating


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("normalization", ["product", "softmax"])
@pytest.mark.parametrize("per_node", [False, True])
def test_pooling(normalization: str, per_node: bool) -> None:
    layer = TGating(7, normalization=normalization, per_node=per_node).double()
    with torch.no_grad():
        layer.logits.copy_(random(7))
    x, h = random(3, 4, 7, 2), random(3, 4, 7, 5)
    weights = layer.weights(x)
    assert weights.shape == (3, 4 if per_node else 1, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    out = layer(h, x)
    torch.testing.assert_close(out, (weights.unsqueeze(-1) * h).sum(-2))
    torch.testing.assert_close(torch.stack([layer(a, b) for a, b in zip(h, x, strict=True)]), out)
    order = torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(layer(h[:, order], x[:, order]), out[:, order])


def test_gain_zero_gives_learned_weights_and_gain_favours_change() -> None:
    x = torch.zeros(1, 2, 8, 1)
    x[:, :, 5] = 10.0
    torch.testing.assert_close(TGating(8, gain=0).weights(x).squeeze(), torch.full((8,), 1 / 8))
    weights = TGating(8, gain=1.0).weights(x).squeeze()
    assert weights[5:].min() > weights[:4].max()


def test_gradient_flows_to_the_learned_weights_and_features_only() -> None:
    layer = TGating(5).double()
    h, x = random(2, 3, 5, 4).requires_grad_(), random(2, 3, 5, 1)
    assert torch.autograd.gradcheck(lambda h, p: torch.func.functional_call(layer, {"logits": p}, (h, x)),
                                    (h, random(5).requires_grad_()))  # fmt: skip


def test_lower_precision_compile_and_contract() -> None:
    layer = TGating(6)
    h, x = random(2, 3, 6, 4), random(2, 3, 6, 1)
    expected = layer.double()(h, x)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        out = layer.to(dtype)(h.to(dtype), x.to(dtype))
        assert out.dtype == dtype
        torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)
    layer.double()
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(h, x), expected)
    torch.testing.assert_close(torch.export.export(layer, (h, x)).module()(h, x), expected)
    assert layer(h[:0], x[:0]).shape == (0, 3, 4)
    assert repr(layer) == "TGating(6, gain=0.2, normalization='product', per_node=False)"


def test_bad_input() -> None:
    for kwargs, message in (
        ({"steps": 0}, "steps is 0"),
        ({"steps": 3, "gain": -1}, "gain is -1"),
        ({"steps": 3, "normalization": "sum"}, "normalization is 'sum'"),
    ):
        with pytest.raises(InputError, match=message):
            TGating(**kwargs)
    with pytest.raises(InputError, match="x has 4 time steps; the layer was made for 3"):
        TGating(3)(torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 1))
