"""Attention between the levels of a wavelet decomposition, at coefficients that belong to the same place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.nn.spectral.functional_dtype import linear_in_dtype

__all__ = ["Alignment", "attend", "encode"]


class Alignment:
    """Coefficients of all bands, one after the other, and the tokens that stand at the same place in each band.

    A band of sizes :math:`L_j` has at place :math:`l` of the finest sizes :math:`L^*` the coefficient
    :math:`\\lfloor l L_j / L^* \\rfloor`, along each axis.

    Args:
        sizes: Sizes of each band along its axes.
        device: Device of the coefficients.

    Examples:
        >>> alignment = Alignment([(2,), (4,)], torch.device("cpu"))
        >>> alignment.token.view(4, 2)
        tensor([[0, 2],
                [0, 3],
                [1, 4],
                [1, 5]])
    """

    def __init__(self, sizes: Sequence[Sequence[int]], device: torch.device) -> None:
        finest = [max(along) for along in zip(*sizes, strict=True)]
        bands, first = [], 0
        for own in sizes:
            place = torch.zeros((), dtype=torch.int64, device=device)
            for size, target in zip(own, finest, strict=True):
                axis = torch.arange(target, device=device) * size // target
                place = (place.unsqueeze(-1) * size + axis).flatten()
            bands.append(place + first)
            first += torch.Size(own).numel()
        self.bands, self.coefficients = len(bands), first
        self.token = torch.stack(bands, dim=-1).flatten()

    def spread(self, x: Tensor) -> Tensor:
        """Take coefficients ``[B, M, D]`` to tokens ``[B, L, bands, D]``."""
        tokens: Tensor = x.index_select(1, self.token).unflatten(1, (-1, self.bands))
        return tokens

    def average(self, tokens: Tensor) -> Tensor:
        """Take tokens ``[B, L, bands, D]`` to the mean ``[B, M, D]`` over the tokens of each coefficient."""
        flat = tokens.flatten(1, 2)
        total = flat.new_zeros(flat.shape[0], self.coefficients, flat.shape[-1]).index_add(1, self.token, flat)
        ones = flat.new_ones(len(self.token))
        count = flat.new_zeros(self.coefficients).index_add(0, self.token, ones)
        return total / count.unsqueeze(-1)


def attend(attention: nn.MultiheadAttention, x: Tensor, alignment: Alignment) -> Tensor:
    """Apply one head of attention over the bands to coefficients ``[B, M, D]``, averaged over the tokens of each.

    The projections are linear, so that they act on coefficients, which are fewer than tokens.
    """
    mixed = _mixed(attention, alignment.spread(_project(attention, x)))
    return linear_in_dtype(attention.out_proj, alignment.average(mixed))


def encode(encoder: nn.TransformerEncoder, x: Tensor, alignment: Alignment) -> Tensor:
    """Apply an encoder with one head and normalisation after each part to the tokens of coefficients ``[B, M, D]``."""
    tokens = alignment.spread(x)
    for layer in encoder.layers:
        attended = linear_in_dtype(layer.self_attn.out_proj, _mixed(layer.self_attn, _project(layer.self_attn, tokens)))
        tokens = _norm(layer.norm1, tokens + layer.dropout1(attended))
        hidden = layer.dropout(F.relu(linear_in_dtype(layer.linear1, tokens)))
        tokens = _norm(layer.norm2, tokens + layer.dropout2(linear_in_dtype(layer.linear2, hidden)))
    return alignment.average(tokens)


def _project(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    return F.linear(x, attention.in_proj_weight.to(x.dtype), attention.in_proj_bias.to(x.dtype))


def _mixed(attention: nn.MultiheadAttention, projected: Tensor) -> Tensor:
    """Attention between the few tokens of each place.

    Written out, since the fused kernels have no second derivative.
    """
    query, key, value = projected.chunk(3, dim=-1)
    logits = (query * query.shape[-1] ** -0.5) @ key.mT
    weights = F.dropout(logits.softmax(dim=-1), attention.dropout, attention.training)
    return weights @ value


def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)
