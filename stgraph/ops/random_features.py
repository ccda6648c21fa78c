"""Attention in linear time through feature maps of the kernel, random ones above all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError

__all__ = [
    "kernel_feature_attention",
    "orthogonal_gaussian",
    "positive_feature_attention",
    "positive_log_features",
    "random_feature_attention",
]


def orthogonal_gaussian(
    dim: int,
    num_features: int,
    orthogonal: bool = True,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Draw directions :math:`\omega_i \sim N(0, I_d)` as the columns of a matrix ``[dim, num_features]``.

    With ``orthogonal`` each block of :math:`d` columns is a uniformly distributed orthogonal matrix whose columns have
    independent :math:`\chi_d` norms: each column is still exactly Gaussian, and estimates vary less (Yu et al.,
    *Orthogonal Random Features*, NeurIPS 2016). On a given device the numbers are those of ``generator``, or of the
    global one.

    Raises:
        InputError: If a size is below 1.

    Examples:
        >>> omega = orthogonal_gaussian(3, 7)
        >>> omega.shape, bool((omega[:, 0] @ omega[:, 1]).abs() < 1e-5)
        (torch.Size([3, 7]), True)
    """
    for name, value in (("dim", dim), ("num_features", num_features)):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    if not orthogonal:
        return torch.randn(dim, num_features, generator=generator, device=device, dtype=torch.float32)
    blocks = -(-num_features // dim)
    q, r = torch.linalg.qr(torch.randn(blocks, dim, dim, generator=generator, device=device, dtype=torch.float32))
    # The signs make the distribution uniform over the orthogonal group, whatever convention the factorisation has.
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
    directions = (q * signs.unsqueeze(-2)).movedim(0, 1).reshape(dim, blocks * dim)[:, :num_features]
    gaussian = torch.randn(dim, num_features, generator=generator, device=device, dtype=torch.float32)
    columns: Tensor = directions * torch.linalg.vector_norm(gaussian, dim=0)
    return columns


def positive_log_features(x: Tensor, projection: Tensor, decay: float) -> Tensor:
    r"""Logarithms :math:`\omega_i \cdot x - \lambda \lVert x \rVert^2` of positive random features.

    With :math:`\omega_i \sim N(0, I)` and :math:`\lambda = 1/2` the mean over :math:`i` of the products of features of
    :math:`x` and :math:`y` estimates :math:`\exp(x \cdot y)` without bias; with :math:`\lambda = 1`,
    :math:`\exp(-\lVert x - y \rVert^2 / 2)`.

    Args:
        x: Points ``[..., N, d]``.
        projection: Directions :math:`\omega_i` as columns, ``[d, m]``.
        decay: The factor :math:`\lambda`.
    """
    return x @ projection - decay * x.square().sum(dim=-1, keepdim=True)


def positive_feature_attention(log_q: Tensor, log_k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Attention with positive features that are given by their logarithms, in linear time.

    .. math::
        o_n = \frac{\sum_i e^{\ell_i(q_n)} \sum_j e^{\ell_i(k_j)} v_j}{\sum_i e^{\ell_i(q_n)} \sum_j e^{\ell_i(k_j)}}
            = \sum_i \operatorname{softmax}_i\bigl(\ell_i(q_n) + L_i\bigr)
              \sum_j \operatorname{softmax}_j(\ell_i(k_j)) v_j,
        \qquad L_i = \log \sum_j e^{\ell_i(k_j)}.

    The right-hand side, which is computed, is the same number written as a mixture of means: nothing overflows,
    underflows or is divided by a small sum, however large the logarithms are.

    Args:
        log_q: Logarithms of the features of queries ``[..., N, m]``.
        log_k: Logarithms of the features of keys ``[..., M, m]``.
        v: Values ``[..., M, c]``.
        mask: True where a key counts, ``[..., M]``. Without any such key the result is 0.

    Shapes:
        - **output:** :math:`(..., N, c)`

    Examples:
        >>> import torch
        >>> log_q, log_k = torch.zeros(1, 4), torch.full((2, 4), -1e4)
        >>> positive_feature_attention(log_q, log_k, torch.tensor([[1.0], [3.0]]))
        tensor([[2.]])
    """
    if mask is not None:
        log_k = torch.where(mask.unsqueeze(-1), log_k, _lowest(log_k))
        v = torch.where(mask.unsqueeze(-1), v, 0)
    of_keys = log_k.mT.softmax(dim=-1)
    return (log_q + log_k.logsumexp(dim=-2).unsqueeze(-2)).softmax(dim=-1) @ (of_keys @ v)


def kernel_feature_attention(
    q_features: Tensor, k_features: Tensor, v: Tensor, mask: Tensor | None = None, offset: float = 0.0
) -> Tensor:
    r"""Attention :math:`o_n = \phi(q_n)^T \sum_j \phi(k_j) v_j^T / \phi(q_n)^T \sum_j \phi(k_j)`, in linear time.

    Args:
        q_features: Features of queries ``[..., N, m]``; products with those of keys must not be negative.
        k_features: Features of keys ``[..., M, m]``.
        v: Values ``[..., M, c]``.
        mask: True where a key counts, ``[..., M]``. Without any such key the result is 0.
        offset: Number to add to all features, which costs nothing here.

    Shapes:
        - **output:** :math:`(..., N, c)`

    Examples:
        >>> import torch
        >>> q, k, v = torch.tensor([[1.0]]), torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [4.0]])
        >>> kernel_feature_attention(q, k, v)
        tensor([[3.]])
    """
    # The sum of the weights is one more channel of the values.
    values = F.pad(v, (0, 1), value=1.0)
    if mask is not None:
        values = torch.where(mask.unsqueeze(-1), values, 0)
    # Transposed twice, so that the gradient in the features is laid out as they are.
    of_keys = (values.mT @ k_features).mT
    if offset:
        of_keys = of_keys + offset * values.sum(dim=-2, keepdim=True)
    sums = q_features @ of_keys
    if offset:
        sums = sums + offset * of_keys.sum(dim=-2, keepdim=True)
    total = sums[..., -1:]
    return sums[..., :-1] / torch.where(total > 0, total, 1)


def random_feature_attention(
    q: Tensor, k: Tensor, v: Tensor, projection: Tensor, decay: float, mask: Tensor | None = None
) -> Tensor:
    """Attention with :func:`positive_log_features` of queries and keys, faster and in less memory than in two steps.

    The term with the norm of the query cancels and is left out.

    Args:
        q: Queries ``[..., N, d]``.
        k: Keys ``[..., M, d]``.
        v: Values ``[..., M, c]``.
        projection: Directions as columns, ``[d, m]``; no gradient flows to them.
        decay: Factor of the squared norm of the keys.
        mask: True where a key counts, ``[..., M]``. Without any such key the result is 0.

    Shapes:
        - **output:** :math:`(..., N, c)`

    Examples:
        >>> import torch
        >>> q, k, v = torch.randn(3, 2, 5, 4).unbind()
        >>> random_feature_attention(q, k, v, torch.randn(4, 8), decay=0.5).shape
        torch.Size([2, 5, 4])
    """
    if k.shape[-2] == 0:
        return positive_feature_attention(q @ projection, k @ projection, v)
    offset = -decay * k.square().sum(dim=-1, keepdim=True)
    if mask is not None:
        offset = torch.where(mask.unsqueeze(-1), offset, _lowest(offset))
        v = torch.where(mask.unsqueeze(-1), v, 0)
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    keys = torch.cat([k, offset], dim=-1)
    flat = (t.expand(*lead, *t.shape[-2:]).flatten(0, -3) if lead else t.unsqueeze(0) for t in (q, keys, v))
    out: Tensor = _RandomFeatureAttention.apply(*flat, projection.detach())  # type: ignore[no-untyped-call]
    return out.reshape(*lead, *out.shape[-2:])


def _lowest(like: Tensor) -> float:
    """A logarithm that is as good as minus infinity, and whose product with 0 is 0."""
    return torch.finfo(like.dtype).min / 4


def _ones(x: Tensor) -> Tensor:
    return F.pad(x, (0, 1), value=1.0)


class _RandomFeatureAttention(torch.autograd.Function):
    """The mixture of means of :func:`positive_feature_attention`, for three-dimensional tensors.

    A plain graph holds some seven tensors of N x m numbers; here they are three, since softmax and its derivative work
    in place. What only shifts a row or a column comes out of the matrix products, from an added column.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, keys: Tensor, v: Tensor, projection: Tensor) -> Tensor:
        of_keys, means, of_queries = _mixture(q, keys, v, projection, in_place=True)
        out = of_queries @ means
        ctx.save_for_backward(q, keys, v, projection, of_keys, means, of_queries, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, keys, v, projection, of_keys, means, of_queries, out = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is itself to be differentiated
            of_keys, means, of_queries = _mixture(q, keys, v, projection, in_place=False)
            out = of_queries @ means
        # The derivative of a softmax p is p (g - sum(p g)); both sums are known from small products.
        row = (grad * out).sum(dim=-1, keepdim=True)
        grad_query = (torch.cat([grad, -row], dim=-1) @ _ones(means).mT).mul_(of_queries)
        grad_means = of_queries.mT @ grad
        column = grad_query.sum(dim=-2).unsqueeze(-1) - (grad_means * means).sum(dim=-1, keepdim=True)
        grad_key = (torch.cat([grad_means, column], dim=-1) @ _ones(v).mT).mul_(of_keys)
        return (
            grad_query @ projection.mT,
            grad_key.mT @ _ones(projection.mT).expand(len(q), -1, -1),
            of_keys.mT @ grad_means,
            None,
        )


def _mixture(q: Tensor, keys: Tensor, v: Tensor, projection: Tensor, in_place: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of keys ``[B, m, M]``, their means of the values ``[B, m, c]`` and weights of the means ``[B, N, m]``."""
    count = len(q)
    log_k = _ones(projection.mT).expand(count, -1, -1) @ keys.mT
    of_keys, log_sum = _softmax_and_log_sum(log_k, in_place)
    shifted = torch.cat([projection.expand(count, -1, -1), log_sum.unsqueeze(-2)], dim=-2)
    log_q = _ones(q) @ shifted
    of_queries = torch.softmax(log_q, dim=-1, out=log_q) if in_place else log_q.softmax(dim=-1)
    return of_keys, of_keys @ v, of_queries


def _softmax_and_log_sum(logits: Tensor, in_place: bool) -> tuple[Tensor, Tensor]:
    """Softmax over the last axis and the logarithm of its denominator."""
    if not in_place:
        return logits.softmax(dim=-1), logits.logsumexp(dim=-1)
    highest = logits.amax(dim=-1)
    weights = torch.softmax(logits, dim=-1, out=logits)
    return weights, highest - weights.amax(dim=-1).log()
