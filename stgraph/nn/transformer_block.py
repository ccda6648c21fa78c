"""The pre-norm block of transformers on padded sequences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn.spectral.temporal import SpectralTemporal

__all__ = ["SelfAttention", "TransformerBlock"]


class SelfAttention(nn.Module):
    r"""Multi-head self-attention on padded sequences by :func:`torch.nn.functional.scaled_dot_product_attention`.

    With a ``rotation``, queries and keys are turned in the planes of their channel pairs
    :math:`(2j, 2j + 1)` by the angles :math:`2 \pi t / P_j` of their times, so that the scores depend on differences
    of times alone (J. Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021).

    Args:
        channels: Number of channels.
        heads: Number of heads, a divisor of the channels.
        dropout: Probability that an attention weight is dropped in training.

    Shapes:
        - **input:** :math:`(..., L, C)`, key_padding_mask :math:`(..., L)`, True at padding, rotation
          :math:`(..., L, C / \text{heads})`, sines at even and cosines at odd channels as from
          :class:`~stgraph.nn.LogPeriodEncoding`
        - **output:** :math:`(..., L, C)`; a sequence of padding alone gives finite numbers

    Raises:
        InputError: If the heads do not divide the channels or ``dropout`` is not a probability.

    Examples:
        >>> attention = SelfAttention(8, heads=2)
        >>> attention(torch.randn(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise InputError(f"heads is {heads}; expected a divisor of the {channels} channels")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; expected 0 <= dropout < 1")
        self.channels, self.heads, self.dropout = channels, heads, dropout
        self.lin_in = nn.Linear(channels, 3 * channels)
        self.lin_out = nn.Linear(channels, channels)

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        self.lin_in.reset_parameters()
        self.lin_out.reset_parameters()

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None, rotation: Tensor | None = None) -> Tensor:
        """Let each point attend to the real points of its sequence."""
        # [..., L, 3, H, C / H] -> query, key, value [..., H, L, C / H]
        query, key, value = self.lin_in(x).unflatten(-1, (3, self.heads, -1)).transpose(-2, -4).unbind(-3)
        if rotation is not None:
            query, key = _rotate(query, rotation), _rotate(key, rotation)
        keep: Tensor | None = None
        if key_padding_mask is not None:
            # A row without a key has no softmax; such a sequence is padding, so any keys do.
            keep = ~key_padding_mask | key_padding_mask.all(dim=-1, keepdim=True)
            keep = keep[..., None, None, :]
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keep, dropout_p=dropout)
        out: Tensor = self.lin_out(mixed.transpose(-2, -3).flatten(-2))
        return out

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.channels}, heads={self.heads}, dropout={self.dropout}"


class TransformerBlock(nn.Module):
    r"""Pre-norm transformer block.

    .. math::
        y = x + \mathrm{Mix}(\mathrm{LN}(x)), \qquad z = y + \mathrm{FF}(\mathrm{LN}(y))

    The feed-forward part FF is linear to 4 C, GELU, linear to C.

    Args:
        channels: Number of channels.
        heads: Number of heads of the attention.
        dropout: Probability of dropout on attention weights and on both branches.
        mixer: A sequence layer on :math:`(B, L, C)` in place of the attention, such as
            :func:`~stgraph.nn.spectral.sequence_layer` makes. It gets the padding as its ``mask``.

    Shapes:
        - **input:** :math:`(..., L, C)`, key_padding_mask :math:`(..., L)`, True at padding, rotation as in
          :class:`SelfAttention`; a mixer needs a batch axis
        - **output:** :math:`(..., L, C)`

    Raises:
        InputError: If the heads do not divide the channels or ``dropout`` is not a probability.

    Examples:
        >>> block = TransformerBlock(8, heads=2)
        >>> padding = torch.tensor([[False, False, True]])
        >>> block(torch.randn(1, 3, 8), padding).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0, *, mixer: nn.Module | None = None) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; expected 0 <= dropout < 1")
        self.norm1 = nn.LayerNorm(channels)
        self.mix: SelfAttention | SpectralTemporal
        self.mix = SelfAttention(channels, heads, dropout) if mixer is None else SpectralTemporal(mixer)
        self.norm2 = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for module in (self.norm1, self.mix, self.norm2, self.feed_forward[0], self.feed_forward[2]):
            module.reset_parameters()  # type: ignore[operator]  # the entries of Sequential are plain modules

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None, rotation: Tensor | None = None) -> Tensor:
        """Mix the points of each sequence, then the channels of each point."""
        normed = self.norm1(x)
        if isinstance(self.mix, SelfAttention):
            mixed = self.mix(normed, key_padding_mask, rotation)
        else:
            mixed = self.mix(normed, None if key_padding_mask is None else ~key_padding_mask)
        x = x + self.dropout(mixed)
        out: Tensor = x + self.dropout(self.feed_forward(self.norm2(x)))
        return out


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn the channel pairs of ``[..., H, L, D]`` by the angles whose sines and cosines are ``[..., L, D]``."""
    sine, cosine = rotation.to(x.dtype).unsqueeze(-3).unflatten(-1, (-1, 2)).unbind(-1)
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], dim=-1).flatten(-2)
