r"""Attention with the weights :math:`(q \cdot k + 1)^2 / \lVert k \rVert`, through a matrix or in linear time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stgraph.ops.transforms.constants import constant_table

__all__ = ["num_quadratic_features", "quadratic_attention", "quadratic_weights"]

# Products that are formed at a time.
_BLOCK = 1 << 18


def num_quadratic_features(dim: int) -> int:
    """Number of features that :func:`quadratic_attention` forms per token."""
    return (dim + 1) * ((dim + 1) // 2 + 1)


def quadratic_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Weights :math:`(q \cdot k + 1)^2 / \lVert q \rVert \lVert k \rVert`, divided by their sum over the keys.

    Args:
        q: Queries ``[..., N, d]``.
        k: Keys ``[..., M, d]``.
        mask: True where a key counts, ``[..., M]``. Without any such key the weights are 0.

    Shapes:
        - **output:** :math:`(..., N, M)`

    Examples:
        >>> import torch
        >>> quadratic_weights(torch.tensor([[1.0]]), torch.tensor([[1.0], [-2.0]]))
        tensor([[0.8889, 0.1111]])
    """
    # The smallest number keeps the sum from being 0 where all keys are exactly opposite to a query.
    weights = (q @ k.mT + 1).square() * _inverse_norm(k).mT + torch.finfo(q.dtype).tiny
    if mask is not None:
        weights = torch.where(mask.unsqueeze(-2), weights, 0)
    total = weights.sum(dim=-1, keepdim=True)
    return weights / torch.where(total > 0, total, 1)


def quadratic_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Means of the values by :func:`quadratic_weights`, through products of pairs of channels, in linear time.

    Args:
        q: Queries ``[..., N, d]``.
        k: Keys ``[..., M, d]``.
        v: Values ``[..., M, c]``.
        mask: True where a key counts, ``[..., M]``. Without any such key the result is 0.

    Shapes:
        - **output:** :math:`(..., N, c)`

    Examples:
        >>> import torch
        >>> q, k, v = torch.randn(3, 2, 5, 4).unbind()
        >>> torch.allclose(quadratic_attention(q, k, v), quadratic_weights(q, k) @ v, atol=1e-3)
        True
    """
    scale = _inverse_norm(k)
    # Deviations from the mean keep a mean of equal values exact.
    if mask is None:
        centre = v.sum(dim=-2, keepdim=True) / max(v.shape[-2], 1)
    else:
        keep = mask.unsqueeze(-1)
        scale, v = torch.where(keep, scale, 0), torch.where(keep, v, 0)
        centre = v.sum(dim=-2, keepdim=True) / keep.sum(dim=-2, keepdim=True).clamp(min=1)
    weighted = torch.cat([(v - centre) * scale, scale], dim=-1)
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], weighted.shape[:-2])
    sums: Tensor = _QuadraticSums.apply(*(t.expand(*lead, *t.shape[-2:]) for t in (q, k, weighted)))  # type: ignore[no-untyped-call]
    total = torch.maximum(sums[..., -1:], _rounding_error(q, k, scale))
    return centre + sums[..., :-1] / torch.where(total > 0, total, 1)


@torch.no_grad()
def _rounding_error(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    """What the sum of the weights is if all keys are opposite to a query, so that the products cancel."""
    of_q, of_k = (t.square().sum(dim=-1, keepdim=True) + 1 for t in (q, k))
    return 4 * torch.finfo(q.dtype).eps * of_q * (of_k * scale).sum(dim=-2, keepdim=True)


def _inverse_norm(k: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(k, dim=-1, keepdim=True)
    return norm.clamp(min=1e-8).reciprocal()


class _QuadraticSums(torch.autograd.Function):
    r"""Sums :math:`\sum_j (q_n \cdot k_j + 1)^2 u_j` of ``[B, M, c]``.

    With :math:`\hat x = (x, 1)`, forward multiplies the products :math:`\hat x_i \hat x_j` of each pair once; backward
    uses that the sums are quadratic forms in the query with one symmetric matrix for each channel, and in the key.
    A few heads are computed at a time, so that the products, ten times as many as the numbers in and out, stay in the
    cache and are never all held.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, u: Tensor) -> Tensor:
        queries, keys, values = _circle(q), _circle(k), _flat(u.mT)
        often, forms, outs = _how_often(queries), [], []
        for few in _blocks(queries, keys):
            forms.append(_pair_products(keys[few]) @ values[few].mT)
            outs.append((often * forms[-1]).mT @ _pair_products(queries[few]))
        ctx.save_for_backward(q, k, u)
        ctx.prepared = queries, keys, values, torch.cat(forms)
        return torch.cat(outs).view(*u.shape[:-2], u.shape[-1], q.shape[-2]).mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        q, k, u = ctx.saved_tensors
        grads = _flat(grad.mT)
        if torch.is_grad_enabled():  # the gradient is itself to be differentiated
            queries, keys, values = _circle(q), _circle(k), _flat(u.mT)
            parts = _gradients(queries, keys, values, grads, _pair_products(keys) @ values.mT)
        else:
            queries, keys, values, forms = ctx.prepared
            blocks = [
                _gradients(queries[few], keys[few], values[few], grads[few], forms[few])
                for few in _blocks(queries, keys)
            ]
            parts = tuple(torch.cat(part) for part in zip(*blocks, strict=True))
        return tuple(part.view(t.mT.shape).mT for part, t in zip(parts, (q, k, u), strict=True))


def _flat(x: Tensor) -> Tensor:
    """All leading axes as one, in one piece of memory, whose layout products then have."""
    return x.reshape(x.shape[:-2].numel(), *x.shape[-2:]).contiguous()


def _blocks(queries: Tensor, keys: Tensor) -> list[slice]:
    """Cut the heads so that the products of one block are about a megabyte."""
    numbers = num_quadratic_features(_entries(keys) - 1) * max(queries.shape[-1], keys.shape[-1], 1)
    step = max(1, _BLOCK // numbers)
    return [slice(first, first + step) for first in range(0, max(len(keys), 1), step)]


def _gradients(queries: Tensor, keys: Tensor, values: Tensor, grads: Tensor, forms: Tensor) -> tuple[Tensor, ...]:
    """Gradients in queries, keys and values, all with the points as rows."""
    of_forms = _pair_products(queries) @ grads.mT
    often = _how_often(queries)
    return (
        _form_gradient(forms, queries, grads),
        _form_gradient(of_forms, keys, values),
        (often * of_forms).mT @ _pair_products(keys),
    )


def _circle(x: Tensor) -> Tensor:
    """The n = d + 1 entries of ``(x, 1)`` on a circle of which half is repeated.

    From ``[..., N, d]`` to ``[B, n + n // 2, N]``.
    """
    rows = x.mT
    again = rows[..., : (rows.shape[-2] + 1) // 2, :]
    return _flat(torch.cat([rows, torch.ones_like(rows[..., :1, :]), again], dim=-2))


def _entries(circle: Tensor) -> int:
    """Number n of entries of a circle, of which it holds n + n // 2."""
    return (2 * circle.shape[-2] + 2) // 3


def _pair_products(circle: Tensor) -> Tensor:
    """Products of each two entries, ``[B, n + n // 2, N]`` to ``[B, F, N]``.

    On a circle of n entries each pair is at distance 0 to n // 2, so that turning the circle by these gives
    every product once (twice at distance n / 2). The turned circles are windows of the longer one.
    """
    size = _entries(circle)
    windows = circle.unfold(-2, size // 2 + 1, 1).transpose(-2, -1)  # [B, n, n // 2 + 1, N]
    return (circle[:, :size].unsqueeze(-2) * windows).flatten(-3, -2)


def _how_often(circle: Tensor) -> Tensor:
    """How often each product occurs in the square of an inner product, ``[F, 1]``."""
    return _multiplicity(_entries(circle), dtype=circle.dtype, device=circle.device)


def _form_gradient(forms: Tensor, circle: Tensor, weight: Tensor) -> Tensor:
    """Gradient ``[B, d, N]`` of quadratic forms ``[B, F, c]``, weighted by ``[B, c, N]``, in the points."""
    size = _entries(circle)
    place = _place_of_pair(size, dtype=torch.int64, device=circle.device)
    form = forms.index_select(-2, place).unflatten(-2, (size - 1, size)).flatten(-2)  # [B, d, n c]
    outer = circle[:, :size].unsqueeze(-2) * weight.unsqueeze(-3)  # [B, n, c, N]
    gradient: Tensor = (2 * form) @ outer.flatten(1, 2)
    return gradient


@constant_table
def _multiplicity(size: int, device: torch.device) -> Tensor:
    turn = torch.arange(size // 2 + 1, device=device)
    once = (turn == 0) | (2 * turn == size)
    return torch.where(once, 1.0, 2.0).double().repeat(size).unsqueeze(-1)


@constant_table
def _place_of_pair(size: int, device: torch.device) -> Tensor:
    """Place of the product of two entries, row by row; the last row, of the added entry, is left out."""
    row = torch.arange(size, device=device)
    turn = (row - row.unsqueeze(-1)) % size
    turns = size // 2 + 1
    return torch.where(turn < turns, turns * row.unsqueeze(-1) + turn, turns * row + size - turn)[:-1].flatten()
