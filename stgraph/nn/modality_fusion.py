"""Layers that bring features of other modalities into those of a sequence or a vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["CrossAttentionFusion", "GatedFusion"]


class CrossAttentionFusion(nn.Module):
    r"""Let every position of a sequence read the tokens of the other modalities.

    :math:`h \leftarrow h + \mathrm{MHA}(\mathrm{LN}\, h, s, s)`, then :math:`h \leftarrow h + \mathrm{FF}(\mathrm{LN}\,
    h)`, with queries from the sequence :math:`h` and keys and values from the tokens :math:`s`.

    Args:
        channels: Width d of the sequence.
        token_channels: Width of the tokens.
        num_heads: Number of heads, a divisor of ``channels``.

    Shapes:
        - **h:** :math:`(B, L, d)`, **tokens:** :math:`(B, S, d_s)`
        - **output:** :math:`(B, L, d)`

    Raises:
        InputError: If the number of heads does not divide the width.

    Examples:
        >>> import torch
        >>> CrossAttentionFusion(8, 6, num_heads=2)(torch.randn(3, 5, 8), torch.randn(3, 16, 6)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, channels: int, token_channels: int, num_heads: int = 4) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise InputError(f"num_heads is {num_heads}; expected a divisor of the width, {channels}")
        self.norm_h, self.norm_tokens = nn.LayerNorm(channels), nn.LayerNorm(token_channels)
        self.attention = nn.MultiheadAttention(
            channels, num_heads, kdim=token_channels, vdim=token_channels, batch_first=True
        )
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for module in (self.norm_h, self.norm_tokens, *self.feed_forward):
            if isinstance(module, nn.LayerNorm | nn.Linear):
                module.reset_parameters()
        # PyTorch has no public name for this.
        self.attention._reset_parameters()
        self.attention.out_proj.reset_parameters()
        nn.init.zeros_(self.attention.out_proj.bias)

    def forward(self, h: Tensor, tokens: Tensor) -> Tensor:
        """Return the sequence after it has read the tokens."""
        known = self.norm_tokens(tokens)
        h = h + self.attention(self.norm_h(h), known, known, need_weights=False)[0]
        out: Tensor = h + self.feed_forward(h)
        return out


class GatedFusion(nn.Module):
    r"""Add the embedding of each other modality through a gate that sees both sides.

    :math:`h \leftarrow h + \sum_m \sigma(A_m h + B_m e_m) \odot V_m e_m`, with one embedding :math:`e_m` for each of M
    modalities.

    Args:
        channels: Width d of the features.
        embedding_channels: Width of the embeddings.
        num_modalities: Number of modalities M.

    Shapes:
        - **h:** :math:`(B, d)` or :math:`(B, L, d)`, **embeddings:** :math:`(B, M, d_e)`
        - **output:** the shape of ``h``

    Examples:
        >>> import torch
        >>> GatedFusion(8, 6, 2)(torch.randn(3, 5, 8), torch.randn(3, 2, 6)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, channels: int, embedding_channels: int, num_modalities: int) -> None:
        super().__init__()
        self.num_modalities = num_modalities
        self.gate_h = nn.Linear(channels, num_modalities * channels)
        self.gate_embedding = nn.ModuleList(
            nn.Linear(embedding_channels, channels, bias=False) for _ in range(num_modalities)
        )
        self.value = nn.ModuleList(nn.Linear(embedding_channels, channels) for _ in range(num_modalities))

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for module in (self.gate_h, *self.gate_embedding, *self.value):
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    def forward(self, h: Tensor, embeddings: Tensor) -> Tensor:
        """Return the features with those of the other modalities added."""
        parts = embeddings.unbind(dim=1)
        seen = torch.stack([layer(e) for layer, e in zip(self.gate_embedding, parts, strict=True)], dim=1)
        value = torch.stack([layer(e) for layer, e in zip(self.value, parts, strict=True)], dim=1)
        if h.dim() == 3:
            seen, value = seen.unsqueeze(1), value.unsqueeze(1)
        own = self.gate_h(h).unflatten(-1, (self.num_modalities, -1))
        return h + (torch.sigmoid(own + seen) * value).sum(dim=-2)
