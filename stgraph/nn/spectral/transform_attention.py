"""The common part of attention layers that multiply queries, keys and values in a transform domain."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.nn.spectral.base import AttentionLayer
from stgraph.nn.spectral.tokens import check_tokens, keep_mask, over_graphs, refuse_both
from stgraph.nn.spectral.transforms import FFT1D, HadamardTransform
from stgraph.nn.spectral.transforms.base import Transform
from stgraph.ops.transforms.fourier import irfft, rfft
from stgraph.ops.transforms.precision import full_precision

__all__ = ["TransformAttention"]

_EPS = 1e-6


class TransformAttention(AttentionLayer):
    """Base class: projections, heads grouped by their transform, padding and graphs.

    Heads with the same transform are computed together: one transform of their queries, keys and values, one inverse.
    The channels of the projections are reordered by group, so the features never are.

    Args:
        hidden_dim: Number of channels D.
        num_heads: Number of heads H.
        heads: Transform of each head.
        normalize: Divide the product of queries and keys by the sum of its magnitudes over the channels of a head.
        dropout: Probability of dropout on the output.
        use_bias: Projections with bias.
    """

    _columns: Tensor

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        heads: Sequence[Transform],
        normalize: bool,
        dropout: float,
        use_bias: bool,
    ) -> None:
        super().__init__(hidden_dim, num_heads, dropout)
        self.head_dim, self.normalize, self.use_bias = hidden_dim // num_heads, normalize, use_bias
        self.q_proj = nn.Linear(hidden_dim, hidden_dim, bias=use_bias)
        self.k_proj = nn.Linear(hidden_dim, hidden_dim, bias=use_bias)
        self.v_proj = nn.Linear(hidden_dim, hidden_dim, bias=use_bias)
        self.out_proj = nn.Linear(hidden_dim, hidden_dim, bias=use_bias)
        self._groups: list[tuple[Transform, list[int]]] = []
        for i, transform in enumerate(heads):
            for other, members in self._groups:
                if repr(other) == repr(transform):
                    members.append(i)
                    break
            else:
                self._groups.append((transform, [i]))
        channels = torch.arange(hidden_dim).view(num_heads, self.head_dim)
        columns = [channels[members].flatten() for _, members in self._groups]
        self.register_buffer("_columns", torch.cat(columns), persistent=False)

    def reset_parameters(self) -> None:
        """Draw new projections, as :class:`torch.nn.Linear` does."""
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            projection.reset_parameters()

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        return_attention: bool = False,
        batch: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, None]:
        """Mix the tokens.

        Args:
            x: Tokens ``[..., N, D]``.
            mask: Non-zero where a token is real, ``[..., N]``. Queries, keys and values of others are 0.
            return_attention: Return a tuple with ``None`` for the weights, which do not exist.
            batch: Graph of each token, ``[N]``, sorted; each graph is then a sequence of its own length.
        """
        check_tokens(x, self.hidden_dim)
        refuse_both(mask, batch)
        if batch is None:
            out = self._attend(x, None if mask is None else keep_mask(mask, x).unsqueeze(-1))
        else:
            out = over_graphs(lambda tokens: self._attend(tokens, None), x, batch)
        return (out, None) if return_attention else out

    @abstractmethod
    def _scales(self) -> list[Tensor]:
        """One scale for each channel of each group, ``[channels]``."""

    def _attend(self, x: Tensor, keep: Tensor | None) -> Tensor:
        if keep is not None:
            x = torch.where(keep, x, 0)
        weights, biases = self._weights(x.dtype)
        kept = torch.ones_like(x[..., :1]) if keep is None else keep.to(x.dtype)
        parts = zip(weights, biases, self._groups, self._scales(), strict=True)
        mixed = [
            _mixed(x, kept, weight, bias, scale, transform, self.head_dim, self.normalize)
            for weight, bias, (transform, _), scale in parts
        ]
        joined = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-1)
        weight = self.out_proj.weight.to(x.dtype)
        if len(mixed) > 1:
            weight = weight[:, self._columns]
        bias = self.out_proj.bias.to(x.dtype) if self.use_bias else None
        out: Tensor = self.dropout(F.linear(joined, weight, bias))
        return out.to(x.dtype)

    def _weights(self, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor | None]]:
        """Weights ``[3 C, D]`` and biases ``[3 C]`` of queries, keys and values of each group of C channels."""
        inputs = (self.q_proj, self.k_proj, self.v_proj)
        sizes = [self.head_dim * len(members) for _, members in self._groups]
        weight = torch.stack([projection.weight for projection in inputs]).to(dtype)
        grouped = weight if len(sizes) == 1 else weight[:, self._columns]
        weights = [part.flatten(0, 1) for part in grouped.split(sizes, dim=1)]
        if not self.use_bias:
            return weights, [None] * len(sizes)
        bias = torch.stack([projection.bias for projection in inputs]).to(dtype)
        grouped = bias if len(sizes) == 1 else bias[:, self._columns]
        return weights, [part.flatten() for part in grouped.split(sizes, dim=1)]

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.hidden_dim}, num_heads={self.num_heads}, normalize={self.normalize}"


@full_precision
def _mixed(
    x: Tensor,
    kept: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    transform: Transform,
    head_dim: int,
    normalize: bool,
) -> Tensor:
    """Project tokens ``[..., N, D]`` to queries, keys and values of a group, and multiply them in its domain.

    The transform acts along the tokens and the projections along the channels, so either can be first. The transform
    is: it has D channels to pass over then, and not those of queries, keys and values. The bias stands at kept tokens.
    """
    size = x.shape[-2]
    if bias is None:
        domain = _projected(_to_domain(x, transform), weight)
    else:
        domain = _projected(_to_domain(x, transform), weight, _to_domain(kept, transform), bias)
    q, k, v = domain.chunk(3, dim=-1)
    if isinstance(transform, FFT1D):
        return irfft(_weighted(q * k.conj() * scale, head_dim, normalize) * v, size, -2)
    out = transform.inverse_transform(_weighted(q * k * scale, head_dim, normalize) * v, dim=-2)
    return out.narrow(-2, 0, size)


def _to_domain(x: Tensor, transform: Transform) -> Tensor:
    if isinstance(transform, FFT1D):
        return rfft(x, -2)
    if isinstance(transform, HadamardTransform):
        size = x.shape[-2]
        x = F.pad(x, (0, 0, 0, (1 << (size - 1).bit_length()) - size))
    return transform.transform(x, dim=-2)


def _weighted(product: Tensor, head_dim: int, normalize: bool) -> Tensor:
    if not normalize:
        return product
    heads: Tensor = product.unflatten(-1, (-1, head_dim))
    return heads.div(heads.abs().sum(dim=-1, keepdim=True) + _EPS).flatten(-2)


def _projected(domain: Tensor, weight: Tensor, kept: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Project along the channels; a complex spectrum by its real and imaginary parts, since the weights are real."""
    if domain.is_complex():
        domain = torch.stack([domain.real, domain.imag])
        kept = None if kept is None else torch.stack([kept.real, kept.imag])
        both = _projected(domain, weight, kept, bias)
        return torch.complex(both[0], both[1])
    if kept is None or bias is None:
        return F.linear(domain, weight)
    # The transform of a constant is no constant: the bias is a product of rank one, to which the other is added.
    start = kept.expand(*domain.shape[:-1], 1).reshape(-1, 1) @ bias.unsqueeze(0)
    return start.addmm_(domain.reshape(-1, domain.shape[-1]), weight.mT).view(*domain.shape[:-1], len(weight))
