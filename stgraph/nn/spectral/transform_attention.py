"""The common part of attention layers that multiply queries, keys and values in a transform domain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.spectral.base import AttentionLayer
from stgraph.nn.spectral.tokens import check_tokens, keep_mask, over_graphs
from stgraph.nn.spectral.transforms import FFT1D, HadamardTransform
from stgraph.nn.spectral.transforms.base import Transform
from stgraph.ops.transforms.fourier import irfft, rfft
from stgraph.ops.transforms.precision import full_precision

__all__ = ["TransformAttention"]

_EPS = 1e-6


class TransformAttention(AttentionLayer):
    """Base class: projections, heads grouped by their transform, padding and graphs.

    Heads with the same transform are computed together: one transform of their queries, keys and values, one inverse.
    The rows of the projections are reordered by group, so the features never are.

    Args:
        hidden_dim: Number of channels D.
        num_heads: Number of heads H.
        heads: Transform of each head.
        normalize: Divide the product of queries and keys by the sum of its magnitudes over the channels of a head.
        dropout: Probability of dropout on the output.
        use_bias: Projections with bias.
    """

    _rows: Tensor
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
        self.head_dim, self.normalize = hidden_dim // num_heads, normalize
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.add_module(name, nn.Linear(hidden_dim, hidden_dim, bias=use_bias))
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
        rows = [torch.cat([own, own + hidden_dim, own + 2 * hidden_dim]) for own in columns]
        self.register_buffer("_rows", torch.cat(rows), persistent=False)
        self.register_buffer("_columns", torch.cat(columns), persistent=False)

    def reset_parameters(self) -> None:
        """Draw new projections, as :class:`torch.nn.Linear` does."""
        for projection in self._projections():
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
        if batch is not None and mask is not None:
            raise InputError("both mask and batch are given; expected one of them")
        if batch is None:
            out = self._attend(x, None if mask is None else keep_mask(mask, x).unsqueeze(-1))
        else:
            out = over_graphs(lambda tokens: self._attend(tokens, None), x, batch)
        return (out, None) if return_attention else out

    def _projections(self) -> list[nn.Linear]:
        return [self.get_submodule(name) for name in ("q_proj", "k_proj", "v_proj", "out_proj")]  # type: ignore[misc]

    def _scales(self) -> list[Tensor]:
        """One scale for each channel of each group, ``[channels]``."""
        raise NotImplementedError  # pragma: no cover - abstract

    def _attend(self, x: Tensor, keep: Tensor | None) -> Tensor:
        *inputs, output = self._projections()
        weight, bias = self._grouped(inputs, x.dtype)
        # Before the projections too, where the contents of padding may be NaN.
        projected = F.linear(x if keep is None else torch.where(keep, x, 0), weight, bias)
        if keep is not None:
            projected = torch.where(keep, projected, 0)
        sizes = [3 * self.head_dim * len(members) for _, members in self._groups]
        parts = zip(projected.split(sizes, dim=-1), self._groups, self._scales(), strict=True)
        joined = [_mixed(part, group[0], scale, self.head_dim, self.normalize) for part, group, scale in parts]
        out_weight = output.weight.to(x.dtype)
        if len(self._groups) > 1:
            out_weight = out_weight[:, self._columns]
        bias = None if output.bias is None else output.bias.to(x.dtype)
        out: Tensor = self.dropout(
            F.linear(torch.cat(joined, dim=-1) if len(joined) > 1 else joined[0], out_weight, bias)
        )
        return out.to(x.dtype)

    def _grouped(self, inputs: list[nn.Linear], dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        weight = torch.cat([projection.weight for projection in inputs]).to(dtype)
        has_bias = inputs[0].bias is not None
        bias = torch.cat([projection.bias for projection in inputs]).to(dtype) if has_bias else None
        if len(self._groups) == 1:
            return weight, bias
        return weight[self._rows], None if bias is None else bias[self._rows]

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.hidden_dim}, num_heads={self.num_heads}, normalize={self.normalize}"


@full_precision
def _mixed(projected: Tensor, transform: Transform, scale: Tensor, head_dim: int, normalize: bool) -> Tensor:
    """Multiply queries, keys and values ``[..., N, 3 C]`` in the transform domain: ``[..., N, C]``."""
    size = projected.shape[-2]
    scale = scale.to(projected.dtype)
    if isinstance(transform, FFT1D):
        q, k, v = rfft(projected, -2).chunk(3, dim=-1)
        return irfft(_weighted(q * k.conj() * scale, head_dim, normalize) * v, size, -2)
    if isinstance(transform, HadamardTransform):
        projected = F.pad(projected, (0, 0, 0, (1 << (size - 1).bit_length()) - size))
    q, k, v = transform.transform(projected, dim=-2).chunk(3, dim=-1)
    out = transform.inverse_transform(_weighted(q * k * scale, head_dim, normalize) * v, dim=-2)
    return out.narrow(-2, 0, size)


def _weighted(product: Tensor, head_dim: int, normalize: bool) -> Tensor:
    if not normalize:
        return product
    heads: Tensor = product.unflatten(-1, (-1, head_dim))
    return heads.div(heads.abs().sum(dim=-1, keepdim=True) + _EPS).flatten(-2)
