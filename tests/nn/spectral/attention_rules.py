"""What every attention layer without positions must do, as functions for its tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Make = Callable[..., nn.Module]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def mask_rules(layer: nn.Module, tokens: int, dim: int) -> None:
    x = random(2, tokens, dim)
    full = layer(x)
    for dtype in (torch.bool, torch.int64, torch.float32):
        torch.testing.assert_close(layer(x, torch.ones(2, tokens).to(dtype)), full, atol=1e-5, rtol=1e-5)
    kept = max(1, tokens // 2)
    mask = torch.zeros(2, tokens)
    mask[0, :kept] = 1
    changed = x.clone()
    changed[0, kept:] = torch.nan
    changed[1] = torch.inf
    results = []
    for given in (x, changed):
        leaf = given.clone().requires_grad_()
        out = layer(leaf, mask=mask)
        (gradient,) = torch.autograd.grad(out[0, :kept].square().sum(), leaf)
        parameters = torch.autograd.grad(layer(leaf, mask=mask)[0, :kept].square().sum(), layer.q_proj.weight)
        assert gradient[0, kept:].abs().sum() == 0
        assert out.isfinite().all()
        results.append((out[0, :kept], gradient, *parameters))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(results[0][0], layer(x[:1, :kept])[0], atol=1e-4, rtol=1e-4)
    # Without any kept key there is 0 before the output projection.
    torch.testing.assert_close(out[1], layer.out_proj.bias.expand(tokens, -1), atol=0, rtol=0)


def batch_is_a_loop(layer: nn.Module, dim: int) -> None:
    sizes = [3, 1, 40, 7]
    x = random(2, sum(sizes), dim, dtype=torch.float64)
    batch = torch.arange(4).repeat_interleave(torch.tensor(sizes))
    loop = torch.cat([layer(part) for part in x.split(sizes, dim=-2)], dim=-2)
    torch.testing.assert_close(layer(x, batch=batch), loop, atol=1e-10, rtol=1e-8)
    empty = x[:, :0]
    assert layer(empty, batch=batch[:0]).shape == empty.shape


def permutes(layer: nn.Module, tokens: int, dim: int) -> None:
    x = random(2, tokens, dim, dtype=torch.float64)
    order = torch.randperm(tokens, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], atol=1e-10, rtol=1e-8)


def dtypes(layer: nn.Module, tokens: int, dim: int) -> None:
    x = random(2, tokens, dim, dtype=torch.float64)
    out = layer(x)
    assert out.dtype == torch.float64
    assert {p.dtype for p in layer.parameters()} == {torch.float32}
    torch.testing.assert_close(layer(x.float()).double(), out, atol=1e-4, rtol=1e-3)
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), out, atol=0.05, rtol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x.float())
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed.double(), out, atol=0.05, rtol=0.05)


def shapes(layer: nn.Module, dim: int) -> None:
    x = random(2, 3, 40, dim)
    out = layer(x)
    for i in range(2):
        torch.testing.assert_close(out[i], layer(x[i]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out[0, 0], layer(x[0, 0]), atol=1e-5, rtol=1e-4)
    strided = x.transpose(0, 2).contiguous().transpose(0, 2)
    torch.testing.assert_close(layer(strided), out, atol=1e-5, rtol=1e-4)
    for shape in ((0, 5, dim), (2, 0, dim)):
        assert layer(torch.zeros(shape)).shape == shape
